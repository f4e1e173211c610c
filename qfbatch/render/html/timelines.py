"""A run over time: how fast rows ended, and what they waited.

Time runs from the first row's start, in the unit that fits the run: a page has no clock, and no time zone of
its reader's to get wrong.
"""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from qfbatch.render import numbers
from qfbatch.render.html.bars import Chart
from qfbatch.render.html.drawing import FONT_SIZE, Spec
from qfbatch.reporting.figures import Bucket, Timeline

MOST_STRETCHES = 40  # of time, in a chart
_HEIGHT = 150
_UNITS = (  # least length of a run that is told in it, its seconds, its name
    (2 * 86_400, 86_400, "days"),
    (2 * 3_600, 3_600, "hours"),
    (2 * 60, 60, "minutes"),
    (0, 1, "seconds"),
)


class Stretch(NamedTuple):
    """What ended in one stretch of time, of all models; seconds from the run's start."""

    from_s: float
    to_s: float
    ended: int
    failed: int
    tokens: int
    wait_s: float
    wait_max_s: float


def throughput_chart(timeline: Timeline) -> Chart:
    """Rows that ended, per second, over time; those that failed stand on top of the others."""
    per_unit, unit = _unit(timeline)
    bars: list[Spec] = []
    rows = []
    for some in _stretches(timeline):
        length_s = some.to_s - some.from_s
        rate = numbers.rate(some.ended / length_s)
        text = f"{numbers.things(some.ended, 'row')} ended ({rate}), {numbers.count(some.failed)} failed"
        good, ended = (some.ended - some.failed) / length_s, some.ended / length_s
        for low, high, colour in ((0.0, good, "good"), (good, ended, "bad")):
            if high > low:
                bars.append(
                    {
                        "from": some.from_s / per_unit,
                        "to": some.to_s / per_unit,
                        "low": low,
                        "high": high,
                        "colour": f"var(--{colour})",
                        "text": f"{_when(some, per_unit, unit)}: {text}",
                    }
                )
        counts = (numbers.count(number) for number in (some.ended, some.failed, some.tokens))
        rows.append((_moment(some.from_s, per_unit), *counts, rate))
    return Chart(
        key="throughput",
        title="Throughput over time",
        note=f"Rows ended per second, in stretches of {_width_text(timeline)}.",
        spec={
            "height": _HEIGHT,
            "data": {"values": bars},
            "mark": {"type": "bar", "binSpacing": 0},
            "encoding": {
                "x": _time_axis("from", timeline, per_unit, unit),
                "x2": {"field": "to"},
                "y": _axis("low", "rows/s"),
                "y2": {"field": "high"},
                "color": {"field": "colour", "type": "nominal", "scale": None},
                "description": {"field": "text", "type": "nominal"},
            },
        },
        marks=len(bars),
        legend=(("succeeded", "good"), ("failed", "bad")) if any(b.failed for b in timeline.buckets) else (),
        header=(f"{unit} from start", "rows ended", "failed", "tokens", "rows/s"),
        rows=tuple(rows),
    )


def waits_chart(timeline: Timeline) -> Chart | None:
    """How long rows waited, over time: the mean as columns, the longest as points; None where none waited."""
    if not any(bucket.wait_max_s > 0 for bucket in timeline.buckets):
        return None
    per_unit, unit = _unit(timeline)
    points: list[Spec] = []
    rows = []
    for some in _stretches(timeline):
        mean = some.wait_s / some.ended
        waits = (numbers.seconds(mean), numbers.seconds(some.wait_max_s))
        points.append(
            {
                "from": some.from_s / per_unit,
                "to": some.to_s / per_unit,
                "middle": (some.from_s + some.to_s) / 2 / per_unit,
                "zero": 0,
                "mean": mean,
                "longest": some.wait_max_s,
                "text": f"{_when(some, per_unit, unit)}: {waits[0]} on average, {waits[1]} at most",
            }
        )
        rows.append((_moment(some.from_s, per_unit), numbers.count(some.ended), *waits))
    described: Spec = {"field": "text", "type": "nominal"}
    return Chart(
        key="waits",
        title="Waits over time",
        note="What rows waited for limits and between attempts, by when they ended. Not part of latency.",
        spec={
            "height": _HEIGHT,
            "data": {"values": points},
            "layer": [
                {
                    "transform": [{"filter": "datum.mean > 0"}],
                    "mark": {"type": "bar", "binSpacing": 0, "color": "var(--wait)"},
                    "encoding": {
                        "x": _time_axis("from", timeline, per_unit, unit),
                        "x2": {"field": "to"},
                        "y": _axis("zero", "seconds"),
                        "y2": {"field": "mean"},
                        "description": described,
                    },
                },
                {
                    "mark": {
                        "type": "point",
                        "filled": True,
                        "size": 14,
                        "color": "var(--ink)",
                        "opacity": 1,
                    },
                    "encoding": {
                        "x": _time_axis("middle", timeline, per_unit, unit),
                        "y": _axis("longest", "seconds"),
                        "description": described,
                    },
                },
            ],
        },
        marks=sum(point["mean"] > 0 for point in points) + len(points),
        legend=(("mean", "wait"), ("longest", "ink")),
        header=(f"{unit} from start", "rows ended", "mean wait", "longest wait"),
        rows=tuple(rows),
    )


def _stretches(timeline: Timeline) -> list[Stretch]:
    """The timeline's stretches in which rows ended, as many together as a chart has room for."""
    width = _width(timeline)
    by_place = groupby(timeline.buckets, key=lambda b: round(b.start_s / timeline.width_s) // width)
    end_s = timeline.width_s * timeline.count
    return [
        _merged(
            place * width * timeline.width_s, min((place + 1) * width * timeline.width_s, end_s), list(some)
        )
        for place, some in by_place
    ]


def _merged(from_s: float, to_s: float, buckets: list[Bucket]) -> Stretch:
    return Stretch(
        from_s,
        to_s,
        ended=sum(b.rows for b in buckets),
        failed=sum(b.failed for b in buckets),
        tokens=sum(b.tokens for b in buckets),
        wait_s=sum(b.wait_s for b in buckets),
        wait_max_s=max(b.wait_max_s for b in buckets),
    )


def _width(timeline: Timeline) -> int:
    """How many of the timeline's stretches make one of a chart."""
    return -(-timeline.count // MOST_STRETCHES)


def _unit(timeline: Timeline) -> tuple[float, str]:
    whole_s = timeline.width_s * timeline.count
    return next((seconds, name) for least, seconds, name in _UNITS if whole_s >= least)


def _width_text(timeline: Timeline) -> str:
    width_s = timeline.width_s * _width(timeline)
    return f"{width_s:g} s" if width_s < _UNITS[-2][1] else numbers.duration(width_s)


def _when(some: Stretch, per_unit: float, unit: str) -> str:
    return f"{_moment(some.from_s, per_unit)} to {_moment(some.to_s, per_unit)} {unit}"


def _moment(seconds: float, per_unit: float) -> str:
    return f"{seconds / per_unit:,.4g}"


def _time_axis(field: str, timeline: Timeline, per_unit: float, unit: str) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "title": f"{unit} from the start",
        "scale": {"domain": [0, timeline.width_s * timeline.count / per_unit], "nice": False},
    }


def _axis(field: str, title: str) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "axis": {"titleAngle": 0, "titleAlign": "left", "titleX": 0, "titleY": -FONT_SIZE},
    }


__all__ = ["MOST_STRETCHES", "throughput_chart", "waits_chart"]
