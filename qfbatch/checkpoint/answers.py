"""A run's answers, shard by shard, wherever they are: for whoever compares or moves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import pyarrow as pa

from qfbatch.checkpoint.directory import list_journals, list_parts
from qfbatch.checkpoint.journal import read_journal
from qfbatch.checkpoint.layout import RunLayout, slug
from qfbatch.checkpoint.log_reading import LogReader
from qfbatch.checkpoint.logbook import shard_of_log
from qfbatch.checkpoint.manifest import Manifest
from qfbatch.checkpoint.parts import find_part_rows, merge_rows, read_part_rows
from qfbatch.checkpoint.place import RunPlace, StoredRun

ReadAnswers: TypeAlias = Callable[[Sequence[str] | None], pa.Table]  # one shard's; only these columns
Answers: TypeAlias = Callable[[str], list[ReadAnswers]]  # of a model, by its name


def answers_of(place: RunPlace, manifest: Manifest) -> Answers:
    """How to read the latest record of every committed row, shard by shard.

    Args:
        place: the run directory.
        manifest: the run's.
    """
    if isinstance(place, StoredRun):
        return partial(_logged, place, manifest)
    return partial(_journalled, place, manifest)


def _journalled(layout: RunLayout, manifest: Manifest, model: str) -> list[ReadAnswers]:
    journals = [key for key in list_journals(layout) if key[0] == slug(model)]
    found: list[ReadAnswers] = [
        partial(_with_journal, layout, manifest, model, shard) for _, shard in journals
    ]
    for key, path in list_parts(layout).items():
        if key[0] == slug(model) and key not in journals:
            found.append(partial(read_part_rows, path))
    return found


def _with_journal(
    layout: RunLayout, manifest: Manifest, model: str, shard: int, columns: Sequence[str] | None
) -> pa.Table:
    records = read_journal(layout.journal(model, shard)).records
    table = merge_rows(find_part_rows(layout.part(model, shard)), records, manifest.survey.columns)
    return table if columns is None else table.select(list(columns))


def _logged(run: StoredRun, manifest: Manifest, model: str) -> list[ReadAnswers]:
    logbook = run.logbook(manifest.log_id)
    reader = LogReader(run.store, logbook, manifest.survey.columns)

    def read(name: str, columns: Sequence[str] | None) -> pa.Table:
        """The committed rows of one log, as a shard's answers are read: all columns, or those named."""
        needed = None if columns is None else [*columns, "row_id", "source_row"]
        table = reader.shard(name, logs[name], columns=needed)
        return table if columns is None else table.select(list(columns))

    logs = {
        name: log
        for name, log in logbook.read().items()
        if log.begun and shard_of_log(name)[0] == slug(model)
    }
    return [partial(read, name) for name in sorted(logs)]


__all__ = ["Answers", "ReadAnswers", "answers_of"]
