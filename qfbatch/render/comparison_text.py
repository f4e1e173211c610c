"""Comparisons in the report's four formats: chapters of tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import msgspec

from qfbatch.render import markdown, numbers, table
from qfbatch.render.changes import Change, changes, failure_changes, fates, side_names
from qfbatch.render.csv_text import cell
from qfbatch.render.layout import Block, Chapter, Column
from qfbatch.render.scores_text import CONFIDENCE_TEXT, interval, number
from qfbatch.reporting.compared import Comparison, Example, Kind, Shown

FORMAT_VERSION = 1  # of the JSON document; raised when a key goes or changes its meaning

_KINDS = {
    Kind.BROKEN: "Succeeded on the left only",
    Kind.MENDED: "Succeeded on the right only",
    Kind.DIFFERS: "Answers that differ",
}


def as_table(comparisons: Sequence[Comparison], *, width: int = 80, color: bool = False) -> str:
    """For a terminal of this width."""
    return table.render_chapters([_whole(c) for c in comparisons], width=width, color=color)


def as_markdown(comparisons: Sequence[Comparison]) -> str:
    """For pages and pull requests."""
    return markdown.render_chapters([_whole(c) for c in comparisons])


def as_json(comparisons: Sequence[Comparison]) -> str:
    """For programs; `docs/report.md` describes it."""
    documents = [
        {
            **msgspec.to_builtins(comparison, str_keys=True),
            "changes": [
                {
                    "figure": change.figure,
                    "left": change.left,
                    "right": change.right,
                    "difference": change.difference,
                    "relative": change.relative,
                }
                for change in changes(comparison)
            ],
        }
        for comparison in comparisons
    ]
    document = {"format_version": FORMAT_VERSION, "comparisons": documents}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def as_csv(comparisons: Sequence[Comparison]) -> str:
    """For spreadsheets: one line a figure, in plain numbers; `low` and `high` bound a score's difference."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = ("left_directory", "left_model", "right_directory", "right_model")
    writer.writerow([*names, "figure", "left", "right", "difference", "relative", "low", "high"])
    for comparison in comparisons:
        left, right = comparison.left, comparison.right
        sides = [left.directory, left.model, right.directory, right.model]
        for fate in fates(comparison):
            difference = fate.right - fate.left
            writer.writerow([*sides, fate.figure, fate.left, fate.right, difference, "", "", ""])
        for change in changes(comparison):
            values = (change.left, change.right, change.difference, change.relative)
            writer.writerow([*sides, change.figure, *(cell(value) for value in values), "", ""])
        for score in comparison.scores:
            bounds = (None, None) if score.interval is None else (score.interval.low, score.interval.high)
            values = (score.left, score.right, score.difference, None, *bounds)
            writer.writerow([*sides, f"score_{score.scorer}", *(cell(value) for value in values)])
    return buffer.getvalue()


def chapter(comparison: Comparison) -> Chapter:
    """The comparison's heading and its tables of figures, without examples."""
    left, right = (numbers.one_line(name) for name in side_names(comparison))
    blocks = [_rows(comparison, left, right), _figures(comparison, left, right)]
    if comparison.scores:
        blocks.append(_scores(comparison, left, right))
    failures = failure_changes(comparison)
    if failures:
        blocks.append(_failures(failures, left, right))
    rows = comparison.rows
    covered = not (rows.left_only or rows.right_only)
    return Chapter(f"{left} → {right}", _state(comparison), covered, tuple(blocks))


def _whole(comparison: Comparison) -> Chapter:
    """The chapter with the examples as tables, for where there is nothing better to show them in."""
    left, right = (numbers.one_line(name) for name in side_names(comparison))
    blocks = []
    for kind, heading in _KINDS.items():
        examples = [example for example in comparison.examples if example.kind is kind]
        if examples:
            blocks.append(_examples(heading, examples, _count(comparison, kind), left, right))
    figures = chapter(comparison)
    return figures._replace(blocks=(*figures.blocks, *blocks))


