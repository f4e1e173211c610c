"""How commands take a job: a job file and overrides, read in the environment with its `.env`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from qfbatch.cli.talk import say
from qfbatch.job.environment import environment
from qfbatch.job.load import load_job
from qfbatch.job.settings import Job

Command = TypeVar("Command", bound=Callable[..., Any])


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
        UsageError: `.env` cannot be read.
    """
    environ = environment(Path.cwd(), os.environ)
    if concurrency is not None:
        overrides = [*overrides, f"limits.concurrency={concurrency}"]
    job = load_job(job_file, environ=environ, overrides=overrides)
    for warning in job.warnings:
        say(f"{job_file}: {warning}", level="warning")
    return job, environ
