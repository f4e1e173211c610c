"""What crashed and fenced writers left in a run directory and nobody will read: found, and removed safely."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from qfbatch.checkpoint.commitlog import ShardLog
from qfbatch.checkpoint.files import storage_errors
from qfbatch.checkpoint.layout import TEMPORARY_PREFIX, RunLayout
from qfbatch.checkpoint.log_reading import PARTS
from qfbatch.checkpoint.logbook import LogName
from qfbatch.checkpoint.place import StoredRun
from qfbatch.storage.folder import FolderStore
from qfbatch.storage.objects import ObjectInfo
from qfbatch.storage.probe import FOLDER as TRIALS


def find_orphans(run: StoredRun, run_id: str) -> list[ObjectInfo]:
    """Objects that the log does not name: parts of writers that were killed or fenced, and of runs set aside.

    On a folder, temporary files of killed writers, too.

    While a process is at work some of them may be about to be named; `remove_orphans` makes sure.

    Args:
        run: the run.
        run_id: the manifest's.

    Raises:
        StorageError: the run can't be read.
    """
    # Listed before the logs are read: a part that is named meanwhile is then known as named.
    parts = list(run.store.list(PARTS))
    named = {key for log in run.logbook(run_id).read().values() for key in log.parts}
    temporary = run.store.temporaries() if isinstance(run.store, FolderStore) else ()
    return [*(info for info in parts if info.key not in named), *run.store.list(TRIALS), *temporary]


def remove_orphans(run: StoredRun, run_id: str, writer: str) -> list[ObjectInfo]:
    """Remove what `find_orphans` finds; for the holder of the run.

    A frozen writer might still name a part that it has put. So each shard concerned is claimed first: from
    then on nobody before can name anything, and what is not named then never will be.

    Args:
        run: the run.
        run_id: the manifest's.
        writer: names this process among all writers that ever were.

    Returns:
        What was removed.

    Raises:
        StorageError: the run can't be read or written.
    """
    logbook = run.logbook(run_id)
    found = find_orphans(run, run_id)
    by_log: defaultdict[LogName, list[ObjectInfo]] = defaultdict(list)
    removed = []
    for info in found:
        if info.key.startswith(PARTS) and not _is_temporary(info):
            by_log[info.key.removeprefix(PARTS).partition("/")[0]].append(info)
        else:
            removed.append(info)
    logs = logbook.read()
    for name, orphans in by_log.items():
        log = logbook.claim(name, logs.get(name, ShardLog()), writer)
        removed += [info for info in orphans if info.key not in log.parts]
    run.store.delete(info.key for info in removed)
    return removed


def find_temporaries(layout: RunLayout) -> list[Path]:
    """Temporary files of crashed writers in a folder with journals; every start of the run removes them.

    Raises:
        StorageError: a folder can't be read.
    """
    found: list[Path] = []
    for folder in (layout.path, layout.journals, layout.results):
        with storage_errors(folder, "read the folder"):
            found += sorted(folder.glob(f"{TEMPORARY_PREFIX}*"))
    return found


def _is_temporary(info: ObjectInfo) -> bool:
    return info.key.rpartition("/")[2].startswith(TEMPORARY_PREFIX)


def sizes(infos: Sequence[ObjectInfo]) -> int:
    """Bytes of these objects."""
    return sum(info.size for info in infos)


__all__ = ["find_orphans", "find_temporaries", "remove_orphans", "sizes"]
