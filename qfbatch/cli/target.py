"""What `report` and `export` are pointed at: a run directory, or the job file whose run is meant."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from qfbatch.checkpoint.manifest import Manifest, read_manifest
from qfbatch.checkpoint.place import RunPlace, run_place
from qfbatch.errors import UsageError
from qfbatch.job.environment import environment
from qfbatch.job.settings import Job
from qfbatch.scoring.evaluation import Evaluation, evaluation_in, evaluation_of
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import Address, is_stored, parse_address

JOB_SUFFIXES = frozenset({".yaml", ".yml"})
_LOADER = "qfbatch.job.load"  # a fifth of what a report imports, and of no use to who names a run directory


@dataclass(frozen=True, slots=True)
class Run:
    """A run that exists.

    Attributes:
        directory: as the user named it, or as the job file does.
        layout: its files.
        manifest: what it is.
        job: the job file that the user named; None where it is the run directory itself.
    """

    directory: str
    layout: RunPlace
    manifest: Manifest
    job: Job | None = None

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.manifest.job.get("name") or Path(self.directory).name)

    @property
    def models(self) -> tuple[str, ...]:
        """The models' names, in the job's order."""
        return tuple(str(model["name"]) for model in self.manifest.job.get("models", ()))

    def evaluation(self) -> Evaluation:
        """What judges its answers: the job file's scorers as they are now, else those of its last start.

        Raises:
            UsageError: a scorer cannot be used.
            StorageError: the manifest's scorers cannot be read.
        """
        return evaluation_in(self.manifest.job) if self.job is None else evaluation_of(self.job)

    @property
    def rows(self) -> int:
        """Rows that each model is to answer."""
        return self.manifest.survey.rows


def open_run(target: str) -> Run:
    """The run that a command line names.

    Args:
        target: a run directory or a job file (.yaml, .yml).

    Raises:
        UsageError: it is neither, or there is no run yet; `JobFileError` where the job file is wrong.
        RunDirectoryError: the run's manifest cannot be read.
    """
    environ = environment(Path.cwd(), os.environ)
    access = StorageAccess(environ)
    if is_stored(target):
        run = _run_in(parse_address(target), access)
        if run is None:
            raise UsageError(f"{target}: no run there (it has no manifest.json)", hint=_NEXT_STEP)
        return run
    path = Path(target)
    if path.suffix.lower() in JOB_SUFFIXES and not path.is_dir():
        job: Job = importlib.import_module(_LOADER).load_job(path, environ=environ)
        run = _run_in(job.output_path, access)
        if run is None:
            raise UsageError(
                f"{target}: this job has not been run yet: {job.output_path} holds no run",
                hint=f"Start it: qfbatch run {target}",
            )
        return replace(run, job=job)
    if not path.exists():
        raise UsageError(f"{target}: there is no such run directory or job file", hint=_NEXT_STEP)
    if not path.is_dir():
        raise UsageError(f"{target}: neither a run directory nor a job file (.yaml, .yml)", hint=_NEXT_STEP)
    run = _run_in(path, access)
    if run is None:
        raise UsageError(f"{target}: no run in this directory (it has no manifest.json)", hint=_NEXT_STEP)
    return run


_NEXT_STEP = "Name a run directory (runs/<name>) or the job file of a run; `qfbatch run JOB.yaml` starts one."


def _run_in(directory: Path | Address, access: StorageAccess) -> Run | None:
    place = run_place(directory, access)
    manifest = read_manifest(place)
    return None if manifest is None else Run(str(directory), place, manifest)
