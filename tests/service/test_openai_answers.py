"""What answers of the OpenAI dialects hold besides their text: flags, usage, extras, rate headers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from qfbatch.records import Action, Completion, ErrorKind, Failure, Usage, UsageSource
from qfbatch.service.dialect import RateSignals
from qfbatch.service.dialects import DIALECTS
from qfbatch.service.openai_errors import BROKEN_OFF

from .kits import USAGE, as_json, event

NO_HEADERS: dict[str, str] = {}
COMPLETIONS, CHAT = DIALECTS["openai"], DIALECTS["openai-chat"]
TRUNCATED = Failure(ErrorKind.TRUNCATED_STREAM, Action.RETRY, "the stream ended before its end event")
DONE = b"data: [DONE]\n\n"


def answered(api: str = "openai", usage: Any = USAGE, **choice: Any) -> Completion:
    """A whole answer with this choice."""
    body = as_json(choices=[{"index": 0, **choice}], usage=usage)
    outcome = DIALECTS[api].decode(200, NO_HEADERS.get, body, now=0.0)
    assert isinstance(outcome, Completion)
    return outcome


def streamed(*events: bytes, api: str = "openai") -> Completion | Failure:
    """The outcome of these events."""
    decoder = DIALECTS[api].stream_decoder(200, NO_HEADERS.get, now=0.0)
    for each in events:
        decoder.feed(each)
    return decoder.finish()


def piece(text: str | None, **fields: Any) -> bytes:
    """One event of a completions stream."""
    return event(choices=[{"index": 0, "text": text, **fields}])


def delta(**fields: Any) -> bytes:
    """One event of a chat stream; `finish_reason` and `logprobs` belong to the choice."""
    beside = {name: fields.pop(name) for name in ("finish_reason", "logprobs") if name in fields}
    return event(choices=[{"index": 0, "delta": fields, **beside}])


def extra(outcome: Completion | Failure) -> Any:
    """What else came with an answer."""
    assert isinstance(outcome, Completion)
    return None if outcome.extra is None else json.loads(outcome.extra)


@pytest.mark.parametrize(
    ("fields", "is_safe", "is_truncated", "ban_round"),
    [
        ({"finish_reason": "stop"}, None, False, None),
        ({"finish_reason": "length"}, None, True, None),
        ({"finish_reason": "content_filter"}, False, None, None),
        ({"finish_reason": "abort"}, None, None, None),
        ({}, None, None, None),
        ({"finish_reason": "stop", "flag": 0}, True, False, None),
        ({"finish_reason": "stop", "flag": 2, "ban_round": -1}, False, False, -1),
        ({"finish_reason": "content_filter", "flag": 0}, False, None, None),
        ({"finish_reason": "stop", "flag": "x", "ban_round": 2**40}, None, False, None),
    ],
)
def test_flags(
    fields: dict[str, Any],
    is_safe: bool | None,  # noqa: FBT001 - a parameter of the test
    is_truncated: bool | None,  # noqa: FBT001 - a parameter of the test
    ban_round: int | None,
) -> None:
    """The service's own signals become the results' flags; what it did not say is null."""
    whole = answered(text="x", **fields)
    assert (whole.is_safe, whole.is_truncated, whole.ban_round) == (is_safe, is_truncated, ban_round)
    stream = streamed(piece("x"), piece("", **fields), event(choices=[], usage=USAGE), DONE)
    assert stream == whole


def test_an_unsafe_flag_is_kept() -> None:
    """How unsafe the service found a prompt is more than a boolean can hold."""
    assert extra(answered(text="x", flag=3)) == {"flag": 3}
    assert extra(answered(text="x", flag=0)) is None


def test_names_and_times() -> None:
    """Id, object and time are those of the service, of a stream the last that were given."""
    body = as_json(id="c-1", object="text_completion", created=7, choices=[{"text": "x"}], model="m")
    assert COMPLETIONS.decode(200, NO_HEADERS.get, body, now=0.0) == Completion(
        "x", response_id="c-1", object="text_completion", created=7
    )
    first = event(id="c-1", object="text_completion", created=7, choices=[{"index": 0, "text": "x"}])
    assert streamed(first, DONE) == Completion("x", response_id="c-1", object="text_completion", created=7)


@pytest.mark.parametrize(
    ("usages", "expected"),
    [
        ([None, None, USAGE], Usage(3, 2, 5)),
        ([None, None, None], None),
        # Servers that count up in every event; an empty object says nothing.
        ([{**USAGE, "completion_tokens": 1, "total_tokens": 4}, USAGE, {}], Usage(3, 2, 5)),
        ([None, None, {"prompt_tokens": 3}], Usage(3, 0, 3, UsageSource.ESTIMATED)),
        ([None, None, {**USAGE, "prompt_tokens_details": {"cached_tokens": 1}}], Usage(3, 2, 5)),
    ],
)
def test_usage_of_a_stream(usages: list[Any], expected: Usage | None) -> None:
    """The last usage stands, wherever it comes."""
    events = [event(choices=[{"index": 0, "text": "x", "finish_reason": None}], usage=u) for u in usages[:2]]
    outcome = streamed(*events, piece("", finish_reason="stop"), event(choices=[], usage=usages[2]), DONE)
    assert isinstance(outcome, Completion)
    assert (outcome.result, outcome.usage) == ("xx", expected)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            [piece("x"), piece("", finish_reason="stop")],
            Completion("x", finish_reason="stop", is_truncated=False),
        ),
        ([piece("x"), DONE], Completion("x")),
        ([piece("x"), b"data:[DONE]"], Completion("x")),
        ([piece("x")], TRUNCATED),
        ([piece("x"), b"data: [DON"], TRUNCATED),
        ([], TRUNCATED),
        ([DONE], Failure(ErrorKind.BAD_ANSWER, Action.RETRY, "the stream has no text")),
        ([piece("x"), event(usage=USAGE)], msgspec.structs.replace(TRUNCATED, usage=Usage(3, 2, 5))),
        ([piece(""), DONE], Completion("")),
        # Only the first of several answers is asked for.
        ([piece("x"), event(choices=[{"index": 1, "text": "y"}]), DONE], Completion("x")),
        # An answer may be empty, and some servers leave the index out.
        (
            [piece(None), piece(None, finish_reason="stop")],
            Completion("", finish_reason="stop", is_truncated=False),
        ),
        ([event(choices=[{"index": None, "text": "x"}]), DONE], Completion("x")),
        # A gateway's way to say that what stood behind it broke off.
        (
            [piece("x"), piece("", finish_reason="error"), event(choices=[], usage=USAGE), DONE],
            msgspec.structs.replace(BROKEN_OFF, usage=Usage(3, 2, 5)),
        ),
        ([piece("x"), event(choices=[]), event(ping=1), DONE, piece("y")], Completion("x")),
    ],
)
def test_where_a_stream_ends(events: list[bytes], expected: Completion | Failure) -> None:
    """`[DONE]` or a finish reason completes an answer; without both it is truncated, its tokens kept."""
    assert streamed(*events) == expected


def test_a_chat_that_ends_at_once() -> None:
    """A model with nothing to say has answered with an empty text, streamed or not: not to be asked again."""
    events = [delta(role="assistant", content=None), delta(finish_reason="stop"), DONE]
    whole = answered("openai-chat", None, message={"content": None}, finish_reason="stop")
    assert streamed(*events, api="openai-chat") == whole
    assert whole.result == ""


def test_a_text_that_was_filtered_whole() -> None:
    """A filter that left nothing of the text is still told as unsafe."""
    whole = answered(text=None, finish_reason="content_filter")
    assert (whole.result, whole.is_safe, whole.usage) == ("", False, Usage(3, 2, 5))


def test_an_answer_that_broke_off_behind_a_gateway() -> None:
    """A part of an answer is not the answer; what it cost is kept."""
    body = as_json(choices=[{"text": "par", "finish_reason": "error"}], usage=USAGE)
    expected = msgspec.structs.replace(BROKEN_OFF, usage=Usage(3, 2, 5))
    assert COMPLETIONS.decode(200, NO_HEADERS.get, body, now=0.0) == expected


def test_the_other_route_s_answer_is_none() -> None:
    """A gateway that answers completions as a chat has not answered with an empty text."""
    body = as_json(choices=[{"message": {"content": "x"}, "finish_reason": "stop"}])
    outcome = COMPLETIONS.decode(200, NO_HEADERS.get, body, now=0.0)
    assert outcome == Failure(ErrorKind.BAD_ANSWER, Action.RETRY, "the answer has no choice with a text")


@pytest.mark.parametrize("text", [5, ["x"], {"text": "x"}])
def test_a_text_that_is_none(text: object) -> None:
    """A piece that is not text is not dropped in silence."""
    outcome = streamed(piece("a"), event(choices=[{"index": 0, "text": text}]), DONE)
    assert outcome == Failure(ErrorKind.BAD_ANSWER, Action.RETRY, "the text of an event is not text")
    body = as_json(choices=[{"index": 0, "text": text}])
    whole = COMPLETIONS.decode(200, NO_HEADERS.get, body, now=0.0)
    assert whole == Failure(ErrorKind.BAD_ANSWER, Action.RETRY, "the answer has no choice with a text")


def test_log_probabilities_are_kept() -> None:
    """What was asked and paid for is in `extra` as the service sent it, of a stream put together."""
    first = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5}], "text_offset": [0]}
    second = {"tokens": ["b"], "token_logprobs": [-1.5], "top_logprobs": [None], "text_offset": [1]}
    both = {
        "tokens": ["a", "b"],
        "token_logprobs": [-0.5, -1.5],
        "top_logprobs": [{"a": -0.5}, None],
        "text_offset": [0, 1],
    }
    assert extra(answered(text="ab", logprobs=both)) == {"logprobs": both}
    stream = streamed(piece("a", logprobs=first), piece("b", logprobs=second), DONE)
    assert extra(stream) == {"logprobs": both}
    chat = [{"content": [{"token": token, "logprob": -1.0}], "refusal": None} for token in "ab"]
    stream = streamed(
        delta(content="a", logprobs=chat[0]), delta(content="b", logprobs=chat[1]), DONE, api="openai-chat"
    )
    tokens = [{"token": token, "logprob": -1.0} for token in "ab"]
    assert extra(stream) == {"logprobs": {"content": tokens, "refusal": None}}


def test_reasoning_and_tool_calls_are_kept() -> None:
    """Answers without content are answers with an empty text; their pieces come together as one call."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    message = {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [call]}
    whole = answered("openai-chat", message=message, finish_reason="tool_calls")
    assert (whole.result, extra(whole)) == ("", {"reasoning_content": "Hm.", "tool_calls": [call]})
    stream = streamed(
        delta(role="assistant", content=None, reasoning_content="H"),
        delta(reasoning_content="m."),
        delta(tool_calls=[{"index": 0, "id": "c", "type": "function", "function": {"name": "f"}}]),
        delta(tool_calls=[{"index": 0, "id": "c", "function": {"arguments": '{"a"'}}]),
        delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": ":1}"}}]),
        delta(finish_reason="tool_calls"),
        DONE,
        api="openai-chat",
    )
    assert isinstance(stream, Completion)
    assert stream.result == ""
    assert extra(stream) == {"reasoning_content": "Hm.", "tool_calls": [{"index": 0, **call}]}


