"""A run's rows as one Parquet file, the pages of its parts taken over as they are.

Prompts and answers are most of a part's bytes; to decompress and compress them anew takes many times what it
takes to copy them. Only columns with dictionaries, which repeat themselves and so are small, are decoded,
since their pages speak of their own part's dictionary. So are rows that stand in no part yet, and parts whose
columns are not the run's present ones.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import IO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from qfbatch.checkpoint.files import storage_errors
from qfbatch.checkpoint.pages import MAGIC, PageFinder, Pages, RowGroup, describe, encoded_pages, footer
from qfbatch.checkpoint.parts import decode_part

COMPRESSION_LEVEL = 1  # as parts have it
GROUP_ROWS = 100_000  # what who reads the file takes into memory at a time
GROUP_BYTES = 32 << 20  # of parts


def write_copy(
    file: IO[bytes], pieces: Iterable[Sequence[Path] | pl.DataFrame], schema: pl.Schema, *, part_rows: int
) -> int:
    """Write rows as one Parquet file; what is in memory is a few groups of them.

    Args:
        file: open for binary writing, empty.
        pieces: the rows in their order: parts that follow each other, or rows in memory.
        schema: the file's; rows in memory have it.
        part_rows: what a part holds at most.

    Returns:
        How many rows it has.

    Raises:
        StorageError: a part cannot be read.
        OSError: the file cannot be written.
        polars.exceptions.PolarsError: a part has columns that do not fit.
    """
    template = _encoded(pl.DataFrame(schema=schema))
    shape = pq.read_metadata(pa.BufferReader(template)).schema
    described: list[tuple[int, bytes]] = []
    at = file.write(MAGIC)
    for groups in _ahead(_cut(pieces, part_rows), schema, PageFinder(shape)):
        for group in groups:
            described.append((group.rows, describe(group, at, shape)))
            at += sum(file.write(pages.data) for column in group.columns for pages in column)
    file.write(footer(template, described))
    return sum(rows for rows, _ in described)


def _ahead(
    works: Iterator[Sequence[Path] | pl.DataFrame], schema: pl.Schema, finder: PageFinder
) -> Iterator[list[RowGroup]]:
    """What `_row_groups` gives, in order, made by a thread while what came before is written.

    One thread: a second one would only wait for the interpreter's lock.
    """
    with ThreadPoolExecutor(1) as pool:
        last: Future[list[RowGroup]] | None = None
        for work in works:
            following = pool.submit(_row_groups, work, schema, finder)
            if last is not None:
                yield last.result()
            last = following
        if last is not None:
            yield last.result()


def _cut(
    pieces: Iterable[Sequence[Path] | pl.DataFrame], part_rows: int
) -> Iterator[Sequence[Path] | pl.DataFrame]:
    """The same in pieces of a row group each, as far as whole parts allow it."""
    for piece in pieces:
        if isinstance(piece, pl.DataFrame):
            yield piece
            continue
        some: list[Path] = []
        size = 0
        for path in piece:
            with storage_errors(path, "read"):
                more = path.stat().st_size
            if some and ((len(some) + 1) * part_rows > GROUP_ROWS or size + more > GROUP_BYTES):
                yield some
                some, size = [], 0
            some.append(path)
            size += more
        yield some


def _row_groups(
    piece: Sequence[Path] | pl.DataFrame, schema: pl.Schema, finder: PageFinder
) -> list[RowGroup]:
    if isinstance(piece, pl.DataFrame):
        return _of_frame(piece)
    # All of a part from one reading: it may be replaced meanwhile.
    contents = [_read(path) for path in piece]
    found = [finder.find(content) for content in contents]
    groups = []
    parts = zip(piece, contents, found, strict=True)
    for copyable, some in groupby(parts, key=lambda part: part[2] is not None):
        if copyable:
            rows = [(content, pages) for _, content, pages in some if pages and pages[0]]
            groups += [_of_parts(rows, schema)] if rows else []
            continue
        for path, content, _ in some:
            decode_part(content, str(path))  # refuses a damaged one, which reading below might not notice
            groups += _of_frame(_scan([content], schema).collect())
    return groups


def _of_parts(parts: Sequence[tuple[bytes, tuple[int, list[Pages]]]], schema: pl.Schema) -> RowGroup:
    """Parts as one row group."""
    columns: list[list[Pages]] = [list(pages) for pages in zip(*(p[1] for _, p in parts), strict=True)]
    repeated = [number for number, pieces in enumerate(columns) if any(p.dictionary for p in pieces)]
    if repeated:
        names = schema.names()
        values = _scan([content for content, _ in parts], schema).select([names[n] for n in repeated])
        _, encoded = encoded_pages(_encoded(values.collect()))
        for number, pages in zip(repeated, encoded, strict=True):
            columns[number] = [pages]
    return RowGroup(sum(p[0] for _, p in parts), columns)


def _of_frame(rows: pl.DataFrame) -> list[RowGroup]:
    groups = []
    for some in rows.iter_slices(GROUP_ROWS) if rows.height else ():
        count, columns = encoded_pages(_encoded(some))
        groups.append(RowGroup(count, [[pages] for pages in columns]))
    return groups


def _read(path: Path) -> bytes:
    with storage_errors(path, "read"):
        return path.read_bytes()


def _scan(contents: Sequence[bytes], schema: pl.Schema) -> pl.LazyFrame:
    return pl.scan_parquet(
        list(contents), schema=schema, glob=False, missing_columns="insert", extra_columns="ignore"
    )


def _encoded(rows: pl.DataFrame) -> bytes:
    """A Parquet file of one row group."""
    file = io.BytesIO()
    rows.write_parquet(
        file,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        row_group_size=max(1, rows.height),
    )
    return file.getvalue()


__all__ = ["COMPRESSION_LEVEL", "write_copy"]
