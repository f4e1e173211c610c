"""`qfbatch check`: validate job and input, then ask each model once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from qfbatch.checking import ModelCheck, check_models
from qfbatch.cli.job_options import job_argument, load
from qfbatch.cli.output import emit
from qfbatch.errors import ServiceRefused
from qfbatch.flow.connecting import service_addresses
from qfbatch.flow.eventloop import new_event_loop
from qfbatch.flow.surveying import survey_input
from qfbatch.progress.events import Surveyed
from qfbatch.progress.survey import SurveyProgress
from qfbatch.records import Action, Completion, ErrorKind, Failure, Survey
from qfbatch.render import numbers
from qfbatch.scoring.evaluation import evaluation_of
from qfbatch.scoring.scorers import refuse_missing


@click.command("check")
@job_argument
@click.option("--offline", is_flag=True, help="Make no call: job file and input only.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows of the input.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="How to print it.",
)
def command(
    job_file: Path,
    overrides: tuple[str, ...],
    concurrency: int | None,
    *,
    offline: bool,
    limit: int | None,
    form: str,
) -> None:
    """Validate the job file and every input row, then ask each model the first row, once.

    With --limit rows after the first N are not looked at; a run validates all of them all the same.

    Says which credentials were found and where, whether the endpoint answers, which limits the service
    states, and what the first answer was. These calls are paid for like any other; --offline makes none.
    """
    job, environ = load(job_file, overrides, concurrency)
    scorers = evaluation_of(job).scorers
    as_text = form == "text"
    if as_text:
        click.echo(f"job file     ok: {job_file}, {numbers.things(len(job.models), 'model')}")
    shown = SurveyProgress()
    survey = survey_input(job, lambda done, total: shown(Surveyed(done, total)), limit=limit)
    if as_text:
        beyond = "" if limit is None else f", as far as the first {numbers.things(limit, 'row')}"
        click.echo(f"input        ok: {_input(survey)}{beyond}")
    refuse_missing([column.name for column in survey.columns], scorers)
    if as_text and scorers:
        click.echo(f"evaluation   ok: {', '.join(scorer.name for scorer in scorers)}")
    if offline:
        if not as_text:
            emit(_document(job_file, survey, []))
        return
    with service_addresses(job) as addresses, asyncio.Runner(loop_factory=new_event_loop) as loop:
        checks = loop.run(
            check_models(job, survey, addresses, environ=environ, now=time.time, clock=time.monotonic)
        )
    if as_text:
        for check in checks:
            click.echo(_text(check))
    else:
        emit(_document(job_file, survey, checks))
    _refuse(checks)


def _who(check: ModelCheck, checks: Sequence[ModelCheck]) -> str:
    """The model, with its endpoint where it has several."""
    alone = sum(other.model == check.model for other in checks) == 1
    return check.model if alone else f"{check.model} (endpoint {check.endpoint})"


def _input(survey: Survey) -> str:
    return (
        f"{numbers.things(survey.rows, 'row')} in {numbers.things(len(survey.files), 'file')}, "
        f"{numbers.things(survey.estimated_prompt_tokens, 'prompt token')} estimated"
    )


def _document(job_file: Path, survey: Survey, checks: Sequence[ModelCheck]) -> str:
    """The same for programs; what was not said is null."""
    document = {
        "format_version": 1,
        "job": str(job_file),
        "rows": survey.rows,
        "files": len(survey.files),
        "estimated_prompt_tokens": survey.estimated_prompt_tokens,
        "models": [
            {
                **{name: getattr(check, name) for name in _OF_A_CHECK},
                "answer": check.outcome if isinstance(check.outcome, Completion) else None,
                "failure": check.outcome if isinstance(check.outcome, Failure) else None,
            }
            for check in checks
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


_OF_A_CHECK = ("model", "endpoint", "base_url", "credentials", "prompt", "latency_s", "signals")


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
        tokens = (
            "no usage"
            if usage is None
            else f"{numbers.count(usage.prompt_tokens)} + {numbers.things(usage.completion_tokens, 'token')}"
        )
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
    parts = [] if requests is None else [f"{numbers.count(requests)} calls a minute"]
    parts += [] if tokens is None else [f"{numbers.count(tokens)} tokens a minute"]
    return ", ".join(parts)


_BUSY = "The service is there, but busy or failing: try again later."
_THIS_ROW = (
    "The service refuses the first row as it stands: correct the row or the parameters. "
    "A run would record such rows as failed and go on."
)
_NO_CALL = "No call was made: correct service.base_url, or the keys in use: {credentials}."
_ADDRESS = "check service.base_url (or the variable it came from), the network and the proxy settings."
_NAMES = (
    "Check the model's `endpoint` (qianfan: the last part of the service's URL; openai: the model's name) "
    "and how service.base_url ends (openai: mostly with /v1 or /v2)."
)
_NEXT_STEPS = {
    ErrorKind.CONNECTION: f"Nothing answers at {{address}}: {_ADDRESS}",
    ErrorKind.TIMEOUT: f"No answer in time from {{address}}: raise retry.request_timeout, or {_ADDRESS}",
    ErrorKind.BAD_ANSWER: f"What answers at {{address}} is no such service: {_ADDRESS}",
    ErrorKind.CREDENTIALS: "Check the keys in the environment or .env: {credentials}.",
    ErrorKind.PERMISSION: "Publish the service, or ask for permission to use it: {credentials}.",
    ErrorKind.NOT_FOUND: _NAMES,
    ErrorKind.QUOTA: "Wait for the quota to be renewed, or pay the account.",
    ErrorKind.RATE_LIMITED: _BUSY,
    ErrorKind.OVERLOADED: _BUSY,
    ErrorKind.SERVER: _BUSY,
    ErrorKind.INVALID_REQUEST: _THIS_ROW,
    ErrorKind.TOO_LONG: _THIS_ROW,
    ErrorKind.UNSAFE: _THIS_ROW,
}


def _refuse(checks: Sequence[ModelCheck]) -> None:
    """End with what is to be done about the endpoints that did not answer, each step said once.

    Raises:
        ServiceRefused: there are such models.
    """
    failed = [check for check in checks if isinstance(check.outcome, Failure)]
    steps: dict[str, None] = {}
    for check in failed:
        assert isinstance(check.outcome, Failure)  # noqa: S101 - chosen so just above
        step = _NEXT_STEPS.get(check.outcome.kind, "Look the code up in the service's documentation.")
        if check.outcome.kind is ErrorKind.INVALID_REQUEST and check.outcome.action is Action.JOB:
            step = _NO_CALL
        steps[step.format(address=check.base_url, credentials=check.credentials)] = None
    if failed:
        raise ServiceRefused(
            f"no answer from {', '.join(_who(check, checks) for check in failed)}.", hint="\n".join(steps)
        )
