"""What every dialect promises, held for each of them by its kit."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfbatch.job.values import AUTHS
from qfbatch.records import Action, Completion, ErrorKind, Failure, Usage
from qfbatch.service.dialects import DIALECTS

from .kits import BUILT_IN, Kit, Refused, documented

NO_HEADERS: dict[str, str] = {}
NOW = 1445412480.0  # Wed, 21 Oct 2015 07:28:00 GMT
KITS = [*BUILT_IN, documented()[1]]
BROKEN = Failure(ErrorKind.CONNECTION, Action.RETRY, "the connection broke")
PIECES = ["a你", "好😀", "\n\r", '"\\ data: z', " end"]

BY_KIT = pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.dialect.name)
BY_REFUSAL = pytest.mark.parametrize(
    ("kit", "refused"),
    [
        pytest.param(kit, refused, id=f"{kit.dialect.name}-{refused.status}-{number}")
        for kit in KITS
        for number, refused in enumerate(kit.refused)
    ],
)


def streamed(
    kit: Kit,
    *chunks: bytes,
    status: int = 200,
    headers: dict[str, str] = NO_HEADERS,
    broken: Failure | None = None,
) -> Completion | Failure:
    """The outcome of a stream that arrives in these chunks."""
    decoder = kit.dialect.stream_decoder(status, headers.get, now=NOW)
    for chunk in chunks:
        decoder.feed(chunk)
        if decoder.ended:  # the worker leaves here
            break
    return decoder.finish(broken=broken)


def whole(kit: Kit, status: int, body: bytes, headers: dict[str, str] = NO_HEADERS) -> Completion | Failure:
    """The outcome of a whole answer."""
    return kit.dialect.decode(status, headers.get, body, now=NOW)


def bytewise(stream: bytes) -> list[bytes]:
    """One chunk a byte."""
    return [stream[i : i + 1] for i in range(len(stream))]


def test_every_dialect_has_its_kit() -> None:
    """No dialect is left out of this suite, and each is registered under its own name."""
    assert [kit.dialect.name for kit in BUILT_IN] == list(DIALECTS)
    assert {name: dialect.name for name, dialect in DIALECTS.items()} == {name: name for name in DIALECTS}


@BY_KIT
def test_what_a_job_may_say(kit: Kit) -> None:
    """Ways to authorise are those of job files, `auto` and `none` among them, and addresses have no slash."""
    access = kit.dialect.access
    assert set(access.auths) - set(AUTHS) == set()
    assert {"auto", "none"} <= set(access.auths)
    assert not access.base_url.endswith("/")
    assert kit.dialect.refuse_endpoint(kit.endpoint) is None


@BY_KIT
@pytest.mark.parametrize("stream", [False, True])
def test_a_request(kit: Kit, stream: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A call has a path from the base URL, JSON with prompt and parameters, and says if it streams."""
    call = kit.dialect.encode(kit.endpoint, "é\n", {"top_p": 0.5, "stream": stream})
    assert call.path.startswith("/")
    assert call.path.isascii()
    assert call.stream is stream
    assert msgspec.json.decode(call.body)["top_p"] == 0.5
    assert "é\\n".encode() in call.body


@BY_REFUSAL
def test_a_refusal(kit: Kit, refused: Refused) -> None:
    """Every code and status, in every form it comes in: kind, action, code and words."""
    assert whole(kit, refused.status, refused.body) == refused.failure


@BY_REFUSAL
def test_a_refusal_of_a_stream(kit: Kit, refused: Refused) -> None:
    """A stream request that is refused as a whole means the same, in one chunk or byte by byte."""
    assert streamed(kit, refused.body, status=refused.status) == refused.failure
    assert streamed(kit, *bytewise(refused.body), status=refused.status) == refused.failure


@BY_KIT
def test_an_error_in_the_middle_of_a_stream(kit: Kit) -> None:
    """The partial text is dropped, and what follows the error does not matter."""
    first, *_, last = kit.events(PIECES)
    for refused in kit.broken_off:
        stream = first + b"data: " + refused.body + b"\n\n" + last
        assert streamed(kit, stream) == refused.failure
        assert streamed(kit, *bytewise(stream)) == refused.failure


@BY_KIT
def test_an_answer(kit: Kit) -> None:
    """A whole answer and the same as a stream are the same answer."""
    text = "".join(PIECES)
    for outcome in (whole(kit, 200, kit.whole(text)), streamed(kit, *kit.events(PIECES))):
        assert isinstance(outcome, Completion)
        assert (outcome.result, outcome.usage, outcome.response_id) == (text, Usage(3, 2, 5), "a")
    # A server that cannot stream and answers as a whole has answered all the same.
    assert streamed(kit, *bytewise(kit.whole(text))) == whole(kit, 200, kit.whole(text))


@pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.dialect.name)
@settings(deadline=10_000)
@given(cuts=st.lists(st.integers(0, 2000), max_size=8), ends=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_chunks_and_line_ends_do_not_matter(kit: Kit, cuts: list[int], ends: bytes) -> None:
    """Wherever the bytes of a stream are cut, inside a character too, the answer is the same."""
    stream = b": ping\n\n".join(kit.events(PIECES)).replace(b"\n", ends)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    assert streamed(kit, *chunks) == streamed(kit, *kit.events(PIECES))


@BY_KIT
def test_a_stream_cut_anywhere(kit: Kit) -> None:
    """A cut stream is never an answer with less text: it is retried, or it was complete."""
    stream = b"".join(kit.events(PIECES))
    complete = streamed(kit, stream)
    assert isinstance(complete, Completion)
    for end in range(len(stream)):
        outcome = streamed(kit, stream[:end])
        cut = streamed(kit, stream[:end], broken=BROKEN)
        if isinstance(outcome, Completion):
            assert outcome.result == complete.result
            assert outcome == cut
        else:
            assert (outcome.kind, outcome.action) == (ErrorKind.TRUNCATED_STREAM, Action.RETRY)
            assert isinstance(cut, Failure)
            assert (cut.kind, cut.action) == (BROKEN.kind, BROKEN.action)


@BY_KIT
def test_started_and_ended(kit: Kit) -> None:
    """Time to first token is taken at the first text, and the worker leaves at the end event."""
    decoder = kit.dialect.stream_decoder(200, NO_HEADERS.get, now=NOW)
    *pieces, last = kit.events(["", "a"])
    seen = [(decoder.started, decoder.ended)]
    for piece in pieces:
        decoder.feed(piece)
        seen.append((decoder.started, decoder.ended))
    assert seen[:3] == [(False, False), (False, False), (True, False)]
    assert not decoder.ended
    decoder.feed(last)
    assert decoder.ended


@BY_KIT
@pytest.mark.parametrize(
    ("value", "wait_s"), [("7", 7.0), ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0), ("soon", None)]
)
def test_retry_after(kit: Kit, value: str, wait_s: float | None) -> None:
    """What a refusal asks to wait is read in seconds and as a date, whole and streamed."""
    headers = {"retry-after": value}
    for refused in kit.refused:
        expected = msgspec.structs.replace(refused.failure, retry_after_s=wait_s)
        assert whole(kit, refused.status, refused.body, headers) == expected


@BY_KIT
def test_no_secret_comes_through(kit: Kit) -> None:
    """What a service repeats of the credentials is blanked, wherever it repeats it."""
    key = "sk-proj-0123456789abcdefABCDEF"
    said = [b"Incorrect API key provided: %b.", b"Authorization: Bearer %b", b"api_key=%b", b"key %b is bad"]
    for refused in kit.refused + kit.broken_off:
        for words in said:
            body = refused.body
            for old in (b'"words"', b'"busy"', b'"boom"', b'"lost"', b'"Unauthorized"', b'"Not Found"'):
                body = body.replace(old, b'"' + words % key.encode() + b'"')
            outcome = whole(kit, refused.status, body)
            assert isinstance(outcome, Failure)
            assert key not in outcome.message


@BY_KIT
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"5", b'"x"', b"{}", b"{broken", b"\xff", b"[" * 100_000, b"<html>"]
)
def test_what_is_no_answer(kit: Kit, body: bytes) -> None:
    """Status 200 without an answer is an unwell gateway: retried, never an empty answer."""
    outcome = whole(kit, 200, body)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.action) == (ErrorKind.BAD_ANSWER, Action.RETRY)


_NAMES = """id object created choices text index message delta content finish_reason usage error code type
logprobs detail msg loc result is_end error_code error_msg reasoning_content tool_calls flag ban_round"""
_names = st.sampled_from(_NAMES.split())
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=10,
)
_answers = st.lists(st.dictionaries(_names, _json, max_size=5), max_size=3)


@pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.dialect.name)
@settings(deadline=10_000)
@given(answers=_answers, status=st.sampled_from([200, 400]))
def test_nothing_raises(kit: Kit, answers: list[dict[str, object]], status: int) -> None:
    """Whatever a server sends, whole or as events, it comes to one outcome that can be stored."""
    bodies = [msgspec.json.encode(answer) for answer in answers]
    outcomes = [whole(kit, status, body) for body in bodies]
    outcomes.append(streamed(kit, *(b"data: " + body + b"\n\n" for body in bodies), status=status))
    for outcome in outcomes:
        msgspec.json.encode(outcome)
