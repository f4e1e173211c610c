"""The way to Parquet files for whoever may have none to read.

What reads them brings Arrow's functions, which take longer to load than many an input to read.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from qfbatch.reader.blocks import Block, RowStream
from qfbatch.reader.files import InputFile

_PARQUET = "qfbatch.reader.parquet"


def parquet_blocks(
    file: InputFile, *, required: Sequence[str], optional: Sequence[str], observed: Sequence[str] | None
) -> Iterator[Block]:
    """The rows of a file: see `parquet.parquet_blocks`."""
    blocks: Iterator[Block] = _parquet().parquet_blocks(
        file, required=required, optional=optional, observed=observed
    )
    return blocks


def row_count(file: InputFile) -> int:
    """How many rows a file's footer announces: see `parquet.row_count`."""
    rows: int = _parquet().row_count(file)
    return rows


def parquet_rows(file: InputFile, start: int, columns: Sequence[str] | None) -> RowStream:
    """A file's rows from one on: see `parquet.ParquetRows`."""
    rows: RowStream = _parquet().ParquetRows(file, start, columns)
    return rows


def _parquet() -> Any:
    return importlib.import_module(_PARQUET)


__all__ = ["parquet_blocks", "parquet_rows", "row_count"]