def _state(comparison: Comparison) -> str:
    rows = comparison.rows
    of_all = max(comparison.left.rows, comparison.right.rows)
    told = f"{numbers.things(rows.matched, 'row')} on both sides, matched by {comparison.matched_by}"
    if rows.left_only or rows.right_only:
        told = f"PARTIAL: {told}, of {numbers.count(of_all)}; the others are left out of every figure"
    if rows.other_prompt:
        told += f"; {numbers.things(rows.other_prompt, 'row')} asked with another prompt"
    if not rows.both_succeeded:
        return f"{told}. No row succeeded on both."
    share = numbers.share(rows.differing, rows.both_succeeded)
    return f"{told}. Of {numbers.things(rows.both_succeeded, 'pair')} of answers {share} differ."


def _rows(comparison: Comparison, left: str, right: str) -> Block:
    return Block(
        title="",
        columns=(Column(""), Column(left, number=True), Column(right, number=True)),
        rows=tuple(
            (fate.label, numbers.count(fate.left), numbers.count(fate.right))
            for fate in fates(comparison)
            if fate.left or fate.right
        ),
    )


def _figures(comparison: Comparison, left: str, right: str) -> Block:
    columns = (Column(left, number=True), Column(right, number=True), Column("change", number=True))
    return Block(
        title="What changed",
        columns=(Column(""), *columns),
        rows=tuple(
            (change.label, change.left_text, change.right_text, change_text(change))
            for change in changes(comparison)
            if change.left or change.right
        ),
    )


def _scores(comparison: Comparison, left: str, right: str) -> Block:
    return Block(
        title="Scores, of the rows that both sides have one for",
        columns=(
            Column("score"),
            Column(left, number=True),
            Column(right, number=True),
            Column("change", number=True),
            Column(CONFIDENCE_TEXT, number=True),
            Column("better", number=True, rank=1),
            Column("worse", number=True, rank=1),
            Column("rows", number=True),
        ),
        rows=tuple(
            (
                numbers.one_line(score.scorer),
                number(score.left),
                number(score.right),
                number(score.difference, signed=True),
                interval(score.interval, signed=True),
                numbers.count(score.better),
                numbers.count(score.worse),
                numbers.count(score.rows),
            )
            for score in comparison.scores
        ),
    )


def change_text(change: Change) -> str:
    """How much more or less the right has."""
    if change.difference is None:
        return numbers.MISSING
    if change.difference == 0:
        return "same"
    if change.relative is None:
        return "new"
    return numbers.signed_share(change.relative)


def _failures(failures: Sequence[tuple[str, int, int]], left: str, right: str) -> Block:
    return Block(
        title="Failures",
        columns=(Column("error"), Column(left, number=True), Column(right, number=True)),
        rows=tuple((name, numbers.count(one), numbers.count(other)) for name, one, other in failures),
    )


def _examples(heading: str, examples: Sequence[Example], of_all: int, left: str, right: str) -> Block:
    shown = numbers.count(len(examples))
    return Block(
        title=f"{heading} ({shown} of {numbers.count(of_all)})",
        columns=(Column("row"), Column("prompt", rank=1), Column(left), Column(right)),
        rows=tuple(
            (
                _row_name(example),
                numbers.one_line(example.left.prompt),
                _reply(example.left),
                _reply(example.right),
            )
            for example in examples
        ),
    )


def _row_name(example: Example) -> str:
    one, other = example.left.row_id, example.right.row_id
    return numbers.one_line(one) if one == other else f"{numbers.one_line(one)} / {numbers.one_line(other)}"


def _reply(shown: Shown) -> str:
    if shown.answer is None:
        return numbers.one_line(f"[{shown.status}] {shown.error}")
    return numbers.one_line(shown.answer) or "(empty)"


def _count(comparison: Comparison, kind: Kind) -> int:
    rows = comparison.rows
    return {Kind.BROKEN: rows.broken, Kind.MENDED: rows.mended, Kind.DIFFERS: rows.differing}[kind]
