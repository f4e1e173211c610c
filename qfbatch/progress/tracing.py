"""OpenTelemetry: a span a row and the client metrics of the GenAI semantic conventions (1.41, development).

A span stands for the whole operation with all its attempts, as the conventions ask; failed attempts and
refusals by rate are events in it. Spans are made from committed records, so nothing happens on the way of a
row. They hold no prompt, no answer, and no message of the service, which may quote them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk import metrics as sdk_metrics
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider

from qfbatch._version import __version__
from qfbatch.errors import UsageError
from qfbatch.job.settings import LOCAL, EndpointSettings, Job
from qfbatch.progress.events import AttemptFailed, Event, RowsCommitted, RunEnded, RunStarted, Throttled
from qfbatch.records import Record

NAME = "qfbatch"
# As the conventions state them.
DURATION_BUCKETS_S = [0.01 * 2**n for n in range(14)]
TOKEN_BUCKETS = [4**n for n in range(14)]
NANOSECONDS = 1_000_000_000
NS_PER_US = 1000
# The well-known names hold no Qianfan; an installed dialect goes by its own name.
PROVIDERS = {"qianfan": "baidu.qianfan", "openai-chat": "openai"}
OPERATIONS = {"openai-chat": "chat"}
_PROTOCOLS = (
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
)
_PARAMETERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "stop": "gen_ai.request.stop_sequences",
    "max_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
}


class Tracing:
    """An observer that makes spans and measurements.

    Args:
        job: the job; it says which service is called, and how.
        tracers, meters: where they go.
        now: wall clock, seconds since the epoch.
    """

    def __init__(
        self, job: Job, tracers: TracerProvider, meters: MeterProvider, now: Callable[[], float]
    ) -> None:
        self._now = now
        self._tracer = tracers.get_tracer(NAME, __version__)
        meter = meters.get_meter(NAME, __version__)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS_S,
        )
        self._usage = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self._about = {
            (model.name, endpoint.name): _attributes(model.name, endpoint)
            for model in job.models
            for endpoint in job.endpoints_of(model)
        }
        self._run: Span | None = None
        self._links: list[Link] = []
        self._run_path = ""
        self._troubles: dict[tuple[str, str], list[tuple[int, str, dict[str, Any]]]] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case RunStarted():
                self._run_path = event.run
                run = self._tracer.start_span(
                    "qfbatch.run",
                    kind=SpanKind.INTERNAL,
                    attributes={
                        "qfbatch.run": event.run,
                        "qfbatch.rows": event.rows,
                        "qfbatch.done": event.done,
                    },
                    start_time=self._now_ns(),
                )
                self._run, self._links = run, [Link(run.get_span_context())]
            case RowsCommitted():
                for record in event.records:
                    self._row(record)
            case AttemptFailed():
                told = {"error.type": str(event.kind), "qfbatch.wait_s": event.wait_s}
                self._trouble(event, "qfbatch.attempt_failed", told)
            case Throttled():
                self._trouble(event, "qfbatch.throttled", {"qfbatch.pause_s": event.pause_s})
            case RunEnded() if self._run is not None:
                self._run.set_attributes(
                    {
                        "qfbatch.exit_code": event.exit_code,
                        "qfbatch.succeeded": event.succeeded,
                        "qfbatch.failed": event.failed,
                        "qfbatch.left": event.left,
                    }
                )
                self._run.end(self._now_ns())
            case _:
                pass

    def _trouble(self, event: AttemptFailed | Throttled, name: str, attributes: dict[str, Any]) -> None:
        if event.code is not None:
            attributes["qfbatch.error_code"] = event.code
        found = self._troubles.setdefault((event.model, event.row_id), [])
        found.append((self._now_ns(), name, attributes))

    def _row(self, record: Record) -> None:
        troubles = self._troubles.pop((record.model, record.row_id), ())
        attributes = self._about[record.model, record.endpoint]
        measured = dict(attributes)
        if record.error_kind is not None:
            measured["error.type"] = str(record.error_kind)
        self._duration.record(max(0, record.finished_at - record.started_at) / 1e6, measured)
        for kind, tokens in (("input", record.prompt_tokens), ("output", record.completion_tokens)):
            if tokens is not None:
                self._usage.record(tokens, attributes | {"gen_ai.token.type": kind})
        span = self._tracer.start_span(
            f"{attributes['gen_ai.operation.name']} {attributes['gen_ai.request.model']}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            links=self._links,
            start_time=record.started_at * NS_PER_US,
        )
        if span.is_recording():
            for at_ns, name, told in troubles:
                span.add_event(name, told, at_ns)
            span.set_attributes(_of_row(record) | {"qfbatch.run": self._run_path})
            if record.error_kind is not None:
                span.set_status(Status(StatusCode.ERROR))
        span.end(record.finished_at * NS_PER_US)

    def _now_ns(self) -> int:
        return int(self._now() * NANOSECONDS)


class Telemetry(Tracing):
    """`Tracing` to where the standard `OTEL_*` variables say; flushed by `close`.

    Args:
        job: the job.
        environ: the variables; the exporters read `os.environ` themselves.
        now: wall clock, seconds since the epoch.

    Raises:
        UsageError: a variable asks for what is not here.
    """

    def __init__(self, job: Job, environ: Mapping[str, str], now: Callable[[], float]) -> None:
        _refuse_other_protocols(environ)
        self._trouble_log = _Kept()
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(self._trouble_log)
        logger.propagate = False  # what fails is told once, at the end, not across the display
        named = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": NAME}
        resource = Resource.create({**named, "service.version": __version__})
        self._tracers = sdk_trace.TracerProvider(resource=resource, shutdown_on_exit=False)
        spans = _span_exporter(environ)
        if spans is not None:
            self._tracers.add_span_processor(BatchSpanProcessor(spans))
        self._meters = sdk_metrics.MeterProvider(
            metric_readers=_readers(environ), resource=resource, shutdown_on_exit=False
        )
        super().__init__(job, self._tracers, self._meters, now)

    def close(self) -> str:
        """Send what is left.

        Returns:
            What went wrong with sending, one line; empty if nothing did.
        """
        self._tracers.shutdown()
        self._meters.shutdown()
        logging.getLogger("opentelemetry").removeHandler(self._trouble_log)
        return self._trouble_log.first


class _Kept(logging.Handler):
    """Keeps the first complaint."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first message; those after it mostly say the same again."""
        self.first = self.first or record.getMessage()


