"""A row's identity in 16 bytes, so that a later start can count which rows of a changed input are new.

Only for counting: which answers are kept is decided by comparing what was asked, not by these hashes.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from qfbatch.reader.rows import PARAMETERS

KEY_BYTES = 16  # 8 of the id, 8 of the content, little-endian

_encode = msgspec.json.Encoder(order="sorted").encode


def row_keys(ids: Sequence[str], prompts: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The keys of consecutive rows, `KEY_BYTES` each.

    Args:
        ids: their ids; empty where ids are derived, whose half of the key is then zero.
        prompts: their prompts.
        rows: their columns, of which only their own parameters count.
    """
    keys = array("Q")
    for index, prompt in enumerate(prompts):
        keys.append(_hash(ids[index].encode("utf-8", "surrogatepass")) if ids else 0)
        content = prompt.encode("utf-8", "surrogatepass")
        own = rows[index].get(PARAMETERS)
        keys.append(_hash(content + b"\0" + _encode(own)) if own else _hash(content))
    return keys.tobytes()


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")
