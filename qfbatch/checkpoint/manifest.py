"""The manifest: the file that makes a folder a run directory of ours."""

from __future__ import annotations

from qfbatch.checkpoint.files import replace_file
from qfbatch.checkpoint.layout import RunLayout
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

    Raises:
        RunDirectoryError: a newer qfbatch wrote it.
        StorageError: it can't be read, or it is damaged.
    """
    if isinstance(place, StoredRun):
        return read_stored_manifest(place)
    content = read_content(place, place.manifest.name)
    return None if content is None else decode_manifest(content, str(place.manifest))


def write_manifest(layout: RunLayout, manifest: Manifest) -> None:
    """Replace the manifest of a folder with journals, whole or not at all; for the holder of the lock.

    Raises:
        StorageError: it could not be written; the old one stands.
    """
    replace_file(layout.manifest, encode_manifest(manifest), points="manifest")


__all__ = ["FORMAT_VERSION", "Manifest", "Session", "read_manifest", "write_manifest"]
