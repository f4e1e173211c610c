"""A comparison as a part of a page: what changed first, then all figures, then rows that fared otherwise."""

from __future__ import annotations

from qfbatch.render import numbers
from qfbatch.render.changes import Change, changes, failure_changes
from qfbatch.render.comparison_text import change_text
from qfbatch.render.html.answers import Answer, Filter, Question, text_of, visible
from qfbatch.render.html.bars import Bar, Chart, Piece, bar_chart
from qfbatch.render.html.cards import Card
from qfbatch.render.html.charts import MOST_BARS
from qfbatch.render.scores_text import CONFIDENCE_TEXT, interval, number
from qfbatch.reporting.compared import Comparison, Example, Kind, Shown
from qfbatch.reporting.sampled import Excerpt

LEFT, RIGHT = (
    ("left", "model-1"),
    ("right", "model-2"),
)  # what the sides are called in charts, and their colours
MOST_SCORES = 3  # that have a card; the table has all
_CARDS = ("total_tokens", "cost", "latency_s_p50", "latency_s_p95", "rows_per_s")
_CHARTED = ("total_tokens", "discarded_tokens", "cost", "latency_s_p50", "latency_s_p95", "wait_s_p50")


def contrast_cards(comparison: Comparison) -> tuple[Card, ...]:
    """The figures a reader wants before all others."""
    rows = comparison.rows
    alone = f"{numbers.count(rows.left_only)} on the left only, {numbers.count(rows.right_only)} on the right"
    return (
        Card("rows compared", numbers.count(rows.matched), alone),
        Card(
            "answers that differ",
            numbers.share(rows.differing, rows.both_succeeded),
            f"{numbers.count(rows.differing)} of {numbers.things(rows.both_succeeded, 'pair')}",
        ),
        Card(
            "broken",
            numbers.count(rows.broken),
            f"succeeded on the left only; {numbers.count(rows.mended)} on the right only",
            "bad" if rows.broken else "",
        ),
        Card(
            "unsafe on the right only",
            numbers.count(rows.unsafe_right),
            f"{numbers.count(rows.unsafe_left)} on the left only",
            "bad" if rows.unsafe_right else "",
        ),
        *(
            Card(
                f"score {numbers.one_line(score.scorer)}",
                number(score.difference, signed=True),
                f"{number(score.left)} → {number(score.right)}; {CONFIDENCE_TEXT} "
                f"{interval(score.interval, signed=True)}",
                "bad" if score.interval is not None and score.interval.high < 0 else "",
            )
            for score in comparison.scores[:MOST_SCORES]
        ),
        *(
            Card(change.label, change_text(change), f"{change.left_text} → {change.right_text}")
            for change in _chosen(comparison, _CARDS)
        ),
    )


def contrast_charts(comparison: Comparison) -> list[Chart]:
    """What changed, in pairs of bars, and failures on both sides."""
    bars: list[Bar] = []
    for change in _chosen(comparison, _CHARTED):
        amounts = [value if isinstance(value, int | float) else 0.0 for value in (change.left, change.right)]
        texts = (change.left_text, change.right_text)
        for (side, colour), amount, text in zip((LEFT, RIGHT), amounts, texts, strict=True):
            piece = Piece(side, colour, amount / (max(amounts) or 1.0), text)
            bars.append(Bar(f"{change.label}: {side}", (piece,), text))
    failures = [
        Bar(
            name,
            (
                Piece(LEFT[0], LEFT[1], one, numbers.count(one)),
                Piece(RIGHT[0], RIGHT[1], other, numbers.count(other)),
            ),
            f"{numbers.count(one)} → {numbers.count(other)}",
        )
        for name, one, other in failure_changes(comparison)[:MOST_BARS]
    ]
    note = "Each pair on a scale of its own."
    found = [
        bar_chart("changes", "What changed", note, bars, of="figure", total="amount"),
        bar_chart("failures", "Failures by code", "", failures, of="failure", total="change"),
    ]
    return [chart for chart in found if chart is not None]


def contrast_filters(comparison: Comparison) -> tuple[Filter, ...]:
    """A filter for each kind of which there are rows."""
    rows = comparison.rows
    of_all = {Kind.BROKEN: rows.broken, Kind.MENDED: rows.mended, Kind.DIFFERS: rows.differing}
    return tuple(
        Filter(kind.value, sum(example.kind is kind for example in comparison.examples), count)
        for kind, count in of_all.items()
        if count
    )


def contrast_questions(comparison: Comparison) -> tuple[Question, ...]:
    """The examples, both sides beside each other."""
    return tuple(_question(example) for example in comparison.examples)


def contrast_extent(comparison: Comparison) -> str:
    """How many rows are shown, and which."""
    rows = comparison.rows
    of_all = rows.broken + rows.mended + rows.differing
    shown = (
        f"{numbers.count(len(comparison.examples))} of {numbers.things(of_all, 'row')} that fared otherwise"
    )
    return f"{shown}: the first of each kind, in the order of the left side."


def _chosen(comparison: Comparison, figures: tuple[str, ...]) -> list[Change]:
    """Changes of these figures (costs in every currency), but not of what is nothing on both sides."""
    return [
        change
        for change in changes(comparison)
        if (change.figure in figures or (change.figure.startswith("cost") and "cost" in figures))
        and (change.left or change.right)
    ]


def _question(example: Example) -> Question:
    one, other = example.left.row_id, example.right.row_id
    return Question(
        row_id=visible(one if one == other else f"{one} / {other}"),
        source="",
        text=text_of(Excerpt(example.left.prompt, len(example.left.prompt))),
        columns=(),
        answers=(_answer(example.left), _answer(example.right)),
        marks=(example.kind.value,),
    )


def _answer(shown: Shown) -> Answer:
    if shown.answer is None:
        return Answer(
            None, visible(f"{shown.status}: {shown.error}" if shown.error else shown.status), (), ()
        )
    if not shown.answer.strip():
        return Answer(None, "The answer is empty.", (), ())
    return Answer(text_of(Excerpt(shown.answer, len(shown.answer))), "", (), ())


__all__ = [
    "LEFT",
    "RIGHT",
    "contrast_cards",
    "contrast_charts",
    "contrast_extent",
    "contrast_filters",
    "contrast_questions",
]
