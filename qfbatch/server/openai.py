"""The service's current protocol (V2), which OpenAI-compatible servers share: answers, streams, errors.

Pure: values in, values out. Text and chat completions differ in how they are asked (`openai_requests`) and in
the shape of their answers; all else is one.
"""

from __future__ import annotations

import zlib
from typing import Any

from starlette.types import Scope

from qfbatch.server.auth import Gate
from qfbatch.server.engine import Call, Engine, Finish, Piece, Refusal
from qfbatch.server.openai_requests import read_call
from qfbatch.server.refusals import V2_ERRORS, V2_NAMES
from qfbatch.server.reply import event_of

_DONE = b"data: [DONE]\n\n"
_INTERNAL_ERROR = 500
_STATUS_NAMES = {
    400: "invalid_argument",
    401: "invalid_iam_token",
    405: "method_not_supported",
    429: "rpm_rate_limit_exceeded",
    500: "internal_error",
}


class OpenAI:
    """V2 as a `Dialect`: the model is part of the body, errors are real HTTP statuses.

    Args:
        chat: chat completions; text completions otherwise.
    """

    tells_resets = True

    def __init__(self, *, chat: bool) -> None:
        self._chat = chat
        self._whole_object = "chat.completion" if chat else "text_completion"
        self._event_object = "chat.completion.chunk" if chat else "text_completion"

    def admit(self, scope: Scope, gate: Gate) -> str:
        """See `Dialect`: a key in the header."""
        return gate.check_bearer(scope)

    def read(self, scope: Scope, body: bytes, token: str, engine: Engine) -> Call:
        """See `Dialect`."""
        del scope
        return read_call(body, token, engine, chat=self._chat)

    def whole(self, call: Call, piece: Piece, *, text: str, response_id: str, created: int) -> dict[str, Any]:
        """See `Dialect`."""
        finish = piece.finish or Finish()
        choice = _choice(finish)
        if self._chat:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        payload = {
            "id": response_id,
            "object": self._whole_object,
            "created": created,
            "model": call.endpoint,
            "choices": [choice],
        }
        if finish.with_usage:
            payload["usage"] = _usage(piece)
        return payload

    def events(self, call: Call, piece: Piece, *, number: int, response_id: str, created: int) -> bytes:
        """See `Dialect`: the text, then why it ended, the token counts where asked for, and `[DONE]`."""
        head = {
            "id": response_id,
            "object": self._event_object,
            "created": created,
            "model": call.endpoint,
        }
        said = b""
        if piece.text or number == 0:
            said = event_of(head | {"choices": [_choice(None) | self._part(piece.text, number)]})
        if piece.finish is None:
            return said
        said += event_of(head | {"choices": [_choice(piece.finish) | self._part("", None)]})
        if call.count_at_end and piece.finish.with_usage:
            said += event_of(head | {"choices": [], "usage": _usage(piece)})
        return said + _DONE

    def _part(self, text: str, number: int | None) -> dict[str, Any]:
        """An event's part of the text; the last event, which has none, is without a number."""
        if not self._chat:
            return {"text": text}
        if number is None:
            return {"delta": {}}
        return {"delta": {"role": "assistant", "content": text} if number == 0 else {"content": text}}

    def failure(self, refusal: Refusal, response_id: str) -> tuple[int, dict[str, Any]]:
        """See `Dialect`."""
        if refusal.gateway is not None:
            return refusal.gateway
        name = refusal.name or V2_NAMES.get(refusal.code, "internal_error")
        error = V2_ERRORS[name]
        return refusal.status or error.status, _error(
            name, refusal.message or error.message, error.kind, response_id
        )

    def http_failure(self, status: int) -> dict[str, Any]:
        """See `Dialect`: in the service's words where it documents the status."""
        name = _STATUS_NAMES.get(status)
        if name is not None:
            return _error(name, V2_ERRORS[name].message, V2_ERRORS[name].kind, "")
        kind = "server_error" if status >= _INTERNAL_ERROR else "invalid_request_error"
        return _error(f"http_{status}", f"scripted HTTP {status}", kind, "")


def models_payload(names: tuple[str, ...], created: int) -> dict[str, Any]:
    """The list of models.

    Args:
        names: those served.
        created: unix seconds.
    """
    return {"object": "list", "data": [model_payload(name, created) for name in names]}


def model_payload(name: str, created: int) -> dict[str, Any]:
    """One model, as listed."""
    return {"id": name, "object": "model", "created": created, "owned_by": "qfbatch"}


def _choice(finish: Finish | None) -> dict[str, Any]:
    """A choice without its text: why it ended, once it has; `flag` and `ban_round` are the service's own."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": None, "logprobs": None}
    if finish is not None:
        choice["finish_reason"] = "stop" if finish.reason == "normal" else finish.reason
        if finish.unsafe:
            choice |= {"finish_reason": "content_filter", "flag": 1, "ban_round": -1}
    return choice


def _usage(piece: Piece) -> dict[str, int]:
    return {
        "prompt_tokens": piece.prompt_tokens,
        "completion_tokens": piece.completion_tokens,
        "total_tokens": piece.prompt_tokens + piece.completion_tokens,
    }


def _error(code: str, message: str, kind: str, response_id: str) -> dict[str, Any]:
    error = {"code": code, "message": message, "type": kind}
    return {"error": error, "id": response_id or f"as-{zlib.crc32(message.encode('utf-8', 'replace')):08x}"}


__all__ = ["OpenAI", "model_payload", "models_payload"]
