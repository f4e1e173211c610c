"""What a run is, and how that is written down; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from qfbatch.errors import RunDirectoryError, StorageError
from qfbatch.records import Survey

FORMAT_VERSION = 1


class Session(msgspec.Struct, frozen=True):
    """One process's stay in the run.

    Attributes:
        started_at: ISO 8601, UTC.
        ended_at: likewise; None while it runs, and for ever if it was killed.
        exit_code: what it exited with; None likewise.
        note: one line of what it did or why it ended.
        in_flight: calls that could be on their way at once; 0 in runs of qfbatch before 0.2.
    """

    started_at: str
    ended_at: str | None = None
    exit_code: int | None = None
    note: str = ""
    in_flight: int = 0


class Manifest(msgspec.Struct, frozen=True):
    """A run's identity.

    Attributes:
        run_id: ties journals and parts to this run.
        created_at: ISO 8601, UTC.
        qfbatch_version, python, platform: what created it.
        job: the job as in force, without secrets.
        fingerprint: what decides the results, field by field; a resume compares it.
        survey: the input as it was surveyed: files with digests, shards, columns.
        sessions: oldest first.
        format_version: of the run directory.
        generation: which results count, in a run with a commit log whose input has changed; else empty.
    """

    run_id: str
    created_at: str
    qfbatch_version: str
    python: str
    platform: str
    job: dict[str, Any]
    fingerprint: dict[str, Any]
    survey: Survey
    sessions: tuple[Session, ...] = ()
    format_version: int = FORMAT_VERSION
    generation: str = ""

    @property
    def log_id(self) -> str:
        """The id under which commit logs know this run, as it is since its input last changed."""
        return f"{self.run_id}.{self.generation}" if self.generation else self.run_id


class _Version(msgspec.Struct):
    format_version: int


def decode_manifest(content: bytes, name: str) -> Manifest:
    """A manifest from its text.

    Args:
        content: the text.
        name: of the file, for messages.

    Raises:
        RunDirectoryError: a newer qfbatch wrote it.
        StorageError: it is damaged.
    """
    try:
        version = msgspec.json.decode(content, type=_Version).format_version
        if version > FORMAT_VERSION:
            raise RunDirectoryError(
                f"{name}: written by a newer qfbatch (format {version}; this one knows {FORMAT_VERSION}).",
                hint="Upgrade qfbatch, or give this job another output.path.",
            )
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StorageError(
            f"{name}: damaged: {error}",
            hint="Restore this file from a copy. Without it nothing tells what the answers in that folder "
            "belong to; they stay readable in results/. `--fresh` starts again in a new run directory.",
        ) from error


def encode_manifest(manifest: Manifest) -> bytes:
    """A manifest as text, for people too."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


__all__ = ["FORMAT_VERSION", "Manifest", "Session", "decode_manifest", "encode_manifest"]
