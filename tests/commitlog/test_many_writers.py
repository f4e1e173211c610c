"""Any number of writers of one log, crashed, frozen and thawed anywhere: what is committed stands, once."""

from __future__ import annotations

import polars as pl
import pyarrow.parquet as pq
from checkpoint.rows import COLUMNS, RUN_ID
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from pyarrow import BufferReader
from storage.memory import MemoryStore

from qfbatch.checkpoint.commitlog import ShardLog
from qfbatch.checkpoint.interface import ShardState
from qfbatch.checkpoint.log_checkpoint import LogCheckpoint
from qfbatch.checkpoint.log_reading import LogReader
from qfbatch.checkpoint.logbook import Logbook

from .puppets import MODEL, PLAN, SHARD_ROWS, SHARDS, Puppet

Rows = dict[str, str | None]


class ManyWriters(RuleBasedStateMachine):
    """Puppets start, step, lose replies, die or stay frozen as it pleases; then one completes the run."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.puppets: list[Puppet] = []
        self.committed: Rows = {}

    @rule(reverse=st.booleans())
    def start(self, reverse: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        """Another process works on the run."""
        if len(self.puppets) < 4:
            shards = range(SHARDS)
            self.puppets.append(
                Puppet(self.store, len(self.puppets), reversed(shards) if reverse else shards)
            )

    @rule(which=st.integers(0, 3), steps=st.integers(1, 9), lose_reply=st.booleans())
    def go_on(self, which: int, steps: int, lose_reply: bool) -> None:  # noqa: FBT001 - as above
        """A process does some operations and freezes; the reply of the first may be lost."""
        if which < len(self.puppets):
            self.puppets[which].step(lose_reply=lose_reply)
            for _ in range(steps - 1):
                self.puppets[which].step()

    @rule(which=st.integers(0, 3))
    def die(self, which: int) -> None:
        """A process is killed before its next operation."""
        if which < len(self.puppets):
            self.puppets[which].kill()

    @invariant()
    def what_is_committed_stands(self) -> None:
        """A committed row keeps its answer, and `results/` holds whole shards of committed rows."""
        now = _committed(self.store)
        assert _folded(self.store) == Logbook(self.store, RUN_ID).read()
        assert now.items() >= self.committed.items()
        self.committed = now
        for shard, rows in _published(self.store).items():
            assert set(rows) == {f"row-{n}" for n in range(shard * SHARD_ROWS, (shard + 1) * SHARD_ROWS)}
            assert now.items() >= rows.items()

    def teardown(self) -> None:
        """Another process completes the run, and all that were frozen go on to their ends."""
        try:
            last = Puppet(self.store, 9, range(SHARDS))
            last.finish()
            complete = _committed(self.store)
            assert sorted(complete) == sorted(f"row-{n}" for n in range(SHARDS * SHARD_ROWS))
            assert last.fenced == 0
            for puppet in self.puppets:
                puppet.finish()
            self.what_is_committed_stands()
            after = LogCheckpoint(self.store, [MODEL], PLAN, COLUMNS, RUN_ID, writer="reader").recover()
            assert complete == _committed(self.store)
            assert {progress.state for progress in after.shards.values()} == {ShardState.COMPLETE}
            assert after.summary.rows == SHARDS * SHARD_ROWS
            assert [None] * len(self.puppets) == [puppet.error for puppet in self.puppets]
        finally:
            for puppet in self.puppets:
                puppet.kill()


def _committed(store: MemoryStore) -> Rows:
    """Rows by the log's word; no row may stand in it twice."""
    logbook = Logbook(store, RUN_ID)
    tables = LogReader(store, logbook, COLUMNS).read(logbook.read())
    rows = [row for table in tables.values() for row in table.select(["row_id", "result"]).to_pylist()]
    found = {row["row_id"]: row["result"] for row in rows}
    assert len(found) == len(rows)
    return found


def _folded(store: MemoryStore) -> dict[str, ShardLog]:
    """What logs come to by all of their entries, one by one."""
    book = Logbook(store, RUN_ID)
    names = {key.split("/")[1] for key in store.objects if key.startswith("log/")}
    return {name: book.read_on(name, ShardLog()) for name in names}


def _published(store: MemoryStore) -> dict[int, Rows]:
    """Rows of each shard under `results/`, as any tool reads them."""
    found: dict[int, Rows] = {}
    for key, content in store.objects.items():
        if key.startswith("results/"):
            frame = pl.DataFrame(pl.from_arrow(pq.read_table(BufferReader(content))))
            assert frame["row_id"].is_unique().all()
            found[frame["shard"][0]] = dict(frame.select("row_id", "result").iter_rows())
    return found


def test_random_interleavings_of_writers() -> None:
    """With crashes, freezes and lost replies anywhere, every row ends committed once, and stays as it was."""
    run_state_machine_as_test(
        ManyWriters, settings=settings(max_examples=40, stateful_step_count=25, deadline=None)
    )
