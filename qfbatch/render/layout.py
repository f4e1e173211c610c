"""A section as tables of finished text, the same for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from qfbatch.render import numbers
from qfbatch.render.accounts import outcome_rows, run_rows, time_rows
from qfbatch.render.lines import costs_text, currencies_of, lines
from qfbatch.render.scores_text import (
    CONFIDENCE_TEXT,
    duel_rows,
    group_score_rows,
    score_rows,
    scorer_failure_rows,
)
from qfbatch.render.section import Section
from qfbatch.reporting.figures import Figures

TOTAL = "all models"
# Lines of the figures that are shown although they are 0: what everybody looks for first.
SOUGHT = frozenset({"rows", "succeeded", "failed", "total tokens", "discarded tokens", "unsafe"})


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        header: its heading; empty over labels.
        number: right-aligned.
        rank: 0 stays whatever the width; of the others the highest goes first where it does not do for all.
    """

    header: str
    number: bool = False
    rank: int = 0


class Block(NamedTuple):
    """One table.

    Attributes:
        title: its heading; empty for the first of a section.
        columns: left to right.
        rows: cells in the order of the columns.
        divisible: its columns after the first stand for themselves: a narrow place may split it there.
        note: a remark below it; empty for none.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    divisible: bool = False
    note: str = ""


class Chapter(NamedTuple):
    """A heading, a sentence, and tables: what the terminal and Markdown both show.

    Attributes:
        title: the heading.
        state: what the tables cover, in a sentence or a few.
        settled: whether nothing about that calls for attention.
        blocks: the tables.
    """

    title: str
    state: str
    settled: bool
    blocks: tuple[Block, ...]


def chapter(section: Section, *, brief: bool = False) -> Chapter:
    """A run as a chapter.

    Args:
        section: the run.
        brief: figures that are 0 for every model stand together in a line below, but for those of `SOUGHT`.
    """
    shown = blocks(section)
    if brief and shown:
        shown[0] = _without_zeros(shown[0])
    return Chapter(title(section), state(section), section.complete, tuple(shown))


def _without_zeros(figures: Block) -> Block:
    """The figures with what is 0 in every column in a note, as many lines say nothing on most runs."""
    zero = [row[0] for row in figures.rows if row[0] not in SOUGHT and set(row[1:]) <= {"0", numbers.MISSING}]
    rows = tuple(row for row in figures.rows if row[0] not in zero)
    note = f"(0 everywhere: {', '.join(label.removeprefix('- ') for label in zero)})" if zero else ""
    return figures._replace(rows=rows, note=note)


def title(section: Section) -> str:
    """The section's heading."""
    return f"{numbers.one_line(section.name)} ({numbers.one_line(section.directory)})"


def state(section: Section) -> str:
    """How much of the run the figures cover, in one sentence."""
    running = section.activity is not None and section.activity.running
    told = [_ended(section)]
    if not section.summary.total.rows:
        told.append("There are no figures yet.")
    if running:
        told.append("A process is working on it.")
    return " ".join(told)


def _ended(section: Section) -> str:
    expected = sum(c.expected for c in section.coverage)
    missing = sum(max(c.expected - c.present, 0) for c in section.coverage)
    if not missing:
        return f"Complete: {numbers.count(expected)} of {numbers.count(expected)} rows have ended."
    ended = numbers.count(expected - missing)
    by_model = ", ".join(
        f"{numbers.one_line(c.model)} {numbers.count(c.present)} of {numbers.count(c.expected)}"
        for c in section.coverage
        if c.expected
    )
    of_models = f" ({by_model})" if len(section.coverage) > 1 else ""
    return f"PARTIAL: {ended} of {numbers.count(expected)} rows have ended{of_models}."


def blocks(section: Section) -> list[Block]:
    """The section's tables, those that have something to say; none at all before the first row has ended."""
    if not section.summary.total.rows:
        return []
    return [block for of in _BLOCKS if (block := of(section)) is not None]


def _figures(section: Section) -> Block:
    """Figures down, models across; lines without a value in any column are left out."""
    models = section.models()
    across = [*models, section.summary.total] if len(models) != 1 else [*models]
    headers = [numbers.one_line(figures.model) if figures.model is not None else TOTAL for figures in across]
    cells = [
        (line.label, *(line.text(figures) for figures in across)) for line in lines(currencies_of(across))
    ]
    return Block(
        title="",
        columns=(Column(""), *(Column(header, number=True) for header in headers)),
        rows=tuple(row for row in cells if any(cell != numbers.MISSING for cell in row[1:])),
        divisible=True,
    )


