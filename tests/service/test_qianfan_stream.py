"""Streamed answers of the V1 dialect: the end event, cuts, errors, usage, and bytes cut anywhere."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qfbatch.records import Action, Completion, ErrorKind, Failure, Usage, UsageSource
from qfbatch.service import sse
from qfbatch.service.qianfan import QianfanStream, QianfanV1

NO_HEADERS: dict[str, str] = {}
DIALECT = QianfanV1()
BROKEN = Failure(ErrorKind.CONNECTION, Action.RETRY, "the connection broke")
TRUNCATED = Failure(ErrorKind.TRUNCATED_STREAM, Action.RETRY, "the stream ended before its end event")
END = {"result": "", "is_end": True}


def decoder(status: int = 200) -> QianfanStream:
    """A fresh decoder."""
    return DIALECT.stream_decoder(status, NO_HEADERS.get, now=0.0)


def outcome_of(*chunks: bytes, status: int = 200, broken: Failure | None = None) -> Completion | Failure:
    """The outcome of a stream that arrives in these chunks."""
    stream = decoder(status)
    for chunk in chunks:
        stream.feed(chunk)
    return stream.finish(broken=broken)


def event(**fields: Any) -> bytes:
    """One event as the service sends it."""
    return b"data: " + json.dumps(fields, ensure_ascii=False).encode() + b"\n\n"


def usage(prompt: int | None, completion: int | None, total: int | None) -> dict[str, int]:
    """The usage object of an event, without what is None."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    return {name: count for name, count in counts.items() if count is not None}


def test_an_answer() -> None:
    """Pieces are joined in order; of each field, the last event that has it decides."""
    first = event(id="as-1", object="chat.completion", created=5, result=" 你", is_safe=1, sentence_id=0)
    second = event(id="as-2", result="好", is_end=False, need_clear_history=False, is_truncated=False)
    last = event(result="", is_end=True, finish_reason="normal", is_safe=0, usage=usage(1, 2, 3))
    assert outcome_of(first + second + last) == Completion(
        result=" 你好",
        usage=Usage(1, 2, 3),
        is_safe=False,
        need_clear_history=False,
        is_truncated=False,
        finish_reason="normal",
        response_id="as-2",
        object="chat.completion",
        created=5,
    )


def test_started_and_ended() -> None:
    """Time to first token is taken at the first text, and the worker leaves at the end event."""
    stream = decoder()
    assert (stream.started, stream.ended) == (False, False)
    stream.feed(b": ping\n\n" + event(result="", is_end=False))
    assert (stream.started, stream.ended) == (False, False)
    stream.feed(event(result="a", is_end=False))
    assert (stream.started, stream.ended) == (True, False)
    stream.feed(event(**END))
    assert (stream.started, stream.ended) == (True, True)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # The four documented samples.
        ([(5, 67, 72), (5, 24, 96)], Usage(5, 91, 96)),
        (
            [(6, 0, 6)] * 9 + [(6, 272, 278)] * 4 + [(6, 372, 378)],
            Usage(6, 372, 378),
        ),
        ([(1, 2, 3), (1, 24, 27)], Usage(1, 26, 27)),
        ([(1, 0, 1), (1, 29, 30)], Usage(1, 29, 30)),
        # Usage in the last event alone, of which the completion may be a delta.
        ([(5, 24, 96)], Usage(5, 91, 96)),
        # No totals: deltas are summed, cumulative counts are not.
        ([(5, 67, None), (5, 24, None)], Usage(5, 91, 96, UsageSource.ESTIMATED)),
        ([(5, 24, None), (5, 67, None)], Usage(5, 67, 72, UsageSource.ESTIMATED)),
        ([(5, 7, None), (None, 7, None)], Usage(5, 7, 12, UsageSource.ESTIMATED)),
        ([(5, 7, None)], Usage(5, 7, 12, UsageSource.ESTIMATED)),
        ([(5, None, None)], Usage(5, 0, 5, UsageSource.ESTIMATED)),
        # No prompt count: nothing says how the total divides.
        ([(None, 7, 9)], Usage(0, 9, 9, UsageSource.ESTIMATED)),
        # Absurd numbers.
        ([(5, 7, 3)], Usage(5, 0, 5)),
        ([(5, 7, 12), (-5, -7, -12)], Usage(5, 7, 12)),
        ([(5, 7, 12), (10**300, 10**20, 2**63)], Usage(5, 7, 12)),
        ([(None, None, None)], None),
    ],
)
def test_usage(counts: list[tuple[int | None, int | None, int | None]], expected: Usage | None) -> None:
    """Prompt and total are maxima over the events, completion is their difference."""
    events = [event(result="x", is_end=False, usage=usage(*each)) for each in counts]
    assert outcome_of(*events, event(**END)) == Completion("x" * len(counts), usage=expected)