def test_content_in_parts() -> None:
    """Servers that answer with a list of parts have answered with the texts of it."""
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert answered("openai-chat", message={"content": parts}).result == "ab"


def test_a_message_without_anything_is_no_answer() -> None:
    """No content, nothing else and no reason to end: a gateway's empty shell, which is retried."""
    body = as_json(choices=[{"index": 0, "message": {"role": "assistant"}}])
    outcome = CHAT.decode(200, NO_HEADERS.get, body, now=0.0)
    assert outcome == Failure(ErrorKind.BAD_ANSWER, Action.RETRY, "the answer has no choice with a text")


RATES = {
    "x-ratelimit-limit-requests": "600",
    "x-ratelimit-limit-tokens": "60000",
    "x-ratelimit-remaining-requests": "599",
    "x-ratelimit-remaining-tokens": "0",
}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-ratelimit-reset-requests": "1s"}, None),
        (RATES, RateSignals(600, 60000, 599, 0, None)),
        # The window that is used up is the one to wait for.
        (
            {**RATES, "x-ratelimit-reset-requests": "6m0s", "x-ratelimit-reset-tokens": "20ms"},
            RateSignals(600, 60000, 599, 0, 0.02, refills=True),
        ),
        (
            {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "1.5"},
            RateSignals(None, None, 1, None, 1.5),
        ),
        ({"x-ratelimit-limit-requests": "inf", "x-ratelimit-limit-tokens": "9"}, RateSignals(None, 9)),
    ],
)
def test_rate_headers(headers: dict[str, str], expected: RateSignals | None) -> None:
    """Limits, what is left of them, and when the used-up window begins anew."""
    assert COMPLETIONS.rate_signals(headers.get) == expected


