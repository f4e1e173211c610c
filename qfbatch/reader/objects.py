"""Which objects an `s3://` entry of the job's paths names: one, all below a prefix, or those of a pattern."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from fnmatch import fnmatchcase

from qfbatch.storage.address import Address
from qfbatch.storage.objects import ObjectInfo, ObjectStore


def named_objects(store: ObjectStore, address: Address) -> list[ObjectInfo]:
    """The objects of an entry, sorted by key; none where it names nothing.

    A key that is an object is that object; else it is a folder, and hidden names below it are left out; else
    a pattern, in which `*`, `?` and `[…]` stay within a step and `**` stands for any number of steps.

    Args:
        store: the bucket.
        address: the entry.

    Raises:
        StorageError: the bucket can't be listed.
    """
    key = address.key
    one = store.stat(key) if key else None
    if one is not None:
        return [one]
    if not glob.has_magic(key):
        below = f"{key}/" if key else ""
        return [info for info in store.list(below) if not _hidden(info.key.removeprefix(below))]
    steps = key.split("/")
    prefix = "/".join([*steps[: _first_magic(steps)], ""])
    return [info for info in store.list(prefix) if _matches(info.key.split("/"), steps)]


def _first_magic(steps: Sequence[str]) -> int:
    return next(index for index, step in enumerate(steps) if glob.has_magic(step))


def _hidden(path: str) -> bool:
    return any(step.startswith(".") for step in path.split("/"))


def _matches(steps: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not steps
    if pattern[0] == "**":
        return any(_matches(steps[skip:], pattern[1:]) for skip in range(len(steps) + 1))
    if not steps or (steps[0].startswith(".") and not pattern[0].startswith(".")):
        return False
    return fnmatchcase(steps[0], pattern[0]) and _matches(steps[1:], pattern[1:])


__all__ = ["named_objects"]
