"""`qfbatch check`: validate job and input, then ask each model once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import click

from qfbatch.checking import ModelCheck, check_models
from qfbatch.cli.job_options import job_argument, load
from qfbatch.connecting import service_address
from qfbatch.errors import ServiceRefused
from qfbatch.eventloop import new_event_loop
from qfbatch.job.settings import Job
from qfbatch.progress.events import Surveyed
from qfbatch.progress.survey import SurveyProgress
from qfbatch.records import Failure, Survey
from qfbatch.render import numbers
from qfbatch.surveying import survey_input


@click.command("check")
@job_argument
@click.option("--offline", is_flag=True, help="Make no call: job file and input only.")
def command(job_file: Path, overrides: tuple[str, ...], concurrency: int | None, *, offline: bool) -> None:
    """Validate the job file and every input row, then ask each model the first row, once.

    Says which credentials were found and where, whether the endpoint answers, which limits the service
    states, and what the first answer was. These calls are paid for like any other; --offline makes none.
    """
    job, environ = load(job_file, overrides, concurrency)
    click.echo(f"job file     ok: {job_file}, {len(job.models)} models")
    shown = SurveyProgress()
    survey = survey_input(job, lambda done, total: shown(Surveyed(done, total)))
    click.echo(f"input        ok: {_input(survey)}")
    if offline:
        return
    with service_address(job) as base_url, asyncio.Runner(loop_factory=new_event_loop) as loop:
        checks = loop.run(
            check_models(job, survey, base_url, environ=environ, now=time.time, clock=time.monotonic)
        )
    for check in checks:
        click.echo(_text(check))
    _refuse(job, checks)


def _input(survey: Survey) -> str:
    return (
        f"{numbers.count(survey.rows)} rows in {numbers.count(len(survey.files))} files, "
        f"{numbers.count(survey.estimated_prompt_tokens)} prompt tokens estimated"
    )


def _text(check: ModelCheck) -> str:
    lines = [
        f"{check.model} (endpoint {check.endpoint})",
        f"  credentials  {check.credentials}",
    ]
    outcome = check.outcome
    if isinstance(outcome, Failure):
        code = "" if outcome.code is None else f" {outcome.code}"
        lines.append(f"  failed       {outcome.kind}{code}: {outcome.message}")
    else:
        usage = outcome.usage
        tokens = "no usage" if usage is None else f"{usage.prompt_tokens} + {usage.completion_tokens} tokens"
        lines += [
            f"  answered     in {numbers.seconds(check.latency_s)}, {tokens}",
            f"  asked        {numbers.one_line(check.prompt, 100)}",
            f"  answer       {numbers.one_line(outcome.result, 100)}",
        ]
    signals = check.signals
    stated = "" if signals is None else _limits(signals.limit_requests, signals.limit_tokens)
    lines.append(f"  limits       {stated or 'none stated'}")
    return "\n".join(lines)


def _limits(requests: float | None, tokens: float | None) -> str:
    parts = [] if requests is None else [f"{requests:g} calls a minute"]
    parts += [] if tokens is None else [f"{tokens:g} tokens a minute"]
    return ", ".join(parts)


def _refuse(job: Job, checks: Sequence[ModelCheck]) -> None:
    failed = [check.model for check in checks if isinstance(check.outcome, Failure)]
    if failed:
        raise ServiceRefused(
            f"no answer from {', '.join(failed)}.",
            hint=f"Check the endpoint names, the keys and {job.service.base_url}, then check again.",
        )
