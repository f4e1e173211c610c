"""The commit log's arithmetic: what entries come to, who may append, and what an own echo is."""

from __future__ import annotations

import pytest
from checkpoint.rows import COLUMNS, RUN_ID, plan, record, totals
from storage.memory import MemoryStore

from qfbatch.checkpoint.commitlog import Claim, DamagedLog, Done, Entry, Part, ShardLog, fold
from qfbatch.checkpoint.interface import ShardState
from qfbatch.checkpoint.log_checkpoint import LogCheckpoint
from qfbatch.checkpoint.logbook import Logbook, entry_key, log_name
from qfbatch.checkpoint.parts import PartSummary
from qfbatch.errors import Fenced, StorageError

from .puppets import GatedStore

A = Claim(RUN_ID, "a")
B = Claim(RUN_ID, "b")
OTHER = Claim("another run", "a")
TOTALS = PartSummary(rows=4, succeeded=4)


def writer(store: MemoryStore, name: str, *, run_id: str = RUN_ID) -> LogCheckpoint:
    """A writer of a run of one model and two shards of 4 rows."""
    return LogCheckpoint(store, ["m"], plan(2, 4), COLUMNS, run_id, writer=name)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], ShardLog()),
        ([A], ShardLog(1, "a", ours=True)),
        ([A, Part("a", "p1", 2)], ShardLog(2, "a", ours=True, parts=("p1",))),
        ([A, Part("a", "p1", 2), B], ShardLog(3, "b", ours=True, parts=("p1",))),
        (
            [A, Part("a", "p1", 4), Done("a", TOTALS)],
            ShardLog(3, "a", ours=True, published=True, summary=TOTALS),
        ),
        (
            [A, Part("a", "p1", 4), Done("a", TOTALS), B, Part("b", "p2", 1)],
            ShardLog(5, "b", ours=True, published=True, parts=("p2",)),
        ),
        (
            [A, Part("a", "p1", 4), Done("a", TOTALS), B, Part("b", "p2", 1), Done("b", TOTALS)],
            ShardLog(6, "b", ours=True, published=True, parts=("p2",), summary=TOTALS),
        ),
        ([OTHER, Part("a", "p1", 4), Done("a", TOTALS)], ShardLog(3, "a")),
        ([OTHER, Part("a", "p1", 4), B, Part("b", "p2", 1)], ShardLog(4, "b", ours=True, parts=("p2",))),
    ],
)
def test_what_entries_come_to(entries: list[Entry], expected: ShardLog) -> None:
    """Parts count under claims of this run; the published shard replaces them, later ones stay."""
    assert expected == fold(entries, RUN_ID)


@pytest.mark.parametrize(
    "entries", [[Part("a", "p1", 1)], [A, B, Part("a", "p1", 1)], [A, Done("b", TOTALS)]]
)
def test_entries_without_a_claim_are_damage(entries: list[Entry]) -> None:
    """No writer that keeps to the rules leaves an entry under another's claim."""
    with pytest.raises(DamagedLog, match="owns the shard"):
        fold(entries, RUN_ID)


def test_who_was_taken_over_is_fenced() -> None:
    """A frozen writer's next commit is refused and counts nothing; the taker has all rows before it."""
    store = MemoryStore()
    first, second = writer(store, "first"), writer(store, "second")
    assert {} == first.open_shard("m", 0)
    first.commit("m", 0, [record(0), record(1)])
    assert ["row-0", "row-1"] == list(second.open_shard("m", 0))
    with pytest.raises(Fenced, match="another process has taken over m-000000"):
        first.commit("m", 0, [record(2)])
    with pytest.raises(Fenced):
        first.commit("m", 0, [record(3)])
    second.commit("m", 0, [record(2, take=5), record(3, take=5)])
    assert 4 == second.close_shard("m", 0).rows
    assert {"row-0", "row-1", "row-2", "row-3"} == set(writer(store, "third").open_shard("m", 0))


def test_an_own_echo_is_no_fence() -> None:
    """A put that succeeded and whose reply was lost is known again as one's own, in claims and in commits."""
    store = MemoryStore()

    class Lossy(MemoryStore):
        """Tells of every creation that it was too late."""

        def put_if_absent(self, key: str, content: bytes) -> bool:
            """Done, and denied."""
            super().put_if_absent(key, content)
            return False

    store = Lossy()
    only = writer(store, "only")
    only.open_shard("m", 0)
    only.commit("m", 0, [record(n) for n in range(4)])
    assert 4 == only.close_shard("m", 0).rows
    assert ["000001.json", "000002.json", "000003.json"] == [
        info.key.rpartition("/")[2] for info in store.list("log/m-000000/")
    ]


