"""Regular whole answers of the OpenAI dialects are read by a shorter way, and mean the same by it."""

from __future__ import annotations

from typing import Any

import pytest

from qfbatch.records import Completion, Failure
from qfbatch.service.dialects import DIALECTS
from qfbatch.service.openai_answers import message_piece, text_piece
from qfbatch.service.openai_regular import regular_message, regular_text
from qfbatch.service.openai_whole import whole_answer

from .kits import USAGE, as_json

NO_HEADERS: dict[str, str] = {}
LOGPROBS = {"tokens": ["a"], "token_logprobs": [-1.0]}


def by_both_ways(api: str, body: bytes) -> tuple[Completion | None, Completion | Failure]:
    """What a body is by the short way, None where it has to go the long one; what it is by the long one."""
    short, piece = (regular_text, text_piece) if api == "openai" else (regular_message, message_piece)
    long = whole_answer(piece, 200, NO_HEADERS.get, body, now=0.0)
    expected = short(body) or long
    assert expected == DIALECTS[api].decode(200, NO_HEADERS.get, body, now=0.0)
    return short(body), long


def body_of(api: str, text: Any = "x", *, message: Any = None, answer: Any = None, **choice: Any) -> bytes:
    """A whole answer of the route."""
    said = {"text": text} if api == "openai" else {"message": {"content": text, **(message or {})}}
    head = {"id": "a", "object": "o", "created": 5, "usage": USAGE}
    return as_json(**{**head, "choices": [{"index": 0, **said, **choice}], **(answer or {})})


@pytest.mark.parametrize("api", ["openai", "openai-chat"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"finish_reason": "stop", "logprobs": None},
        {"finish_reason": "length"},
        {"finish_reason": "content_filter"},
        {"finish_reason": "content_filter", "flag": 0},
        {"finish_reason": "abort"},
        {"flag": 0, "ban_round": -1},
        {"text": ""},
        {"text": "\u4f60\u597d \U0001f642"},
        {"answer": {"usage": None, "id": None, "created": None, "object": None}},
        {"answer": {"model": "m", "system_fingerprint": None, "timings": {"prompt_n": 1}}},
        {"answer": {"usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 1}}}},
        {"message": {"role": "assistant", "reasoning_content": None, "refusal": None, "tool_calls": []}},
    ],
)
def test_regular_answers(api: str, fields: dict[str, Any]) -> None:
    """What servers answer nearly always goes the short way, and means what it means by the long one."""
    short, long = by_both_ways(api, body_of(api, **fields))
    assert isinstance(short, Completion)
    assert short == long


@pytest.mark.parametrize("api", ["openai", "openai-chat"])
@pytest.mark.parametrize(
    "fields",
    [
        {"text": None},
        {"text": 5},
        {"text": [{"text": "x"}]},
        {"logprobs": LOGPROBS},
        {"flag": 2},
        {"flag": "0"},
        {"ban_round": 2**31},
        {"finish_reason": 5},
        {"finish_reason": "error"},
        {"index": 1},
        {"index": None},
        {"answer": {"choices": []}},
        {"answer": {"choices": None}},
        {"answer": {"choices": [{"text": "x"}, {"index": 1, "text": "y"}]}},
        {"answer": {"error": {"message": "no"}}},
        {"answer": {"error": "no"}},
        {"answer": {"object": "error", "message": "no"}},
        {"answer": {"id": 5}},
        {"answer": {"created": -1}},
        {"answer": {"created": 5.5}},
        {"answer": {"usage": {"prompt_tokens": 3}}},
        {"answer": {"usage": {**USAGE, "total_tokens": -5}}},
        {"answer": {"usage": {**USAGE, "total_tokens": "5"}}},
    ],
)
def test_other_answers(api: str, fields: dict[str, Any]) -> None:
    """Whatever is not as documented is left to the way that looks at every field."""
    short, _ = by_both_ways(api, body_of(api, **fields))
    assert short is None


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm."},
        {"refusal": "no"},
        {"tool_calls": [{"id": "c"}]},
        {"function_call": {"name": "f"}},
    ],
)
def test_messages_with_more_than_a_text(message: dict[str, Any]) -> None:
    """What stands beside a message's text is never passed over."""
    short, long = by_both_ways("openai-chat", body_of("openai-chat", message=message))
    assert short is None
    assert isinstance(long, Completion)
    assert long.extra is not None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"choices":[{}]}', b"\xff", b"[" * 100_000])
def test_bodies_that_are_none(body: bytes) -> None:
    """Bytes of any kind are no regular answer, and no error either."""
    assert (regular_text(body), regular_message(body)) == (None, None)
