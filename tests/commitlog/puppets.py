"""Writers of one commit log on strings: each stops before every operation until it is told to go."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from checkpoint.rows import COLUMNS, RUN_ID, plan, record
from storage.memory import MemoryStore

from qfbatch.checkpoint.log_checkpoint import LogCheckpoint
from qfbatch.errors import Fenced
from qfbatch.storage.objects import ObjectInfo

MODEL = "m"
SHARDS = 2
SHARD_ROWS = 4
PLAN = plan(SHARDS, SHARD_ROWS)


class Killed(BaseException):
    """The puppet's process dies here: nothing may catch it."""


class GatedStore:
    """A store whose every operation waits at a gate.

    Args:
        store: what lies behind the gate.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._go = threading.Semaphore(0)
        self.waits = threading.Semaphore(0)
        self.killed = False
        self.lose_reply = False

    def let_one_pass(self) -> None:
        """Open the gate for one operation."""
        self._go.release()

    def _gate(self) -> None:
        self.waits.release()
        self._go.acquire()
        if self.killed:
            raise Killed

    @property
    def place(self) -> str:
        """See `ObjectStore.place`."""
        return self._store.place

    def scan_source(self, key: str) -> tuple[str, dict[str, str]] | None:
        """See `ObjectStore.scan_source`."""
        return None

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Done, but if the reply is lost the store's client tries again, and meets its own object."""
        self._gate()
        created = self._store.put_if_absent(key, content)
        lost, self.lose_reply = self.lose_reply, False
        return created and not lost

    def put(self, key: str, content: bytes) -> None:
        """See `ObjectStore.put`."""
        self._gate()
        self._store.put(key, content)

    def get(self, key: str) -> bytes | None:
        """See `ObjectStore.get`."""
        self._gate()
        return self._store.get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """See `ObjectStore.get_range`."""
        self._gate()
        return self._store.get_range(key, start, length)

    def stat(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore.stat`."""
        self._gate()
        return self._store.stat(key)

    def list(self, prefix: str = "", *, after: str = "", until: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        self._gate()
        return self._store.list(prefix, after=after, until=until)

    def delete(self, keys: Iterable[str]) -> None:
        """See `ObjectStore.delete`."""
        self._gate()
        self._store.delete(keys)


class Puppet:
    """A writer that claims each shard, commits what is open of it in twos and closes it; fenced, it goes on.

    Args:
        store: shared by all puppets.
        number: of the puppet; its answers carry it.
        shards: in the order it takes them.
        retry_failed: whether failed rows are open.
    """

    def __init__(
        self, store: MemoryStore, number: int, shards: Iterable[int], *, retry_failed: bool = False
    ) -> None:
        self.fenced = 0
        self.ended = False
        self.error: BaseException | None = None
        self._number = number
        self._shards = list(shards)
        self._retry_failed = retry_failed
        self._gate = GatedStore(store)
        self._checkpoint = LogCheckpoint(
            self._gate, [MODEL], PLAN, COLUMNS, RUN_ID, writer=f"puppet-{number}"
        )
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        self._gate.waits.acquire()

    def step(self, *, lose_reply: bool = False) -> None:
        """One operation on the store, and on to the next gate."""
        if not self.ended:
            self._gate.lose_reply = lose_reply
            self._gate.let_one_pass()
            self._gate.waits.acquire()

    def kill(self) -> None:
        """Die before the next operation."""
        if not self.ended:
            self._gate.killed = True
            self.step()

    def finish(self) -> None:
        """All operations there are."""
        while not self.ended:
            self.step()

    def _live(self) -> None:
        try:
            for shard in self._shards:
                try:
                    self._work(shard)
                except Fenced:
                    self.fenced += 1
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - for the test to look at
            self.error = error
        self.ended = True
        self._gate.waits.release()

    def _work(self, shard: int) -> None:
        done = self._checkpoint.open_shard(MODEL, shard)
        rows = range(shard * SHARD_ROWS, (shard + 1) * SHARD_ROWS)
        final = {row for row, status in done.items() if not (self._retry_failed and status == "failed")}
        left = [row for row in rows if f"row-{row}" not in final]
        for start in range(0, len(left), 2):
            take = self._number + (100 if self._retry_failed else 1)
            records = [
                record(row, shard=shard, take=1 if row % 7 == 3 and take < 100 else take)
                for row in left[start : start + 2]
            ]
            self._checkpoint.commit(MODEL, shard, records)
        self._checkpoint.close_shard(MODEL, shard)


__all__ = ["MODEL", "PLAN", "SHARDS", "SHARD_ROWS", "GatedStore", "Puppet"]
