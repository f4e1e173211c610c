"""What the log of a run of very many rows costs, and takes to be read: for `cluster.scale`.

The log is the real one over a store in memory; to its processor time round trips to one in the same region
are added. Prices are those of S3 standard in us-east-1.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property

import msgspec
from storage.memory import MemoryStore

from qfbatch.checkpoint.commitlog import Claim, Done, Part
from qfbatch.checkpoint.interface import LOG_GROUP_ROWS
from qfbatch.checkpoint.log_checkpoint import LogCheckpoint
from qfbatch.checkpoint.logbook import INDEX, READERS, Logbook, entry_key, log_name
from qfbatch.checkpoint.parts import PartSummary
from qfbatch.records import Shard
from qfbatch.storage.objects import ObjectInfo

USD_A_PUT = 0.005 / 1000
LIST_S, GET_S = 0.1, 0.02  # a round trip to a store in the same region
PAGE = 1000
SHARD_ROWS = 1000
WRITES_A_SHARD = 5  # claim, part, its entry, the file in results/, done
KILLED = 0.9  # of the shards, when a run is killed, are in the index at least


class FarStore(MemoryStore):
    """A store in memory that counts what the way to one in the same region would cost."""

    def __init__(self) -> None:
        super().__init__()
        self.gets = 0
        self.pages: list[int] = []  # of each listing

    @cached_property
    def keys(self) -> Sequence[str]:
        """All keys in order, once everything is there."""
        return sorted(self.objects)

    @property
    def way_s(self) -> float:
        """Seconds in round trips so far, listings side by side."""
        return max(self.pages, default=0) * LIST_S + self.gets / READERS * GET_S

    def get(self, key: str) -> bytes | None:
        """See `ObjectStore.get`."""
        self.gets += 1
        return self.objects.get(key)

    def list(self, prefix: str = "", *, after: str = "", until: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`; of the log's keys."""
        first, last = bisect_right(self.keys, max(prefix, after)), len(self.keys)
        last = bisect_right(self.keys, until) if until else last
        self.pages.append(1 + (last - first) // PAGE)
        return (ObjectInfo(key, 100, "") for key in self.keys[first:last])


def finished_run(shards: int) -> FarStore:
    """The log of a run whose shards are all done; each was committed at once."""
    store = FarStore()
    for shard in range(shards):
        name = log_name("m", shard)
        entries = (
            Claim("run", "000001-0f0f0f0f-1-1"),
            Part("000001-0f0f0f0f-1-1", f"parts/{name}/000001-0001.parquet", SHARD_ROWS),
            Done("000001-0f0f0f0f-1-1", PartSummary(SHARD_ROWS, SHARD_ROWS), "run"),
        )
        for number, entry in enumerate(entries, 1):
            store.objects[entry_key(name, number)] = msgspec.json.encode(entry)
    return store


def reading(store: FarStore) -> str:
    """How long a new process takes to know what all logs come to."""
    store.gets, store.pages = 0, []
    began = time.process_time()
    Logbook(store, "run").read()
    cpu_s = time.process_time() - began
    return f"{store.way_s + cpu_s:,.0f} s, {cpu_s:,.1f} of them processor time; {store.gets:,} GETs"


def log(rows: int) -> Iterator[tuple[str, str]]:
    """What the log of so many rows comes to."""
    shards = rows // SHARD_ROWS
    puts = shards * WRITES_A_SHARD
    yield "shards of 1,000 rows", f"{shards:,}"
    yield "PUTs", f"{puts:,} ({puts * USD_A_PUT:,.2f} USD)"
    yield "PUTs a second at 10,000 rows a second", f"{10_000 / SHARD_ROWS * WRITES_A_SHARD:,.0f}"
    store = finished_run(shards)
    yield "entries to list at a start", f"{len(store.keys):,} in {len(store.keys) / PAGE:,.0f} pages"
    yield "start without any index: all ends read", reading(store)
    book = Logbook(store, "run")
    known = book.read()
    behind = dict(list(known.items())[: int(shards * KILLED)])
    for what, logs in (("killed, an index that lacks a tenth", behind), ("index of an orderly end", known)):
        store.objects[INDEX] = msgspec.json.encode({"run_id": "run", "logs": logs})
        yield f"start, {what}", reading(store)
    yield "index", f"{len(store.objects[INDEX]) / 1e6:,.0f} MB"
    shards_ = tuple(
        Shard(number, "rows.jsonl", number * SHARD_ROWS, SHARD_ROWS, number * 600_000)
        for number in range(shards)
    )
    began = time.process_time()
    plan = msgspec.json.encode(shards_)
    msgspec.json.decode(plan, type=tuple[Shard, ...])
    yield "plan in the manifest", f"{len(plan) / 1e6:,.0f} MB ({time.process_time() - began:,.1f} s)"
    began = time.process_time()
    LogCheckpoint(store, ["m"], shards_, (), "run", writer="w", logbook=book).recover()
    yield "recovery from logs that are known", f"{time.process_time() - began:,.1f} s of processor time"


def repeated() -> Iterator[tuple[str, str]]:
    """How many rows a lost node repeats, and what PUTs cost, by how long a row waits for company."""
    for rate in (10, 100, 1000):
        for group_s in (1, 2, 5, 10):
            rows = min(LOG_GROUP_ROWS / 2, rate * group_s)
            puts = 2 * 100_000_000 / rows  # a part, and its entry
            lost = f"at most {min(LOG_GROUP_ROWS, rate * group_s):5,.0f} uncommitted"
            cost = (
                f"{puts / 1e6:5,.1f} million PUTs of parts ({puts * USD_A_PUT:6,.2f} USD) a 100 million rows"
            )
            yield f"{rate:5,} rows/s a node, a part after {group_s:2} s", f"{lost}, {cost}"
