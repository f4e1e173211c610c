"""What fails at servers of the OpenAI protocol, and what is done about it.

Failures come with a real HTTP status and an error object, whose form differs by server: an object or a text
under `error`, the same fields flat, or `detail`. A code says more than the status and decides where the table
knows it, then the error's type, then the status. Within an answer that began with status 200 (a stream that
breaks off), an error without a known code is transient: what a server refuses, it refuses before that.

Sources: Qianfan's and OpenAI's public error tables; what vLLM, SGLang, llama.cpp's server, text-generation-
inference, FastAPI and common gateways send.
"""

from __future__ import annotations

from typing import Any

from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.service.dialect import Header
from qfbatch.service.fields import int32, integer, text
from qfbatch.service.http_failures import classify_status, retry_after_s
from qfbatch.service.openai_answers import CONTENT_FILTER, Body
from qfbatch.service.redaction import clean_message

HTTP_OK = 200
MAX_DETAILS = 3  # of a list of validation errors, the most that are repeated

_R, _T, _W, _J = Action.RETRY, Action.THROTTLE, Action.ROW, Action.JOB
_K = ErrorKind

# Code or type of an error → what failed, and what to do (the policy table of docs/failures.md). A leading
# star stands for any beginning.
ERROR_CODES: dict[str, tuple[ErrorKind, Action]] = {
    "*_unsafe": (_K.UNSAFE, _W),
    CONTENT_FILTER: (_K.UNSAFE, _W),
    "content_policy_violation": (_K.UNSAFE, _W),
    "unsafe_request": (_K.UNSAFE, _W),
    "*rate_limit_exceeded": (_K.RATE_LIMITED, _T),
    "rate_limit_error": (_K.RATE_LIMITED, _T),
    "slow_down": (_K.RATE_LIMITED, _T),
    "engine_overloaded": (_K.OVERLOADED, _T),
    "overloaded_error": (_K.OVERLOADED, _T),
    "overloaded": (_K.OVERLOADED, _T),
    # llama.cpp's server while it loads its model, which may take minutes: no row is at fault.
    "unavailable_error": (_K.OVERLOADED, _T),
    "internal_error": (_K.SERVER, _R),
    "dispatch_internal_error": (_K.SERVER, _R),
    "server_error": (_K.SERVER, _R),
    "insufficient_quota": (_K.QUOTA, _J),
    "insufficient_balance": (_K.QUOTA, _J),
    "billing_hard_limit_reached": (_K.QUOTA, _J),
    "billing_not_active": (_K.QUOTA, _J),
    "account_overdue": (_K.QUOTA, _J),
    "invalid_api_key": (_K.CREDENTIALS, _J),
    "invalid_iam_token": (_K.CREDENTIALS, _J),
    "authentication_error": (_K.CREDENTIALS, _J),
    "invalid_appid": (_K.PERMISSION, _J),
    "no_parameter_permission": (_K.PERMISSION, _J),
    "permission_error": (_K.PERMISSION, _J),
    "invalid_model": (_K.NOT_FOUND, _J),
    "model_not_found": (_K.NOT_FOUND, _J),
    "model_offline": (_K.NOT_FOUND, _J),
    "context_length_exceeded": (_K.TOO_LONG, _W),
    "string_above_max_length": (_K.TOO_LONG, _W),
    "exceed_context_size_error": (_K.TOO_LONG, _W),
    "characters_too_long": (_K.TOO_LONG, _W),
    "tokens_too_long": (_K.TOO_LONG, _W),
    "malformed_json": (_K.INVALID_REQUEST, _W),
    "invalid_messages": (_K.INVALID_REQUEST, _W),
    "invalid_argument": (_K.INVALID_REQUEST, _W),
}

# Where the protocol says more about a status than HTTP does: address and model are the same for every row.
STATUSES: dict[int, tuple[ErrorKind, Action]] = {
    402: (_K.QUOTA, _J),
    404: (_K.NOT_FOUND, _J),
    405: (_K.NOT_FOUND, _J),
    501: (_K.NOT_FOUND, _J),
    529: (_K.OVERLOADED, _T),
}

BROKEN_OFF = Failure(_K.SERVER, _R, "[error] the service broke the answer off")

_BY_ENDING = {name[1:]: policy for name, policy in ERROR_CODES.items() if name.startswith("*")}
_ERROR_STATUSES = range(400, 600)


def failure_of(answer: Body, status: int, header: Header, *, now: float) -> Failure | None:
    """The failure that a body and its status amount to; None where the body may be an answer."""
    if status == HTTP_OK and not answer.error and answer.object != "error":
        return None
    code, kind_of_error, message = _words(answer)
    kind, action = _classify(code, kind_of_error, status)
    name = next((name for name in (code, kind_of_error) if _is_name(name)), None)
    # In brackets: as "invalid_api_key: words" the words would be taken for the key, and blanked.
    words = " ".join(part for part in (f"[{name}]" if name else "", message) if part)
    number = integer(code)
    own = int32(number) if number else None
    return Failure(
        kind=kind,
        action=action,
        message=clean_message(words or (f"HTTP {status}" if status != HTTP_OK else "an error without words")),
        code=own if own is not None else None if status == HTTP_OK else status,
        retry_after_s=_wait_s(header, now=now),
        is_safe=False if kind is ErrorKind.UNSAFE else None,
    )


def _words(answer: Body) -> tuple[Any, Any, str]:
    """Code, type and message of an error in any of its forms."""
    error = answer.error
    if isinstance(error, dict):
        return error.get("code"), error.get("type"), _message(error.get("message"))
    if isinstance(error, str):
        return answer.code, answer.error_type or answer.type, error
    return answer.code, answer.type, _message(answer.message) or _message(answer.detail)


def _message(value: Any) -> str:
    """An error's words; those of a list of validation errors, each with its place."""
    if isinstance(value, dict):
        return text(value.get("message")) or text(value.get("msg")) or ""
    if not isinstance(value, list):
        return text(value) or ""
    found = []
    for each in value[:MAX_DETAILS]:
        if isinstance(each, dict) and isinstance(each.get("msg"), str):
            place = each.get("loc")
            where = ".".join(map(str, place)) if isinstance(place, list) else ""
            found.append(f"{where}: {each['msg']}" if where else each["msg"])
    return "; ".join(found)


def _classify(code: Any, kind_of_error: Any, status: int) -> tuple[ErrorKind, Action]:
    for name in (code, kind_of_error):
        if _is_name(name):
            known = ERROR_CODES.get(name) or next(
                (policy for ending, policy in _BY_ENDING.items() if name.endswith(ending)), None
            )
            if known is not None:
                return known
    if status == HTTP_OK:
        number = integer(code)
        if number is None or number not in _ERROR_STATUSES:
            return ErrorKind.SERVER, Action.RETRY
        status = number
    return STATUSES.get(status) or classify_status(status)


def _is_name(code: Any) -> bool:
    return isinstance(code, str) and bool(code) and integer(code) is None


def _wait_s(header: Header, *, now: float) -> float | None:
    """What `Retry-After` asks for, which some servers write in milliseconds under a name of its own."""
    milliseconds = header("retry-after-ms")
    if milliseconds is None:
        return retry_after_s(header, now=now)
    try:
        seconds = float(milliseconds) / 1000.0
    except ValueError:
        return retry_after_s(header, now=now)
    return retry_after_s({"retry-after": str(seconds)}.get, now=now)
