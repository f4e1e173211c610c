"""Two models' rows put beside each other: what changed in the figures, and whose answers differ.

Rows are matched one to one, texts by 128 bits of hash, so that a million prompts and answers are read
once, in stretches, and never held; only the examples' texts are.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from msgspec import Struct

from qfbatch.errors import StorageError, UsageError
from qfbatch.records import Status
from qfbatch.reporting.compared import Comparison, Example, Kind, Matching, Rows, Shown, Side
from qfbatch.reporting.summary import summarise
from qfbatch.scoring.contrast import score_changes
from qfbatch.scoring.scored import judged_rows
from qfbatch.scoring.scorers import Scorer
from qfbatch.scoring.scores import ScoreChange

LONGEST_TEXT = 2000  # characters of an example's prompt or answer
EXAMPLES = 10

_ERROR = ("error_kind", "error_code", "error_message")
_KINDS = (Kind.BROKEN, Kind.MENDED, Kind.DIFFERS)


class Subject(Struct, frozen=True):
    """What one side is made of.

    Attributes:
        name: the job's.
        directory: the run directory, as the user named it.
        model: which of its models.
        results: all rows of the run (`checkpoint.results.scan_results`).
        json_columns: carried columns whose values are JSON text, by their own names.
    """

    name: str
    directory: str
    model: str
    results: pl.LazyFrame
    json_columns: frozenset[str] = frozenset()

    @property
    def rows(self) -> pl.LazyFrame:
        """Those of the model."""
        return self.results.filter(pl.col("model") == self.model)


def compare(
    left: Subject,
    right: Subject,
    *,
    match: Matching | None = None,
    examples: int = EXAMPLES,
    scorers: Sequence[Scorer] = (),
) -> Comparison:
    """Put two models' rows beside each other.

    Args:
        left: one side.
        right: the other.
        match: what makes rows the same; by default the `row_id`, or the prompt where they have no row_id in
            common. Equal prompts are told apart by their order.
        examples: how many rows to show of each kind.
        scorers: what judges the answers of both.

    Raises:
        UsageError: the sides have no row in common, or a scorer's reference is no carried column of one.
        StorageError: the rows cannot be read.
    """
    sides = (left, right)
    try:
        one, other = (_slim(side.rows) for side in sides)
        both, matched_by = _matched(one, other, match)
        for side, rows in zip(sides, (one, other), strict=True):
            if not rows.height:
                raise UsageError(
                    f"{side.directory}: no row of {side.model} has ended yet",
                    hint="`qfbatch run` goes on with a run.",
                )
        if not both.height:
            raise _nothing_in_common(left, right, match)
        shown = _examples(sides, both, examples)
        scores = _scores(sides, both, scorers)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StorageError(
            f"the results cannot be read: {reason}",
            hint="Run the same command again; if it fails again, check that disk.",
        ) from error
    return Comparison(
        left=_side(left, one, both, "row_id"),
        right=_side(right, other, both, "row_id_right"),
        matched_by=matched_by,
        rows=_rows(both, one, other),
        examples=shown,
        scores=scores,
    )


def _slim(rows: pl.LazyFrame) -> pl.DataFrame:
    """What is compared of one side, texts as hashes."""
    ok = pl.col("status") == Status.SUCCEEDED.value
    text, answer = pl.col("prompt").fill_null(""), pl.col("result").fill_null("")
    return rows.select(
        "row_id",
        place=pl.col("shard").cast(pl.Int64) * 2**40 + pl.col("source_row"),
        ok=ok,
        unsafe=pl.col("is_safe").eq_missing(False),  # noqa: FBT003 - a value
        prompt=text.hash(0),
        prompt2=text.hash(1),
        answer=pl.when(ok).then(answer.hash(0)),
        answer2=pl.when(ok).then(answer.hash(1)),
    ).collect(engine="streaming")


def _matched(
    left: pl.DataFrame, right: pl.DataFrame, match: Matching | None
) -> tuple[pl.DataFrame, Matching]:
    """Rows of both sides, the right one's columns with `_right`, in the left one's order."""
    if match is not Matching.PROMPT:
        both = left.join(right, on="row_id", how="inner", coalesce=False)
        if both.height or match is Matching.ROW_ID:
            return both.sort("place"), Matching.ROW_ID
    keys = ["prompt", "prompt2", "occurrence"]
    numbered = [
        side.sort("place").with_columns(occurrence=pl.int_range(pl.len()).over("prompt", "prompt2"))
        for side in (left, right)
    ]
    both = numbered[0].join(numbered[1], on=keys, how="inner", coalesce=False)
    return both.sort("place"), Matching.PROMPT


def _nothing_in_common(left: Subject, right: Subject, match: Matching | None) -> UsageError:
    what = {None: "neither row ids nor prompts", Matching.ROW_ID: "no row id", Matching.PROMPT: "no prompt"}
    return UsageError(
        f"{left.directory} ({left.model}) and {right.directory} ({right.model}) have {what[match]} in common",
        hint="Compare runs over the same input. One that has only begun may not have come to the same rows.",
    )


def _rows(both: pl.DataFrame, left: pl.DataFrame, right: pl.DataFrame) -> Rows:
    ok, ok_right = pl.col("ok"), pl.col("ok_right")
    unsafe, unsafe_right = pl.col("unsafe"), pl.col("unsafe_right")
    counts = both.select(
        matched=pl.len(),
        other_prompt=(~_equal("prompt")).sum(),
        both_succeeded=(ok & ok_right).sum(),
        same=(ok & ok_right & _equal("answer")).sum(),
        differing=(ok & ok_right & ~_equal("answer")).sum(),
        broken=(ok & ~ok_right).sum(),
        mended=(~ok & ok_right).sum(),
        neither=(~ok & ~ok_right).sum(),
        unsafe_left=(unsafe & ~unsafe_right).sum(),
        unsafe_right=(~unsafe & unsafe_right).sum(),
    ).row(0, named=True)
    return Rows(left_only=left.height - both.height, right_only=right.height - both.height, **counts)


def _equal(text: str) -> pl.Expr:
    return pl.col(text).eq_missing(pl.col(f"{text}_right")) & pl.col(f"{text}2").eq_missing(
        pl.col(f"{text}2_right")
    )


def _side(subject: Subject, slim: pl.DataFrame, both: pl.DataFrame, column: str) -> Side:
    rows = subject.rows
    if slim.height > both.height:
        rows = rows.join(both.lazy().select(row_id=pl.col(column)), on="row_id", how="semi")
    return Side(subject.name, subject.directory, subject.model, slim.height, summarise(rows).models[0])


def _scores(
    sides: tuple[Subject, Subject], both: pl.DataFrame, scorers: Sequence[Scorer]
) -> tuple[ScoreChange, ...]:
    if not scorers:
        return ()
    left, right = (judged_rows(side.rows, scorers, json_columns=side.json_columns) for side in sides)
    return score_changes(both, left, right, scorers)


def _examples(sides: tuple[Subject, Subject], both: pl.DataFrame, number: int) -> tuple[Example, ...]:
    ok, ok_right = pl.col("ok"), pl.col("ok_right")
    conditions = {
        Kind.BROKEN: ok & ~ok_right,
        Kind.MENDED: ~ok & ok_right,
        Kind.DIFFERS: ok & ok_right & ~_equal("answer"),
    }
    chosen = [
        (kind, *ids)
        for kind in _KINDS
        for ids in both.filter(conditions[kind]).head(number).select("row_id", "row_id_right").iter_rows()
    ]
    if not chosen:
        return ()
    left, right = (_shown(side, [row[place] for row in chosen]) for place, side in enumerate(sides, start=1))
    return tuple(Example(kind, left[one], right[other]) for kind, one, other in chosen)


def _shown(side: Subject, ids: list[str]) -> dict[str, Shown]:
    """These rows' texts, by row_id."""
    found = (
        side.rows.filter(pl.col("row_id").is_in(ids))
        .select(
            "row_id",
            "status",
            "error_kind",
            "error_code",
            pl.col("prompt", "result", "error_message").str.head(LONGEST_TEXT),
        )
        .collect(engine="streaming")
    )
    return {
        row["row_id"]: Shown(
            row_id=row["row_id"],
            prompt=row["prompt"] or "",
            status=row["status"],
            answer=row["result"],
            error=" ".join(str(row[name]) for name in _ERROR if row[name] is not None),
        )
        for row in found.iter_rows(named=True)
    }


__all__ = ["EXAMPLES", "LONGEST_TEXT", "Subject", "compare"]
