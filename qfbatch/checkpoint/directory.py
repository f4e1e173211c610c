"""A folder as a run directory: whose it is, made ready, what lies in it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from qfbatch.checkpoint.files import make_folder, storage_errors, sweep
from qfbatch.checkpoint.layout import TEMPORARY_PREFIX, RunLayout, shard_of_journal, shard_of_part
from qfbatch.checkpoint.logbook import shard_of_log
from qfbatch.checkpoint.place import RunPlace, StoredRun
from qfbatch.errors import RunDirectoryError


def check_directory(layout: RunLayout) -> None:
    """Refuse a folder that is not ours; to be called before the lock is taken, since that writes.

    Ours is: none yet, an empty one, one with a manifest, or one in which a first start was killed before its
    manifest was there (our lock file, and nothing that holds anything).

    Raises:
        RunDirectoryError: it holds something else.
        StorageError: it can't be read.
    """
    with storage_errors(layout.path, "read the folder"):
        if not os.path.lexists(layout.path):
            return
        if not layout.path.is_dir():
            raise RunDirectoryError(
                f"{layout.path} is a file, not a folder.", hint="Give the job another output.path."
            )
        names = set(os.listdir(layout.path))  # noqa: PTH208 - names are wanted, not paths
        if not names or layout.manifest.name in names:
            return
        empty = {f.name for f in (layout.journals, layout.results) if f.is_dir() and not any(f.iterdir())}
    started = {layout.lock.name, layout.events.name, layout.keys.name} if layout.lock.name in names else set()
    temporary = tuple(f"{TEMPORARY_PREFIX}{name}." for name in (layout.manifest.name, layout.keys.name))
    foreign = sorted(n for n in names - started - empty if not n.startswith(temporary))
    if foreign:
        raise RunDirectoryError(
            f"{layout.path} is not a run directory: it has no {layout.manifest.name}, but holds {foreign[0]}"
            + (f" and {len(foreign) - 1} more." if len(foreign) > 1 else "."),
            hint="Give the job another output.path, or move what is there away.",
        )


def prepare_directory(layout: RunLayout) -> None:
    """Create what is missing and remove what crashed writers left; for the holder of the lock.

    Raises:
        StorageError: it could not be done.
    """
    sweep(layout.path)
    for folder in (layout.journals, layout.results):
        make_folder(folder)
        sweep(folder)


def begun_models(place: RunPlace, run_id: str) -> set[str]:
    """Slugs of the models that have any answer in a run; a run without is a plan and nothing more.

    Raises:
        StorageError: the run directory can't be read.
    """
    if isinstance(place, StoredRun):
        book = place.logbook(run_id)
        logs = book.known() or book.read()  # asked more than once in a start
        return {shard_of_log(name)[0] for name, log in logs.items() if log.begun}
    return {model_slug for model_slug, _ in (*list_parts(place), *list_journals(place))}


def list_predecessors(place: RunPlace) -> list[RunLayout]:
    """The runs that `--fresh` set aside beside this one (`<name>.1`, `<name>.2`, …), the newest first.

    Raises:
        StorageError: the folder they stand in can't be read.
    """
    if isinstance(place, StoredRun):
        return []
    layout = place
    name = re.compile(re.escape(layout.path.name) + r"\.([1-9][0-9]*)")
    parent = layout.path.parent
    with storage_errors(parent, "read the folder"):
        names = os.listdir(parent) if parent.is_dir() else []  # noqa: PTH208 - names are wanted, not paths
    numbers = sorted((int(found[1]) for found in map(name.fullmatch, names) if found), reverse=True)
    return [RunLayout(parent / f"{layout.path.name}.{number}") for number in numbers]


def list_generations(layout: RunLayout) -> list[RunLayout]:
    """Results of this run that changes of its input have set aside, oldest first; see `list_parts`."""
    return [RunLayout(path) for path in _files(layout.superseded) if path.is_dir()]


def list_parts(layout: RunLayout) -> dict[tuple[str, int], Path]:
    """All parts by (slug, shard), in file name order.

    Raises:
        StorageError: the folder can't be read; a missing one is an empty one.
    """
    found = ((shard_of_part(path.name), path) for path in _files(layout.results))
    return {key: path for key, path in found if key is not None}


def list_journals(layout: RunLayout) -> dict[tuple[str, int], Path]:
    """All journals by (slug, shard), in file name order; see `list_parts`."""
    found = ((shard_of_journal(path.name), path) for path in _files(layout.journals))
    return {key: path for key, path in found if key is not None}


def _files(folder: Path) -> list[Path]:
    with storage_errors(folder, "read the folder"):
        try:
            return sorted(folder.iterdir())
        except FileNotFoundError:
            return []


__all__ = [
    "begun_models",
    "check_directory",
    "list_generations",
    "list_journals",
    "list_parts",
    "list_predecessors",
    "prepare_directory",
]
