"""Which answers of a run a person is shown, and how they look side by side: from the results alone.

The choice is bounded and repeatable. Each mark (failed, unsafe, truncated, empty, differs) gets up to an
equal share of the places; the places left go to the other prompts. Within each of these the chosen ones are
spread evenly over the input, so the same results always give the same sample, and no random number is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from qfbatch.errors import StorageError
from qfbatch.records import Status
from qfbatch.reporting.sampled import Excerpt, Mark, Prompt, Reply, Sample
from qfbatch.schema import INPUT_PREFIX

PROMPTS = 100  # what a person may read in one sitting
LONGEST = 4_000  # characters of one prompt or answer; the run has the rest
LONGEST_COLUMN = 300  # characters of a carried column's value
CHARACTERS = 600_000  # of the whole sample: a page stays small enough for a mail
_ROW_BITS = 40  # of the row's place: shard above, source_row below


def sample(results: pl.LazyFrame, *, models: Sequence[str], prompts: int = PROMPTS) -> Sample:
    """A sample of these results.

    Args:
        results: rows of the results schema, one per input row and model, in any order.
        models: those to show, in this order; the rows of others are left out.
        prompts: as many at most; fewer where the texts are so long that `CHARACTERS` do not hold them.

    Raises:
        StorageError: the rows cannot be read.
    """
    rows = results.filter(pl.col("model").is_in(list(models)))
    try:
        marked = _marked(rows).collect()
        chosen = _chosen(marked, prompts)
        texts = _texts(rows, chosen["row_id"]).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StorageError(
            f"the results cannot be read: {reason}",
            hint="Run the same command again; if it fails again, check that disk.",
        ) from error
    by_prompt: dict[str, dict[str, dict[str, Any]]] = {}
    for row in texts.rows(named=True):
        by_prompt.setdefault(row["row_id"], {})[row["model"]] = row
    shown: list[tuple[int, Prompt]] = []
    characters = 0
    for choice in chosen.rows(named=True):
        prompt = _prompt(choice, by_prompt[choice["row_id"]], models)
        characters += len(prompt.prompt.text) + sum(
            len(reply.answer.text) for reply in prompt.replies if reply and reply.answer
        )
        if shown and characters > CHARACTERS:
            break
        shown.append((choice["place"], prompt))
    shown.sort(key=lambda placed: placed[0])
    return Sample(
        models=tuple(models),
        prompts=tuple(prompt for _, prompt in shown),
        of_prompts=marked.height,
        of_rows=int(marked["rows"].sum()),
        marked={mark: int(marked[mark.value].sum()) for mark in Mark},
    )


_SUCCEEDED = pl.col("status") == Status.SUCCEEDED.value
_HOLDS = {
    Mark.FAILED: pl.col("status") == Status.FAILED.value,
    Mark.UNSAFE: ~pl.col("is_safe").fill_null(value=True),
    Mark.TRUNCATED: pl.col("is_truncated").fill_null(value=False),
    Mark.EMPTY: _SUCCEEDED & (pl.col("result").fill_null("").str.strip_chars().str.len_bytes() == 0),
}


def _marked(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Every prompt with its place in the input, its rows and its marks, in the order of the input."""
    answer = pl.when(_SUCCEEDED).then(pl.col("result").fill_null("").hash())
    return (
        rows.select(
            "row_id",
            place=pl.col("shard").cast(pl.Int64) * 2**_ROW_BITS + pl.col("source_row"),
            answer=answer,
            **{mark.value: holds for mark, holds in _HOLDS.items()},
        )
        .group_by("row_id")
        .agg(
            pl.col("place").min(),
            pl.len().alias("rows"),
            *(pl.col(mark.value).any() for mark in _HOLDS),
            (pl.col("answer").drop_nulls().n_unique() > 1).alias(Mark.DIFFERS.value),
        )
        .sort("place", "row_id")
    )


def _chosen(marked: pl.DataFrame, prompts: int) -> pl.DataFrame:
    """The prompts of the sample: marked ones first, then the others."""
    share = -(-prompts // (len(Mark) + 1))
    places: dict[int, None] = {}
    for mark in Mark:
        found = marked[mark.value].arg_true().to_list()
        places.update(dict.fromkeys(_spread(found, min(share, prompts - len(places)))))
    others = [place for place in range(marked.height) if place not in places]
    places.update(dict.fromkeys(_spread(others, prompts - len(places))))
    return marked[list(places)]


def _spread(found: Sequence[int], count: int) -> list[int]:
    """As many of these as asked for, evenly spaced, the first among them."""
    if len(found) <= count:
        return list(found)
    return [found[number * len(found) // count] for number in range(count)]


def _texts(rows: pl.LazyFrame, row_ids: pl.Series) -> pl.LazyFrame:
    carried = [name for name in rows.collect_schema().names() if name.startswith(INPUT_PREFIX)]
    return rows.filter(pl.col("row_id").is_in(row_ids.implode())).select(
        "row_id",
        "model",
        "status",
        "source_file",
        "source_row",
        pl.col("prompt", "result").str.slice(0, LONGEST),
        pl.col("prompt").str.len_chars().alias("prompt_characters"),
        pl.col("result").str.len_chars().alias("result_characters"),
        "error_kind",
        "error_code",
        "error_message",
        "total_tokens",
        "latency_s",
        "cost",
        "currency",
        "finish_reason",
        *carried,
        **{mark.value: holds for mark, holds in _HOLDS.items()},
    )


def _prompt(choice: dict[str, Any], rows: dict[str, dict[str, Any]], models: Sequence[str]) -> Prompt:
    first = next(rows[model] for model in models if model in rows)
    columns = {
        name.removeprefix(INPUT_PREFIX): str(value)[:LONGEST_COLUMN]
        for name, value in first.items()
        if name.startswith(INPUT_PREFIX) and value is not None
    }
    return Prompt(
        row_id=choice["row_id"],
        source=f"{first['source_file']}:{first['source_row']}",
        prompt=Excerpt(first["prompt"], first["prompt_characters"]),
        columns=columns,
        replies=tuple(_reply(rows[model]) if model in rows else None for model in models),
        marks=tuple(mark for mark in Mark if choice[mark.value]),
    )


def _reply(row: dict[str, Any]) -> Reply:
    succeeded = row["status"] == Status.SUCCEEDED.value
    said = (row["error_kind"], row["error_code"], row["error_message"])
    error = " ".join(str(part) for part in said if part is not None)
    return Reply(
        model=row["model"],
        status=row["status"],
        answer=Excerpt(row["result"] or "", row["result_characters"] or 0) if succeeded else None,
        error="" if succeeded else error[:LONGEST],
        marks=tuple(mark for mark in _HOLDS if row[mark.value]),
        total_tokens=row["total_tokens"],
        latency_s=row["latency_s"],
        cost=row["cost"],
        currency=row["currency"],
        finish_reason=row["finish_reason"],
    )


__all__ = ["PROMPTS", "sample"]
