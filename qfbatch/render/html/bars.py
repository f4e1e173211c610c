"""Horizontal bars made of pieces: the one form that most of the page's charts have.

A bar's name stands above it and its sum at its end, so that long names fit on a phone and no axis is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from qfbatch.render import numbers
from qfbatch.render.html.drawing import WIDTH, Spec

ROW = 38  # pixels of a bar with its name
_LONGEST_NAME = 36  # characters


class Chart(NamedTuple):
    """One chart.

    Attributes:
        key: names it within its run's part of the page.
        title: what it shows.
        note: how to read it, or what is left out; may be empty.
        spec: its drawing.
        marks: how many pieces, points or lines are to be seen in it.
        legend: texts with the names of their colours; empty where there is nothing to tell apart.
        header, rows: the figures behind it, as a table.
    """

    key: str
    title: str
    note: str
    spec: Spec
    marks: int
    legend: tuple[tuple[str, str], ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Piece(NamedTuple):
    """A bar's part: what it stands for, the name of its colour, how much it is, and how that reads."""

    name: str
    colour: str
    amount: float
    text: str


class Bar(NamedTuple):
    """One bar: its name, its pieces from left to right, and how their sum reads."""

    name: str
    pieces: tuple[Piece, ...]
    text: str


def bar_chart(
    key: str, title: str, note: str, bars: Sequence[Bar], *, of: str, total: str, shares: bool = False
) -> Chart | None:
    """A chart of bars from top to bottom; None where no bar has a piece.

    Args:
        key: names it within its run's part of the page.
        title: what it shows.
        note: how to read it; may be empty.
        bars: each with the same kinds of piece, or with some of them.
        of: what a bar is, over their names in the table.
        total: what a bar's text is, in the table.
        shares: all bars are equally long, and their pieces show shares.
    """
    seen = {piece.name for bar in bars for piece in bar.pieces if piece.amount > 0}
    kinds = {piece.name: piece.colour for bar in bars for piece in bar.pieces}
    longest = max((sum(piece.amount for piece in bar.pieces) for bar in bars), default=0)
    if not longest:
        return None
    pieces = []
    for place, bar in enumerate(bars):
        whole = sum(piece.amount for piece in bar.pieces) if shares else longest
        start = 0.0
        for piece in bar.pieces:
            if piece.amount > 0:
                end = start + piece.amount / whole
                text = (
                    f"{bar.name}, {piece.name}: {piece.text}"
                    if len(kinds) > 1
                    else f"{bar.name}: {piece.text}"
                )
                pieces.append(
                    {
                        "bar": place,
                        "start": start,
                        "end": end,
                        "colour": f"var(--{piece.colour})",
                        "text": text,
                    }
                )
                start = end
    return Chart(
        key=key,
        title=title,
        note=note,
        spec=_spec(pieces, [(bar.name, bar.text) for bar in bars]),
        marks=len(pieces),
        legend=tuple((name, kinds[name]) for name in kinds if name in seen) if len(kinds) > 1 else (),
        header=(of, *(kinds if len(kinds) > 1 else ()), total),
        rows=tuple(_row(bar, tuple(kinds)) for bar in bars),
    )


def _row(bar: Bar, kinds: tuple[str, ...]) -> tuple[str, ...]:
    texts = {piece.name: piece.text for piece in bar.pieces}
    return (
        bar.name,
        *((texts.get(kind, numbers.MISSING) for kind in kinds) if len(kinds) > 1 else ()),
        bar.text,
    )


def _spec(pieces: list[Spec], names: list[tuple[str, str]]) -> Spec:
    y: Spec = {"field": "bar", "type": "ordinal", "axis": None, "scale": {"padding": 0}}
    named: Spec = {
        "values": [
            {"bar": place, "name": numbers.one_line(name, _LONGEST_NAME), "sum": text}
            for place, (name, text) in enumerate(names)
        ]
    }
    written: Spec = {"type": "text", "aria": False, "baseline": "middle", "yOffset": -9}
    return {
        "height": len(names) * ROW,
        "layer": [
            {
                "data": {"values": pieces},
                "mark": {"type": "bar", "height": 13, "yOffset": 7},
                "encoding": {
                    "y": y,
                    "x": {
                        "field": "start",
                        "type": "quantitative",
                        "axis": None,
                        "scale": {"domain": [0, 1], "nice": False},
                    },
                    "x2": {"field": "end"},
                    "color": {"field": "colour", "type": "nominal", "scale": None},
                    "description": {"field": "text", "type": "nominal"},
                },
            },
            {
                "data": named,
                "mark": {**written, "align": "left"},
                "encoding": {"y": y, "x": {"value": 0}, "text": {"field": "name", "type": "nominal"}},
            },
            {
                "data": named,
                "mark": {**written, "align": "right", "color": "var(--muted)"},
                "encoding": {"y": y, "x": {"value": WIDTH - 6}, "text": {"field": "sum", "type": "nominal"}},
            },
        ],
    }


__all__ = ["Bar", "Chart", "Piece", "bar_chart"]
