"""The service's first protocol (V1), the server's side: parameter rules, error codes, shape of answers.

Pure: bytes in, values out. The routes are in `completions`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from qfbatch.server.engine import Call, Piece, Sampling

ERROR_MESSAGES = {
    1: "Unknown error",
    2: "Service temporarily unavailable",
    3: "Unsupported openapi method",
    4: "Open api request limit reached",
    6: "No permission to access data",
    13: "Get service token failed",
    14: "IAM Certification failed",
    15: "App not exists or create failed",
    17: "Open api daily request limit reached",
    18: "Open api qps request limit reached",
    19: "Open api total request limit reached",
    100: "Invalid parameter",
    110: "Access token invalid or no longer valid",
    111: "Access token expired",
    336000: "Internal error",
    336001: "Invalid Argument",
    336002: "Invalid JSON",
    336003: "Invalid parameter",
    336004: "Permission error",
    336005: "API name not exist",
    336006: "The message role is invalid",
    336007: "The max input characters exceeded",
    336008: "Invalid request",
    336100: "The server is under high load, please try again later",
    336101: "Only POST is supported",
    336102: "Invalid request",
    336103: "Prompt tokens too long",
    336104: "Invalid argument",
    336105: "Invalid argument",
    336200: "Internal error",
    336303: "Invalid request",
    336501: "Rate limit reached for RPM",
    336502: "Rate limit reached for TPM",
    337006: "Invalid request",
}
MAX_STOPS = 4
MAX_STOP_CHARS = 20
# Parameter, least, greatest, whether the least is allowed: as the service documents them.
_RANGES: tuple[tuple[str, float, float, bool], ...] = (
    ("temperature", 0, 1.0, False),
    ("top_p", 0, 1.0, True),
    ("top_k", 1, 2**31 - 1, True),
    ("penalty_score", 1.0, 2.0, True),
    ("seed", 0, 2**32 - 2, True),  # 2**32 - 1 asks llama.cpp for a random one
)


class BadRequest(Exception):  # noqa: N818 - reads as the state it reports
    """The request breaks a documented rule.

    Args:
        code: the service's error code for it.
        message: what is wrong, naming the parameter.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class Body(Struct, gc=False):
    """The request body as documented, and `seed`; unknown fields are ignored, null means absent."""

    prompt: str | UnsetType | None = UNSET
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    penalty_score: float | None = None
    stop: list[str] | None = None
    user_id: str | None = None
    seed: int | None = None


_decoder = msgspec.json.Decoder(Body)


def read_call(body: bytes, endpoint: str, token: str) -> Call:
    """The call a request body asks for.

    Args:
        body: as received.
        endpoint: the URL's last part.
        token: the access token it came with, or empty.

    Raises:
        BadRequest: not JSON (336002), a wrong type (336001), or a value out of its range (336003).
    """
    try:
        asked = _decoder.decode(body)
    except msgspec.ValidationError as error:
        if str(error).startswith("Expected `object`"):
            raise BadRequest(336002, "Invalid JSON: the body must be an object") from None
        raise BadRequest(336001, f"Invalid Argument: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(336002, f"Invalid JSON: {error}") from None
    if not asked.prompt:
        raise BadRequest(336003, "prompt is required and cannot be empty")
    return Call(endpoint, asked.prompt, _sampling(asked), bool(asked.stream), token)


def _sampling(asked: Body) -> Sampling:
    """The sampling asked for, in range."""
    problem = _problem(asked)
    if problem:
        raise BadRequest(336003, problem)
    return Sampling(
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        penalty_score=asked.penalty_score,
        stop=tuple(asked.stop or ()),
        seed=asked.seed,
    )


def _problem(asked: Body) -> str:
    """The first documented rule that a parameter breaks; empty where none is."""
    for name, lowest, highest, lowest_included in _RANGES:
        value = getattr(asked, name)
        if value is not None and not (lowest <= value <= highest and (lowest_included or value > lowest)):
            return f"{name} must be in {'[' if lowest_included else '('}{lowest}, {highest}]"
    if len(asked.stop or ()) > MAX_STOPS:
        return f"stop must have at most {MAX_STOPS} items"
    if any(not 0 < len(text) <= MAX_STOP_CHARS for text in asked.stop or ()):
        return f"each item of stop must have 1 to {MAX_STOP_CHARS} characters"
    return ""


def error_payload(code: int, message: str = "", *, response_id: str = "") -> dict[str, Any]:
    """The body of a failed call, which the service sends with HTTP 200.

    Args:
        code: the service's error code.
        message: empty takes the service's text for the code.
        response_id: left out where empty.
    """
    payload: dict[str, Any] = {
        "error_code": code,
        "error_msg": message or ERROR_MESSAGES.get(code, "Unknown error"),
    }
    if response_id:
        payload["id"] = response_id
    return payload


def answer_payload(
    piece: Piece, *, text: str, response_id: str, created: int, sentence_id: int | None = None
) -> dict[str, Any]:
    """The body of a whole answer, or of one event of a stream.

    Args:
        piece: the last piece; in a stream, the one that is sent.
        text: the whole answer, or the event's part of it.
        response_id: the same in all events of a stream.
        created: unix seconds.
        sentence_id: number of the event, from 0; None where the answer is not streamed.
    """
    finish = piece.finish
    payload: dict[str, Any] = {
        "id": response_id,
        "object": "completion" if finish is None else finish.kind,
        "created": created,
    }
    if sentence_id is not None:
        payload["sentence_id"] = sentence_id
        payload["is_end"] = finish is not None
    payload["result"] = text
    payload["is_truncated"] = finish is not None and finish.reason == "length"
    payload["need_clear_history"] = finish is not None and bool(finish.unsafe)
    if finish is not None:
        payload["finish_reason"] = finish.reason
        if finish.unsafe is not None:
            payload["is_safe"] = int(not finish.unsafe)
        if finish.unsafe:
            payload["ban_round"] = -1
    if finish is None or finish.with_usage:
        payload["usage"] = {
            "prompt_tokens": piece.prompt_tokens,
            "completion_tokens": piece.completion_tokens,
            "total_tokens": piece.prompt_tokens + piece.completion_tokens,
        }
    return payload


__all__ = [
    "ERROR_MESSAGES",
    "MAX_STOPS",
    "MAX_STOP_CHARS",
    "BadRequest",
    "answer_payload",
    "error_payload",
    "read_call",
]
