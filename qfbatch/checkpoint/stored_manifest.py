"""The manifest of a run with a commit log: nothing of it is replaced, so nobody thawed puts back an old one.

manifest.json                what the run began as
sessions/<n>.json            who holds the run since: the numbers are the run's fence
sessions/<n>.manifest.json   what is in force in that session
sessions/<n>.pulse           moves while that session lives
sessions/<n>.end.json        how it ended
"""

from __future__ import annotations

import msgspec

from qfbatch.checkpoint import faultpoints
from qfbatch.checkpoint.manifest_text import Manifest, Session, decode_manifest, encode_manifest
from qfbatch.checkpoint.place import SESSIONS, StoredRun

NAME = "manifest.json"


def holder_key(number: int) -> str:
    """Where session `number` says who it is."""
    return f"{SESSIONS}{number:06d}.json"


def pulse_key(number: int) -> str:
    """Where session `number` shows that it lives."""
    return f"{SESSIONS}{number:06d}.pulse"


def end_key(number: int) -> str:
    """Where session `number` says how it ended."""
    return f"{SESSIONS}{number:06d}.end.json"


def _manifest_key(number: int) -> str:
    return f"{SESSIONS}{number:06d}.manifest.json"


def last_session(run: StoredRun) -> int:
    """The number of the latest session; 0 where there was none."""
    return _highest(run, ".json")


def read_stored_manifest(run: StoredRun) -> Manifest | None:
    """The manifest in force; None where there is no run.

    Raises:
        RunDirectoryError: a newer qfbatch wrote it.
        StorageError: it can't be read, or it is damaged.
    """
    number = _highest(run, ".manifest.json")
    name = _manifest_key(number) if number else NAME
    content = run.store.get(name)
    if content is None:
        return None
    manifest = decode_manifest(content, f"{run}/{name}")
    ended = run.store.get(end_key(number)) if number else None
    if ended is None:
        return manifest
    session = msgspec.json.decode(ended, type=Session)
    return msgspec.structs.replace(manifest, sessions=(*manifest.sessions[:-1], session))


def write_stored_manifest(run: StoredRun, number: int, manifest: Manifest) -> None:
    """Have a manifest in force, as of session `number`.

    Raises:
        StorageError: it could not be written.
    """
    content = encode_manifest(manifest)
    run.store.put_if_absent(NAME, content)
    run.store.put_if_absent(_manifest_key(number), content)
    faultpoints.hit("log.manifest-put")


def write_end(run: StoredRun, number: int, session: Session) -> None:
    """Say how session `number` ended.

    Raises:
        StorageError: it could not be written.
    """
    run.store.put_if_absent(end_key(number), msgspec.json.encode(session))


def _highest(run: StoredRun, suffix: str) -> int:
    names = (info.key.removeprefix(SESSIONS) for info in run.store.list(SESSIONS))
    numbers = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


__all__ = [
    "end_key",
    "holder_key",
    "last_session",
    "pulse_key",
    "read_stored_manifest",
    "write_end",
    "write_stored_manifest",
]
