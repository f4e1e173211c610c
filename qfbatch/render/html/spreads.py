"""How a duration spreads over rows: a panel for each model, all on one logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from qfbatch.render import numbers
from qfbatch.render.html.bars import Chart
from qfbatch.render.html.drawing import WIDTH, Spec
from qfbatch.reporting.figures import Bin, Histogram, Spread

_HEIGHT = 64  # pixels of a panel
_WIDE = 200.0  # of a scale's ends: how many times the one is the other
_STEP = 1.25  # from one edge of the bins to the next: stands in where a bin has no lower or upper one


class Panel(NamedTuple):
    """One model's part of the chart: its bins, its percentiles, and the name of its colour."""

    histogram: Histogram
    spread: Spread
    colour: str


def spread_chart(key: str, title: str, panels: Sequence[Panel]) -> Chart | None:
    """The chart; None without a panel.

    Args:
        key: names it within its run's part of the page.
        title: what it shows.
        panels: from top to bottom.
    """
    if not panels:
        return None
    low = min(_from(panel.histogram.bins[0]) for panel in panels)
    high = max(_to(panel.histogram.bins[-1]) for panel in panels)
    bars = [bar for panel in panels for bar in _bars(panel)]
    lines = [line for panel in panels for line in _lines(panel, low, high)]
    return Chart(
        key=key,
        title=title,
        note="Of all rows that have one. Dashed lines: half, 95 % and 99 % of the rows took less.",
        spec=_spec([*bars, *lines], [_name(panel) for panel in panels], low, high),
        marks=len(bars) + len(lines),
        legend=(),
        header=("model", "seconds", "rows", "share"),
        rows=tuple(row for panel in panels for row in _rows(panel)),
    )


def _bars(panel: Panel) -> list[Spec]:
    whole = sum(b.rows for b in panel.histogram.bins)
    return [
        {
            "kind": "bar",
            "model": _name(panel),
            "from": _from(b),
            "to": _to(b),
            "zero": 0,
            "share": b.rows / whole,
            "colour": f"var(--{panel.colour})",
            "text": f"{_name(panel)}, {_between(b)}: {numbers.things(b.rows, 'row')}",
        }
        for b in panel.histogram.bins
        if b.rows
    ]


def _lines(panel: Panel, low: float, high: float) -> list[Spec]:
    spread = panel.spread
    return [
        {
            "kind": "line",
            "model": _name(panel),
            "at": min(max(value, low), high),
            "text": f"{_name(panel)}: {said} of the rows within {numbers.seconds(value)}",
        }
        for said, value in (("half", spread.p50), ("95 %", spread.p95), ("99 %", spread.p99))
    ]


def _rows(panel: Panel) -> list[tuple[str, ...]]:
    whole = sum(b.rows for b in panel.histogram.bins)
    return [
        (_name(panel), _between(b), numbers.count(b.rows), numbers.share(b.rows, whole))
        for b in panel.histogram.bins
        if b.rows
    ]


def _spec(values: list[Spec], names: list[str], low: float, high: float) -> Spec:
    x: Spec = {
        "type": "quantitative",
        "title": "seconds (logarithmic)",
        "scale": {"type": "log", "domain": [low, high], "nice": False},
        "axis": {"values": _round_values(low, high), "format": "~r", "grid": True},
    }
    described: Spec = {"field": "text", "type": "nominal"}
    header: Spec = {"labelOrient": "top", "labelAnchor": "start", "labelPadding": 2, "labelLimit": WIDTH}
    return {
        "data": {"values": values},
        "facet": {"row": {"field": "model", "type": "nominal", "sort": names, "header": header}},
        "spacing": 6,
        "spec": {
            "width": WIDTH - 16,
            "height": _HEIGHT,
            "layer": [
                {
                    "transform": [{"filter": "datum.kind == 'bar'"}],
                    "mark": {"type": "bar", "binSpacing": 1},
                    "encoding": {
                        "x": {**x, "field": "from"},
                        "x2": {"field": "to"},
                        "y": {"field": "zero", "type": "quantitative", "axis": None},
                        "y2": {"field": "share"},
                        "color": {"field": "colour", "type": "nominal", "scale": None},
                        "description": described,
                    },
                },
                {
                    "transform": [{"filter": "datum.kind == 'line'"}],
                    "mark": {"type": "rule", "color": "var(--ink)", "strokeDash": [3, 3]},
                    "encoding": {"x": {**x, "field": "at"}, "description": described},
                },
            ],
        },
    }


def _name(panel: Panel) -> str:
    return numbers.one_line(panel.histogram.model)


def _round_values(low: float, high: float) -> list[float]:
    """Where a logarithmic axis has labels: at 1, 2, 5 of each decade, or at many decades alone."""
    steps = (1, 2, 5) if high / low < _WIDE else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for power in powers for step in steps if low <= (value := step * 10.0**power) <= high]


def _from(b: Bin) -> float:
    return b.from_s or (b.to_s or _STEP) / _STEP


def _to(b: Bin) -> float:
    return b.to_s if b.to_s is not None else b.from_s * _STEP


def _between(b: Bin) -> str:
    return f"{b.from_s:g} s or more" if b.to_s is None else f"{b.from_s:g} to {b.to_s:g} s"


__all__ = ["Panel", "spread_chart"]
