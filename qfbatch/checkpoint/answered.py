"""A sample of the answers a run has so far: what is left will probably be like them.

Bounded, however much is done: a few parts and journals, spread over the run, and so many rows of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
from msgspec import Struct

from qfbatch.checkpoint.directory import list_journals, list_parts
from qfbatch.checkpoint.journal import latest, read_journal
from qfbatch.checkpoint.layout import slug
from qfbatch.checkpoint.log_reading import LogReader
from qfbatch.checkpoint.logbook import shard_of_log
from qfbatch.checkpoint.manifest import read_manifest
from qfbatch.checkpoint.parts import find_part_rows
from qfbatch.checkpoint.place import RunPlace, StoredRun
from qfbatch.records import Status
from qfbatch.tokens import answer_cap

SAMPLE_FILES = 4  # of each kind
SAMPLE_ROWS = 2000
_COLUMNS = ["prompt", "status", "prompt_tokens", "completion_tokens", "latency_s", "parameters"]
_Item = TypeVar("_Item")


class Answered(Struct, frozen=True, gc=False):
    """What one answer tells of others.

    Attributes:
        prompt: what was asked.
        prompt_tokens, completion_tokens: what the service counted.
        latency_s: how long the call took.
        cap: the most tokens that the request allowed; None where it did not say.
    """

    prompt: str
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_s: float | None
    cap: int | None = None


def sample_answers(place: RunPlace, model: str) -> list[Answered]:
    """Some of a model's succeeded rows, spread over the run; takes no lock.

    Raises:
        StorageError: a file can't be read.
        RunDirectoryError: a newer qfbatch wrote it.
    """
    if isinstance(place, StoredRun):
        return _of_log(place, model)
    layout = place
    parts = [path for (name, _), path in list_parts(layout).items() if name == slug(model)]
    journals = [path for (name, _), path in list_journals(layout).items() if name == slug(model)]
    found = [answer for path in _spread(parts, SAMPLE_FILES) for answer in _of_part(path)]
    found += [answer for path in _spread(journals, SAMPLE_FILES) for answer in _of_journal(path)]
    return list(_spread(found, SAMPLE_ROWS))


def _spread(items: Sequence[_Item], most: int) -> Sequence[_Item]:
    """At most so many of the items, evenly taken."""
    if len(items) <= most:
        return items
    return [items[number * len(items) // most] for number in range(most)]


def _of_part(path: Path) -> Iterable[Answered]:
    table = find_part_rows(path, _COLUMNS)
    if table is not None:
        yield from _of_table(table)


def _of_log(run: StoredRun, model: str) -> list[Answered]:
    manifest = read_manifest(run)
    if manifest is None:
        return []
    logbook = run.logbook(manifest.log_id)
    begun = {
        name: log
        for name, log in logbook.read().items()
        if log.begun and shard_of_log(name)[0] == slug(model)
    }
    chosen = {name: begun[name] for name in _spread(sorted(begun), SAMPLE_FILES)}
    tables = LogReader(run.store, logbook, ()).read(chosen)
    return list(_spread([answer for table in tables.values() for answer in _of_table(table)], SAMPLE_ROWS))


def _of_table(table: pa.Table) -> Iterable[Answered]:
    columns = (table[name].to_pylist() for name in _COLUMNS)
    for prompt, status, prompt_tokens, completion_tokens, latency_s, sent in zip(*columns, strict=True):
        if status == Status.SUCCEEDED:
            yield Answered(prompt, prompt_tokens, completion_tokens, latency_s, _cap(sent))


def _of_journal(path: Path) -> Iterable[Answered]:
    try:
        records = read_journal(path).records
    except FileNotFoundError:
        return  # closed just now
    for record in latest(records):
        if record.status is Status.SUCCEEDED:
            yield Answered(
                record.prompt,
                record.prompt_tokens,
                record.completion_tokens,
                record.latency_s,
                _cap(record.parameters),
            )


@lru_cache(maxsize=1024)  # most rows are asked with the same parameters
def _cap(sent: str) -> int | None:
    cap = answer_cap(msgspec.json.decode(sent, type=dict[str, Any]))
    return None if cap is None else cap[1]


__all__ = ["Answered", "sample_answers"]
