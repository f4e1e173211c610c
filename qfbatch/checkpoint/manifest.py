"""The manifest: the file that makes a folder a run directory of ours."""

from __future__ import annotations

import msgspec

from qfbatch.checkpoint.files import replace_file
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.lock import last_word
from qfbatch.checkpoint.manifest_text import (
    FORMAT_VERSION,
    Manifest,
    Session,
    decode_manifest,
    encode_manifest,
)
from qfbatch.checkpoint.place import RunPlace, StoredRun, read_content
from qfbatch.checkpoint.stored_manifest import read_stored_manifest


def read_manifest(place: RunPlace) -> Manifest | None:
    """The run's manifest; None where there is none.

    A last session whose end found no room in it is told as the lock's file has it.

    Raises:
        RunDirectoryError: a newer qfbatch wrote it.
        StorageError: it can't be read, or it is damaged.
    """
    if isinstance(place, StoredRun):
        return read_stored_manifest(place)
    content = read_content(place, place.manifest.name)
    if content is None:
        return None
    manifest = decode_manifest(content, str(place.manifest))
    if manifest.sessions and manifest.sessions[-1].ended_at is None:
        ended = last_word(place)
        if ended is not None and ended.started_at == manifest.sessions[-1].started_at:
            return msgspec.structs.replace(manifest, sessions=(*manifest.sessions[:-1], ended))
    return manifest


def write_manifest(layout: RunLayout, manifest: Manifest) -> None:
    """Replace the manifest of a folder with journals, whole or not at all; for the holder of the lock.

    Raises:
        StorageError: it could not be written; the old one stands.
    """
    replace_file(layout.manifest, encode_manifest(manifest), points="manifest")


__all__ = ["FORMAT_VERSION", "Manifest", "Session", "read_manifest", "write_manifest"]
