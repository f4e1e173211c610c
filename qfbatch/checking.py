"""One real call per model and endpoint, before a run: credentials, endpoint, limits seen, a first answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from qfbatch.credentials import unspoken
from qfbatch.flow.connecting import Connection, connections
from qfbatch.job.settings import EndpointSettings, Job, ModelSettings, ServiceSettings
from qfbatch.prompts import prompter
from qfbatch.reader.rows import row_parameters
from qfbatch.reader.shard_reader import ShardReader
from qfbatch.records import Completion, Failure, Row, Survey
from qfbatch.service.dialect import RateSignals
from qfbatch.service.parameters import body_fields
from qfbatch.transport import TransportError


class ModelCheck(Struct, frozen=True):
    """What one call to an endpoint of a model came to.

    Attributes:
        model, endpoint: who was asked.
        base_url: where.
        credentials: where they were found.
        prompt: what was asked.
        outcome: the answer or the failure.
        latency_s: of the call.
        signals: limits the service stated; None if it stated none.
    """

    model: str
    endpoint: str
    base_url: str
    credentials: str
    prompt: str
    outcome: Completion | Failure
    latency_s: float
    signals: RateSignals | None = None


async def check_models(
    job: Job,
    survey: Survey,
    addresses: Mapping[ServiceSettings, str],
    *,
    environ: Mapping[str, str],
    now: Callable[[], float],
    clock: Callable[[], float],
) -> list[ModelCheck]:
    """Ask each endpoint of each model the input's first row, once, without retries.

    Args:
        job: the job.
        survey: of its input.
        addresses: of the job's services.
        environ: where credentials, proxies and certificates are found.
        now: wall clock, seconds since the epoch.
        clock: monotonic clock, seconds.

    Raises:
        ServiceRefused: the credentials the job asks for are not set.
        InputError: the first row cannot be read.
    """
    with ShardReader(job.input) as reader:
        row = reader.read(survey.files[0], survey.shards[0])[0]
    async with connections(job, addresses, environ=environ, now=now) as services:
        return [
            await _check(job, model, endpoint, row, services[endpoint.service], now=now, clock=clock)
            for model in job.models
            for endpoint in job.endpoints_of(model)
        ]


async def _check(
    job: Job,
    model: ModelSettings,
    endpoint: EndpointSettings,
    row: Row,
    service: Connection,
    *,
    now: Callable[[], float],
    clock: Callable[[], float],
) -> ModelCheck:
    asker = prompter(job.input)
    prompt = asker.render(row.columns)
    # Whole, not streamed: one answer tells what a check needs to know.
    parameters = body_fields(model.parameters, row_parameters(row.columns), {"stream": False})
    call = service.dialect.encode(endpoint.endpoint, prompt, parameters, messages=asker.messages)
    began = clock()
    signals = None
    outcome: Completion | Failure
    try:
        sent = await service.authorizer.authorize(call, timeout_s=job.retry.request_timeout_s)
        answer = await service.transport.ask(sent)
        signals = service.dialect.rate_signals(answer.header)
        outcome = service.dialect.decode(answer.status, answer.header, answer.body, now=now())
        if isinstance(outcome, Failure):
            outcome = unspoken(outcome, sent)
    except TransportError as error:
        outcome = error.failure
    return ModelCheck(
        model=model.name,
        endpoint=endpoint.name,
        base_url=service.base_url,
        credentials=service.authorizer.found,
        prompt=prompt,
        outcome=outcome,
        latency_s=clock() - began,
        signals=signals,
    )
