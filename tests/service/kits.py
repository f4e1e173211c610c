"""One kit a dialect: what its service answers, in the form that the contract suite asks of all of them.

A new dialect brings its kit, and the suite holds it to what every dialect promises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.service.dialect import Dialect
from qfbatch.service.dialects import DIALECTS

from .test_error_codes import CODES, STATUSES

PAGE = b"<html><h1>secret internals</h1></html>"


@dataclass(frozen=True)
class Refused:
    """One way in which a service says no.

    Attributes:
        status, body: of the answer.
        do, kind: what it is to be taken for.
        code, message: what a failed row shows.
        source: who answers so.
    """

    status: int
    body: bytes
    do: str
    kind: str
    code: int | None
    message: str
    source: str = ""

    @property
    def failure(self) -> Failure:
        """The whole of it as a value."""
        unsafe = False if self.kind == "unsafe" else None
        return Failure(ErrorKind(self.kind), Action(self.do), self.message, self.code, is_safe=unsafe)


@dataclass(frozen=True)
class Kit:
    """What one dialect's service sends.

    Attributes:
        dialect: the dialect.
        whole: the body of a whole answer with this text, 3 prompt and 2 completion tokens.
        events: the same answer as a stream, one piece of text an event; the last one ends it.
        refused: every form of refusal, each with its policy.
        broken_off: error events that may come in the middle of a stream.
        endpoint: what a model may be called there.
    """

    dialect: Dialect
    whole: Callable[[str], bytes]
    events: Callable[[Sequence[str]], list[bytes]]
    refused: list[Refused]
    broken_off: list[Refused] = field(default_factory=list)
    endpoint: str = "m"


def as_json(**fields: Any) -> bytes:
    """A JSON object."""
    return json.dumps(fields, ensure_ascii=False).encode()


def event(**fields: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + as_json(**fields) + b"\n\n"


def _statuses(special: Sequence[tuple[int, str, str]] = ()) -> list[Refused]:
    """HTTP statuses without any words of the service's own, with a gateway's page or nothing."""
    known = {status: (do, kind) for status, do, kind in (*STATUSES, *special)}
    return [
        Refused(status, body, do, kind, status, f"HTTP {status}")
        for status, (do, kind) in known.items()
        for body in (PAGE, b"")
    ]


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def _v1_events(pieces: Sequence[str]) -> list[bytes]:
    events = [event(id="a", result=piece, is_end=False) for piece in pieces]
    return [*events, event(id="a", result="", is_end=True, usage=USAGE)]


V1 = Kit(
    dialect=DIALECTS["qianfan"],
    whole=lambda text: as_json(id="a", result=text, usage=USAGE),
    events=_v1_events,
    refused=[
        *(Refused(200, as_json(error_code=c, error_msg="words"), do, k, c, "words") for c, do, k in CODES),
        *_statuses(),
    ],
    broken_off=[
        Refused(200, as_json(error_code=336100, error_msg="busy"), "throttle", "overloaded", 336100, "busy"),
        Refused(200, as_json(error_code=999, error_msg="new"), "row", "unknown", 999, "new"),
    ],
)


def _error(status: int, code: Any, do: str, kind: str, source: str, *, type_: Any = None) -> Refused:
    """The error object with a code in words: results have the status as code, the words in the message."""
    body = as_json(error={"code": code, "message": "words", "type": type_}, id="as-1")
    return Refused(status, body, do, kind, status, f"[{code or type_}] words", source)


# What the public error tables of Qianfan V2 and OpenAI have, and what servers send in their own forms.
_OPENAI_REFUSED = [
    *(
        _error(429, f"{whose}_rate_limit_exceeded", "throttle", "rate_limited", "Qianfan")
        for whose in ("rpm", "tpm", "input_tpm", "output_tpm", "user", "cluster", "preemptible")
    ),
    _error(500, "internal_error", "retry", "server", "Qianfan"),
    _error(500, "dispatch_internal_error", "retry", "server", "Qianfan"),
    _error(401, "invalid_iam_token", "job", "credentials", "Qianfan"),
    _error(401, "invalid_model", "job", "not_found", "Qianfan"),
    _error(401, "invalid_appid", "job", "permission", "Qianfan"),
    _error(401, "no_parameter_permission", "job", "permission", "Qianfan"),
    _error(403, "account_overdue", "job", "quota", "Qianfan"),
    _error(403, "model_offline", "job", "not_found", "Qianfan"),
    _error(403, "prompt_unsafe", "row", "unsafe", "Qianfan"),
    _error(403, "completion_unsafe", "row", "unsafe", "Qianfan"),
    _error(400, "malformed_json", "row", "invalid_request", "Qianfan"),
    _error(400, "invalid_model", "job", "not_found", "Qianfan"),
    _error(400, "invalid_messages", "row", "invalid_request", "Qianfan"),
    _error(400, "characters_too_long", "row", "too_long", "Qianfan"),
    _error(400, "tokens_too_long", "row", "too_long", "Qianfan"),
    _error(400, "invalid_argument", "row", "invalid_request", "Qianfan"),
    _error(429, "rate_limit_exceeded", "throttle", "rate_limited", "OpenAI", type_="tokens"),
    _error(429, "insufficient_quota", "job", "quota", "OpenAI", type_="insufficient_quota"),
    _error(429, None, "job", "quota", "OpenAI", type_="insufficient_quota"),
    _error(400, "billing_hard_limit_reached", "job", "quota", "OpenAI"),
    _error(429, "billing_not_active", "job", "quota", "OpenAI"),
    _error(503, "slow_down", "throttle", "rate_limited", "OpenAI", type_="rate_limit_error"),
    _error(503, None, "throttle", "overloaded", "OpenAI", type_="engine_overloaded"),
    _error(500, None, "retry", "server", "OpenAI", type_="server_error"),
    _error(401, "invalid_api_key", "job", "credentials", "OpenAI", type_="invalid_request_error"),
    _error(403, "unsupported_country_region_territory", "job", "permission", "OpenAI"),
    _error(404, "model_not_found", "job", "not_found", "OpenAI", type_="invalid_request_error"),
    _error(400, "context_length_exceeded", "row", "too_long", "OpenAI", type_="invalid_request_error"),
    _error(400, "string_above_max_length", "row", "too_long", "OpenAI", type_="invalid_request_error"),
    _error(400, "content_policy_violation", "row", "unsafe", "OpenAI", type_="invalid_request_error"),
    _error(400, "unsupported_parameter", "row", "invalid_request", "OpenAI"),
    _error(400, "content_filter", "row", "unsafe", "Azure"),
    _error(402, "insufficient_balance", "job", "quota", "gateways"),
    _error(529, None, "throttle", "overloaded", "gateways", type_="overloaded_error"),
    _error(429, None, "throttle", "rate_limited", "gateways", type_="rate_limit_error"),
    _error(401, None, "job", "credentials", "gateways", type_="authentication_error"),
    _error(403, None, "job", "permission", "gateways", type_="permission_error"),
    Refused(
        400,
        as_json(error={"message": "too long", "type": "BadRequestError", "param": None, "code": 400}),
        "row",
        "invalid_request",
        400,
        "[BadRequestError] too long",
        "vLLM",
    ),
    Refused(
        404,
        as_json(object="error", message="no such model", type="NotFoundError", param=None, code=404),
        "job",
        "not_found",
        404,
        "[NotFoundError] no such model",
        "vLLM, older, and SGLang",
    ),
    Refused(401, as_json(error="Unauthorized"), "job", "credentials", 401, "Unauthorized", "vLLM"),
    Refused(
        400,
        as_json(
            error={"code": 400, "message": "too long", "type": "exceed_context_size_error", "n_ctx": 512}
        ),
        "row",
        "too_long",
        400,
        "[exceed_context_size_error] too long",
        "llama.cpp",
    ),
    Refused(
        503,
        as_json(error={"code": 503, "message": "Loading model", "type": "unavailable_error"}),
        "throttle",
        "overloaded",
        503,
        "[unavailable_error] Loading model",
        "llama.cpp",
    ),
    Refused(
        429,
        as_json(error={"message": "slow", "type": "None", "param": "None", "code": "429"}),
        "throttle",
        "rate_limited",
        429,
        "[None] slow",
        "LiteLLM",
    ),
    Refused(
        429,
        as_json(error="Model is overloaded", error_type="overloaded"),
        "throttle",
        "overloaded",
        429,
        "[overloaded] Model is overloaded",
        "text-generation-inference",
    ),
    Refused(404, as_json(detail="Not Found"), "job", "not_found", 404, "Not Found", "FastAPI"),
    Refused(
        422,
        as_json(detail=[{"loc": ["body", "seed"], "msg": "not an integer", "type": "int"}, {"msg": "and"}]),
        "row",
        "invalid_request",
        422,
        "body.seed: not an integer; and",
        "FastAPI",
    ),
    Refused(
        500,
        as_json(error={"code": 20007, "message": "own code"}),
        "retry",
        "server",
        20007,
        "own code",
        "gateways with numbers of their own",
    ),
    # Errors that come with status 200: the number decides where there is one.
    Refused(
        200,
        as_json(error={"code": 502, "message": "upstream"}, choices=[]),
        "retry",
        "server",
        502,
        "upstream",
        "gateways",
    ),
    Refused(200, as_json(error={"message": "odd"}), "retry", "server", None, "odd", "gateways"),
    Refused(
        200, as_json(object="error", message="no", code=400), "row", "invalid_request", 400, "no", "vLLM"
    ),
    *_statuses(
        [
            (402, "job", "quota"),
            (404, "job", "not_found"),
            (405, "job", "not_found"),
            (501, "job", "not_found"),
            (529, "throttle", "overloaded"),
        ]
    ),
]

_OPENAI_BROKEN_OFF = [
    Refused(
        200,
        as_json(error={"message": "boom", "type": "server_error", "code": None}),
        "retry",
        "server",
        None,
        "[server_error] boom",
        "OpenAI",
    ),
    Refused(
        200,
        as_json(error={"message": "bad", "type": "BadRequestError", "code": 400}),
        "row",
        "invalid_request",
        400,
        "[BadRequestError] bad",
        "vLLM",
    ),
    Refused(
        200,
        as_json(error={"code": "tpm_rate_limit_exceeded", "message": "slow", "type": "x"}),
        "throttle",
        "rate_limited",
        None,
        "[tpm_rate_limit_exceeded] slow",
        "Qianfan",
    ),
    Refused(200, as_json(error="lost"), "retry", "server", None, "lost", "gateways"),
]


def _openai_kit(api: str, whole: Callable[[str], Any], piece: Callable[[str], Any]) -> Kit:
    def choices(finish_reason: str | None, fields: Any) -> list[Any]:
        return [{"index": 0, "finish_reason": finish_reason, "logprobs": None, **fields}]

    def answer(text: str) -> bytes:
        return as_json(id="a", object="o", created=5, choices=choices("stop", whole(text)), usage=USAGE)

    def events(pieces: Sequence[str]) -> list[bytes]:
        head = {"id": "a", "object": "o", "created": 5}
        return [
            *(event(**head, choices=choices(None, piece(text)), usage=None) for text in pieces),
            event(**head, choices=choices("stop", piece(""))),
            event(**head, choices=[], usage=USAGE),
            b"data: [DONE]\n\n",
        ]

    return Kit(DIALECTS[api], answer, events, _OPENAI_REFUSED, _OPENAI_BROKEN_OFF, endpoint="org/model:1")


COMPLETIONS = _openai_kit("openai", lambda text: {"text": text}, lambda text: {"text": text})
CHAT = _openai_kit(
    "openai-chat",
    lambda text: {"message": {"role": "assistant", "content": text}},
    lambda text: {"delta": {"content": text}},
)

BUILT_IN = [V1, COMPLETIONS, CHAT]


def documented() -> tuple[str, Kit]:
    """The worked example of docs/dialects.md: the source of its module, and its kit."""
    page = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text(encoding="utf-8")
    module, kit, *_ = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "documented", "__package__": __package__}
    exec(compile(module, "docs/dialects.md", "exec"), names)
    exec(compile(kit, "docs/dialects.md", "exec"), names)
    example = names["KIT"]
    assert isinstance(example, Kit)
    return module, example
