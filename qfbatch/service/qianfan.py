"""Qianfan V1 ("wenxinworkshop") completions: the dialect of `service.api: qianfan`.

Sources: the service's public documentation of Yi-34B, Pythia-6.9B and its error codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import msgspec

from qfbatch.records import Action, Completion, ErrorKind, Failure
from qfbatch.service.dialect import Access, Call, Header, RateSignals
from qfbatch.service.event_stream import NOT_ENDED, EventStream
from qfbatch.service.fields import flag, int32, integer, text, usage_of
from qfbatch.service.http_failures import (
    bad_answer,
    classify_status,
    retry_after_s,
    status_failure,
)
from qfbatch.service.parameters import (
    CountRule,
    FlagRule,
    NumberRule,
    Rules,
    TextListRule,
    TextRule,
)
from qfbatch.service.qianfan_answers import (
    Body,
    completion_of,
    read_body,
    read_regular,
    usage_of_stream,
)
from qfbatch.service.redaction import clean_message
from qfbatch.service.signing import Refusal
from qfbatch.wording import things

PATH = "/rpc/2.0/ai_custom/v1/wenxinworkshop/completions/"
HTTP_OK = 200

QIANFAN_V1_RULES: Rules = MappingProxyType(
    {
        "temperature": NumberRule("randomness of sampling; 0 is not allowed", 0.0, 1.0, above=True),
        "top_p": NumberRule(
            "share of probability sampled from; set only one of temperature and top_p", 0.0, 1.0
        ),
        "top_k": CountRule("number of most likely tokens sampled from"),
        "penalty_score": NumberRule("penalty on repetition; 1 is none", 1.0, 2.0),
        "stop": TextListRule("the answer ends where it ends with one of these", 4, 20),
        "user_id": TextRule("identifier of the end user"),
        "stream": FlagRule("ask for the answer as a stream of events"),
    }
)
QIANFAN_V1_ACCESS = Access(
    base_url="https://aip.baidubce.com",
    variable="QIANFAN_BASE_URL",
    local_path="",
    auths=("auto", "iam", "oauth", "token", "bearer", "none"),
)
_NOT_IN_ENDPOINT = frozenset("/?#% ")

_IAM_REFUSALS = frozenset(Refusal)  # refused signatures come with status 400, too, and concern every row

_R, _T, _F, _W, _J = Action.RETRY, Action.THROTTLE, Action.REFRESH, Action.ROW, Action.JOB
_K = ErrorKind

# Service code → what failed, and what to do (the policy table of docs/failures.md).
ERROR_CODES: dict[int, tuple[ErrorKind, Action]] = {
    1: (_K.SERVER, _R),
    2: (_K.SERVER, _R),
    3: (_K.NOT_FOUND, _J),
    4: (_K.RATE_LIMITED, _T),
    6: (_K.PERMISSION, _J),
    13: (_K.CREDENTIALS, _J),
    14: (_K.CREDENTIALS, _J),
    15: (_K.SERVER, _R),
    17: (_K.QUOTA, _J),
    18: (_K.RATE_LIMITED, _T),
    19: (_K.QUOTA, _J),
    100: (_K.CREDENTIALS, _J),
    110: (_K.CREDENTIALS, _F),
    111: (_K.CREDENTIALS, _F),
    336000: (_K.SERVER, _R),
    336001: (_K.INVALID_REQUEST, _W),
    336002: (_K.INVALID_REQUEST, _W),
    336003: (_K.INVALID_REQUEST, _W),
    336004: (_K.PERMISSION, _J),
    336005: (_K.NOT_FOUND, _J),
    336006: (_K.INVALID_REQUEST, _W),
    336007: (_K.TOO_LONG, _W),
    336008: (_K.INVALID_REQUEST, _W),
    336100: (_K.OVERLOADED, _T),
    336101: (_K.INVALID_REQUEST, _J),
    336102: (_K.INVALID_REQUEST, _W),
    336103: (_K.TOO_LONG, _W),
    336104: (_K.INVALID_REQUEST, _W),
    336105: (_K.INVALID_REQUEST, _W),
    336200: (_K.SERVER, _R),
    336303: (_K.INVALID_REQUEST, _W),
    336501: (_K.RATE_LIMITED, _T),
    336502: (_K.RATE_LIMITED, _T),
    337006: (_K.INVALID_REQUEST, _W),
}


_RATE_HEADERS = (  # in the order of the fields of `RateSignals`
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
)
_NO_RATES = [None] * len(_RATE_HEADERS)

_encoder = msgspec.json.Encoder()
_HEADERS = {"Content-Type": "application/json"}


@lru_cache(maxsize=256)
def _path(endpoint: str) -> str:
    return PATH + quote(endpoint, safe="")


class QianfanV1:
    """The dialect, stateless: one instance serves a whole run."""

    name = "qianfan"
    rules = QIANFAN_V1_RULES
    access = QIANFAN_V1_ACCESS
    takes_messages = False

    def refuse_endpoint(self, endpoint: str) -> str | None:
        """An endpoint is the last part of the service's URL; see `Dialect.refuse_endpoint`."""
        if _NOT_IN_ENDPOINT.isdisjoint(endpoint):
            return None
        return "give only the last part of the service's URL, without blanks or any of / ? # %"

    def key_variables(self, base_url: str) -> tuple[str, ...]:
        """The one variable for bearer keys; see `Dialect.key_variables`."""
        del base_url
        return ("QIANFAN_BEARER_TOKEN",)

    def encode(
        self, endpoint: str, prompt: str, parameters: Mapping[str, Any], *, messages: bool = False
    ) -> Call:
        """The call that asks `endpoint` to complete `prompt`; `parameters` are body fields."""
        assert not messages, "the job's checks refuse messages where the dialect takes none"  # noqa: S101
        return Call(
            path=_path(endpoint),
            headers=_HEADERS,
            body=_encoder.encode({"prompt": prompt, **parameters}),
            stream=parameters.get("stream") is True,
        )

    def decode(self, status: int, header: Header, body: bytes, *, now: float) -> Completion | Failure:
        """The outcome of a call answered as a whole; see `Dialect.decode`."""
        if status == HTTP_OK and (regular := read_regular(body)) is not None:
            return regular
        answer = read_body(body)
        if answer is None:
            if status != HTTP_OK:
                return status_failure(status, header, "", now=now)
            return bad_answer(f"the answer is not a JSON object ({things(len(body), 'byte')})")
        failure = _failure(answer, status, header, now=now)
        if failure is not None:
            return failure
        if not isinstance(answer.result, str):
            return bad_answer("the answer has no `result` text")
        return completion_of(answer, answer.result, usage_of(answer.usage))

    def stream_decoder(self, status: int, header: Header, *, now: float) -> QianfanStream:
        """A decoder for one streamed answer; errors and gateways may answer it as a whole instead."""
        return QianfanStream(self, status, header, now=now)

    def rate_signals(self, header: Header) -> RateSignals | None:
        """The `X-Ratelimit-*` headers; limits are per minute."""
        stated = [header(name) for name in _RATE_HEADERS]
        if stated == _NO_RATES:
            return None
        limit_requests, limit_tokens, requests, tokens = numbers = [_number(value) for value in stated]
        return None if numbers == _NO_RATES else RateSignals(limit_requests, limit_tokens, requests, tokens)


