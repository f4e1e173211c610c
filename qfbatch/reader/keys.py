"""A row's identity in 16 bytes, so that a later start can count which rows of a changed input are new.

Only for counting: which answers are kept is decided by comparing what was asked, not by these hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import chain, repeat
from typing import Any

import msgspec

from qfbatch.reader.rows import PARAMETERS

KEY_BYTES = 16  # 8 of the id, 8 of the content
_NO_ID = bytes(8)
_NOTHING = blake2b(digest_size=8)

_encode = msgspec.json.Encoder(order="sorted").encode


def row_keys(ids: Sequence[str], prompts: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The keys of consecutive rows, `KEY_BYTES` each.

    Args:
        ids: their ids; empty where ids are derived, whose half of the key is then zero.
        prompts: their prompts.
        rows: their columns, of which only their own parameters count.
    """
    contents = _encoded(prompts)
    parameters = [row.get(PARAMETERS) for row in rows]
    if any(parameters):
        contents = [
            content + b"\0" + _encode(own) if own else content
            for content, own in zip(contents, parameters, strict=True)
        ]
    of_ids = _hashes(_encoded(ids)) if ids else repeat(_NO_ID, len(contents))
    return b"".join(chain.from_iterable(zip(of_ids, _hashes(contents), strict=True)))


def _encoded(texts: Sequence[str]) -> list[bytes]:
    try:
        return list(map(str.encode, texts))
    except UnicodeEncodeError:  # half a character: no text that was read has one, but one may be given
        return [text.encode("utf-8", "surrogatepass") for text in texts]


def _hashes(contents: Iterable[bytes]) -> list[bytes]:
    hashes = []
    for content in contents:
        one = _NOTHING.copy()  # half of what it costs to make one
        one.update(content)
        hashes.append(one.digest())
    return hashes
