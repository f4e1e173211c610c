"""Commit logs in a store: read, and appended to under the fence."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec

from qfbatch.checkpoint import faultpoints
from qfbatch.checkpoint.commitlog import Claim, DamagedLog, Entry, ShardLog, concluded, follow
from qfbatch.checkpoint.layout import slug
from qfbatch.errors import Fenced, StorageError
from qfbatch.storage.objects import ObjectStore

FOLDER = "log/"
INDEX = "log-index.json"
READERS = 64  # small objects: what takes time is the way to the store and back
_LISTERS = 16
_PAGE = 1000
_INDEX_AT = 256  # logs done since the last index that are worth another
_INDEX_GROWTH = 10  # … or this fraction of all, so that all indexes together are some ten times the last
_NUMBER_DIGITS = 6
_SHARD_DIGITS = 6

_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], Entry] = msgspec.json.Decoder(Entry).decode

LogName = str  # `<slug of the model>-<shard>`


def log_name(model: str, shard: int) -> LogName:
    """How a shard of a model is called among the logs."""
    return f"{slug(model)}-{shard:0{_SHARD_DIGITS}d}"


def shard_of_log(name: LogName) -> tuple[str, int]:
    """Slug and shard number in a log's name."""
    model_slug, _, shard = name.rpartition("-")
    return model_slug, int(shard)


def entry_key(name: LogName, number: int) -> str:
    """Where an entry is."""
    return f"{FOLDER}{name}/{number:0{_NUMBER_DIGITS}d}.json"


class _Index(msgspec.Struct, frozen=True):
    run_id: str
    logs: dict[LogName, ShardLog]