@pytest.mark.parametrize(
    ("value", "seconds", "refills"),
    [
        ("1s", 1.0, True),
        ("6m0s", 360.0, True),
        ("1h2m3.5s", 3723.5, True),
        ("20ms", 0.02, True),
        ("1m30ms", 60.03, True),
        ("1d", 86400.0, True),
        ("0s", 0.0, True),
        ("12.5", 12.5, False),
        ("1767225612", 12.0, False),
        ("1767225612500", 12.5, False),
        ("2026-01-01T00:00:12Z", 12.0, False),
        ("2026-01-01T01:00:12+01:00", 12.0, False),
        ("2025-12-31T23:00:00Z", 0.0, False),
        ("17672256", None, False),
        ("soon", None, False),
        ("-5", None, False),
        ("1.2.3s", None, False),
    ],
)
def test_when_a_limit_is_whole_again(value: str, seconds: float | None, refills: bool) -> None:  # noqa: FBT001
    """Durations with units are of a bucket that fills, numbers and moments of a window."""
    headers = {
        "date": "Thu, 01 Jan 2026 00:00:00 GMT",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": value,
    }
    signals = COMPLETIONS.rate_signals(headers.get)
    assert signals is not None
    assert signals.reset_s == (None if seconds is None else pytest.approx(seconds))
    assert signals.refills is refills


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_a_moment_needs_the_services_own_clock(date: str | None) -> None:
    """Without the answer's date a moment says nothing: our clock may be another's hour."""
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1767225612"}
    signals = COMPLETIONS.rate_signals((headers | ({} if date is None else {"date": date})).get)
    assert signals == RateSignals(remaining_tokens=0.0)


@pytest.mark.parametrize(("value", "wait_s"), [("250", 0.25), ("soon", 7.0), ("inf", 600.0)])
def test_retry_after_in_milliseconds(value: str, wait_s: float) -> None:
    """The finer header wins where it can be read."""
    headers = {"retry-after-ms": value, "retry-after": "7"}
    outcome = CHAT.decode(429, headers.get, b"{}", now=0.0)
    assert isinstance(outcome, Failure)
    assert outcome.retry_after_s == wait_s
