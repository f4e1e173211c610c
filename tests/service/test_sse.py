"""The event stream parser."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.service import sse
from qfbatch.service.sse import EventParser, EventTooLarge


def payloads(*chunks: bytes) -> list[bytes]:
    """All payloads of a stream that arrives in these chunks."""
    parser = EventParser()
    return [payload for chunk in chunks for payload in parser.feed(chunk)] + parser.finish()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
        (b": hello\n\ndata: a\n: ping\n\n", [b"a"]),
        (b"event: message\nid: 7\nretry: 10\ndata: a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"data:\n\ndata: \n\ndata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"database: a\n\nnonsense\n\n", []),
        (b"", []),
    ],
)
def test_grammar(stream: bytes, expected: list[bytes]) -> None:
    """Events are found in everything that servers send as a stream, whole or byte by byte."""
    assert payloads(stream) == expected
    assert payloads(*(stream[i : i + 1] for i in range(len(stream)))) == expected


def test_a_line_end_may_fall_between_chunks() -> None:
    """A CR at the end of a chunk ends its event at once, and the LF after it is no line of its own."""
    parser = EventParser()
    assert parser.feed(b"data: a\r\n\r") == [b"a"]
    assert parser.feed(b"") == []
    assert parser.feed(b"\ndata: b\n\n") == [b"b"]


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_chunks_do_not_matter(stream: bytes, cuts: list[int]) -> None:
    """However any bytes are cut into chunks, the payloads are the same."""
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    assert payloads(*chunks) == payloads(stream)


@pytest.mark.parametrize("chunk", [b"x" * 10, b"data: xx\n"])
def test_an_endless_event_is_refused(chunk: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that never ends, on one line or many, costs bounded memory."""
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 50)
    parser = EventParser()
    assert [parser.feed(chunk) for _ in range(5)] == [[]] * 5
    with pytest.raises(EventTooLarge):
        deque((parser.feed(chunk) for _ in range(50)), maxlen=0)
