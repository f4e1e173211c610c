"""How much of a run is committed, for those who only look: no lock is taken and nothing is written.

A part tells its totals in its footer, and is read once: what has been looked at is looked at again only when
its file has changed. So the first look at a million rows reads a thousand footers, the next ones a few files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from qfbatch.checkpoint.directory import list_journals, list_parts
from qfbatch.checkpoint.files import storage_errors
from qfbatch.checkpoint.journal import read_journal
from qfbatch.checkpoint.layout import RunLayout, slug
from qfbatch.checkpoint.log_reading import LogReader
from qfbatch.checkpoint.logbook import shard_of_log
from qfbatch.checkpoint.manifest import Manifest
from qfbatch.checkpoint.parts import PartSummary, find_part_rows, merge_rows, read_part_summary, summarise
from qfbatch.checkpoint.place import RunPlace, StoredRun
from qfbatch.tally import Standing

_THREADS = 2  # as when a run starts: more only wait for each other
_Stamp = tuple[int, int]  # size and modification time
_Key = tuple[str, int]
T = TypeVar("T")


class CommittedRows:
    """Totals of what is committed, by model.

    Args:
        place: the run directory; another process may be writing to it.
    """

    def __init__(self, place: RunPlace) -> None:
        self._place = place
        self._parts: dict[_Key, tuple[_Stamp, PartSummary]] = {}
        self._open: dict[_Key, tuple[tuple[_Stamp | None, _Stamp | None], PartSummary]] = {}

    def read(self, manifest: Manifest) -> dict[str, Standing]:
        """Where each of the job's models stands; `left` counts the rows of the input without a record.

        Args:
            manifest: the run's, as it is now.

        Raises:
            StorageError: a file can't be read, or a part is damaged.
            RunDirectoryError: a newer qfbatch wrote it.
        """
        models = {slug(str(model["name"])): str(model["name"]) for model in manifest.job.get("models", ())}
        shards = {shard.number for shard in manifest.survey.shards}
        found = self._found(manifest)
        sums = dict.fromkeys(models.values(), PartSummary())
        for (model_slug, shard), summary in found.items():
            if model_slug in models and shard in shards:
                sums[models[model_slug]] += summary
        rows = manifest.survey.rows
        return {name: standing_of(summary, max(0, rows - summary.rows)) for name, summary in sums.items()}

    def _found(self, manifest: Manifest) -> dict[_Key, PartSummary]:
        place = self._place
        if isinstance(place, StoredRun):
            logbook = place.logbook(manifest.log_id)
            reader = LogReader(place.store, logbook, manifest.survey.columns)
            return {shard_of_log(name): summary for name, summary in reader.totals(logbook.read()).items()}
        # Journals first: one goes only after the part that holds its rows has come.
        found = self._open_shards(place, manifest)
        listed = {key: path for key, path in list_parts(place).items() if key not in found}
        return found | self._closed_shards(listed)

    def _closed_shards(self, parts: Mapping[_Key, Path]) -> dict[_Key, PartSummary]:
        stamps = {key: _stamp(path) for key, path in parts.items()}
        changed = [key for key, stamp in stamps.items() if stamp is not None and self._is_news(key, stamp)]
        with ThreadPoolExecutor(_THREADS, "qfbatch-footers") as pool:
            for key, summary in zip(
                changed,
                pool.map(lambda key: _gone_is_none(read_part_summary, parts[key]), changed),
                strict=True,
            ):
                stamp = stamps[key]
                if summary is not None and stamp is not None:
                    self._parts[key] = stamp, summary
        return {key: self._parts[key][1] for key in parts if key in self._parts}

    def _is_news(self, key: _Key, stamp: _Stamp) -> bool:
        known = self._parts.get(key)
        return known is None or known[0] != stamp

    def _open_shards(self, layout: RunLayout, manifest: Manifest) -> dict[_Key, PartSummary]:
        found = {}
        for key, path in list_journals(layout).items():
            part = layout.results / f"part-{key[0]}-{key[1]:06d}.parquet"
            stamps = _stamp(path), _stamp(part)
            known = self._open.get(key)
            if known is not None and known[0] == stamps:
                found[key] = known[1]
                continue
            contents = _gone_is_none(read_journal, path)
            if contents is None or contents.header is None:
                continue  # closed just now, or nothing is committed in it yet
            header = contents.header
            if header.run_id != manifest.run_id or (slug(header.model), header.shard) != key:
                continue
            table = merge_rows(find_part_rows(part), contents.records, manifest.survey.columns)
            found[key] = summarise(table)
            self._open[key] = stamps, found[key]
        return found


def standing_of(summary: PartSummary, left: int) -> Standing:
    """A model's totals on disk as where it stands."""
    return Standing(
        succeeded=summary.succeeded,
        failed=summary.failed,
        skipped=summary.skipped,
        left=left,
        prompt_tokens=summary.prompt_tokens,
        completion_tokens=summary.completion_tokens,
        total_tokens=summary.total_tokens,
        discarded_tokens=summary.discarded_tokens,
        cost=summary.cost,
        discarded_cost=summary.discarded_cost,
    )


def _gone_is_none(read: Callable[[Path], T], path: Path) -> T | None:
    try:
        return read(path)
    except FileNotFoundError:
        return None


def _stamp(path: Path) -> _Stamp | None:
    with storage_errors(path, "look at"):
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
    return found.st_size, found.st_mtime_ns


__all__ = ["CommittedRows", "standing_of"]
