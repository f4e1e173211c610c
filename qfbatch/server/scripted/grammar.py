"""What an endpoint's name and a prompt's directives ask the scripted engine to do.

endpoint    NAME[,KEY=VALUE]…              echo,delay=0.05,qps=10
directive   {{fault: KIND [KEY=VALUE]…}}   {{fault: 429 times=2 retry_after=0.5}}
            {{answer: [FLAG]… [KEY=VALUE]…}}
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Literal, TypeVar

import msgspec
import msgspec.structs
from msgspec import Meta, Struct

from qfbatch.server.refusals import V2_ERRORS

NAMES = ("echo", "words")
FAULT_KINDS = frozenset(
    {
        "drop",  # connection reset before the headers
        "close",  # connection closed in order before the headers
        "drop_after_headers",
        "half_body",
        "slow",  # the good answer, `bytes` at a time, `gap` seconds apart
        "cut_stream",  # the stream ends in order after `after` events, without is_end
        "reset_stream",  # the connection is reset after `after` events
        "stream_error",  # error object `code` after `after` events
        "invalid_json",
        "wrong_types",
        "not_object",
        "html",  # a gateway's page, with HTTP `status`
        "empty_body",
        "hang",  # no answer until the client gives up
    }
)
FLAGS = frozenset({"unsafe", "truncated", "empty", "no_usage"})
_DIRECTIVE = re.compile(r"\{\{\s*(fault|answer)\s*:([^{}]*)\}\}")


class ScriptError(ValueError):
    """An endpoint name or directive that the grammar does not know; the message names the word."""


class Fault(Struct, frozen=True):
    """One misbehaviour.

    Attributes:
        kind: one of `FAULT_KINDS`, a V2 error code, `error` (a V1 code) or `http` (a status).
        number: the V1 code or HTTP status.
        times: how many admitted calls of a prompt it spoils; None spoils all.
        share: the share of prompts it befalls, chosen by the prompt itself.
        retry_after: `Retry-After` as sent: seconds, or `date:SECONDS` for an HTTP date that far ahead.
        after: events that are sent before a stream is spoilt.
        code: V1 code of `stream_error`.
        status: HTTP status of `html`.
        bytes: size of one write of `slow`.
        gap: seconds between two writes of `slow`.
    """

    kind: str
    number: int = 0
    times: int | None = None
    share: float = 1.0
    retry_after: str = ""
    after: int = 1
    code: int = 336000
    status: int = 200
    bytes: Annotated[int, Meta(ge=1)] = 16
    gap: float = 0.005


class AnswerScript(Struct, frozen=True):
    """How a good answer looks.

    Attributes:
        delay: seconds before the answer; the median where `sigma` is set.
        sigma: spread of a lognormal delay drawn by the prompt; 0 is a fixed delay.
        gap: seconds between two events of a stream.
        tokens: words in an answer of `words`.
        size: least length of the answer in characters: the text is repeated.
        pieces: events of a stream that carry text, at most.
        object: the answer's `object`.
        unsafe, truncated, empty, no_usage: the flags.
    """

    delay: float = 0.0
    sigma: float = 0.0
    gap: float = 0.0
    tokens: int = 16
    size: int = 0
    pieces: int = 4
    object: str = "completion"
    unsafe: bool = False
    truncated: bool = False
    empty: bool = False
    no_usage: bool = False


class Rules(Struct, frozen=True):
    """What an endpoint enforces, whatever the prompt.

    Attributes:
        qps, rpm, tpm: quotas; tokens are prompt and completion together, taken when the call is let in.
        window: how they are counted: fixed, sliding or bucket.
        minute: length of "a minute" of rpm and tpm in seconds, so that tests need not wait for one.
        burst: what a bucket holds at most, in calls (qps, rpm); None holds one window's worth.
        concurrency: calls at once; beyond it 336100.
        refuse: `code` answers with 18, 336501 or 336502 (V1: and HTTP 200); `http` with 429 and Retry-After.
        headers: send `X-Ratelimit-*` where rpm, qps or tpm is set.
        token_calls: calls an access token is good for here.
        token_code: what it gets afterwards: 110 or 111.
        calls: answers in all; beyond it `calls_code`.
        calls_code: 17 or 19.
        max_chars: prompts beyond it get 336007.
    """

    qps: float | None = None
    rpm: float | None = None
    tpm: float | None = None
    window: Literal["fixed", "sliding", "bucket"] = "fixed"
    minute: Annotated[float, Meta(gt=0)] = 60.0
    burst: float | None = None
    concurrency: int | None = None
    refuse: Literal["code", "http"] = "code"
    headers: bool = True
    token_calls: int | None = None
    token_code: int = 110
    calls: int | None = None
    calls_code: int = 17
    max_chars: int | None = None


class EndpointScript(Struct, frozen=True):
    """An endpoint's name, understood.

    Attributes:
        name: `echo` or `words`.
        answer: how its answers look.
        rules: what it enforces.
        faults: befall every prompt, after the prompt's own.
    """

    name: str
    answer: AnswerScript
    rules: Rules
    faults: tuple[Fault, ...]


class PromptScript(Struct, frozen=True):
    """A prompt's directives, understood.

    Attributes:
        text: the prompt without its directives.
        answer: the endpoint's answer script, overridden.
        faults: in order; each spoils its `times` calls, then the next takes over.
    """

    text: str
    answer: AnswerScript
    faults: tuple[Fault, ...]


@lru_cache(4096)
def read_endpoint(endpoint: str) -> EndpointScript:
    """Understand an endpoint's name.

    Raises:
        ScriptError: an unknown name or option.
    """
    name, *words = endpoint.split(",")
    if name not in NAMES:
        raise ScriptError(f"no endpoint {name!r}; there are {', '.join(NAMES)}")
    options = _pairs(words)
    options.pop("tag", None)  # tells endpoints of the same behaviour apart
    answer = _take(AnswerScript(), options)
    rules = _take(Rules(), options)
    kind = options.pop("fault", None)
    faults = () if kind is None else (_take(_fault(kind), options),)
    if options:
        raise ScriptError(f"unknown option {next(iter(options))!r} of endpoint {name!r}")
    return EndpointScript(name, answer, rules, faults)


def read_prompt(prompt: str, endpoint: EndpointScript) -> PromptScript:
    """Understand a prompt's directives.

    Raises:
        ScriptError: an unknown fault, flag or option.
    """
    if "{{" not in prompt:
        return PromptScript(prompt, endpoint.answer, endpoint.faults)
    answer = endpoint.answer
    faults: list[Fault] = []
    for what, told in _DIRECTIVE.findall(prompt):
        words = told.split()
        if what == "answer":
            answer = _answer(answer, words)
        elif words:
            options = _pairs(words[1:])
            faults.append(_take(_fault(words[0]), options))
            if options:
                raise ScriptError(f"unknown option {next(iter(options))!r} of fault {words[0]!r}")
        else:
            raise ScriptError("a fault needs a kind")
    return PromptScript(_DIRECTIVE.sub("", prompt), answer, (*faults, *endpoint.faults))


def fault_of(faults: Iterable[Fault], prompt: str, attempt: int) -> Fault | None:
    """The fault that befalls a call.

    Args:
        faults: the script's, in order.
        prompt: as sent.
        attempt: which admitted call of this prompt it is, from 1.
    """
    spent = 0
    for fault in faults:
        if fault.share < 1 and _draw(prompt, fault.kind) >= fault.share:
            continue
        if fault.times is None or attempt <= spent + fault.times:
            return fault
        spent += fault.times
    return None


def _draw(prompt: str, salt: str) -> float:
    """A number in [0, 1) that depends on the prompt alone."""
    return zlib.crc32(f"{salt}\0{prompt}".encode("utf-8", "replace")) / 2**32


def _answer(answer: AnswerScript, words: list[str]) -> AnswerScript:
    flags = {word: "true" for word in words if word in FLAGS}
    options = flags | _pairs([word for word in words if word not in flags])
    answer = _take(answer, options)
    if options:
        raise ScriptError(f"unknown flag or option {next(iter(options))!r} of an answer")
    return answer


def _fault(kind: str) -> Fault:
    if kind.isascii() and kind.isdigit():
        number = int(kind)
        return Fault("http" if 400 <= number <= 599 else "error", number)  # noqa: PLR2004 - HTTP failures
    if kind not in FAULT_KINDS and kind not in V2_ERRORS:
        raise ScriptError(
            f"no fault {kind!r}; there are codes, statuses and {', '.join(sorted(FAULT_KINDS))}"
        )
    return Fault(kind)


def _pairs(words: Iterable[str]) -> dict[str, str]:
    pairs = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ScriptError(f"{word!r} is not KEY=VALUE")
        pairs[key] = value
    return pairs


_Script = TypeVar("_Script", Fault, AnswerScript, Rules)


def _take(script: _Script, options: dict[str, str]) -> _Script:
    """The script with those options that are its own; they are taken out of `options`."""
    own = {
        key: options.pop(key) for key in list(options) if key in script.__struct_fields__ and key != "kind"
    }
    if not own:
        return script
    try:
        return msgspec.convert(msgspec.structs.asdict(script) | own, type(script), strict=False)
    except msgspec.ValidationError as error:
        raise ScriptError(f"{error}") from None


__all__ = [
    "AnswerScript",
    "EndpointScript",
    "Fault",
    "PromptScript",
    "Rules",
    "ScriptError",
    "fault_of",
    "read_endpoint",
    "read_prompt",
]
