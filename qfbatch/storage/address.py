"""Addresses of object storage: `s3://bucket/key`; no I/O."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from qfbatch.errors import UsageError

SCHEME = "s3://"


class Address(NamedTuple):
    """A place in object storage.

    Attributes:
        bucket: the bucket.
        key: the object's key, or a prefix of keys; without a slash at either end; may be empty.
    """

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}" if self.key else f"{SCHEME}{self.bucket}"


def is_stored(path: str) -> bool:
    """Whether a path of a job names object storage."""
    return path.startswith(SCHEME)


def parse_address(path: str) -> Address:
    """The bucket and key of an `s3://` path.

    Raises:
        UsageError: there is no bucket, or the key has an empty step or one of dots.
    """
    bucket, _, key = path.removeprefix(SCHEME).partition("/")
    key = key.strip("/")
    if not is_stored(path) or not bucket or any(step in ("", ".", "..") for step in key.split("/") if key):
        raise UsageError(f"{path}: not an address in object storage", hint="Write s3://bucket/prefix.")
    return Address(bucket, key)


def parse_path(path: str) -> Path | Address:
    """A path on this machine, or an address in object storage.

    Raises:
        UsageError: as `parse_address`.
    """
    return parse_address(path) if is_stored(path) else Path(path)


__all__ = ["SCHEME", "Address", "is_stored", "parse_address", "parse_path"]
