"""Metrics and traces of whole runs, as a collector would receive them."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from cli.desk import Desk
from qfbatch.flow.runner import Clocks, run_job
from qfbatch.flow.session import RunOptions
from qfbatch.job.load import load_job
from qfbatch.progress.tracing import Tracing

SECRET = "sesame-street-4711"
ROWS = [
    f"say {SECRET}",
    f"{SECRET} {{{{fault: 336000 times=1}}}}",
    f"{SECRET} {{{{fault: 429 times=1}}}}",
    f"{SECRET} {{{{fault: 336103}}}}",
]


def traced(desk: Desk) -> tuple[list[ReadableSpan], dict[str, Any]]:
    """A whole run: its spans, and its metrics by name."""
    desk.rows(ROWS)
    desk.job(parameters={"temperature": 0.5, "stop": ["END"]}, retry={"backoff_factor": 0.01})
    job = load_job(desk.path / "job.yaml", environ=desk.environ)
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    clocks = Clocks(now=time.time, rng=random.Random(1))
    observe = Tracing(job, tracers, meters, time.time)
    result = run_job(job, RunOptions(), environ=desk.environ, observe=observe, clocks=clocks)
    assert 1 == result.exit_code
    data = reader.get_metrics_data()
    assert data is not None
    metrics = {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    tracers.shutdown()
    meters.shutdown()
    return list(spans.get_finished_spans()), metrics


def test_a_span_a_row_and_the_clients_metrics(desk: Desk, monkeypatch: Any) -> None:
    """Rows are spans named as the conventions ask, with their attempts as events and no word of a prompt."""
    monkeypatch.chdir(desk.path)
    spans, metrics = traced(desk)
    run, rows = spans[-1], {str((span.attributes or {}).get("qfbatch.row_id")): span for span in spans[:-1]}
    assert ("qfbatch.run", ["r0", "r1", "r2", "r3"]) == (run.name, sorted(rows))
    answered = rows["r0"]
    attributes = dict(answered.attributes or {})
    assert ("text_completion m", SpanKind.CLIENT) == (answered.name, answered.kind)
    for name, value in {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "baidu.qianfan",
        "gen_ai.request.model": "m",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.stop_sequences": ("END",),
        "server.address": "127.0.0.1",
        "qfbatch.attempts": 1,
    }.items():
        assert value == attributes[name]
    assert attributes["gen_ai.usage.input_tokens"]
    assert [link.context.span_id for link in answered.links] == [run.context.span_id]
    assert answered.start_time is not None
    assert answered.end_time is not None
    assert answered.start_time < answered.end_time
    assert [["qfbatch.attempt_failed"], ["qfbatch.throttled"]] == [
        [event.name for event in rows[row].events] for row in ("r1", "r2")
    ]
    failed = rows["r3"]
    assert (StatusCode.ERROR, "too_long") == (
        failed.status.status_code,
        (failed.attributes or {})["error.type"],
    )
    assert SECRET not in "".join(span.to_json() for span in spans)

    duration = metrics["gen_ai.client.operation.duration"]
    assert ("s", 4) == (duration.unit, sum(point.count for point in duration.data.data_points))
    usage = metrics["gen_ai.client.token.usage"]
    counted = Counter[str]()
    for point in usage.data.data_points:
        counted[point.attributes["gen_ai.token.type"]] += point.sum
    frame = desk.results()
    assert {"input": frame["prompt_tokens"].sum(), "output": frame["completion_tokens"].sum()} == counted


def test_the_command_line_sends_where_the_variables_say(desk: Desk) -> None:
    """Variables alone turn it on; `--no-otel` turns it off; a protocol that is not there is refused."""
    desk.rows(1)
    desk.job()
    desk.environ |= {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none"}
    done = desk.process("run", "job.yaml", "--quiet")
    assert done.code == 0
    assert '"name": "text_completion m"' in done.err
    assert "text_completion" not in desk.process("run", "job.yaml", "--fresh", "--no-otel", "--quiet").err
    desk.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "grpc"
    refused = desk.process("run", "job.yaml", "--fresh")
    assert refused.code == 2
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in refused.err


def test_a_collector_that_is_away_costs_a_warning(desk: Desk) -> None:
    """The run ends as it ends, and one line says that nothing was sent."""
    desk.rows(1)
    desk.job()
    desk.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    done = desk.process("run", "job.yaml", "--quiet", "--metrics-port", "0")
    assert done.code == 0
    assert "metrics: http://127.0.0.1:" in done.err
    assert 1 == done.err.count("warning: OpenTelemetry: ")
