"""Paths and names inside a run directory; no I/O.

manifest.json
run.lock
journal/<model-slug>-<shard>.journal          shards in progress
results/part-<model-slug>-<shard>.parquet     shards closed
input.keys                                    identities of the input's rows, to count changes
superseded/<n>/                               results of an input that has changed since
plan.json                                     what each session expected when it started
events.jsonl, status.json, report.json        written by others
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"

_PLAIN = re.compile(r"[a-z0-9_][a-z0-9._-]{0,63}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_PART = re.compile(r"part-(?P<slug>.+)-(?P<shard>[0-9]{6,})\.parquet")
_JOURNAL = re.compile(r"(?P<slug>.+)-(?P<shard>[0-9]{6,})\.journal")


def slug(model: str) -> str:
    """A model's name as part of file names: readable, safe everywhere, different for different models.

    A name of lower-case letters, digits, `.`, `_` and `-` stands as it is. Any other gets `~` and a short
    hash of the original; upper case counts as other, because some file systems fold it. Plain names hold no
    `~`, so the two kinds can't meet.
    """
    if _PLAIN.fullmatch(model):
        return model
    digest = hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    readable = _UNSAFE.sub("-", model)[:48].strip("-.")
    return f"{readable or 'model'}~{digest}"


@dataclass(frozen=True, slots=True)
class RunLayout:
    """Where everything of one run lies.

    Args:
        path: the run directory.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def manifest(self) -> Path:
        """What the run is: job, fingerprint, input, versions."""
        return self.path / "manifest.json"

    @property
    def keys(self) -> Path:
        """Identities of the input's rows, 16 bytes each, in order."""
        return self.path / "input.keys"

    @property
    def lock(self) -> Path:
        """Locked by the process that writes to the run."""
        return self.path / "run.lock"

    @property
    def journals(self) -> Path:
        """Folder of the open shards' journals."""
        return self.path / "journal"

    @property
    def results(self) -> Path:
        """Folder of the closed shards' parts."""
        return self.path / "results"

    @property
    def events(self) -> Path:
        """What happened, one JSON line each."""
        return self.path / "events.jsonl"

    @property
    def status(self) -> Path:
        """How the process that runs it sees it."""
        return self.path / "status.json"

    @property
    def superseded(self) -> Path:
        """Folder of the results that changes of the input have set aside, a folder for each time."""
        return self.path / "superseded"

    @property
    def plan(self) -> Path:
        """What each session expected when it started."""
        return self.path / "plan.json"

    @property
    def report(self) -> Path:
        """The last report."""
        return self.path / "report.json"

    def journal(self, model: str, shard: int) -> Path:
        """The journal of one model's shard."""
        return self.journals / f"{slug(model)}-{shard:06d}.journal"

    def part(self, model: str, shard: int) -> Path:
        """The part of one model's shard."""
        return self.results / f"part-{slug(model)}-{shard:06d}.parquet"


def shard_of_part(name: str) -> tuple[str, int] | None:
    """Slug and shard number in a part's file name; None for any other file."""
    found = _PART.fullmatch(name)
    return (found["slug"], int(found["shard"])) if found else None


def shard_of_journal(name: str) -> tuple[str, int] | None:
    """Slug and shard number in a journal's file name; None for any other file, quarantined ones included."""
    found = _JOURNAL.fullmatch(name)
    return (found["slug"], int(found["shard"])) if found else None


__all__ = ["TEMPORARY_PREFIX", "RunLayout", "shard_of_journal", "shard_of_part", "slug"]