@pytest.mark.parametrize("odd", [None, 5, "x", [], [1], {"prompt_tokens": "x", "total_tokens": None}])
def test_usage_of_a_wrong_type_is_unknown(odd: object) -> None:
    """A usage that is no usage neither fails the answer nor counts."""
    assert outcome_of(event(result="x", usage=odd), event(**END)) == Completion("x")


TEXT = 'a你好😀\n\r"\\ data: z'
STREAM = (
    b": hello\r\n\r\n"
    + event(result=TEXT, is_end=False, usage=usage(2, 3, 5)).replace(b"data: ", b"data:", 1)
    + b"event: message\n"
    + event(result=TEXT, is_end=False, usage=usage(2, 4, 9)).replace(b"\n", b"\r\n")
    + b"data: [DONE]\r\r"
    + event(result="", is_end=True, usage=usage(2, 0, 9)).replace(b"\n", b"\r")
    + event(result="after the end", is_end=False)
    + b"data: {broken\n\n"
)
WHOLE = Completion(TEXT * 2, usage=Usage(2, 7, 9))


def test_everything_a_server_may_send() -> None:
    """Comments, CRLF, CR, `event:` lines, `[DONE]` and what follows the end event disturb no answer."""
    assert outcome_of(STREAM) == WHOLE
    assert outcome_of(*(STREAM[i : i + 1] for i in range(len(STREAM)))) == WHOLE
    assert outcome_of(b"\xef\xbb\xbf" + STREAM) == WHOLE