_GROUP_COLUMNS: tuple[tuple[Column, Callable[[Figures], str]], ...] = (
    (Column("rows", number=True), lambda f: numbers.count(f.rows)),
    (Column("succeeded", number=True), lambda f: numbers.share(f.succeeded, f.rows)),
    (Column("failed", number=True, rank=6), lambda f: numbers.count(f.failed)),
    (Column("tokens", number=True, rank=2), lambda f: numbers.count(f.tokens.total)),
    (Column("discarded", number=True, rank=7), lambda f: numbers.count(f.tokens.discarded)),
    (Column("cost", number=True, rank=1), costs_text),
    (Column("unsafe", number=True, rank=5), lambda f: numbers.count(f.safety.unsafe)),
    (Column("empty", number=True, rank=8), lambda f: numbers.count(f.answers.empty)),
    (Column("truncated", number=True, rank=9), lambda f: numbers.count(f.answers.truncated)),
    (Column("p50", number=True, rank=4), lambda f: numbers.seconds(f.latency_s.p50 if f.latency_s else None)),
    (Column("p95", number=True, rank=3), lambda f: numbers.seconds(f.latency_s.p95 if f.latency_s else None)),
)


def _groups(section: Section) -> Block | None:
    by = section.summary.by
    if not section.summary.groups:
        return None
    return Block(
        title=f"By {', '.join(numbers.one_line(name) for name in by)} (p50, p95: latency)",
        columns=(
            Column("model"),
            *(Column(numbers.one_line(name)) for name in by),
            *(column for column, _ in _GROUP_COLUMNS),
        ),
        rows=tuple(
            (
                numbers.one_line(figures.model),
                *(numbers.group_value(figures.group[name]) for name in by),
                *(text(figures) for _, text in _GROUP_COLUMNS),
            )
            for figures in section.groups()
        ),
    )


def _failures(section: Section) -> Block | None:
    if not section.summary.total.failures:
        return None
    columns = (Column("model"), Column("error"), Column("code", number=True), Column("rows", number=True))
    return Block(
        title="Failures",
        columns=(*columns, Column("first row"), Column("its message")),
        rows=tuple(
            (
                numbers.one_line(figures.model),
                failure.kind or "unknown",
                numbers.MISSING if failure.code is None else str(failure.code),
                numbers.count(failure.rows),
                numbers.one_line(failure.row_id),
                numbers.one_line(failure.message),
            )
            for figures in section.models()
            for failure in figures.failures
        ),
    )


def _run(section: Section) -> Block | None:
    rows = run_rows(section)
    columns = (Column(""), Column("whole run"))
    return Block(title="Sessions", columns=columns, rows=tuple(rows)) if rows else None


def _outcome(section: Section) -> Block | None:
    if section.outcome is None:
        return None
    columns = (Column("model"), Column(""), Column("planned", number=True), Column("actual", number=True))
    so_far = "" if section.complete else " (the run is not complete)"
    return Block(
        title=f"Plan against actual{so_far}",
        columns=(*columns, Column("off by", number=True)),
        rows=tuple(outcome_rows(section.outcome)),
    )


def _over_time(section: Section) -> Block | None:
    if section.summary.timeline is None:
        return None
    columns = (Column("rows/s", number=True), Column("tokens/s", number=True), Column("failed", number=True))
    return Block(
        title="Over time",
        columns=(Column("after"), *columns, Column("mean wait", number=True)),
        rows=tuple(time_rows(section.summary.timeline)),
    )


def _scores(section: Section) -> Block | None:
    columns = (Column("scorer"), Column("model"), *_SCORE_COLUMNS)
    rows = score_rows(section)
    return Block(f"Scores ({CONFIDENCE_TEXT})", columns, tuple(rows)) if rows else None


def _group_scores(section: Section) -> Block | None:
    rows = group_score_rows(section)
    if section.scores is None or not rows:
        return None
    by = [numbers.one_line(name) for name in section.scores.by]
    columns = (Column("scorer"), Column("model"), *map(Column, by), *_SCORE_COLUMNS)
    return Block(f"Scores by {', '.join(by)}", columns, tuple(rows))


def _duels(section: Section) -> Block | None:
    columns = (Column("scorer"), Column("best"), Column("other"), Column("better by", number=True))
    counts = (Column("better on", number=True, rank=1), Column("worse on", number=True, rank=2))
    rows = duel_rows(section)
    return (
        Block(
            f"Model against model ({CONFIDENCE_TEXT})",
            (*columns, Column("interval", number=True), *counts, Column("of rows", number=True, rank=3)),
            tuple(rows),
        )
        if rows
        else None
    )


def _scorer_failures(section: Section) -> Block | None:
    columns = (Column("scorer"), Column("rows", number=True), Column("model"), Column("first row"))
    rows = scorer_failure_rows(section)
    return (
        Block("Scorers that failed or were not run", (*columns, Column("its message")), tuple(rows))
        if rows
        else None
    )


_SCORE_COLUMNS = (
    Column("mean", number=True),
    Column("interval", number=True),
    Column("rows scored", number=True),
    Column("not scored", number=True, rank=1),
)

# The order of a report. A further section is a function here: a table, or None.
_BLOCKS: tuple[Callable[[Section], Block | None], ...] = (
    _figures,
    _groups,
    _scores,
    _group_scores,
    _duels,
    _scorer_failures,
    _failures,
    _run,
    _outcome,
    _over_time,
)