class Logbook:
    """All commit logs of a run.

    Args:
        store: the run directory.
        run_id: the run whose entries count.
    """

    def __init__(self, store: ObjectStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._known: dict[LogName, ShardLog] | None = None
        self._done: dict[LogName, ShardLog] = {}  # since they were told, or put into an index

    def known(self) -> dict[LogName, ShardLog]:
        """What every log came to when it was read last, with what was appended here since."""
        return dict(self._known or {})

    def read(self) -> dict[LogName, ShardLog]:
        """What every log comes to now; only entries not read before, here or for the index, are read.

        Raises:
            StorageError: a log can't be read, or is damaged.
        """
        if self._known is None:
            self._known = self._indexed()
        known = self._known
        with ThreadPoolExecutor(READERS, "qfbatch-log") as pool:
            highest, counts = self._listed(pool)
            behind = [name for name, entries in highest.items() if entries > _entries(known, name)]
            read = pool.map(
                lambda name: self._up_to(
                    name, known.get(name, ShardLog()), highest[name], whole=counts[name] == highest[name]
                ),
                behind,
            )
            self.learn(dict(zip(behind, read, strict=True)))
        return dict(known)

    def _listed(self, pool: ThreadPoolExecutor) -> tuple[dict[LogName, int], Counter[LogName]]:
        """The highest number and the number of entries of each log."""
        # What is known already tells where a long listing can be cut for several threads.
        names = sorted(self._known or ())
        parts = min(_LISTERS, 1 + len(names) // _PAGE)
        cuts = ["", *(FOLDER + names[len(names) * part // parts] for part in range(1, parts)), ""]
        highest: dict[LogName, int] = {}
        counts: Counter[LogName] = Counter()
        for keys in pool.map(self._keys, itertools.pairwise(cuts)):
            for key in keys:
                name, _, file = key.removeprefix(FOLDER).partition("/")
                number = file.removesuffix(".json")
                if number.isdecimal():
                    highest[name] = max(highest.get(name, 0), int(number))
                    counts[name] += 1
        return highest, counts

    def _keys(self, part: tuple[str, str]) -> list[str]:
        return [info.key for info in self._store.list(FOLDER, after=part[0], until=part[1])]

    def write_index(self) -> None:
        """Keep what all logs come to in one object, so that the next start reads that and what is newer.

        Entries never change, so whatever index is found, and however old, what it says is true.

        Raises:
            StorageError: it can't be written.
        """
        self._put_index(self.read())

    def keep_index(self) -> None:
        """Write the index if there is much that the last one lacks; nothing is read or listed for it.

        So a run that is killed leaves one that has most of its logs.

        Raises:
            StorageError: it can't be written.
        """
        logs = self.known()
        if len(self._done) >= max(_INDEX_AT, len(logs) // _INDEX_GROWTH):
            self._put_index(logs)

    def _put_index(self, logs: dict[LogName, ShardLog]) -> None:
        self.take_done()
        self._store.put(INDEX, msgspec.json.encode(_Index(self._run_id, logs)))

    def take_done(self) -> dict[LogName, ShardLog]:
        """Logs done here and not taken before, to be told to the logbook of another process."""
        done, self._done = self._done, {}
        return done

    def learn(self, logs: Mapping[LogName, ShardLog]) -> None:
        """Take what another process has found logs to come to, so that they need not be read here.

        Nothing is risked by it: entries never change, and what follows them is seen by its number.
        """
        known = self._known or {}
        for name, log in logs.items():
            if log.entries > _entries(known, name):
                self._remembered(name, log)

    def _indexed(self) -> dict[LogName, ShardLog]:
        content = self._store.get(INDEX)
        try:
            index = _Index("", {}) if content is None else msgspec.json.decode(content, type=_Index)
        except msgspec.MsgspecError:  # of another version: it only saves time
            return {}
        return index.logs if index.run_id == self._run_id else {}

    def read_on(self, name: LogName, log: ShardLog) -> ShardLog:
        """A log with all entries that have come since.

        Raises:
            StorageError: it can't be read, or is damaged.
        """
        while (content := self._store.get(entry_key(name, log.entries + 1))) is not None:
            log = self._followed(name, log, _decoded(name, log.entries + 1, content))
        return log

    def claim(self, name: LogName, log: ShardLog, writer: str) -> ShardLog:
        """Take a shard over, whoever has it.

        Args:
            name: the log.
            log: as far as it is known.
            writer: who takes it.

        Returns:
            The log up to the claim; nobody else can append to it until another claim.

        Raises:
            StorageError: it can't be read or written.
        """
        claim = Claim(self._run_id, writer)
        while not self._put(name, log.entries + 1, claim):
            log = self.read_on(name, log)
        faultpoints.hit("log.claimed")
        return self._remembered(name, self._followed(name, log, claim))

    def append(self, name: LogName, log: ShardLog, entry: Entry) -> ShardLog:
        """Append an entry to a claimed log; when this returns, it is committed.

        Raises:
            Fenced: another writer has taken the shard; nothing was appended.
            StorageError: it can't be written.
        """
        if not self._put(name, log.entries + 1, entry):
            raise Fenced(
                f"{self._store.place}: another process has taken over {name} from this one.",
                hint="Nothing is lost or doubled; the other process goes on with the run.",
            )
        return self._remembered(name, self._followed(name, log, entry))

    def _remembered(self, name: LogName, log: ShardLog) -> ShardLog:
        if self._known is not None:
            self._known[name] = log
        if log.summary is not None:
            self._done[name] = log
        return log

    def _put(self, name: LogName, number: int, entry: Entry) -> bool:
        """Put an entry; whether it is ours that stands there now."""
        content = _encode(entry)
        key = entry_key(name, number)
        # A refusal may be the echo of our own success: every entry names its writer, so the content tells.
        return self._store.put_if_absent(key, content) or self._store.get(key) == content

    def _up_to(self, name: LogName, log: ShardLog, length: int, *, whole: bool) -> ShardLog:
        """A log with its entries up to number `length`; `whole` if none before is missing."""
        last = self._store.get(entry_key(name, length)) if whole else None
        if last is not None:
            found = concluded(length, _decoded(name, length, last), self._run_id)
            if found is not None:
                return found
        while (number := log.entries + 1) <= length:
            content = (
                last if last is not None and number == length else self._store.get(entry_key(name, number))
            )
            if content is None:
                raise _damaged(self._store.place, name, f"entry {number} is missing")
            log = self._followed(name, log, _decoded(name, number, content))
        return log

    def _followed(self, name: LogName, log: ShardLog, entry: Entry) -> ShardLog:
        try:
            return follow(log, entry, self._run_id)
        except DamagedLog as error:
            raise _damaged(self._store.place, name, str(error)) from error


def _entries(logs: Mapping[LogName, ShardLog], name: LogName) -> int:
    return logs[name].entries if name in logs else 0


def _decoded(name: LogName, number: int, content: bytes) -> Entry:
    try:
        return _decode(content)
    except msgspec.MsgspecError as error:
        raise _damaged("", name, f"entry {number}: {error}") from error


def _damaged(place: str, name: LogName, why: str) -> StorageError:
    return StorageError(
        f"{place}: the log {name} is damaged: {why}",
        hint="Entries are written once and never changed, so this is another hand. Restore log/ from a copy, "
        "or start again with --fresh (nothing is deleted).",
    )


__all__ = ["FOLDER", "INDEX", "LogName", "Logbook", "entry_key", "log_name", "shard_of_log"]
