"""All committed rows of a run as one frame, also while another process writes it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import polars as pl

from qfbatch.checkpoint.directory import list_generations, list_journals, list_parts
from qfbatch.checkpoint.journal import read_journal
from qfbatch.checkpoint.layout import RunLayout, slug
from qfbatch.checkpoint.manifest import Manifest, read_manifest
from qfbatch.checkpoint.parts import find_part_rows, merge_rows
from qfbatch.records import InputColumn
from qfbatch.schema import results_schema


def scan_results(layout: RunLayout) -> pl.LazyFrame:
    """The latest record of every committed row, each (row_id, model) exactly once; takes no lock.

    Shards in progress are read at once, their journals overruling their parts; the others stay lazy. A run
    that goes on meanwhile may add rows that this frame doesn't have, but can't double or remove one: a
    journal goes only after the part that holds its rows has come, so journals are read first and parts are
    listed afterwards, and a part is replaced in one step by one that holds its rows too.

    Args:
        layout: the run directory.

    Returns:
        A frame of `schema.COLUMNS` and the run's carried columns, in the order of model (as in file names),
        shard and source row, so that nothing need be sorted; without rows if there are none.

    Raises:
        StorageError: a file can't be read.
        RunDirectoryError: a newer qfbatch wrote it.
    """
    manifest = read_manifest(layout)
    columns = manifest.survey.columns if manifest is not None else ()
    schema = _frame_schema(columns)
    open_shards = _read_open_shards(layout, manifest, columns)
    closed = {key: path for key, path in list_parts(layout).items() if key not in open_shards}
    return _in_order(closed, open_shards, schema)


def scan_superseded(layout: RunLayout) -> pl.LazyFrame | None:
    """All rows that changes of the input have set aside (`superseded/`); None where there are none.

    Args:
        layout: the run directory.

    Raises:
        RunDirectoryError: a newer qfbatch wrote it.
        StorageError: it can't be read.
    """
    paths = [path for generation in list_generations(layout) for path in list_parts(generation).values()]
    return _scan_parts(paths, _frame_schema(())) if paths else None


def _read_open_shards(
    layout: RunLayout, manifest: Manifest | None, columns: tuple[InputColumn, ...]
) -> dict[tuple[str, int], pl.DataFrame]:
    """Rows of the shards that have a journal, by (slug, shard)."""
    schema = _frame_schema(columns)
    frames = {}
    for key, path in list_journals(layout).items():
        try:
            contents = read_journal(path)
        except FileNotFoundError:
            continue  # closed just now: its rows are in the part, which is listed later
        header = contents.header
        if header is None or (slug(header.model), header.shard) != key:
            continue  # nothing committed yet, or for recovery to judge
        if manifest is not None and header.run_id != manifest.run_id:
            continue
        part = layout.part(header.model, header.shard)
        frame = pl.from_arrow(merge_rows(find_part_rows(part), contents.records, columns))
        frames[key] = pl.DataFrame(frame).cast(schema)
    return frames


def _in_order(
    closed: Mapping[tuple[str, int], Path],
    open_shards: Mapping[tuple[str, int], pl.DataFrame],
    schema: pl.Schema,
) -> pl.LazyFrame:
    """Closed and open shards as one frame; parts that follow each other are one scan."""
    frames = []
    keys = sorted({*closed, *open_shards})
    for is_closed, some in groupby(keys, key=closed.__contains__):
        if is_closed:
            frames.append(_scan_parts([closed[key] for key in some], schema))
        else:
            frames += [open_shards[key].lazy() for key in some]
    return pl.concat(frames) if frames else pl.LazyFrame(schema=schema)


def _scan_parts(paths: list[Path], schema: pl.Schema) -> pl.LazyFrame:
    return pl.scan_parquet(paths, schema=schema, glob=False, missing_columns="insert", extra_columns="ignore")


def _frame_schema(columns: tuple[InputColumn, ...]) -> pl.Schema:
    return pl.DataFrame(pl.from_arrow(results_schema(columns).empty_table())).schema


__all__ = ["scan_results", "scan_superseded"]
