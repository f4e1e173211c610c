"""The store: what is committed is found at the start, cheaply, and damage is refused or said."""

from __future__ import annotations

from pathlib import Path

import pytest

from qfbatch.checkpoint import store
from qfbatch.checkpoint.journal import encode_line
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.store import Checkpoint, Recovery, ShardState
from qfbatch.errors import RunDirectoryError, StorageError
from qfbatch.records import Dropped, Record, Status

from .rows import COLUMNS, RUN_ID, as_dict, plan, record, totals

MODELS = ("m", "n")


def opened(path: Path, *, run_id: str = RUN_ID) -> Checkpoint:
    """The checkpoint of a run of 2 models and 3 shards of 5 rows."""
    return Checkpoint.open(RunLayout(path), MODELS, plan(3, 5), COLUMNS, run_id)


def commit(checkpoint: Checkpoint, shard: int, records: list[Record], *, model: str = "m") -> None:
    """Write records to a shard's journal."""
    writer = checkpoint.begin(model, shard)
    writer.append(b"".join(map(encode_line, records)))
    writer.commit()
    writer.close()


def test_new_directory_is_untouched(tmp_path: Path) -> None:
    """A fresh run has every shard of every model untouched, its folders, and nothing to say."""
    recovery = opened(tmp_path / "run").recover()
    assert isinstance(recovery, Recovery)
    assert recovery.notes == ()
    assert {p.state for p in recovery.shards.values()} == {ShardState.UNTOUCHED}
    assert set(recovery.shards) == {(m, n) for m in MODELS for n in range(3)}
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["journal", "results"]


def test_states_and_totals_come_from_what_is_committed(tmp_path: Path) -> None:
    """Part, journal, or both: state and totals are those of the latest record of every row."""
    first = opened(tmp_path)
    commit(first, 0, [record(n) for n in range(5)])
    first.close_shard("m", 0)
    commit(first, 1, [record(n, shard=1) for n in (5, 6)])
    first.close_shard("m", 1)
    commit(first, 1, [record(n, shard=1, take=2) for n in (6, 7)])
    commit(first, 2, [record(10, shard=2)])
    again = opened(tmp_path)
    recovery = again.recover()
    found = {k: (p.state, p.summary.rows) for k, p in recovery.shards.items() if k[0] == "m"}
    assert found == {
        ("m", 0): (ShardState.COMPLETE, 5),
        ("m", 1): (ShardState.PARTIAL, 3),
        ("m", 2): (ShardState.PARTIAL, 1),
    }
    latest = [record(5, shard=1), record(6, shard=1, take=2), record(7, shard=1, take=2)]
    assert as_dict(recovery.shards["m", 1].summary) == totals(latest)
    assert recovery.summary.rows == 9
    assert again.journalled == {("m", 1), ("m", 2)}
    assert again.open_shard("m", 1) == {f"row-{n}": Status.SUCCEEDED for n in (5, 6, 7)}
    assert again.open_shard("m", 0)["row-3"] == Status.FAILED
    assert again.open_shard("n", 0) == {}


def test_what_failed_rows_had_to_drop_is_told_by_their_latest_records(tmp_path: Path) -> None:
    """In a part or in its journal; rows that succeeded since, or dropped nothing, are not told of."""
    first = opened(tmp_path)
    commit(first, 0, [record(n) for n in (0, 3, 10, 17)])
    first.close_shard("m", 0)
    later = [record(10, take=2), record(17, discarded_tokens=99), record(24), record(31, discarded_tokens=0)]
    commit(first, 0, later)
    again = opened(tmp_path)
    again.recover()
    assert again.dropped("m", 0) == {
        "row-3": Dropped(3, 0.03, "CNY"),
        "row-17": Dropped(99, 0.17, "CNY"),
        "row-24": Dropped(24, 0.24, "CNY"),
    }
    assert again.dropped("m", 1) == {}


def test_journal_that_completes_its_shard_is_closed_at_start(tmp_path: Path) -> None:
    """A run killed before its last merge finds the merge done at the next start."""
    commit(opened(tmp_path), 0, [record(n) for n in range(5)])
    again = opened(tmp_path)
    assert again.recover().shards["m", 0].state == ShardState.COMPLETE
    assert again.journalled == frozenset()
    assert RunLayout(tmp_path).part("m", 0).exists()
    assert not RunLayout(tmp_path).journal("m", 0).exists()