def _of_row(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = {
        "qfbatch.row_id": record.row_id,
        "qfbatch.model": record.model,
        "qfbatch.endpoint": record.endpoint,
        "qfbatch.shard": record.shard,
        "qfbatch.attempts": record.attempts,
        "qfbatch.wait_s": record.wait_s,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.output_tokens": record.completion_tokens,
        "gen_ai.response.id": record.response_id,
        "error.type": None if record.error_kind is None else str(record.error_kind),
        "qfbatch.error_code": record.error_code,
        "qfbatch.cost": record.cost,
        "qfbatch.time_to_first_token_s": record.time_to_first_token_s,
    }
    if record.finish_reason is not None:
        found["gen_ai.response.finish_reasons"] = [record.finish_reason]
    sent = msgspec.json.decode(record.parameters)
    for name, attribute in _PARAMETERS.items():
        if name in sent:
            value = sent[name]
            found[attribute] = [value] if name == "stop" and isinstance(value, str) else value
    return {name: value for name, value in found.items() if value is not None}


def _attributes(model: str, endpoint: EndpointSettings) -> dict[str, Any]:
    """What all calls to one endpoint of a model have in common."""
    api = endpoint.service.api
    by_name = api == "qianfan"  # V1 requests name no model: the job's own name is the telling one
    return {
        "gen_ai.operation.name": OPERATIONS.get(api, "text_completion"),
        "gen_ai.provider.name": PROVIDERS.get(api, api),
        **_server(endpoint.service.base_url),
        "gen_ai.request.model": model if by_name else endpoint.endpoint,
    }


def _server(base_url: str) -> dict[str, Any]:
    """Address and port of the service; nothing for the local one, whose port is not known before."""
    if base_url == LOCAL:
        return {}
    parts = urlsplit(base_url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return {"server.address": parts.hostname or "", **({} if port is None else {"server.port": port})}


def _refuse_other_protocols(environ: Mapping[str, str]) -> None:
    for name in _PROTOCOLS:
        if environ.get(name, "http/protobuf") != "http/protobuf":
            raise UsageError(
                f"{name}={environ[name]}: qfbatch sends OTLP over http/protobuf only",
                hint=f"Set {name}=http/protobuf; a collector listens for it on port 4318 mostly.",
            )


def _span_exporter(environ: Mapping[str, str]) -> SpanExporter | None:
    match _exporter("OTEL_TRACES_EXPORTER", environ):
        case "otlp":
            return OTLPSpanExporter()
        case "console":
            return ConsoleSpanExporter(out=_stderr())
        case _:
            return None


def _readers(environ: Mapping[str, str]) -> list[MetricReader]:
    match _exporter("OTEL_METRICS_EXPORTER", environ):
        case "otlp":
            return [PeriodicExportingMetricReader(OTLPMetricExporter())]
        case "console":
            return [PeriodicExportingMetricReader(ConsoleMetricExporter(out=_stderr()))]
        case _:
            return []


def _exporter(name: str, environ: Mapping[str, str]) -> str:
    chosen = environ.get(name) or "otlp"
    if chosen not in {"otlp", "console", "none"}:
        raise UsageError(f"{name}={chosen}: qfbatch knows otlp, console and none")
    return chosen


def _stderr() -> Any:
    return sys.stderr
