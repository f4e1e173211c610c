"""All committed rows of a run as one frame, also while another process writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import polars as pl

from qfbatch.checkpoint.directory import list_generations, list_journals, list_parts
from qfbatch.checkpoint.journal import read_journal
from qfbatch.checkpoint.layout import RunLayout, slug
from qfbatch.checkpoint.log_reading import LogReader, result_key
from qfbatch.checkpoint.logbook import shard_of_log
from qfbatch.checkpoint.manifest import Manifest, read_manifest
from qfbatch.checkpoint.parts import find_part_rows, merge_rows
from qfbatch.checkpoint.place import SUPERSEDED, RunPlace, StoredRun
from qfbatch.records import InputColumn
from qfbatch.schema import results_schema


def scan_results(place: RunPlace) -> pl.LazyFrame:
    """The latest record of every committed row, each (row_id, model) exactly once; takes no lock.

    Shards in progress are read at once, their journals overruling their parts; the others stay lazy. A run
    that goes on meanwhile may add rows that this frame doesn't have, but can't double or remove one: a
    journal goes only after the part that holds its rows has come, so journals are read first and parts are
    listed afterwards, and a part is replaced in one step by one that holds its rows too.

    Args:
        place: the run directory.

    Returns:
        A frame of `schema.COLUMNS` and the run's carried columns, in the order of model (as in file names),
        shard and source row, so that nothing need be sorted; without rows if there are none.

    Raises:
        StorageError: a file can't be read.
        RunDirectoryError: a newer qfbatch wrote it.
    """
    manifest = read_manifest(place)
    columns = manifest.survey.columns if manifest is not None else ()
    schema = _frame_schema(columns)
    if isinstance(place, StoredRun):
        return _scan_stored(place, manifest, schema)
    layout = place
    open_shards = _read_open_shards(layout, manifest, columns)
    closed = {key: path for key, path in list_parts(layout).items() if key not in open_shards}
    return _in_order(closed, open_shards, schema)


def scan_superseded(place: RunPlace) -> pl.LazyFrame | None:
    """All rows that changes of the input have set aside (`superseded/`); None where there are none.

    Args:
        place: the run directory.

    Raises:
        RunDirectoryError: a newer qfbatch wrote it.
        StorageError: it can't be read.
    """
    if isinstance(place, StoredRun):
        return _scan_stored_superseded(place)
    paths = [path for generation in list_generations(place) for path in list_parts(generation).values()]
    return _scan_parts(paths, _frame_schema(())) if paths else None


def _scan_stored_superseded(run: StoredRun) -> pl.LazyFrame | None:
    manifest = read_manifest(run)
    if manifest is None:
        return None
    listed = run.store.list(f"{SUPERSEDED}{manifest.run_id}")
    sources = [run.store.scan_source(info.key) for info in listed if info.key.endswith(".parquet")]
    found = [source for source in sources if source is not None]
    return _scan_parts([path for path, _ in found], _frame_schema(()), found[0][1]) if found else None


def _scan_stored(run: StoredRun, manifest: Manifest | None, schema: pl.Schema) -> pl.LazyFrame:
    """As `scan_results`, by the commit log: shards published and not touched since stay lazy."""
    if manifest is None:
        return pl.LazyFrame(schema=schema)
    logbook = run.logbook(manifest.log_id)
    logs = {name: log for name, log in logbook.read().items() if log.begun}
    sources = {
        name: source
        for name, log in logs.items()
        if log.published and not log.parts and (source := run.store.scan_source(result_key(name)))
    }
    reader = LogReader(run.store, logbook, manifest.survey.columns)
    tables = reader.read({name: log for name, log in logs.items() if name not in sources})
    return _in_order(
        {shard_of_log(name): path for name, (path, _) in sources.items()},
        {shard_of_log(n): pl.DataFrame(pl.from_arrow(table)).cast(schema) for n, table in tables.items()},
        schema,
        next((options for _, options in sources.values()), None),
    )


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
    closed: Mapping[tuple[str, int], Path | str],
    open_shards: Mapping[tuple[str, int], pl.DataFrame],
    schema: pl.Schema,
    options: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    """Closed and open shards as one frame; parts that follow each other are one scan."""
    frames = []
    keys = sorted({*closed, *open_shards})
    for is_closed, some in groupby(keys, key=closed.__contains__):
        if is_closed:
            frames.append(_scan_parts([closed[key] for key in some], schema, options))
        else:
            frames += [open_shards[key].lazy() for key in some]
    return pl.concat(frames) if frames else pl.LazyFrame(schema=schema)


def _scan_parts(
    paths: Sequence[Path | str], schema: pl.Schema, options: Mapping[str, str] | None = None
) -> pl.LazyFrame:
    return pl.scan_parquet(
        [str(path) for path in paths],
        schema=schema,
        glob=False,
        missing_columns="insert",
        extra_columns="ignore",
        storage_options=dict(options) if options else None,
    )


def _frame_schema(columns: tuple[InputColumn, ...]) -> pl.Schema:
    return pl.Schema(results_schema(columns))


__all__ = ["scan_results", "scan_superseded"]
