"""Requests of the service's current protocol (V2), which OpenAI-compatible servers share: rules and reading.

Pure: bytes in, values out. What answers look like is in `openai`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from qfbatch.server.engine import Call, Engine, Message, Refusal, Sampling

MAX_STOPS = 4
MAX_STOP_CHARS = 20
ROLES = frozenset({"system", "user", "assistant"})
# Parameter, least, greatest: as the dialect documents them.
_RANGES: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0, 2),
    ("top_p", 0, 1),
    ("top_k", -1, 2**31 - 1),  # 0 and -1 consider all tokens
    ("presence_penalty", -2, 2),
    ("frequency_penalty", -2, 2),
    ("repetition_penalty", 0.01, 2),
    ("penalty_score", 0.01, 2),
    ("seed", 0, 2**32 - 2),  # 2**32 - 1 asks llama.cpp for a random one
    ("max_tokens", 1, 2**31 - 1),
    ("max_completion_tokens", 1, 2**31 - 1),
)
# Documented parameters that nothing here can honour, and the values that ask for nothing.
_UNSUPPORTED: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("n", (1,)),
    ("best_of", (1,)),
    ("echo", (False,)),
    ("logprobs", (False,)),
    ("top_logprobs", (0,)),
    ("logit_bias", ({},)),
    ("tools", ([],)),
    ("tool_choice", ("none", "auto")),
    ("functions", ([],)),
    ("function_call", ("none", "auto")),
    ("response_format", ({"type": "text"},)),
)


class StreamOptions(Struct, gc=False):
    """What a stream is to carry beside the text."""

    include_usage: bool | None = None


class Body(Struct, gc=False):
    """The request body as documented; unknown fields are ignored, null means absent.

    `prompt` belongs to text completions, `messages` to chat completions.
    """

    model: str | None = None
    prompt: Any = None
    suffix: str | None = None
    messages: Any = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    penalty_score: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    user: str | None = None
    n: Any = None
    best_of: Any = None
    echo: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    logit_bias: Any = None
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    response_format: Any = None


class TextPart(Struct, tag_field="type", tag="text", gc=False):
    """A part of a message's content; parts of other types are not understood here."""

    text: str


class AskedMessage(Struct, gc=False):
    """A message as asked; other fields are ignored."""

    role: str
    content: str | list[TextPart]


_decoder = msgspec.json.Decoder(Body)


def read_call(body: bytes, token: str, engine: Engine, *, chat: bool) -> Call:
    """The call a request body asks for.

    Args:
        body: as received.
        token: the key it came with, or empty.
        engine: knows the models.
        chat: whether it is to be a conversation.

    Raises:
        Refusal: not JSON (336002), no model or one that is not here (336005), a conversation that is none
            (336006), any other broken rule (336003).
    """
    asked = _decode(body)
    if not asked.model:
        raise Refusal(336005, "model is empty", status=400)
    if not engine.knows(asked.model):
        served = ", ".join(engine.endpoints)
        raise Refusal(336005, f"The model does not exist here: {asked.model} (served: {served})")
    _check(asked)
    *earlier, last = _messages(asked.messages) if chat else [_prompt(asked.prompt)]
    return Call(
        endpoint=asked.model,
        prompt=last.content,
        sampling=_sampling(asked),
        stream=bool(asked.stream),
        token=token,
        chat=chat,
        earlier=tuple(earlier),
        suffix="" if chat else asked.suffix or "",
        count_at_end=asked.stream_options is not None and bool(asked.stream_options.include_usage),
    )


def _decode(body: bytes) -> Body:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        if str(error).startswith("Expected `object`"):
            raise Refusal(336002, "Invalid JSON: the body must be an object") from None
        raise Refusal(336003, f"Invalid Argument: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(336002, f"Invalid JSON: {error}") from None


def _check(asked: Body) -> None:
    """Every documented rule for the parameters.

    Raises:
        Refusal: one is broken, or asks for what nothing here can honour.
    """
    for problem in (_out_of_range(asked), _unsupported(asked), _at_odds(asked)):
        if problem:
            raise Refusal(336003, problem)


def _out_of_range(asked: Body) -> str:
    for name, lowest, highest in _RANGES:
        value = getattr(asked, name)
        if value is not None and not lowest <= value <= highest:
            return f"{name} must be in [{lowest}, {highest}]"
    stops = _stops(asked)
    if len(stops) > MAX_STOPS:
        return f"stop must have at most {MAX_STOPS} items"
    if any(not 0 < len(text) <= MAX_STOP_CHARS for text in stops):
        return f"each item of stop must have 1 to {MAX_STOP_CHARS} characters"
    return ""


def _unsupported(asked: Body) -> str:
    for name, idle in _UNSUPPORTED:
        value = getattr(asked, name)
        if value is not None and not any(value == one and type(value) is type(one) for one in idle):
            return f"{name} is not supported here" + (", except 1" if idle == (1,) else "")
    return ""


def _at_odds(asked: Body) -> str:
    """Parameters that cannot stand together."""
    if asked.stream_options is not None and not asked.stream:
        return "stream_options is allowed only with stream"
    for one, other in (("max_tokens", "max_completion_tokens"), ("repetition_penalty", "penalty_score")):
        if len({getattr(asked, one), getattr(asked, other)} - {None}) > 1:
            return f"{one} and {other} mean the same: give one of them"
    return ""


def _stops(asked: Body) -> tuple[str, ...]:
    return (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())


def _sampling(asked: Body) -> Sampling:
    """The sampling asked for, which is in range."""
    return Sampling(
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=None if asked.top_k is None else max(asked.top_k, 0),
        penalty_score=asked.repetition_penalty or asked.penalty_score,
        presence_penalty=asked.presence_penalty,
        frequency_penalty=asked.frequency_penalty,
        stop=_stops(asked),
        seed=asked.seed,
        max_tokens=asked.max_tokens or asked.max_completion_tokens,
    )


def _prompt(prompt: Any) -> Message:
    if not isinstance(prompt, str) or not prompt:
        raise Refusal(336003, "prompt must be one text that is not empty")
    return Message("user", prompt)


def _messages(given: Any) -> list[Message]:
    """A conversation, with content in parts joined."""
    try:
        asked = msgspec.convert(given, list[AskedMessage])
    except msgspec.ValidationError as error:
        raise Refusal(336006, f"messages: {error}") from None
    messages = [
        Message(
            one.role,
            one.content if isinstance(one.content, str) else "".join(part.text for part in one.content),
        )
        for one in asked
    ]
    if not messages:
        raise Refusal(336006, "messages must not be empty")
    unknown = next((one.role for one in messages if one.role not in ROLES), None)
    if unknown is not None:
        raise Refusal(336006, f"messages: the role {unknown!r} is none of {', '.join(sorted(ROLES))}")
    if messages[-1].role != "user" or not messages[-1].content:
        raise Refusal(336006, "messages: the last one must be the user's, and not be empty")
    return messages


__all__ = ["MAX_STOPS", "MAX_STOP_CHARS", "ROLES", "read_call"]
