"""Whole answers of the OpenAI protocol in which everything is as documented, which is nearly every one.

Reading such an answer into its own types takes a fraction of the time of looking at a `Body` of
`openai_answers` field by field. Whatever does not fit, errors included, is read as a `Body`; what fits means
the same either way, and a test holds the two to it.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from qfbatch.records import Completion, Usage
from qfbatch.service.fields import MAX_CREATED, RegularUsage
from qfbatch.service.openai_answers import CONTENT_FILTER, FAILED, TRUNCATED

_Zero = Annotated[int, Meta(ge=0, le=0)]
_Nothing = Annotated[list[Any], Meta(max_length=0)] | None
_Int32 = Annotated[int, Meta(ge=-(2**31), lt=2**31)]


class _Choice(Struct, frozen=True, gc=False):
    """The only choice, its text aside."""

    index: _Zero = 0
    finish_reason: str | None = None
    logprobs: None = None
    flag: _Zero | None = None
    ban_round: _Int32 | None = None


class _TextChoice(_Choice, frozen=True, gc=False, kw_only=True):
    text: str


class _Message(Struct, frozen=True, gc=False):
    content: str
    reasoning_content: None = None
    reasoning: None = None
    refusal: None = None
    tool_calls: _Nothing = None
    function_call: None = None


class _MessageChoice(_Choice, frozen=True, gc=False, kw_only=True):
    message: _Message


class _Answer(Struct, frozen=True, gc=False):
    """An answer, its choice aside."""

    id: str | None = None
    object: str | None = None
    created: Annotated[int, Meta(ge=0, le=MAX_CREATED)] | None = None
    usage: RegularUsage | None = None
    error: None = None


class _TextAnswer(_Answer, frozen=True, gc=False, kw_only=True):
    choices: tuple[_TextChoice]


class _MessageAnswer(_Answer, frozen=True, gc=False, kw_only=True):
    choices: tuple[_MessageChoice]


_text_decoder = msgspec.json.Decoder(_TextAnswer)
_message_decoder = msgspec.json.Decoder(_MessageAnswer)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def regular_text(data: bytes) -> Completion | None:
    """The answer of the completions route, if it is a regular one."""
    try:
        answer = _text_decoder.decode(data)
    except _UNREADABLE:
        return None
    choice = answer.choices[0]
    return _completion(answer, choice, choice.text)


def regular_message(data: bytes) -> Completion | None:
    """The answer of the chat route, if it is a regular one."""
    try:
        answer = _message_decoder.decode(data)
    except _UNREADABLE:
        return None
    choice = answer.choices[0]
    return _completion(answer, choice, choice.message.content)


def _completion(answer: _Answer, choice: _Choice, result: str) -> Completion | None:
    reason, usage = choice.finish_reason, answer.usage
    if answer.object == "error" or reason == FAILED:
        return None
    return Completion(
        result,
        None if usage is None else Usage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
        False if reason == CONTENT_FILTER else None if choice.flag is None else True,
        None,
        None if reason is None else TRUNCATED.get(reason),
        choice.ban_round,
        reason,
        answer.id,
        answer.object,
        answer.created,
    )
