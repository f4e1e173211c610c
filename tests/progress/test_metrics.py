"""The Prometheus endpoint: what is scraped over HTTP, read by Prometheus's own parser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from scripted import fetch

from qfbatch.errors import UsageError
from qfbatch.progress.metrics import MetricsEndpoint

from .test_observers import START, Clock, tell


@pytest.fixture
def endpoint() -> Iterator[MetricsEndpoint]:
    """An endpoint on a free port that has been told the whole story."""
    clock = Clock()
    found = MetricsEndpoint(0, "127.0.0.1", clock)
    tell(found, clock)
    yield found
    found.close()


def scrape(url: str) -> dict[tuple[str, ...], float]:
    """Samples by name and label values, in the order of the labels' names."""
    status, headers, body = fetch(url)
    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (status, headers["content-type"])
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_what_is_scraped_is_what_happened(endpoint: MetricsEndpoint) -> None:
    """Counters add up the committed rows and failed calls; gauges say how the run stands."""
    samples = scrape(endpoint.url)
    expected = {
        ("qfbatch_rows_total", "m", "succeeded"): 19,
        ("qfbatch_rows_total", "m", "failed"): 1,
        ("qfbatch_cost_total", "CNY", "m", "kept"): 9.5,
        ("qfbatch_failed_calls_total", "336000", "server", "m"): 2,
        ("qfbatch_failed_calls_total", "", "timeout", "m"): 1,
        ("qfbatch_failed_calls_total", "336103", "too_long", "m"): 1,
        ("qfbatch_throttled_calls_total", "m"): 2,
        ("qfbatch_row_wait_seconds_count", "m"): 20,
        ("qfbatch_row_wait_seconds_bucket", "0.05", "m"): 20,
        ("qfbatch_last_commit_timestamp_seconds",): START + 12,
        ("qfbatch_run_rows", "m", "succeeded"): 39,
        ("qfbatch_run_rows", "m", "left"): 60,
        ("qfbatch_calls_in_flight", "m"): 0,
        ("qfbatch_concurrency_limit", ""): 4,
        ("qfbatch_rows_waiting",): 3,
        ("qfbatch_remaining_seconds",): 37.5,
        ("qfbatch_run_cost_expected", "CNY"): 40,
    }
    assert expected == {key: samples.get(key) for key in expected}
    assert all(name.startswith("qfbatch_") for name, *_ in samples)


def test_a_port_in_use_is_told(endpoint: MetricsEndpoint) -> None:
    """Where another process listens, the message names port and address."""
    port = int(endpoint.url.split(":")[2].split("/")[0])
    with pytest.raises(UsageError, match=rf"--metrics-port {port}: cannot listen on 127\.0\.0\.1: "):
        MetricsEndpoint(port, "127.0.0.1", Clock())
