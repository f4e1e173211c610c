"""How commands take a job: a job file and overrides, read in the environment with its `.env`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.manifest import read_manifest
from qfbatch.cli.talk import say
from qfbatch.errors import UsageError
from qfbatch.job.environment import environment
from qfbatch.job.load import load_job
from qfbatch.job.settings import Job

Command = TypeVar("Command", bound=Callable[..., Any])
INPUT_SUFFIXES = (".jsonl", ".ndjson", ".gz", ".zst", ".parquet", ".csv", ".txt")


def job_argument(function: Command) -> Command:
    """The argument JOB and the options that override its fields."""
    function = click.option(
        "--concurrency", type=click.IntRange(min=1), metavar="N", help="Short for --set limits.concurrency=N."
    )(function)
    function = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a job field by its dotted path, e.g. models.yi-34b.endpoint=NAME; repeatable.",
    )(function)
    return click.argument("job_file", metavar="JOB.yaml", type=click.Path(path_type=Path))(function)


def load(job_file: Path, overrides: Sequence[str], concurrency: int | None) -> tuple[Job, dict[str, str]]:
    """The job with its overrides, and the environment it was read in; warnings go to stderr.

    Raises:
        JobFileError: anything is wrong with the file or an override.
        UsageError: the file is something else than a job file, or `.env` cannot be read.
    """
    _refuse_other_files(job_file)
    environ = environment(Path.cwd(), os.environ)
    if concurrency is not None:
        overrides = [*overrides, f"limits.concurrency={concurrency}"]
    job = load_job(job_file, environ=environ, overrides=overrides)
    for warning in job.warnings:
        say(f"{job_file}: {warning}", level="warning")
    return job, environ


def _refuse_other_files(path: Path) -> None:
    """Tell what else may be named by mistake, before it is read as YAML.

    Raises:
        UsageError: it is input, or a run directory.
    """
    if path.is_file() and path.name.lower().endswith(INPUT_SUFFIXES):
        raise UsageError(
            f"{path}: this is input, not a job file", hint=f"Write a job file for it: qfbatch init {path}"
        )
    manifest = read_manifest(RunLayout(path)) if path.is_dir() else None
    if manifest is not None:
        raise UsageError(
            f"{path}: this is a run directory, not a job file",
            hint=f"Name the job file it was started with: {manifest.job.get('source')}",
        )
