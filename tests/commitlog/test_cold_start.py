"""What a start reads of many logs: little, and what all entries come to nevertheless."""

from __future__ import annotations

import msgspec
import pytest
from checkpoint.rows import COLUMNS, RUN_ID, plan, record
from storage.memory import MemoryStore

from qfbatch.checkpoint import logbook
from qfbatch.checkpoint.commitlog import Claim, Done, Part, ShardLog
from qfbatch.checkpoint.log_checkpoint import LogCheckpoint
from qfbatch.checkpoint.logbook import INDEX, Logbook, entry_key, log_name
from qfbatch.checkpoint.parts import PartSummary
from qfbatch.errors import StorageError

DONE = PartSummary(4, 4)


def store_of(logs: int, *, run_id: str = RUN_ID) -> MemoryStore:
    """Shards that are done, each with a claim, one part and its end."""
    store = MemoryStore()
    for shard in range(logs):
        add_done(store, shard, run_id)
    return store


def add_done(store: MemoryStore, shard: int, run_id: str = RUN_ID) -> None:
    """One more of these."""
    entries = Claim(RUN_ID, "w"), Part("w", f"p{shard}", 4), Done("w", DONE, run_id)
    for number, entry in enumerate(entries, 1):
        store.put(entry_key(log_name("m", shard), number), msgspec.json.encode(entry))


def test_a_log_that_is_done_is_read_by_its_end() -> None:
    """One entry is read of each, whatever came before; what it tells is what all of them come to."""
    store = store_of(20)
    found = Logbook(store, RUN_ID).read()
    assert {"list": 1, "get": 20 + 1} == {
        name: store.calls[name] for name in ("list", "get")
    }  # the index, too
    assert {
        log_name("m", n): Logbook(store, RUN_ID).read_on(log_name("m", n), ShardLog()) for n in range(20)
    } == found


def test_after_a_retry_the_end_names_the_parts_that_count() -> None:
    """Failed rows asked again leave parts beside `results/`; who reads the end alone knows them."""
    store = MemoryStore()
    for take in (1, 2):
        writer = LogCheckpoint(store, ["m"], plan(1, 4), COLUMNS, RUN_ID, writer=f"w{take}")
        writer.open_shard("m", 0)
        writer.commit("m", 0, [record(n, take=take) for n in range(4)])
        writer.close_shard("m", 0)
    name = log_name("m", 0)
    folded = Logbook(store, RUN_ID).read_on(name, ShardLog())
    assert 1 == len(folded.parts)
    assert {name: folded} == Logbook(store, RUN_ID).read()


@pytest.mark.parametrize("run_id", ["", "another run"])
def test_an_end_that_does_not_tell_is_read_from_the_beginning(run_id: str) -> None:
    """Entries of an earlier qfbatch, and of other runs, are followed one by one."""
    store = store_of(1, run_id=run_id)
    log = ShardLog(3, "w", ours=True, published=True, summary=DONE)
    assert {log_name("m", 0): log} == Logbook(store, RUN_ID).read()
    assert 3 + 1 == store.calls["get"]


def test_an_entry_that_is_missing_before_the_end_is_damage() -> None:
    """A log is not believed by its end when the listing shows a gap in it."""
    store = store_of(1)
    del store.objects[entry_key(log_name("m", 0), 2)]
    with pytest.raises(StorageError, match="entry 2 is missing"):
        Logbook(store, RUN_ID).read()


def test_long_listings_are_cut_and_whole() -> None:
    """With an index, several threads list a part each; nothing is missed, of logs that came since neither."""
    store = store_of(2100)
    Logbook(store, RUN_ID).write_index()
    add_done(store, 2100)
    store.put(entry_key(log_name("a", 0), 1), msgspec.json.encode(Claim(RUN_ID, "w")))
    store.put(entry_key(log_name("m", 1000), 4), msgspec.json.encode(Claim(RUN_ID, "v")))
    store.calls.clear()
    found = Logbook(store, RUN_ID).read()
    assert (3, 1 + 3) == (store.calls["list"], store.calls["get"])
    assert (2102, 4, 1) == (len(found), found[log_name("m", 1000)].entries, found[log_name("a", 0)].entries)
    assert found[log_name("m", 2100)].summary == DONE


def test_a_killed_run_leaves_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it goes on the index is written whenever enough is done, by what is known, without reading."""
    monkeypatch.setattr(logbook, "_INDEX_AT", 3)
    store = MemoryStore()
    book = Logbook(store, RUN_ID)
    book.read()
    for shard in range(3):
        assert INDEX not in store.objects
        name = log_name("m", shard)
        log = book.append(name, book.claim(name, ShardLog(), "w"), Part("w", "p", 4))
        book.append(name, log, Done("w", DONE, RUN_ID))
        before = dict(store.calls)
        book.keep_index()
    assert {**before, "put": before["put"] + 1} == dict(store.calls)
    store.calls.clear()
    assert 3 == len(Logbook(store, RUN_ID).read())
    assert {"get": 1, "list": 1} == dict(store.calls)


def test_what_another_process_tells_need_not_be_read() -> None:
    """A driver that is told by its nodes what logs came to reads none of them; older news changes nothing."""
    store = MemoryStore()
    driver, node = Logbook(store, RUN_ID), Logbook(store, RUN_ID)
    driver.read()
    name = log_name("m", 0)
    claimed = node.claim(name, ShardLog(), "node")
    log = node.append(name, node.append(name, claimed, Part("node", "p", 4)), Done("node", DONE, RUN_ID))
    told = node.take_done()
    assert ({name: log}, {}) == (told, node.take_done())
    driver.learn(told)
    driver.learn({name: claimed})
    store.calls.clear()
    assert {name: log} == driver.read()
    assert {"list": 1} == dict(store.calls)