def test_start_reads_no_rows_of_closed_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done is known from footers alone, however many rows there are."""
    first = opened(tmp_path)
    commit(first, 0, [record(n) for n in range(5)])
    first.close_shard("m", 0)
    monkeypatch.delattr(store, "find_part_rows")
    assert opened(tmp_path).recover().shards["m", 0].summary.rows == 5


def test_missing_folders_are_made(tmp_path: Path) -> None:
    """A removed journal folder is made again; the parts stand."""
    first = opened(tmp_path)
    commit(first, 0, [record(n) for n in range(5)])
    first.close_shard("m", 0)
    (tmp_path / "journal").rmdir()
    assert opened(tmp_path).recover().summary.rows == 5
    assert (tmp_path / "journal").is_dir()


def test_half_written_parts_are_cleared(tmp_path: Path) -> None:
    """What a crashed writer left of a part is removed and never read."""
    opened(tmp_path)
    leftover = tmp_path / "results" / ".tmp-part-m-000000.parquet.99-0"
    leftover.write_bytes(b"PAR1")
    assert opened(tmp_path).recover().summary.rows == 0
    assert not leftover.exists()


def test_part_of_another_run_is_refused(tmp_path: Path) -> None:
    """A part that another run, model or shard wrote is never mixed in."""
    first = opened(tmp_path)
    commit(first, 0, [record(n) for n in range(5)])
    first.close_shard("m", 0)
    with pytest.raises(RunDirectoryError, match="not shard 0 of model m of this run"):
        opened(tmp_path, run_id="run-2").recover()
    layout = RunLayout(tmp_path)
    layout.part("m", 0).rename(layout.part("n", 0))
    with pytest.raises(RunDirectoryError, match="holds shard 0 of model m"):
        opened(tmp_path).recover()


def test_damaged_part_stops_the_start(tmp_path: Path) -> None:
    """A damaged part is named and nothing is run on top of it; moved away, its rows are asked again."""
    first = opened(tmp_path)
    commit(first, 0, [record(n) for n in range(5)])
    first.close_shard("m", 0)
    part = RunLayout(tmp_path).part("m", 0)
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(StorageError, match=part.name):
        opened(tmp_path).recover()
    part.rename(tmp_path / "aside")
    assert opened(tmp_path).recover().shards["m", 0].state == ShardState.UNTOUCHED


def test_repairs_are_said_in_one_line_each(tmp_path: Path) -> None:
    """Every repaired journal gives one line that names it."""
    first = opened(tmp_path)
    for shard in range(2):
        commit(first, shard, [record(shard * 5, shard=shard)])
        with RunLayout(tmp_path).journal("m", shard).open("ab") as file:
            file.write(b"12345678 {torn")
    notes = opened(tmp_path).recover().notes
    assert len(notes) == 2
    assert all("cut 14 bytes" in note and "\n" not in note for note in notes)
    assert opened(tmp_path).recover().notes == ()


def test_journal_damaged_during_the_run_is_not_merged(tmp_path: Path) -> None:
    """Damage between commit and merge stops the run; what is readable is kept by the next start."""
    checkpoint = opened(tmp_path)
    commit(checkpoint, 0, [record(n) for n in range(4)])
    path = RunLayout(tmp_path).journal("m", 0)
    content = bytearray(path.read_bytes())
    content[content.index(b"row-1")] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="damaged while the run was using it"):
        checkpoint.close_shard("m", 0)
    recovery = opened(tmp_path).recover()
    assert recovery.shards["m", 0].summary.rows == 3
    assert "1 line was damaged" in recovery.notes[0]


def test_journals_outside_the_plan_are_said_and_left(tmp_path: Path) -> None:
    """The journal of a model that was taken out of the job stays, and one line says so."""
    commit(opened(tmp_path), 0, [record(1, model="n")], model="n")
    checkpoint = Checkpoint.open(RunLayout(tmp_path), ["m"], plan(3, 5), COLUMNS, RUN_ID)
    recovery = checkpoint.recover()
    assert recovery.notes == ("n-000000.journal: of no model or shard of this job; left as it is",)
    assert opened(tmp_path).recover().shards["n", 0].summary.rows == 1


def test_unplanned_shards_are_not_begun(tmp_path: Path) -> None:
    """A record for a model or shard outside the plan has no place."""
    with pytest.raises(ValueError, match="not in the plan"):
        opened(tmp_path).begin("m", 3)
