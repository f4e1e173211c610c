"""The service's first protocol (V1), the server's side: parameter rules, error codes, shape of answers.

Pure: bytes in, values out.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.types import Scope

from qfbatch.server.auth import Gate
from qfbatch.server.engine import Call, Engine, Piece, Refusal, Sampling
from qfbatch.server.refusals import V1_MESSAGES
from qfbatch.server.reply import event_of

COMPLETIONS = "/rpc/2.0/ai_custom/v1/wenxinworkshop/completions/{endpoint:path}"

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
        Refusal: not JSON (336002), a wrong type (336001), or a value out of its range (336003).
    """
    try:
        asked = _decoder.decode(body)
    except msgspec.ValidationError as error:
        if str(error).startswith("Expected `object`"):
            raise Refusal(336002, "Invalid JSON: the body must be an object") from None
        raise Refusal(336001, f"Invalid Argument: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(336002, f"Invalid JSON: {error}") from None
    if not asked.prompt:
        raise Refusal(336003, "prompt is required and cannot be empty")
    return Call(endpoint, asked.prompt, _sampling(asked), bool(asked.stream), token)


def _sampling(asked: Body) -> Sampling:
    """The sampling asked for, in range."""
    problem = _problem(asked)
    if problem:
        raise Refusal(336003, problem)
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


class QianfanV1:
    """V1 as a `Dialect`: the endpoint is part of the path, errors come with HTTP 200."""

    tells_resets = False

    def admit(self, scope: Scope, gate: Gate) -> str:
        """See `Dialect`: a token in the query, else a signature or a key in the header."""
        query = scope["query_string"]
        token = parse_qs(query.decode("latin-1")).get("access_token", [""])[0] if query else ""
        gate.check(scope, token)
        return token

    def read(self, scope: Scope, body: bytes, token: str, engine: Engine) -> Call:
        """See `Dialect`."""
        endpoint = scope["path_params"]["endpoint"]
        if not engine.knows(endpoint):
            served = ", ".join(engine.endpoints)
            raise Refusal(336005, f"API name not exist: {endpoint} (served here: {served})")
        return read_call(body, endpoint, token)

    def whole(self, call: Call, piece: Piece, *, text: str, response_id: str, created: int) -> dict[str, Any]:
        """See `Dialect`."""
        del call
        return _answer(piece, text=text, response_id=response_id, created=created)

    def events(self, call: Call, piece: Piece, *, number: int, response_id: str, created: int) -> bytes:
        """See `Dialect`: one event for each piece, the last with `is_end`."""
        del call
        return event_of(
            _answer(piece, text=piece.text, response_id=response_id, created=created, sentence_id=number)
        )

    def failure(self, refusal: Refusal, response_id: str) -> tuple[int, dict[str, Any]]:
        """See `Dialect`; the service's errors have no id."""
        del response_id
        if refusal.gateway is not None:
            return refusal.gateway
        return 200, {
            "error_code": refusal.code,
            "error_msg": refusal.message or V1_MESSAGES.get(refusal.code, "Unknown error"),
        }

    def http_failure(self, status: int) -> dict[str, Any]:
        """See `Dialect`: the body of the gateway before the service."""
        return {"code": f"Status{status}", "message": f"scripted HTTP {status}", "requestId": "scripted"}


def _answer(
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


__all__ = ["COMPLETIONS", "MAX_STOPS", "MAX_STOP_CHARS", "QianfanV1", "read_call"]