def test_recovery_finds_what_is_committed_and_nothing_else() -> None:
    """Totals and states are those of committed rows; orphans, other runs and other models count nothing."""
    store = MemoryStore()
    earlier = writer(store, "earlier", run_id="another run")
    earlier.open_shard("m", 1)
    earlier.commit("m", 1, [record(4, shard=1)])
    store.put("parts/m-000001/000009-0001.parquet", b"an orphan")
    now = writer(store, "now")
    rows = [record(n) for n in range(4)]
    assert {} == now.open_shard("m", 1)
    now.commit("m", 1, [record(5, shard=1)])
    now.open_shard("m", 0)
    now.commit("m", 0, rows)
    now.close_shard("m", 0)
    recovery = writer(store, "later").recover()
    assert ShardState.COMPLETE is recovery.shards["m", 0].state
    assert ShardState.PARTIAL is recovery.shards["m", 1].state
    expected = totals([*rows, record(5, shard=1)])
    assert expected == {name: getattr(recovery.summary, name) for name in expected}


def test_failed_rows_asked_again_overrule_what_is_published() -> None:
    """After a retry the latest record of a row counts, in totals, in `results/` and for the next writer."""
    store = MemoryStore()
    first = writer(store, "first")
    first.open_shard("m", 0)
    first.commit("m", 0, [record(n) for n in range(4)])
    assert 1 == first.close_shard("m", 0).failed
    again = writer(store, "again")
    assert 1 == again.recover().summary.failed
    assert ["row-3"] == [row for row, status in again.open_shard("m", 0).items() if status == "failed"]
    again.commit("m", 0, [record(3, take=2)])
    assert 0 == again.close_shard("m", 0).failed
    last = writer(store, "last")
    assert (4, 0) == (last.recover().summary.rows, last.recover().summary.failed)
    assert {"succeeded"} == set(last.open_shard("m", 0).values())


def test_a_frozen_retry_puts_back_nothing_that_counts() -> None:
    """Thawed between publishing and done of a retry that was repeated, a writer changes no latest record."""
    store = MemoryStore()
    first = writer(store, "first")
    first.open_shard("m", 0)
    first.commit("m", 0, [record(n) for n in range(4)])
    first.close_shard("m", 0)
    before = dict(store.objects)
    frozen = writer(store, "frozen")
    frozen.open_shard("m", 0)
    frozen.commit("m", 0, [record(3, take=2, status="failed", result=None)])
    taker = writer(store, "taker")
    taker.open_shard("m", 0)
    taker.commit("m", 0, [record(3, take=3)])
    taker.close_shard("m", 0)
    store.objects["results/part-m-000000.parquet"] = before["results/part-m-000000.parquet"]
    assert {"succeeded"} == set(writer(store, "reader").open_shard("m", 0).values())


def test_a_partial_shard_is_not_published() -> None:
    """`results/` holds whole shards only; what is committed of others stays in their parts."""
    store = MemoryStore()
    only = writer(store, "only")
    only.open_shard("m", 0)
    only.commit("m", 0, [record(0), record(1)])
    assert 2 == only.close_shard("m", 0).rows
    assert [] == list(store.list("results/"))
    assert 2 == writer(store, "reader").recover().summary.rows


def test_half_a_character_is_stored() -> None:
    """A lone surrogate in an answer becomes U+FFFD: a paid answer is worth more than it."""
    store = MemoryStore()
    only = writer(store, "only")
    only.open_shard("m", 0)
    only.commit("m", 0, [record(0, result="a\ud800b")])
    assert {"row-0": "succeeded"} == writer(store, "reader").open_shard("m", 0)


def test_damage_is_refused_by_name() -> None:
    """A log with a gap or a broken entry, and a part that is gone, stop whoever reads them."""
    store = MemoryStore()
    only = writer(store, "only")
    only.open_shard("m", 0)
    only.commit("m", 0, [record(0)])
    part = next(key for key in store.objects if key.startswith("parts/"))
    content = store.objects.pop(part)
    with pytest.raises(StorageError, match=f"{part}: is missing"):
        writer(store, "reader").recover()
    store.objects[part] = content
    first = entry_key(log_name("m", 0), 1)
    entry = store.objects.pop(first)
    with pytest.raises(StorageError, match="m-000000 is damaged: entry 1 is missing"):
        writer(store, "reader").recover()
    store.objects[first] = entry[:-5]
    with pytest.raises(StorageError, match="m-000000 is damaged: entry 1"):
        Logbook(store, RUN_ID).read()


def test_what_a_shard_costs() -> None:
    """A shard committed at once takes five writes: claim, part, its entry, the published part, done."""
    store = MemoryStore()
    only = writer(store, "only")
    only.open_shard("m", 0)
    only.commit("m", 0, [record(n) for n in range(4)])
    only.close_shard("m", 0)
    assert {"put": 5, "delete": 1} == dict(store.calls)


def test_gated_stores_keep_the_contract() -> None:
    """The strings that puppets hang on change nothing of the store but its pace."""
    store = MemoryStore()
    gated = GatedStore(store)
    for _ in range(3):
        gated.let_one_pass()
    assert gated.put_if_absent("a", b"1")
    gated.lose_reply = True
    assert not gated.put_if_absent("b", b"2")
    assert b"2" == gated.get("b")
