"""The keys of rows, which runs keep on disk."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from qfbatch.reader.keys import row_keys


def key(text: bytes) -> bytes:
    """Half of a key."""
    return blake2b(text, digest_size=8).digest()


def test_keys_stay_what_they_are() -> None:
    """A run begun with an earlier version is compared by the same keys: of id, prompt and own parameters."""
    rows: list[dict[str, Any]] = [{}, {"parameters": None}, {"parameters": {"top_p": 0.5, "stop": ["x"]}}]
    prompts = ["a", "你好", "a"]
    halves = [key(b"a"), key("你好".encode()), key(b'a\0{"stop":["x"],"top_p":0.5}')]
    ids = [key(b"r0"), key(b"r1"), key(b"r2")]
    with_ids = b"".join(of_id + content for of_id, content in zip(ids, halves, strict=True))
    assert row_keys(["r0", "r1", "r2"], prompts, rows) == with_ids
    assert row_keys([], prompts, rows) == b"".join(bytes(8) + content for content in halves)
    assert row_keys([], ["\ud800"], [{}]) == bytes(8) + key("\ud800".encode("utf-8", "surrogatepass"))
