"""Rows from Parquet files, a batch at a time, without ever holding a row group."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from qfbatch.errors import InputError
from qfbatch.reader.arrow_values import json_values, seen_in
from qfbatch.reader.files import InputFile
from qfbatch.template import missing_column, quoted

_BATCH_BYTES = 4 * 1024 * 1024  # of decoded values: bounds memory whatever the rows' size
_BATCH_ROWS = 2048  # dictionary-encoded text is larger decoded than the footer says
_BUFFER_BYTES = 64 * 1024 * 1024  # over all columns being read


@dataclass(frozen=True, slots=True)
class ParquetBlock:
    """See `blocks.Block`; rows hold the columns asked for, as far as the file has them."""

    rows: list[dict[str, Any]]
    numbers: range
    offsets: range
    batch: pa.RecordBatch
    problems: Sequence[InputError] = ()

    def seen(self) -> dict[str, int]:
        """See `blocks.Block.seen`."""
        return {
            name: int(seen_in(column))
            for name, column in zip(self.batch.schema.names, self.batch.columns, strict=True)
        }


def parquet_blocks(
    file: InputFile, *, required: Sequence[str], optional: Sequence[str], observed: Sequence[str] | None
) -> Iterator[ParquetBlock]:
    """The rows of a file.

    Args:
        file: the file.
        required: columns every row must have; they are in the blocks' rows.
        optional: columns that are in the blocks' rows where the file has them.
        observed: further columns the blocks know the kinds of; None for all.

    Raises:
        InputError: the file is damaged, or a required column is missing.
    """
    with _open(file) as parquet:
        names: list[str] = parquet.schema_arrow.names
        for name in required:
            if name not in names:
                raise InputError(missing_column(name, names), source_file=file.name)
        asked = list(dict.fromkeys(name for name in (*required, *optional) if name in names))
        start = 0
        for batch in _batches(parquet, None if observed is None else [*asked, *observed]):
            rows = _rows(file.name, batch.select(asked), start)
            span = range(start, start + len(batch))
            yield ParquetBlock(rows, range(start + 1, start + len(batch) + 1), span, batch)
            start += len(batch)


def row_count(file: InputFile) -> int:
    """How many rows a file's footer announces.

    Raises:
        InputError: it is damaged.
    """
    with _open(file) as parquet:
        return int(parquet.metadata.num_rows)


class ParquetRows:
    """See `blocks.RowStream`; `start` is a row index from 0.

    Args:
        file: the file.
        start: row to start at; row groups before it are not read.
        columns: the columns to read, as far as the file has them; None for all.
    """

    def __init__(self, file: InputFile, start: int, columns: Sequence[str] | None) -> None:
        self._source_file = file.name
        with _open(file) as parquet:
            groups = range(parquet.metadata.num_row_groups)
            ends = accumulate(parquet.metadata.row_group(group).num_rows for group in groups)
            self._group_starts = [0, *ends]
        group = self._group_of(start)
        self.position = self._group_starts[group]
        self._batch = pa.record_batch([], names=[])
        self._rest = _read(file, columns, group)

    def can_reach(self, start: int) -> bool:
        """See `blocks.RowStream.can_reach`: not beyond the row group we are in."""
        position = self.position
        return position == start or (position < start and self._group_of(position) == self._group_of(start))

    def take(self, start: int, rows: int) -> tuple[list[int], list[dict[str, Any]]]:
        """See `blocks.RowStream.take`."""
        numbers: list[int] = []
        taken: list[dict[str, Any]] = []
        while self.position < start and self._fill():
            self._pass(start - self.position)
        while len(taken) < rows and self._fill():
            position = self.position
            taken += _rows(self._source_file, self._pass(rows - len(taken)), position)
            numbers += range(position + 1, self.position + 1)
        return numbers, taken

    def close(self) -> None:
        """See `blocks.RowStream.close`."""
        self._rest.close()

    def _fill(self) -> bool:
        while not len(self._batch):
            batch = next(self._rest, None)
            if batch is None:
                return False
            self._batch = batch
        return True

    def _pass(self, count: int) -> pa.RecordBatch:
        """Up to `count` of the rows at hand, which are behind us then."""
        passed = self._batch.slice(0, count)
        self._batch = self._batch.slice(count)
        self.position += len(passed)
        return passed

    def _group_of(self, row: int) -> int:
        return bisect_right(self._group_starts, row) - 1


def _read(
    file: InputFile, columns: Sequence[str] | None, first_group: int
) -> Generator[pa.RecordBatch, None, None]:
    with _open(file) as parquet:
        yield from _batches(parquet, columns, first_group=first_group)


def _rows(source_file: str, batch: pa.RecordBatch, start: int) -> list[dict[str, Any]]:
    names: list[str] = batch.schema.names
    values = [_values(source_file, column, start) for column in batch.columns]
    if not values:
        return [{} for _ in range(len(batch))]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _values(source_file: str, column: pa.Array, start: int) -> list[Any]:
    try:
        return json_values(column)
    except UnicodeDecodeError:
        for index in range(len(column)):
            try:
                json_values(column.slice(index, 1))
            except UnicodeDecodeError:
                raise InputError(
                    "holds text that is not UTF-8", source_file=source_file, source_row=start + index + 1
                ) from None
        raise


def _batches(
    parquet: pq.ParquetFile, columns: Sequence[str] | None, *, first_group: int = 0
) -> Iterator[pa.RecordBatch]:
    """Batches of the row groups from `first_group` on, of about `_BATCH_BYTES` each."""
    metadata = parquet.metadata
    groups = range(first_group, metadata.num_row_groups)
    row_bytes = max(
        (metadata.row_group(g).total_byte_size // max(metadata.row_group(g).num_rows, 1) for g in groups),
        default=0,
    )
    if columns is not None:
        wanted = set(columns)
        columns = [name for name in parquet.schema_arrow.names if name in wanted]
    for batch in parquet.iter_batches(
        batch_size=max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(row_bytes, 1))),
        row_groups=list(groups),
        columns=columns,
    ):
        # A dotted name selects nested columns too, so more may come than was asked for.
        yield batch if columns is None else batch.select(columns)


@contextmanager
def _open(file: InputFile) -> Iterator[pq.ParquetFile]:
    """Opens a Parquet file, and says in our words what Arrow says of it."""
    try:
        where = file.source().seekable()
        metadata = pq.read_metadata(where)
        buffer = max(4096, min(1024 * 1024, _BUFFER_BYTES // max(metadata.num_columns, 1)))
        with pq.ParquetFile(where, metadata=metadata, buffer_size=buffer, pre_buffer=False) as parquet:
            names = parquet.schema_arrow.names
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise InputError(f"has two columns named {quoted(twice)}", source_file=file.name)
            yield parquet
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"cannot be read as Parquet: {str(error).splitlines()[0]}",
            source_file=file.name,
            hint="Write or copy the file again.",
        ) from error
