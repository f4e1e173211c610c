"""One process's stay in a run: opened under the lock, compared with what is there, closed with its exit code.

Opening decides everything that does not need the service: whether this is a new run or a resume, whether the
job still asks the same, whether the input is still the same, what is done and what is left.
"""

from __future__ import annotations

import platform
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from qfbatch._version import __version__
from qfbatch.checkpoint.committed import CommittedRows, standing_of
from qfbatch.checkpoint.directory import begun_models
from qfbatch.checkpoint.interface import ShardState
from qfbatch.checkpoint.manifest import Manifest, Session, read_manifest
from qfbatch.checkpoint.parts import PartSummary
from qfbatch.checkpoint.place import RunPlace, StoredRun, run_place
from qfbatch.checkpoint.stored_tenure import hold_stored
from qfbatch.checkpoint.tenure import RunRows, Tenure, hold_folder
from qfbatch.errors import QfbatchError, RunDirectoryError
from qfbatch.fingerprint import fingerprint, models_in, with_earlier
from qfbatch.flow.feed import ShardWork
from qfbatch.flow.resuming import address_notes, follow_input, is_replaceable, refuse_other_question
from qfbatch.flow.surveying import OnSurvey, survey_with_keys
from qfbatch.job.settings import Budget, Job
from qfbatch.reader.shard_reader import ShardReader
from qfbatch.records import Status, Survey
from qfbatch.tally import Standing, total


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line asks of one session.

    Attributes:
        fresh: start again; the run directory there is set aside, nothing is deleted.
        retry_failed: ask failed rows again.
        limit: only the first so many rows of the input.
        accept_input_change: go on although the input changed; answers of unchanged rows are kept.
        grace_s: how long calls on their way may take after a signal.
        shared: other processes write to the same run, each its own shards; a new run gets a commit log.
    """

    fresh: bool = False
    retry_failed: bool = False
    limit: int | None = None
    accept_input_change: bool = False
    grace_s: float = 30.0
    shared: bool = False


class RunResult(msgspec.Struct, frozen=True):
    """How a run ended.

    Attributes:
        exit_code: as documented for `qfbatch run`.
        succeeded, failed: rows of the run, earlier sessions included.
        left: rows not yet done.
        asked: rows worked on in this session.
        reason: what ended it early; None if nothing did.
    """

    exit_code: int
    succeeded: int
    failed: int
    left: int
    asked: int
    reason: QfbatchError | None = None


@dataclass(slots=True)
class OpenSession:
    """An open run directory and what is to be done in it.

    Attributes:
        layout: where it is.
        manifest: what the run is.
        checkpoint: its rows on disk, recovered.
        committed: totals of what earlier sessions committed.
        answered: rows answered by each model, of these.
        failed_again: failed rows, of these, that this session is to ask again.
        open_rows: rows within the session's limit that have no record yet.
        standing: where each model stands; `left` is what this session is to ask of it.
        gone: what models have come to that are no longer in the job; only where it has a budget, which counts
            that.
        work: per model, the shards that may have open rows.
        notes: what the user should know, one line each.
        exit_code, ended: how the session ended, for the manifest.
    """

    layout: RunPlace
    manifest: Manifest
    checkpoint: RunRows
    committed: PartSummary
    answered: dict[str, int]
    failed_again: int
    open_rows: int
    standing: dict[str, Standing]
    work: dict[str, list[ShardWork]]
    notes: list[str] = field(default_factory=list)
    exit_code: int | None = None
    ended: str = ""
    gone: Standing = field(default_factory=Standing)

    @property
    def before(self) -> Standing:
        """What a budget counts of earlier sessions."""
        return total([*self.standing.values(), self.gone])


@contextmanager
def open_session(
    job: Job, options: RunOptions, *, now: Callable[[], float], on_survey: OnSurvey | None = None
) -> Iterator[OpenSession]:
    """Open the job's run directory for writing, as long as the context lasts.

    Args:
        job: the job.
        options: of this session.
        now: wall clock, seconds since the epoch.
        on_survey: told of the survey's progress in bytes.

    Raises:
        InputError: the input is wrong, or cannot be read.
        RunDirectoryError: the directory is held, foreign, damaged, or belongs to another job.
    """

    def survey(keys: Path) -> Survey:
        """The job's input, surveyed, with the keys of its rows written to that file."""
        return survey_with_keys(job, keys, on_survey)

    with _held(job, options, now) as tenure:
        place, notes = tenure.place, tenure.notes
        manifest = read_manifest(place)
        if options.fresh and manifest is not None:
            manifest = _new_manifest(job, tenure.survey_afresh(survey, manifest), now())
        elif manifest is not None and is_replaceable(place, manifest, job):
            manifest = None
        if manifest is None:
            manifest = _new_manifest(job, tenure.survey(survey), now())
        elif begun_models(place, manifest.log_id):
            refuse_other_question(place, manifest, job)
            notes += address_notes(manifest, job)
            manifest, told = follow_input(
                job, place, manifest, accept=options.accept_input_change, on_survey=on_survey
            )
            notes += told
        session = Session(started_at=_iso(now()), in_flight=job.limits.concurrency)
        manifest = msgspec.structs.replace(
            manifest,
            job=describe(job),
            fingerprint=with_earlier(manifest.fingerprint, fingerprint(job)),
            sessions=(*manifest.sessions, session),
        )
        tenure.begin(manifest)
        opened = _open_checkpoint(job, tenure, manifest, options)
        try:
            yield opened
        except QfbatchError as error:
            opened.exit_code, opened.ended = error.exit_code, error.message
            raise
        finally:
            ended = msgspec.structs.replace(
                session, ended_at=_iso(now()), exit_code=opened.exit_code, note=opened.ended
            )
            tenure.end(manifest, ended)


