"""A row's identity in 16 bytes, so that a later start can count which rows of a changed input are new.

Only for counting: which answers are kept is decided by comparing what was asked, not by these hashes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from qfbatch.reader.rows import PARAMETERS

KEY_BYTES = 16  # 8 of the id, 8 of the content
_NO_ID = bytes(8)

_encode = msgspec.json.Encoder(order="sorted").encode


def row_keys(ids: Sequence[str], prompts: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The keys of consecutive rows, `KEY_BYTES` each.

    Args:
        ids: their ids; empty where ids are derived, whose half of the key is then zero.
        prompts: their prompts.
        rows: their columns, of which only their own parameters count.
    """
    halves: list[bytes] = []
    for index, prompt in enumerate(prompts):
        halves.append(_hash(ids[index].encode("utf-8", "surrogatepass")) if ids else _NO_ID)
        content = prompt.encode("utf-8", "surrogatepass")
        own = rows[index].get(PARAMETERS)
        halves.append(_hash(content + b"\0" + _encode(own)) if own else _hash(content))
    return b"".join(halves)


def _hash(content: bytes) -> bytes:
    return blake2b(content, digest_size=8).digest()
