"""What servers of the OpenAI protocol answer, read into values: completions and chat, whole and streamed.

Only a choice with its text is needed to call something an answer; every other field is taken where it has the
documented type. What else was paid for (log probabilities, reasoning, tool calls) is kept as it came, in
`Completion.extra`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from qfbatch.records import Completion, Usage
from qfbatch.service.fields import created_of, int32, integer, text


class Message(Struct, gc=False):
    """A chat answer, or a piece of one."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None


class Choice(Struct, gc=False):
    """One answer to the prompt, or a piece of one: `text` of completions, `message` and `delta` of chat."""

    index: Any = 0
    text: Any = None
    message: Message | None = None
    delta: Message | None = None
    finish_reason: Any = None
    logprobs: Any = None
    flag: Any = None  # Qianfan: 0 is safe, above 0 unsafe by degrees
    ban_round: Any = None


class Body(Struct, gc=False):
    """The union of everything that servers answer: an answer, a piece of a stream, or an error."""

    id: Any = None
    object: Any = None
    created: Any = None
    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None
    code: Any = None
    message: Any = None
    type: Any = None
    detail: Any = None
    error_type: Any = None


class Piece(Struct, frozen=True, gc=False):
    """What one choice says.

    Attributes:
        text: of the answer; None where the choice has none, which is not the same as an empty one.
        extra: what stands beside the text, by its field; only what is there.
    """

    text: str | None
    extra: dict[str, Any]


_decoder = msgspec.json.Decoder(Body)
_encode = msgspec.json.encode
_BESIDE_TEXT = ("reasoning_content", "reasoning", "refusal", "tool_calls", "function_call")
TRUNCATED = {"length": True, "stop": False}
CONTENT_FILTER = "content_filter"
FAILED = "error"  # of a choice that broke off: gateways say so instead of failing the call

ReadPiece = Callable[[Choice], Piece | None]
"""Reads a choice; None where it is no such choice."""


def read_body(data: bytes) -> Body | None:
    """The JSON object, or None if it is none of the protocol."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def text_piece(choice: Choice) -> Piece | None:
    """What a choice of the completions route says."""
    value = choice.text
    if value is None and choice.finish_reason is not None and choice.message is choice.delta is None:
        value = ""  # it ended before it began: filtered, or nothing to say
    if value is not None and not isinstance(value, str):
        return None
    return Piece(value, {} if choice.logprobs is None else {"logprobs": choice.logprobs})


def message_piece(choice: Choice) -> Piece | None:
    """What a choice of the chat route says.

    An answer may have no content where it has something else instead: a tool call, a refusal, or reasoning
    that took all tokens. Its text is then empty.
    """
    message = choice.message or choice.delta
    if message is None:
        return Piece(None, {})
    content = message.content
    if isinstance(content, list):  # a list of parts, of which the texts are the answer
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if content is not None and not isinstance(content, str):
        return None
    extra = {name: value for name in _BESIDE_TEXT if (value := getattr(message, name))}
    if choice.logprobs is not None:
        extra["logprobs"] = choice.logprobs
    if content is None and (choice.finish_reason is not None or (extra and choice.message is not None)):
        content = ""
    return Piece(content, extra)


def accumulate(before: Any, after: Any) -> Any:
    """Two successive pieces of a streamed value as one.

    Texts are joined, but for names, which are the same in every piece; lists grow, elements that carry an
    `index` being joined with their like; of anything else the later value counts.
    """
    if after is None:
        return before
    if isinstance(before, str) and isinstance(after, str):
        return before + after
    if isinstance(before, dict) and isinstance(after, dict):
        joined = dict(before)
        for key, value in after.items():
            named = key in _NAMES and isinstance(value, str)
            joined[key] = (value or joined.get(key)) if named else accumulate(joined.get(key), value)
        return joined
    if isinstance(before, list) and isinstance(after, list):
        grown = list(before)
        places = {element["index"]: place for place, element in enumerate(before) if _is_indexed(element)}
        for element in after:
            place = places.get(element["index"]) if _is_indexed(element) else None
            if place is None:
                grown.append(element)
            else:
                grown[place] = accumulate(grown[place], element)
        return grown
    return after


_NAMES = frozenset({"id", "type", "name", "role"})


def _is_indexed(element: Any) -> bool:
    return isinstance(element, dict) and isinstance(element.get("index"), int)


def completion_of(
    answer: Body, choice: Choice, result: str, extra: dict[str, Any], usage: Usage | None
) -> Completion:
    """The answer.

    Args:
        answer: carries its id, object and time.
        choice: carries why it ended and the service's flags.
        result: the text.
        extra: what else came with it.
        usage: tokens, where the service reported any.
    """
    flag = integer(choice.flag)
    if flag:
        extra = {**extra, "flag": flag}
    reason = text(choice.finish_reason)
    return Completion(
        result=result,
        usage=usage,
        is_safe=False if reason == CONTENT_FILTER or flag else True if flag == 0 else None,
        is_truncated=None if reason is None else TRUNCATED.get(reason),
        ban_round=int32(choice.ban_round),
        finish_reason=reason,
        response_id=text(answer.id),
        object=text(answer.object),
        created=created_of(answer.created),
        extra=_encode(extra).decode() if extra else None,
    )
