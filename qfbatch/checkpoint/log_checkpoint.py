"""The run's rows in a store of objects, under the commit log: for one writer among any number of them.

log/<model>-<shard>/<number>.json               claims, parts, done: the truth, never changed or removed
parts/<model>-<shard>/<claim>-<n>.parquet       committed rows of shards in progress, and orphans
results/part-<model>-<shard>.parquet            shards that are done
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from qfbatch.checkpoint import faultpoints
from qfbatch.checkpoint.commitlog import Done, Part, ShardLog
from qfbatch.checkpoint.interface import Recovery, progress_of
from qfbatch.checkpoint.journal import storable
from qfbatch.checkpoint.log_reading import PARTS, LogReader, result_key
from qfbatch.checkpoint.logbook import Logbook, LogName, log_name
from qfbatch.checkpoint.parts import (
    PartSummary,
    decode_part_footer,
    dropped_by_failures,
    encode_part,
    merge_rows,
    summarise,
)
from qfbatch.records import Dropped, InputColumn, Record, Shard, Status
from qfbatch.storage.objects import ObjectStore


class LogCheckpoint:
    """All shards of all models of one run, for one writer; any number of writers may have one at a time.

    Different shards may be handled by different threads, one shard by one thread at a time. A shard is
    claimed by `open_shard`; from then on `commit` and `close_shard` raise `Fenced` once somebody else has
    claimed it, and have committed nothing then.

    Args:
        store: the run directory.
        models: names of the job's models.
        shards: the plan.
        input_columns: carried columns; they decide the parts' schema.
        run_id: the manifest's.
        writer: names this writer among all that ever were.
        logbook: of the same run, if it was read before.
    """

    def __init__(
        self,
        store: ObjectStore,
        models: Sequence[str],
        shards: Sequence[Shard],
        input_columns: Sequence[InputColumn],
        run_id: str,
        *,
        writer: str,
        logbook: Logbook | None = None,
    ) -> None:
        self._store = store
        self._models = tuple(models)
        self._rows = {shard.number: shard.rows for shard in shards}
        self._input_columns = tuple(input_columns)
        self._run_id = run_id
        self._writer = writer
        self._logbook = logbook or Logbook(store, run_id)
        self._reader = LogReader(store, self._logbook, input_columns)
        self._logs: dict[LogName, ShardLog] = {}
        self._attempts: dict[LogName, tuple[int, int]] = {}  # number of our claim, parts since
        self._latest: dict[LogName, tuple[str, pa.Table]] = {}  # the last part, to publish without reading it

    def recover(self) -> Recovery:
        """Find what is committed, of whatever writer; changes nothing and claims nothing.

        Raises:
            StorageError: a log or a part can't be read, or is damaged.
        """
        logs = self._logbook.read()
        summaries = self._reader.totals(logs)
        names = {log_name(model, shard): (model, shard) for model in self._models for shard in self._rows}
        self._logs = {name: log for name, log in logs.items() if name in names}
        return Recovery(
            (), {key: progress_of(summaries.get(name), self._rows[key[1]]) for name, key in names.items()}
        )

    def is_done(self, model: str, shard: int) -> bool:
        """Whether the shard is published with every committed row of it, as far as `recover` has seen."""
        return self._logs.get(log_name(model, shard), ShardLog()).summary is not None

    def open_shard(self, model: str, shard: int) -> dict[str, Status]:
        """See `OpenShards.open_shard`."""
        if model not in self._models or shard not in self._rows:
            raise ValueError(f"model {model!r}, shard {shard} is not in the plan")
        name = log_name(model, shard)
        log = self._logbook.claim(name, self._logs.get(name, ShardLog()), self._writer)
        self._logs[name] = log
        self._attempts[name] = (log.entries, 0)
        if not log.begun:
            return {}
        table = self._reader.shard(name, log, columns=["row_id", "status", "source_row"])
        statuses = map(Status, table["status"].to_pylist())
        return dict(zip(table["row_id"].to_pylist(), statuses, strict=True))

    def dropped(self, model: str, shard: int) -> dict[str, Dropped]:
        """See `OpenShards.dropped`."""
        name = log_name(model, shard)
        log = self._logs.get(name, ShardLog())
        names = ["row_id", "source_row", "status", "discarded_tokens", "discarded_cost", "currency"]
        return dropped_by_failures(self._reader.shard(name, log, columns=names))

    def commit(self, model: str, shard: int, records: Sequence[Record]) -> None:
        """Make records durable and count them as done, all or none, under the claim of `open_shard`.

        Raises:
            Fenced: another writer has claimed the shard; none of these records counts.
            StorageError: they could not be written.
        """
        try:
            table = merge_rows(None, records, self._input_columns)
        except UnicodeEncodeError:
            table = merge_rows(None, [storable(record) for record in records], self._input_columns)
        self.commit_table(model, shard, table)

    def commit_table(self, model: str, shard: int, table: pa.Table) -> None:
        """As `commit`, of rows that are a table already."""
        name = log_name(model, shard)
        claim, parts = self._attempts[name]
        self._attempts[name] = (claim, parts + 1)
        # No two claims of a shard have the same number, so no other writer ever has this name.
        key = f"{PARTS}{name}/{claim:06d}-{parts + 1:04d}.parquet"
        content, _ = encode_part(table, run_id=self._run_id, model=model, shard=shard)
        self._store.put(key, content)
        faultpoints.hit("log.part-put")
        entry = Part(self._writer, key, table.num_rows)
        self._logs[name] = self._logbook.append(name, self._logs[name], entry)
        faultpoints.hit("log.part-committed")
        self._latest[name] = key, table

    def close_shard(self, model: str, shard: int) -> PartSummary:
        """Publish the shard under `results/` if every row of it is committed; else it stays as it is.

        A crash anywhere in between is harmless: what is published holds committed rows only, and whoever
        claims the shard next publishes it again.

        Returns:
            Totals of what is committed of the shard.

        Raises:
            Fenced: another writer has claimed the shard.
            StorageError: reading or writing failed.
        """
        name = log_name(model, shard)
        log = self._logs.get(name, ShardLog())
        if log.summary is not None or not log.begun:
            return log.summary or PartSummary()
        table = self._reader.shard(name, log, known=self._latest.pop(name, None))
        if table.num_rows < self._rows[shard]:
            return summarise(table)
        content, summary = encode_part(table, run_id=self._run_id, model=model, shard=shard)
        self._publish(result_key(name), content, again=log.published)
        faultpoints.hit("log.result-put")
        beside = log.parts if log.published else ()
        after = self._logbook.append(name, log, Done(self._writer, summary, self._run_id, beside))
        self._logs[name] = after
        faultpoints.hit("log.done")
        self._store.delete(set(log.parts) - set(after.parts))
        faultpoints.hit("log.parts-deleted")
        return summary

    def _publish(self, key: str, content: bytes, *, again: bool) -> None:
        if again:
            self._store.put(key, content)
        elif not self._store.put_if_absent(key, content):
            # By a writer before us, from the same committed rows; or a leftover of an earlier run.
            found = self._store.get(key)
            if found is None or decode_part_footer(found, key).run_id != self._run_id:
                self._store.put(key, content)


__all__ = ["LogCheckpoint"]
