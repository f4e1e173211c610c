"""Answers follow their rows when the input changes: inserted, removed, reordered, edited, duplicated.

What was asked decides, not where it stood: an answer is kept for a row whose prompt and parameters as sent
(and id, where the job names an id column) are the same. Equal rows are interchangeable, so each takes one
of the answers given to rows like it. The outcome is a directory that looks like an interrupted run on the
new input.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b

import polars as pl
import pyarrow as pa
from msgspec import Struct

from qfbatch.checkpoint.answers import Answers
from qfbatch.job.settings import InputSettings, ModelSettings
from qfbatch.prompts import prompter
from qfbatch.reader.keys import KEY_BYTES
from qfbatch.reader.rows import row_parameters
from qfbatch.reader.shard_reader import ShardReader
from qfbatch.records import Row, Shard, Status, Survey
from qfbatch.schema import under_identity
from qfbatch.service.parameters import as_sent, body_fields

_IDENTITY = ["row_id", "prompt", "parameters"]
OPEN_PARTS = 16  # decoded parts kept while gathering; a shuffled input draws on many at once


class InputDifference(Struct, frozen=True):
    """How many rows differ between two inputs.

    Attributes:
        new: rows of the present input only.
        gone: rows of the earlier input only.
        changed: rows with the same id and other content; without an id column they count as new and gone.
        same: rows of both.
    """

    new: int
    gone: int
    changed: int
    same: int


def count_differences(before: bytes, now: bytes) -> InputDifference:
    """Compare two inputs by the keys of their rows (`reader.keys.row_keys`).

    Args:
        before: of the earlier input, `KEY_BYTES` a row.
        now: of the present input, likewise.
    """
    old, new = _keys_frame(before), _keys_frame(now)
    same = old.join(new, on=["id", "content", "occurrence"], how="inner").height
    changed = 0
    if (old["id"] != 0).any() and (new["id"] != 0).any():  # zero: ids are derived, and name no row
        changed = (
            old.join(new, on="id", how="inner").filter(pl.col("content") != pl.col("content_right")).height
        )
    return InputDifference(
        new=new.height - same - changed, gone=old.height - same - changed, changed=changed, same=same
    )


def _keys_frame(keys: bytes) -> pl.DataFrame:
    words = pl.Series(array("Q", keys[: len(keys) // KEY_BYTES * KEY_BYTES]), dtype=pl.UInt64)
    frame = pl.DataFrame({"id": words.gather_every(2), "content": words.gather_every(2, offset=1)})
    return frame.with_columns(occurrence=pl.int_range(pl.len()).over("id", "content"))


def rehome(
    settings: InputSettings,
    models: Sequence[ModelSettings],
    answers_of: Answers,
    survey: Survey,
    write: Callable[[str, int, pa.Table], object],
) -> int:
    """Write a run's answers as those of the same run on another input.

    Args:
        settings: the job's input.
        models: whose answers are carried over; what decides the results is as it was.
        answers_of: the run's answers as it is.
        survey: of the present input.
        write: takes the answers of a shard of a model, as they now stand.

    Returns:
        Answers kept, over all models.

    Raises:
        InputError: the input changed again.
        StorageError: a part could not be read or written.
    """
    kept = 0
    with ShardReader(settings) as reader:
        for model in models:
            parts = answers_of(model.name)
            if not parts:
                continue
            answers = _places("part", "row", _answered(settings, (read(_IDENTITY) for read in parts)))
            matches = _match(answers, _places("shard", "position", _wanted(settings, model, survey, reader)))
            files = {file.name: file for file in survey.files}
            shards = {shard.number: shard for shard in survey.shards}
            load = lru_cache(OPEN_PARTS)(lambda index, parts=parts: parts[index](None))
            for (number,), group in matches.group_by("shard", maintain_order=True):
                shard = shards[number]
                rows = reader.read(files[shard.source_file], shard)
                table = _gather(group.sort("position"), rows, shard, survey, load)
                write(model.name, number, table)
                kept += table.num_rows
    return kept


def count_kept(
    settings: InputSettings, models: Sequence[ModelSettings], answers_of: Answers, survey: Survey
) -> dict[tuple[str, int], tuple[int, int]]:
    """How many answers `rehome` would keep; nothing is written.

    Args:
        settings: the job's input.
        models: whose answers are counted.
        answers_of: the run's answers as it is.
        survey: of the present input.

    Returns:
        By (model, shard number): rows kept, and how many of them stand as failed.

    Raises:
        InputError: the input changed again.
        StorageError: a file could not be read.
    """
    kept = {}
    with ShardReader(settings) as reader:
        for model in models:
            tables = [read([*_IDENTITY, "status"]) for read in answers_of(model.name)]
            failed = [status == Status.FAILED for table in tables for status in table["status"].to_pylist()]
            keys = (key for _, _, key in _answered(settings, tables))
            answers = _places("row", "failed", ((n, failed[n], key) for n, key in enumerate(keys)))
            matches = _match(answers, _places("shard", "position", _wanted(settings, model, survey, reader)))
            for shard, rows, among in matches.group_by("shard").agg(pl.len(), pl.sum("failed")).iter_rows():
                kept[model.name, int(shard)] = int(rows), int(among)
    return kept


def _match(answers: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """Which answer goes to which row (shard, position)."""
    return wanted.join(answers, on=["high", "low", "occurrence"], how="inner").sort("shard", "position")


def _answered(settings: InputSettings, tables: Iterable[pa.Table]) -> Iterator[tuple[int, int, bytes]]:
    for index, table in enumerate(tables):
        columns = (table[name].to_pylist() for name in _IDENTITY)
        for position, (row_id, prompt, parameters) in enumerate(zip(*columns, strict=True)):
            yield index, position, _key(settings, row_id, prompt, parameters)


def _wanted(
    settings: InputSettings, model: ModelSettings, survey: Survey, reader: ShardReader
) -> Iterator[tuple[int, int, bytes]]:
    render = prompter(settings).render
    files = {file.name: file for file in survey.files}
    for shard in survey.shards:
        for position, row in enumerate(reader.read(files[shard.source_file], shard)):
            parameters = as_sent(body_fields(model.parameters, row_parameters(row.columns)))
            yield shard.number, position, _key(settings, row.row_id, render(row.columns), parameters)


def _key(settings: InputSettings, row_id: str, prompt: str, parameters: str) -> bytes:
    """128 bits of what was asked; with an id column also of whom."""
    identity = row_id if settings.id is not None else ""
    content = f"{identity}\0{parameters}\0{prompt}"
    return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _places(first: str, second: str, keys: Iterator[tuple[int, int, bytes]]) -> pl.DataFrame:
    """A frame of key, occurrence of the key, and where it stands; 32 bytes a row."""
    firsts, seconds, words = array("I"), array("I"), array("Q")
    for one, two, key in keys:
        firsts.append(one)
        seconds.append(two)
        words.frombytes(key)
    halves = pl.Series(words, dtype=pl.UInt64)
    frame = pl.DataFrame(
        {
            first: pl.Series(firsts, dtype=pl.UInt32),
            second: pl.Series(seconds, dtype=pl.UInt32),
            "high": halves.gather_every(2),
            "low": halves.gather_every(2, offset=1),
        }
    )
    return frame.with_columns(occurrence=pl.int_range(pl.len()).over("high", "low"))


def _gather(
    group: pl.DataFrame,
    rows: Sequence[Row],
    shard: Shard,
    survey: Survey,
    load: Callable[[int], pa.Table],
) -> pa.Table:
    """The answers of one shard's rows, in their order, under their present identity."""
    pieces = []
    positions: list[int] = []
    for (part,), piece in group.group_by("part", maintain_order=True):
        places = piece["row"].to_list()
        positions += piece["position"].to_list()
        answers = load(int(part)).take(pa.array(places, type=pa.int64()))
        owners = [rows[position] for position in piece["position"].to_list()]
        pieces.append(under_identity(answers, owners, shard.number, survey.columns))
    table = pa.concat_tables(pieces)
    order = sorted(range(len(positions)), key=positions.__getitem__)
    return table.take(pa.array(order, type=pa.int64()))