def chunked(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The stream cut at these places."""
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.integers(0, 10_000), max_size=12))
def test_chunk_boundaries_may_fall_anywhere(cuts: list[int]) -> None:
    """Any split of the bytes, inside characters too, gives the same answer."""
    assert outcome_of(*chunked(STREAM, cuts)) == WHOLE


@given(st.binary(), st.lists(st.integers(0, 200), max_size=6), st.sampled_from([200, 302, 400, 500]))
@example(b"\t[", [1], 200)
@example(b" data: {}\n\n", [1], 200)
def test_any_bytes_have_one_outcome(stream: bytes, cuts: list[int], status: int) -> None:
    """Arbitrary bytes never raise, are never an answer, and mean the same however they are cut."""
    expected = outcome_of(stream, status=status)
    assert isinstance(expected, Failure)
    assert outcome_of(*chunked(stream, cuts), status=status) == expected


FIELD = st.sampled_from(["result", "is_end", "usage", "error_code", "error_msg", "is_safe", "created", "id"])
VALUE: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, 4, 336003, -7, 1.5, "", "x", "9" * 5000, [], {}, {"total_tokens": 3}]
)


@given(
    st.lists(st.dictionaries(FIELD, VALUE).map(lambda fields: event(**fields)), max_size=5),
    st.lists(st.integers(0, 10_000), max_size=6),
    st.booleans(),
)
def test_any_events_have_one_outcome(events: list[bytes], cuts: list[int], broken: bool) -> None:  # noqa: FBT001 - drawn
    """Events of any shape never raise, mean the same however they are cut, and end as something to store."""
    stream = b"".join(events)
    cause = BROKEN if broken else None
    outcome = outcome_of(stream, broken=cause)
    assert outcome_of(*chunked(stream, cuts), broken=cause) == outcome
    msgspec.json.encode(outcome)


def test_cut_between_events() -> None:
    """A stream that ends without its end event is no answer; what it cost is kept."""
    piece = event(result="half", is_end=False, usage=usage(2, 3, 5))
    kept = msgspec.structs.replace(TRUNCATED, usage=Usage(2, 3, 5))
    assert outcome_of(piece) == kept
    assert outcome_of(piece, b"data: [DONE]\n\n") == kept
    assert outcome_of(piece, broken=BROKEN) == msgspec.structs.replace(BROKEN, usage=Usage(2, 3, 5))


def test_cut_anywhere_in_the_last_event() -> None:
    """A cut inside an event is a truncated stream as well, not an unreadable one; whole, the event counts."""
    piece = event(result="half", is_end=False, usage=usage(2, 3, 5))
    last = event(result="!", is_end=True, usage=usage(2, 4, 6)).rstrip()
    kept = msgspec.structs.replace(TRUNCATED, usage=Usage(2, 3, 5))
    assert [outcome_of(piece + last[:end]) for end in range(len(last))] == [kept] * len(last)
    assert outcome_of(piece + last) == Completion("half!", usage=Usage(2, 4, 6))


def test_cut_after_the_end_event() -> None:
    """An answer whose end event arrived stands, whatever then happens to the connection."""
    assert outcome_of(event(result="x", is_end=True), broken=BROKEN) == Completion("x")
    assert outcome_of(event(result="x", is_end=True), b"data: {cut", broken=BROKEN) == Completion("x")


@pytest.mark.parametrize(
    "stream", [b"", b"\n\n", b": ping\n\n", b"data: [DONE]\n\n", b"data:\n\n", b"upstream error"]
)
def test_an_empty_stream_is_truncated(stream: bytes) -> None:
    """A stream without an answer is never an empty answer."""
    assert outcome_of(stream) == TRUNCATED
    assert outcome_of(stream, broken=BROKEN) == BROKEN


def test_an_error_before_the_first_event() -> None:
    """The service refuses stream requests with plain JSON; so it is understood, in any chunks."""
    body = b' \n{"error_code": 336003, "error_msg": "too long", "id": "as-1"}'
    refused = Failure(ErrorKind.INVALID_REQUEST, Action.ROW, "too long", code=336003)
    assert outcome_of(body) == refused
    assert outcome_of(*(body[i : i + 1] for i in range(len(body)))) == refused


def test_an_error_in_the_middle() -> None:
    """An error object ends the stream: the partial text is dropped, its tokens are kept, the rest ignored."""
    stream = decoder()
    stream.feed(event(result="half", is_end=False, usage=usage(2, 3, 5)))
    stream.feed(event(error_code=336100, error_msg="busy"))
    assert stream.ended
    stream.feed(event(result="x", is_end=True))
    assert stream.finish() == Failure(
        ErrorKind.OVERLOADED, Action.THROTTLE, "busy", code=336100, usage=Usage(2, 3, 5)
    )


@pytest.mark.parametrize(
    "data", [b"{broken", b"[1]", b"null", b"\xff", b'{"result":"\\ud800"}', b"[" * 100_000]
)
def test_an_event_that_is_not_an_object(data: bytes) -> None:
    """An unreadable event spoils the answer: text may have been lost with it."""
    outcome = outcome_of(event(result="a"), b"data: " + data + b"\n\n", event(**END))
    assert outcome == Failure(
        ErrorKind.BAD_ANSWER, Action.RETRY, "an event of the stream is not a JSON object"
    )


@pytest.mark.parametrize("result", [5, True, ["x"], {"text": "x"}])
def test_a_result_that_is_not_text(result: object) -> None:
    """A piece that is not text is not dropped in silence."""
    outcome = outcome_of(event(result="a"), event(result=result), event(**END))
    assert outcome == Failure(ErrorKind.BAD_ANSWER, Action.RETRY, "the `result` of an event is not text")


def test_a_result_that_never_came() -> None:
    """An end event alone is no answer, as a whole answer without `result` is none; an empty text is one."""
    missing = Failure(
        ErrorKind.BAD_ANSWER, Action.RETRY, "the stream has no `result` text", usage=Usage(1, 0, 1)
    )
    assert outcome_of(event(is_end=True, usage=usage(1, 0, 1))) == missing
    assert outcome_of(event(is_end=True, result=None, usage=usage(1, 0, 1))) == missing
    assert outcome_of(event(result="")) == TRUNCATED
    assert outcome_of(event(**END)) == Completion("")


@pytest.mark.parametrize("end", [True, 1])
def test_the_end_as_a_flag(end: object) -> None:
    """`is_end` is a flag like the others: 1 and true end the answer, nothing else does."""
    assert outcome_of(event(result="x", is_end=end)) == Completion("x")


@pytest.mark.parametrize("end", [False, 0, None, "true", 2, [1]])
def test_not_the_end(end: object) -> None:
    """What is not a true flag does not end the answer."""
    assert outcome_of(event(result="x", is_end=end)) == TRUNCATED


def test_a_whole_answer_to_a_stream_request() -> None:
    """A server that cannot stream and answers as a whole has answered all the same."""
    body = json.dumps({"result": "x", "is_end": True, "usage": usage(1, 2, 3)}).encode()
    assert outcome_of(body[:7], body[7:]) == Completion("x", usage=Usage(1, 2, 3))
    assert outcome_of(body[:7], broken=BROKEN) == BROKEN


def test_a_page_instead_of_a_stream() -> None:
    """A gateway's page is a bad answer with status 200, and what the status says otherwise."""
    page = b"<html>502</html>"
    assert outcome_of(page) == Failure(
        ErrorKind.BAD_ANSWER, Action.RETRY, "the answer is not a JSON object (16 bytes)"
    )
    assert outcome_of(page, status=502) == Failure(ErrorKind.SERVER, Action.RETRY, "HTTP 502", code=502)


def test_a_status_other_than_200_is_never_an_answer() -> None:
    """A stream with an error status is its failure, even where it carries events."""
    assert outcome_of(event(result="x", is_end=True), status=403) == Failure(
        ErrorKind.PERMISSION, Action.JOB, "HTTP 403", code=403
    )


def test_an_endless_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that never ends is a bad answer and ends the reading."""
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    stream = decoder()
    stream.feed(b"data: " + b"x" * 2000)
    assert stream.ended
    assert stream.finish() == Failure(ErrorKind.BAD_ANSWER, Action.RETRY, "an event of more than 1000 bytes")
