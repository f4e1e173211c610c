"""The run's rows on disk, as the runner sees them.

A shard of a model is its part, if there is one, overruled by its journal, if there is one. Nothing else says
what is done, so nothing can disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from qfbatch.checkpoint import faultpoints
from qfbatch.checkpoint.directory import list_journals, list_parts, prepare_directory
from qfbatch.checkpoint.files import storage_errors
from qfbatch.checkpoint.interface import Key, Recovery, ShardProgress, ShardState, progress_of
from qfbatch.checkpoint.journal import JournalHeader, JournalWriter, read_journal
from qfbatch.checkpoint.layout import RunLayout, slug
from qfbatch.checkpoint.parts import (
    PartSummary,
    dropped_by_failures,
    find_part_rows,
    merge_rows,
    read_part_footer,
    summarise,
    write_part,
)
from qfbatch.checkpoint.recovery import recover_journal
from qfbatch.errors import RunDirectoryError, StorageError
from qfbatch.records import Dropped, InputColumn, Record, Shard, Status

_FOOTER_THREADS = 2  # parsing a footer holds the interpreter most of the time: more threads only wait


class Checkpoint:
    """All shards of all models of one run; for the holder of the run's lock.

    Different shards may be handled by different threads, one shard by one thread at a time.
    """

    def __init__(
        self,
        layout: RunLayout,
        models: Sequence[str],
        shards: Sequence[Shard],
        input_columns: Sequence[InputColumn],
        run_id: str,
    ) -> None:
        self._layout = layout
        self._rows = {shard.number: shard.rows for shard in shards}
        self._models = tuple(models)
        self._input_columns = tuple(input_columns)
        self._run_id = run_id
        self._journalled: set[Key] = set()

    @classmethod
    def open(
        cls,
        layout: RunLayout,
        models: Sequence[str],
        shards: Sequence[Shard],
        input_columns: Sequence[InputColumn],
        run_id: str,
    ) -> Self:
        """Open a run directory, creating what is missing and clearing temporary files.

        Args:
            layout: the run directory; the caller holds its lock.
            models: names of the job's models.
            shards: the plan.
            input_columns: carried columns; they decide the parts' schema.
            run_id: the manifest's.

        Raises:
            StorageError: it can't be made ready.
        """
        prepare_directory(layout)
        return cls(layout, models, shards, input_columns, run_id)

    @property
    def journalled(self) -> frozenset[Key]:
        """The (model, shard) that have a journal: started and not yet closed."""
        return frozenset(self._journalled)

    def recover(self) -> Recovery:
        """Find what is committed, repairing what a crash left; reads footers and journals only.

        A journal that completes its shard is closed into the part on the way.

        Raises:
            StorageError: a part is damaged, or repairing failed.
            RunDirectoryError: a part is another run's, or a newer qfbatch's.
        """
        names = {(slug(model), number): (model, number) for model in self._models for number in self._rows}
        parts = {names[k]: path for k, path in list_parts(self._layout).items() if k in names}
        journals = {names[k]: path for k, path in list_journals(self._layout).items() if k in names}
        summaries = self._read_footers(parts)
        notes = [
            f"{path.name}: of no model or shard of this job; left as it is"
            for key, path in list_journals(self._layout).items()
            if key not in names
        ]
        for (model, number), path in journals.items():
            records, note = recover_journal(path, self._header(model, number))
            if note:
                notes.append(note)
            if path.exists():
                self._journalled.add((model, number))
                summaries[model, number] = self._recovered(model, number, records)
        return Recovery(
            tuple(notes),
            {key: progress_of(summaries.get(key), self._rows[key[1]]) for key in names.values()},
        )

    def open_shard(self, model: str, shard: int) -> dict[str, Status]:
        """See `OpenShards.open_shard`; the run's lock makes every shard this process's.

        Raises:
            StorageError: they can't be read.
        """
        done: dict[str, Status] = {}
        table = find_part_rows(self._layout.part(model, shard), ["row_id", "status"])
        if table is not None:
            statuses = map(Status, table["status"].to_pylist())
            done = dict(zip(table["row_id"].to_pylist(), statuses, strict=True))
        if (model, shard) in self._journalled:
            done.update((record.row_id, record.status) for record in self._journal_records(model, shard))
        return done

    def dropped(self, model: str, shard: int) -> dict[str, Dropped]:
        """See `OpenShards.dropped`."""
        names = ["row_id", "status", "discarded_tokens", "discarded_cost", "currency"]
        table = find_part_rows(self._layout.part(model, shard), names)
        found = {} if table is None else dropped_by_failures(table)
        if (model, shard) in self._journalled:
            for record in self._journal_records(model, shard):
                found.pop(record.row_id, None)
                if record.status is Status.FAILED and record.discarded_tokens:
                    found[record.row_id] = Dropped(
                        record.discarded_tokens, record.discarded_cost, record.currency
                    )
        return found

    def begin(self, model: str, shard: int) -> JournalWriter:
        """Open the shard's journal for appending, creating it where there is none.

        Raises:
            StorageError: it can't be opened.
        """
        if model not in self._models or shard not in self._rows:
            raise ValueError(f"model {model!r}, shard {shard} is not in the plan")
        writer = JournalWriter(self._layout.journal(model, shard), self._header(model, shard))
        self._journalled.add((model, shard))
        return writer

    def close_shard(self, model: str, shard: int, records: Sequence[Record] | None = None) -> PartSummary:
        """Merge the shard's journal into its part, then remove the journal; its writer is closed.

        A crash anywhere in between is harmless: merging the same journal again gives the same part.

        Args:
            model: whose shard.
            shard: its number.
            records: all that the journal holds, in its order; by default they are read from it.

        Returns:
            The part's totals; without a journal, those of the part as it is.

        Raises:
            StorageError: reading or writing failed; journal and old part stand.
        """
        if (model, shard) not in self._journalled:
            return self._footer_summary(model, shard) or PartSummary()
        if records is None:
            records = self._journal_records(model, shard)
        return self._merge(model, shard, records)

    def _merge(self, model: str, shard: int, records: Sequence[Record]) -> PartSummary:
        part = self._layout.part(model, shard)
        journal = self._layout.journal(model, shard)
        table = merge_rows(find_part_rows(part), records, self._input_columns)
        if records:
            summary = write_part(part, table, run_id=self._run_id, model=model, shard=shard)
        else:
            summary = summarise(table)
        faultpoints.hit("part.before-unlink")
        with storage_errors(journal, "remove"):
            # No fsync of the folder here: a journal that a power cut brings back is merged once more, and the
            # next journal of this name begins with one.
            journal.unlink(missing_ok=True)
        faultpoints.hit("part.after-unlink")
        self._journalled.discard((model, shard))
        return summary

    def _recovered(self, model: str, shard: int, records: Sequence[Record]) -> PartSummary:
        part = self._layout.part(model, shard)
        summary = summarise(merge_rows(find_part_rows(part), records, self._input_columns))
        if summary.rows >= self._rows[shard]:
            return self._merge(model, shard, records)
        return summary

    def _journal_records(self, model: str, shard: int) -> list[Record]:
        path = self._layout.journal(model, shard)
        try:
            contents = read_journal(path)
        except FileNotFoundError as error:
            raise StorageError(f"{path}: vanished while the run was using it", hint=_RUN_AGAIN) from error
        if contents.size and (contents.bad_lines or contents.torn or contents.header is None):
            # Recovery made it whole and only commits have followed: this is damage, with paid rows in it.
            raise StorageError(f"{path}: damaged while the run was using it", hint=_RUN_AGAIN)
        return contents.records

    def _footer_summary(self, model: str, shard: int) -> PartSummary | None:
        path = self._layout.part(model, shard)
        try:
            footer = read_part_footer(path)
        except FileNotFoundError:
            return None
        if (footer.run_id, footer.model, footer.shard) != (self._run_id, model, shard):
            raise RunDirectoryError(
                f"{path}: holds shard {footer.shard} of model {footer.model} of run {footer.run_id}, "
                f"not shard {shard} of model {model} of this run ({self._run_id}).",
                hint="Move this file away and run the same command again: its rows are asked again.",
            )
        return footer.summary

    def _read_footers(self, parts: Mapping[Key, Path]) -> dict[Key, PartSummary]:
        with ThreadPoolExecutor(_FOOTER_THREADS, "qfbatch-footers") as pool:
            found = pool.map(lambda key: self._footer_summary(*key), parts)
            return {key: summary for key, summary in zip(parts, found, strict=True) if summary is not None}

    def _header(self, model: str, shard: int) -> JournalHeader:
        return JournalHeader(self._run_id, model, shard)


_RUN_AGAIN = (
    "Check the disk, then run the same command again: what is readable is kept, the rest is asked again."
)

__all__ = ["Checkpoint", "Key", "Recovery", "ShardProgress", "ShardState"]
