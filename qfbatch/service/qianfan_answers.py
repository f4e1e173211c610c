"""What Qianfan V1 answers, read into values.

Only `result` is needed to call something an answer; every other field is taken where it has the documented
type and is None otherwise, for an answer that was paid for is not thrown away over a missing flag.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from qfbatch.records import Completion, Usage, UsageSource
from qfbatch.service.fields import (
    COUNTS,
    MAX_CREATED,
    RegularUsage,
    count_of,
    created_of,
    flag,
    int32,
    text,
)


class Body(Struct, gc=False):
    """The union of everything the service answers: an answer, a stream event, or an error."""

    id: Any = None
    object: Any = None
    created: Any = None
    result: Any = None
    is_safe: Any = None
    is_truncated: Any = None
    need_clear_history: Any = None
    ban_round: Any = None
    finish_reason: Any = None
    is_end: Any = None
    usage: Any = None
    error_code: Any = None
    error_msg: Any = None
    code: Any = None  # IAM gateway: {"code", "message", "requestId"}
    message: Any = None


class _RegularAnswer(Struct, frozen=True, gc=False):
    """A whole answer in which everything has its documented type, which is nearly every one.

    Reading it takes a third of the time of looking at a `Body` field by field; whatever does not fit, errors
    included, is read as a `Body`.
    """

    result: str
    id: str | None = None
    object: str | None = None
    created: Annotated[int, Meta(ge=0, le=MAX_CREATED)] | None = None
    is_safe: bool | Annotated[int, Meta(ge=0, le=1)] | None = None
    is_truncated: bool | None = None
    need_clear_history: bool | None = None
    ban_round: Annotated[int, Meta(ge=-(2**31), lt=2**31)] | None = None
    finish_reason: str | None = None
    usage: RegularUsage | None = None
    error_code: None = None


_decoder = msgspec.json.Decoder(Body)
_regular_decoder = msgspec.json.Decoder(_RegularAnswer)


def read_regular(data: bytes) -> Completion | None:
    """The answer, if it is a regular one."""
    try:
        answer = _regular_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    usage, is_safe = answer.usage, answer.is_safe
    return Completion(
        answer.result,
        None if usage is None else Usage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
        None if is_safe is None else bool(is_safe),
        answer.need_clear_history,
        answer.is_truncated,
        answer.ban_round,
        answer.finish_reason,
        answer.id,
        answer.object,
        answer.created,
    )


def read_body(data: bytes) -> Body | None:
    """The JSON object, or None if it is not one (that can be read: nesting is bounded by the interpreter)."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def completion_of(answer: Body, result: str, usage: Usage | None) -> Completion:
    """The answer with the flags and names a body carries, each where it has the documented type."""
    return Completion(
        result=result,
        usage=usage,
        is_safe=flag(answer.is_safe),
        need_clear_history=flag(answer.need_clear_history),
        is_truncated=flag(answer.is_truncated),
        ban_round=int32(answer.ban_round),
        finish_reason=text(answer.finish_reason),
        response_id=text(answer.id),
        object=text(answer.object),
        created=created_of(answer.created),
    )


def usage_of_stream(usages: list[Any]) -> Usage | None:
    """Usage over the events of a stream, by the rule of `QianfanStream`.

    Without any `total_tokens`: the completion counts are summed if they ever decrease (per-event deltas),
    else their maximum is taken (cumulative), and the usage is marked as estimated.
    """
    prompts: list[int] = []
    completions: list[int] = []
    totals: list[int] = []
    for usage in usages:
        if isinstance(usage, dict):
            for counts, key in zip((prompts, completions, totals), COUNTS, strict=True):
                count = count_of(usage.get(key))
                if count is not None:
                    counts.append(count)
    prompt = max(prompts, default=0)
    if totals:
        total = max(*totals, prompt)
        source = UsageSource.REPORTED if prompts else UsageSource.ESTIMATED
        return Usage(prompt, total - prompt, total, source)
    if not prompts and not completions:
        return None
    deltas = any(later < earlier for earlier, later in itertools.pairwise(completions))
    completion = sum(completions) if deltas else max(completions, default=0)
    return Usage(prompt, completion, prompt + completion, UsageSource.ESTIMATED)
