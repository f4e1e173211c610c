"""Rows committed to a commit log, read: by the log's list of parts, never by what lies around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from qfbatch.checkpoint.commitlog import ShardLog
from qfbatch.checkpoint.logbook import Logbook, LogName
from qfbatch.checkpoint.parts import PartSummary, decode_part, merge_tables, summarise
from qfbatch.errors import StorageError
from qfbatch.records import InputColumn
from qfbatch.storage.objects import ObjectStore

RESULTS = "results/"
PARTS = "parts/"
_READERS = 16


def result_key(name: LogName) -> str:
    """Where a shard's rows are when it is done."""
    return f"{RESULTS}part-{name}.parquet"


class LogReader:
    """Reads what is committed of shards, also while others write.

    Args:
        store: the run directory.
        logbook: its logs.
        input_columns: the run's carried columns.
    """

    def __init__(self, store: ObjectStore, logbook: Logbook, input_columns: Sequence[InputColumn]) -> None:
        self._store = store
        self._logbook = logbook
        self._input_columns = input_columns

    def read(self, logs: Mapping[LogName, ShardLog]) -> dict[LogName, pa.Table]:
        """The latest record of every committed row of these shards, several at once; as `shard`."""
        with ThreadPoolExecutor(_READERS, "qfbatch-parts") as pool:
            return dict(zip(logs, pool.map(self.shard, logs, logs.values()), strict=True))

    def totals(self, logs: Mapping[LogName, ShardLog]) -> dict[LogName, PartSummary]:
        """Totals of every shard of which anything is committed; reads rows only of those in progress."""
        logs = {name: log for name, log in logs.items() if log.begun}
        tables = self.read({name: log for name, log in logs.items() if log.summary is None})
        counted = {name: summarise(table) for name, table in tables.items()}
        return {name: log.summary or counted[name] for name, log in logs.items()}

    def shard(
        self,
        name: LogName,
        log: ShardLog,
        *,
        columns: Sequence[str] | None = None,
        known: tuple[str, pa.Table] | None = None,
    ) -> pa.Table:
        """The latest record of every committed row of a shard, in source order.

        Args:
            name: the shard's log.
            log: what it came to when it was read.
            columns: only these are sure to be filled; all by default.
            known: key and rows of a part that need not be read.

        Raises:
            StorageError: an object is missing, can't be read or is damaged.
        """
        while True:
            try:
                return self._merged(name, log, columns, known)
            except FileNotFoundError as error:
                # Published since the log was read, perhaps: its parts are removed then.
                later = self._logbook.read_on(name, log)
                if later == log:
                    raise _missing(error) from error
                log = later

    def _merged(
        self,
        name: LogName,
        log: ShardLog,
        columns: Sequence[str] | None,
        known: tuple[str, pa.Table] | None,
    ) -> pa.Table:
        tables = []
        for key in ([result_key(name)] if log.published else []) + list(log.parts):
            if known is not None and known[0] == key:
                tables.append(known[1])
                continue
            content = self._store.get(key)
            if content is None:
                raise FileNotFoundError(2, "committed rows are missing", f"{self._store.place}/{key}")
            tables.append(decode_part(content, f"{self._store.place}/{key}", columns))
        return merge_tables(tables, self._input_columns)


def _missing(error: FileNotFoundError) -> StorageError:
    return StorageError(
        f"{error.filename}: is missing, and the log says that it holds committed rows",
        hint="Restore this object from a copy, or start again with --fresh (nothing is deleted).",
    )


__all__ = ["PARTS", "RESULTS", "LogReader", "result_key"]
