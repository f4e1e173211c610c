"""docs/progress.md names what the event file holds, field by field, and every metric."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import fields
from prometheus_client import CollectorRegistry

from qfbatch.outlook import Outlook
from qfbatch.progress import events
from qfbatch.progress.metrics import MetricsEndpoint
from qfbatch.tally import Standing

from .test_observers import Clock, tell

PAGE = (Path(__file__).parents[2] / "docs/progress.md").read_text(encoding="utf-8")
EVENTS = [event for event in get_args(events.Event) if event is not events.Surveyed]
ROWS: dict[str, str] = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", PAGE, re.MULTILINE))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_every_field_of_an_event_is_documented(event: type) -> None:
    """A field that is written stands in its event's row of the page."""
    written = {field.name for field in fields(event)}
    if event is events.RowsCommitted:
        written = {"rows", "groups", "models", "failures"}
    assert written <= set(re.findall(r"`(\w+)`", ROWS[event.__name__]))


@pytest.mark.parametrize("struct", [Outlook, Standing])
def test_figures_within_events_are_documented(struct: type) -> None:
    """The figures of a model and of the outlook are named on the page."""
    assert {field.name for field in fields(struct)} <= set(re.findall(r"`(\w+)`", PAGE))


def test_every_metric_is_documented() -> None:
    """What is served and what the page's table lists are the same."""
    clock = Clock()
    endpoint = MetricsEndpoint(0, "127.0.0.1", clock)
    try:
        tell(endpoint, clock)
        registry = CollectorRegistry()
        registry.register(endpoint)
        served = {family.name + "_total" * (family.type == "counter") for family in registry.collect()}
    finally:
        endpoint.close()
    table = PAGE.partition("## Prometheus")[2].partition("## OpenTelemetry")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in row.split("`")
        if "_" in name
    }
    assert {name.replace("qfbatch_run_info", "qfbatch_run") for name in named} == served