class QianfanStream(EventStream):
    """Collects the events of one streamed answer.

    The answer is complete only when an event with `is_end: true` arrived. Usage follows the service's own
    numbers: prompt and total tokens are the maxima over the events, completion is their difference.
    """

    def __init__(self, dialect: QianfanV1, status: int, header: Header, *, now: float) -> None:
        super().__init__(status, lambda body: dialect.decode(status, header, body, now=now))
        self._failure_of = partial(_failure, status=status, header=header, now=now)
        self._pieces: list[str] = []
        self._answered = False  # whether any event had a text, be it empty
        self._usages: list[Any] = []
        self._seen = Body()
        self._complete = False

    @property
    def started(self) -> bool:
        """Whether the first piece of the answer has arrived."""
        return bool(self._pieces)

    @property
    def complete(self) -> bool:
        """Whether the end event was seen."""
        return self._complete

    def readable(self, payload: bytes) -> bool:
        """Whether this is an object; see `EventStream.readable`."""
        return read_body(payload) is not None

    def outcome(self, broken: Failure | None) -> Completion | Failure:
        """The answer, or why there is none; see `EventStream.outcome`."""
        usage = usage_of_stream(self._usages)
        failure = self.failure
        if failure is None and not self._complete:
            failure = broken or NOT_ENDED
        if failure is None and not self._answered:
            failure = bad_answer("the stream has no `result` text")
        if failure is not None:
            return msgspec.structs.replace(failure, usage=usage)
        return completion_of(self._seen, "".join(self._pieces), usage)

    def take(self, payload: bytes) -> None:
        """Take an event; see `EventStream.take`."""
        if payload.strip() == b"[DONE]":
            return
        event = read_body(payload)
        if event is None:
            self.failure = bad_answer("an event of the stream is not a JSON object")
            return
        self.failure = self._failure_of(event)
        if self.failure is not None:
            return
        if isinstance(event.result, str):
            self._answered = True
            if event.result:
                self._pieces.append(event.result)
        elif event.result is not None:
            self.failure = bad_answer("the `result` of an event is not text")
            return
        if event.usage is not None:
            self._usages.append(event.usage)
        for name in _STICKY:
            value = getattr(event, name)
            if value is not None:
                setattr(self._seen, name, value)
        self._complete = flag(event.is_end) is True


# Fields of a streamed answer: the last event that has one decides.
_STICKY = (
    "id",
    "object",
    "created",
    "is_safe",
    "is_truncated",
    "need_clear_history",
    "ban_round",
    "finish_reason",
)


def _failure(answer: Body, status: int, header: Header, *, now: float) -> Failure | None:
    code = integer(answer.error_code)
    if code:
        unknown = (ErrorKind.UNKNOWN, Action.ROW) if status == HTTP_OK else classify_status(status)
        kind, action = ERROR_CODES.get(code, unknown)
        return Failure(
            kind=kind,
            action=action,
            message=clean_message(text(answer.error_msg) or f"error code {code}"),
            code=int32(code),
            retry_after_s=retry_after_s(header, now=now),
        )
    if status != HTTP_OK:
        message = text(answer.message) or text(answer.error_msg) or ""
        detail = f"{answer.code}: {message}" if isinstance(answer.code, str) else message
        failure = status_failure(status, header, detail, now=now)
        if isinstance(answer.code, str) and answer.code in _IAM_REFUSALS:
            return msgspec.structs.replace(failure, kind=ErrorKind.CREDENTIALS, action=Action.JOB)
        return failure
    return None


def _number(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
