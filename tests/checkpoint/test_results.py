"""Reading a run's results while it is written, after a crash, and when there is nothing."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from qfbatch.checkpoint.journal import JournalHeader, encode_header, encode_line
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.manifest import Manifest, write_manifest
from qfbatch.checkpoint.results import scan_results
from qfbatch.checkpoint.store import Checkpoint
from qfbatch.records import Record, Survey
from qfbatch.schema import results_schema

from .child import MODELS
from .rows import COLUMNS, RUN_ID, plan, record
from .running import finish, run_child, start


def opened(layout: RunLayout) -> Checkpoint:
    """A run with a manifest and one model."""
    checkpoint = Checkpoint.open(layout, ["m"], plan(3, 5), COLUMNS, RUN_ID)
    survey = Survey((), plan(3, 5), COLUMNS, 15, 0)
    write_manifest(layout, Manifest(RUN_ID, "now", "0", "3", "linux", {}, {}, survey))
    return checkpoint


def commit(checkpoint: Checkpoint, shard: int, records: list[Record]) -> None:
    """Write records to a shard's journal."""
    writer = checkpoint.begin("m", shard)
    writer.append(b"".join(map(encode_line, records)))
    writer.commit()
    writer.close()


def test_nothing_is_an_empty_frame_with_the_schema(tmp_path: Path) -> None:
    """Without a run, or with one that has no row yet, there is a frame to work on."""
    assert scan_results(RunLayout(tmp_path / "none")).collect().height == 0
    opened(RunLayout(tmp_path))
    frame = scan_results(RunLayout(tmp_path)).collect()
    assert frame.columns == results_schema(COLUMNS).names
    assert frame.schema["created"] == pl.Datetime("ms", "UTC")


def test_parts_and_journals_are_one_frame(tmp_path: Path) -> None:
    """Journals overrule parts, torn lines don't count, and types are those of the parts."""
    layout = RunLayout(tmp_path / "run [x]*")
    checkpoint = opened(layout)
    commit(checkpoint, 0, [record(n) for n in range(5)])
    checkpoint.close_shard("m", 0)
    commit(checkpoint, 1, [record(n, shard=1) for n in (5, 10)])
    checkpoint.close_shard("m", 1)
    only_parts = scan_results(layout).collect()
    commit(checkpoint, 1, [record(10, shard=1, take=2)])
    commit(checkpoint, 2, [record(11, shard=2)])
    with layout.journal("m", 2).open("ab") as file:
        file.write(b"0000")
    frame = scan_results(layout).sort("source_row").collect()
    assert frame.schema == only_parts.schema
    assert frame.select("source_row", "attempts").rows() == [
        *((n, 1) for n in range(1, 7)),
        (11, 2),
        (12, 1),
    ]


def test_parts_replaced_between_scan_and_collect(tmp_path: Path) -> None:
    """A frame made before a shard was retried and closed again still gives each row once."""
    layout = RunLayout(tmp_path)
    checkpoint = opened(layout)
    for shard in range(3):
        commit(checkpoint, shard, [record(n, shard=shard) for n in range(shard * 5, shard * 5 + 4)])
        checkpoint.close_shard("m", shard)
    commit(checkpoint, 2, [record(14, shard=2)])
    frame = scan_results(layout)
    for shard in range(3):
        commit(checkpoint, shard, [record(shard * 5 + 3, shard=shard, take=2)])
        checkpoint.close_shard("m", shard)
    rows = frame.collect()
    assert rows.height == rows["row_id"].n_unique() == 13


def test_foreign_journals_are_not_read(tmp_path: Path) -> None:
    """A journal of another run, or a copy under another name, adds no rows."""
    layout = RunLayout(tmp_path)
    commit(opened(layout), 0, [record(1)])
    layout.journal("m", 1).write_bytes(layout.journal("m", 0).read_bytes())
    layout.journal("m", 2).write_bytes(
        encode_header(JournalHeader("run-2", "m", 2)) + encode_line(record(3, shard=2))
    )
    assert scan_results(layout).collect()["row_id"].to_list() == ["row-1"]


def test_reader_of_a_running_run_sees_each_row_once(tmp_path: Path) -> None:
    """While every part is replaced again and again, each read has every row, exactly once."""
    layout = RunLayout(tmp_path / "run")
    assert run_child(layout.path).code == 0
    process = start(layout.path, again=12, quiet=True)
    reads = 0
    while process.poll() is None and reads < 2000:
        frame = scan_results(layout).select("model", "row_id", "result", "attempts").collect()
        assert frame.height == frame.select("model", "row_id").unique().height == 120 * len(MODELS)
        reads += 1
    assert finish(process).code == 0
    assert reads > 5
    assert scan_results(layout).select(pl.col("attempts").min()).collect().item() == 14