def _held(job: Job, options: RunOptions, now: Callable[[], float]) -> AbstractContextManager[Tenure]:
    place = run_place(job.output_path, job.access, shared=options.shared)
    if isinstance(place, StoredRun):
        return hold_stored(place, now=now, shared=options.shared)
    if options.shared:
        raise RunDirectoryError(
            f"{place} was begun by one machine, with journals that many cannot share.",
            hint="Finish it without --ray, or give the job another output.path.",
        )
    return hold_folder(place)


def describe(job: Job) -> dict[str, Any]:
    """The job as in force, for the manifest; it holds no secrets, for job files cannot."""
    described = msgspec.to_builtins(job, enc_hook=str)
    assert isinstance(described, dict)  # noqa: S101 - a dataclass becomes a mapping
    described["output_path"] = str(job.output_path)
    del described["access"], described["input"]["access"]
    return described


def _new_manifest(job: Job, found: Survey, now: float) -> Manifest:
    return Manifest(
        run_id=uuid.uuid4().hex,
        created_at=_iso(now),
        qfbatch_version=__version__,
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        job=describe(job),
        fingerprint=fingerprint(job),
        survey=found,
    )


def _open_checkpoint(job: Job, tenure: Tenure, manifest: Manifest, options: RunOptions) -> OpenSession:
    found = manifest.survey
    models = [model.name for model in job.models]
    checkpoint = tenure.open(models, found.shards, found.columns, manifest.log_id)
    recovery = checkpoint.recover()
    work: dict[str, list[ShardWork]] = {model: [] for model in models}
    committed = {model: PartSummary() for model in models}
    left = dict.fromkeys(models, 0)
    failed_again = open_rows = 0
    for (model, _), progress in recovery.shards.items():
        committed[model] += progress.summary
    first = 0
    for shard in found.shards:
        wanted = shard.rows if options.limit is None else min(shard.rows, options.limit - first)
        first += shard.rows
        if wanted <= 0:
            break
        for model in models:
            progress = recovery.shards[model, shard.number]
            ask_again = progress.summary.failed if options.retry_failed else 0
            missing = max(0, wanted - progress.summary.rows)
            if progress.state is not ShardState.COMPLETE or ask_again:
                if wanted < shard.rows and progress.summary.rows:
                    # Which of its rows have a record, and which of these failed, its totals do not tell.
                    missing, failed = _left_of(job, found, checkpoint, model, ShardWork(shard, wanted))
                    ask_again = failed if options.retry_failed else 0
                work[model].append(ShardWork(shard, wanted, missing + ask_again))
                failed_again += ask_again
            open_rows += missing
            left[model] += missing + ask_again
    return OpenSession(
        tenure.place,
        manifest,
        checkpoint,
        committed=sum(committed.values(), PartSummary()),
        answered={model: done.succeeded for model, done in committed.items()},
        failed_again=failed_again,
        open_rows=open_rows,
        standing={model: standing_of(done, left[model]) for model, done in committed.items()},
        work=work,
        notes=[*tenure.notes, *recovery.notes],
        gone=_gone(job, tenure.place, manifest),
    )


def _gone(job: Job, place: RunPlace, manifest: Manifest) -> Standing:
    if job.budget == Budget():
        return Standing()
    gone = models_in(manifest.fingerprint) - {model.name for model in job.models}
    if not gone:
        return Standing()
    theirs = msgspec.structs.replace(manifest, job={"models": [{"name": name} for name in gone]})
    return total(CommittedRows(place).read(theirs).values())


def _left_of(job: Job, found: Survey, checkpoint: RunRows, model: str, item: ShardWork) -> tuple[int, int]:
    """Of a shard's rows within the limit: how many have no record, and how many have failed."""
    files = {file.name: file for file in found.files}
    done = checkpoint.open_shard(model, item.shard.number)
    with ShardReader(job.input) as reader:
        rows = reader.read(files[item.shard.source_file], item.shard)[: item.rows]
    statuses = [done.get(row.row_id) for row in rows]
    return statuses.count(None), statuses.count(Status.FAILED)


def _iso(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
