"""A Prometheus endpoint: what this process has done so far, and how the run stands, in the text format.

Counters start at 0 with the process, as Prometheus expects of them; what earlier sessions did is in the
gauges `qfbatch_run_*`. Names, labels and units are documented in docs/progress.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from qfbatch._version import __version__
from qfbatch.errors import UsageError
from qfbatch.progress.events import (
    AttemptFailed,
    Event,
    Pulse,
    RowsCommitted,
    RunStarted,
    Throttled,
)
from qfbatch.records import Record

_Values = Mapping[Any, float]  # by the labels' values, a tuple
BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)


class MetricsEndpoint(Collector):
    """An observer that can be scraped, from its start to `close`.

    Args:
        port: to listen on; 0 takes a free one.
        address: to listen on.
        now: wall clock, seconds since the epoch.

    Attributes:
        url: where it is.

    Raises:
        UsageError: it cannot listen there.
    """

    def __init__(self, port: int, address: str, now: Callable[[], float]) -> None:
        self._now = now
        self._run = ""
        self._pulse: Pulse | None = None
        self._rows: Counter[tuple[str, str]] = Counter()
        self._tokens: Counter[tuple[str, str]] = Counter()
        self._cost: dict[tuple[str, str, str], float] = {}
        self._failed_calls: Counter[tuple[str, str, str]] = Counter()
        self._throttled: Counter[str] = Counter()
        self._latency = _Histogram()
        self._first_token = _Histogram()
        self._wait = _Histogram()
        self._committed_at = 0.0
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(port, address, registry)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(
                f"--metrics-port {port}: cannot listen on {address}: {reason}",
                hint="Take another port; 0 takes a free one.",
            ) from error
        self.url = f"http://{address}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case RunStarted():
                self._run = event.run
                self._pulse = Pulse(lanes={}, waiting=0, models=event.models)
            case Pulse():
                self._pulse = event
            case RowsCommitted():
                self._committed_at = self._now()
                for record in event.records:
                    self._add(record)
            case AttemptFailed():
                self._failed_calls[event.model, str(event.kind), _text(event.code)] += 1
            case Throttled():
                self._throttled[event.model] += 1
            case _:
                pass

    def _add(self, record: Record) -> None:
        model = record.model
        self._rows[model, str(record.status)] += 1
        if record.error_kind is not None:
            self._failed_calls[model, str(record.error_kind), _text(record.error_code)] += 1
        self._tokens[model, "prompt"] += record.prompt_tokens or 0
        self._tokens[model, "completion"] += record.completion_tokens or 0
        self._tokens[model, "discarded"] += record.discarded_tokens
        for kind, amount in (("kept", record.cost), ("discarded", record.discarded_cost)):
            if amount is not None:
                key = model, record.currency or "", kind
                self._cost[key] = self._cost.get(key, 0.0) + amount
        if record.latency_s is not None:
            self._latency.add(model, record.latency_s)
        if record.time_to_first_token_s is not None:
            self._first_token.add(model, record.time_to_first_token_s)
        self._wait.add(model, record.wait_s)

    def collect(self) -> Iterator[Metric]:
        """All metrics; called by the scraping thread, so everything is copied before it is looked through."""
        yield InfoMetricFamily("qfbatch_run", "The run.", {"run": self._run, "version": __version__})
        yield _counter("qfbatch_rows", "Rows committed.", ("model", "status"), self._rows.copy())
        yield _counter(
            "qfbatch_tokens", "Tokens reported by the service.", ("model", "type"), self._tokens.copy()
        )
        yield _counter(
            "qfbatch_cost",
            "Cost of the tokens at the job's prices; discarded: of answers that were dropped.",
            ("model", "currency", "type"),
            self._cost.copy(),
        )
        yield _counter(
            "qfbatch_failed_calls",
            "Calls that failed, but for those refused by rate.",
            ("model", "kind", "code"),
            self._failed_calls.copy(),
        )
        throttled = {(model,): count for model, count in self._throttled.copy().items()}
        yield _counter("qfbatch_throttled_calls", "Calls refused by rate.", ("model",), throttled)
        yield self._latency.family("qfbatch_call_latency_seconds", "Duration of each row's last call.")
        yield self._first_token.family(
            "qfbatch_time_to_first_token_seconds", "From a call's start to its first token; streams only."
        )
        yield self._wait.family(
            "qfbatch_row_wait_seconds", "What a row waited for limits and between attempts."
        )
        yield _gauge(
            "qfbatch_last_commit_timestamp_seconds",
            "When rows were last committed.",
            (),
            {(): self._committed_at},
        )
        if self._pulse is not None:
            yield from _standing(self._pulse)


def _standing(pulse: Pulse) -> Iterator[Metric]:
    models, outlook = pulse.models, pulse.outlook
    rows = {
        (name, status): float(getattr(model, status))
        for name, model in models.items()
        for status in ("succeeded", "failed", "skipped", "left")
    }
    yield _gauge("qfbatch_run_rows", "Rows of the run, all sessions.", ("model", "state"), rows)
    in_flight = {(name,): float(lane.in_flight) for name, lane in pulse.lanes.items() if name}
    yield _gauge("qfbatch_calls_in_flight", "Calls on their way.", ("model",), in_flight)
    pauses = {(name,): lane.paused_s for name, lane in pulse.lanes.items() if name}
    yield _gauge("qfbatch_pause_seconds", "What is left of a pause.", ("model",), pauses)
    concurrency = {(name,): float(lane.concurrency) for name, lane in pulse.lanes.items()}
    yield _gauge(
        "qfbatch_concurrency_limit",
        "Calls that may be on their way now; without a model, over all of them.",
        ("model",),
        concurrency,
    )
    limits = {
        (name, limit): value for name, lane in pulse.lanes.items() for limit, value in lane.limits.items()
    }
    yield _gauge(
        "qfbatch_rate_limit_per_second",
        "Rates in force: calls, or tokens for tpm, a second; without a model, over all.",
        ("model", "limit"),
        limits,
    )
    yield _gauge("qfbatch_rows_waiting", "Rows waiting to be admitted.", (), {(): float(pulse.waiting)})
    eta = float("nan") if outlook.eta_s is None else outlook.eta_s
    yield _gauge("qfbatch_remaining_seconds", "Time left; NaN while unknown.", (), {(): eta})
    cost = {(currency,): amount for currency, amount in outlook.cost.items()}
    yield _gauge("qfbatch_run_cost_expected", "What all will have cost in the end.", ("currency",), cost)


class _Histogram:
    """Durations by model."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def add(self, model: str, seconds: float) -> None:
        """Count one observation of a model, in seconds, into its bucket."""
        counts = self._counts.get(model)
        if counts is None:
            counts = self._counts[model] = [0] * (len(BUCKETS_S) + 1)
        counts[bisect_left(BUCKETS_S, seconds)] += 1
        self._sums[model] = self._sums.get(model, 0.0) + seconds

    def family(self, name: str, meaning: str) -> Metric:
        """The histogram as Prometheus asks for it: cumulative counts by model, and their sum in seconds."""
        found = HistogramMetricFamily(name, meaning, labels=("model",))
        for model, counts in self._counts.copy().items():
            bounds = [*map(str, BUCKETS_S), "+Inf"]
            buckets = list(zip(bounds, accumulate(counts.copy()), strict=True))
            found.add_metric((model,), buckets, self._sums.get(model, 0.0))
        return found


def _counter(name: str, meaning: str, labels: Sequence[str], values: _Values) -> Metric:
    found = CounterMetricFamily(name, meaning, labels=labels)
    for key, value in values.items():
        found.add_metric(key, value)
    return found


def _gauge(name: str, meaning: str, labels: Sequence[str], values: _Values) -> Metric:
    found = GaugeMetricFamily(name, meaning, labels=labels)
    for key, value in values.items():
        found.add_metric(key, value)
    return found


def _text(code: int | None) -> str:
    return "" if code is None else str(code)


__all__ = ["MetricsEndpoint"]
