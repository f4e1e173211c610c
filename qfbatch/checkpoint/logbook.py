"""Commit logs in a store: read, and appended to under the fence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from qfbatch.checkpoint import faultpoints
from qfbatch.checkpoint.commitlog import Claim, DamagedLog, Entry, ShardLog, follow
from qfbatch.checkpoint.layout import slug
from qfbatch.errors import Fenced, StorageError
from qfbatch.storage.objects import ObjectStore

FOLDER = "log/"
INDEX = "log-index.json"
_READERS = 16
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

    def lengths(self) -> dict[LogName, int]:
        """How many entries each log has, from one listing."""
        found: defaultdict[LogName, int] = defaultdict(int)
        for info in self._store.list(FOLDER):
            name, _, file = info.key.removeprefix(FOLDER).partition("/")
            if file.removesuffix(".json").isdecimal():
                found[name] = max(found[name], int(file.removesuffix(".json")))
        return dict(found)

    def read(self) -> dict[LogName, ShardLog]:
        """What every log comes to now; only entries not read before, here or for the index, are read.

        Raises:
            StorageError: a log can't be read, or is damaged.
        """
        if self._known is None:
            self._known = self._indexed()
        known = self._known
        lengths = self.lengths()
        with ThreadPoolExecutor(_READERS, "qfbatch-log") as pool:
            logs = pool.map(
                lambda name: self._up_to(name, known.get(name, ShardLog()), lengths[name]), lengths
            )
            self._known = dict(zip(lengths, logs, strict=True))
        return dict(self._known)

    def write_index(self) -> None:
        """Keep what all logs come to in one object, so that the next start reads that and what is newer.

        Entries never change, so whatever index is found, and however old, what it says is true.

        Raises:
            StorageError: it can't be written.
        """
        self._store.put(INDEX, msgspec.json.encode(_Index(self._run_id, self.read())))

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
        return log

    def _put(self, name: LogName, number: int, entry: Entry) -> bool:
        """Put an entry; whether it is ours that stands there now."""
        content = _encode(entry)
        key = entry_key(name, number)
        # A refusal may be the echo of our own success: every entry names its writer, so the content tells.
        return self._store.put_if_absent(key, content) or self._store.get(key) == content

    def _up_to(self, name: LogName, log: ShardLog, length: int) -> ShardLog:
        while log.entries < length:
            content = self._store.get(entry_key(name, log.entries + 1))
            if content is None:
                raise _damaged(self._store.place, name, f"entry {log.entries + 1} is missing")
            log = self._followed(name, log, _decoded(name, log.entries + 1, content))
        return log

    def _followed(self, name: LogName, log: ShardLog, entry: Entry) -> ShardLog:
        try:
            return follow(log, entry, self._run_id)
        except DamagedLog as error:
            raise _damaged(self._store.place, name, str(error)) from error


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
