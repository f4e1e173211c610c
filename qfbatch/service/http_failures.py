"""What HTTP itself says about a failed call, the same for every dialect."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.service.dialect import Header
from qfbatch.service.redaction import clean_message

MAX_RETRY_AFTER_S = 600.0

_STATUS = {
    400: (ErrorKind.INVALID_REQUEST, Action.ROW),
    401: (ErrorKind.CREDENTIALS, Action.JOB),
    403: (ErrorKind.PERMISSION, Action.JOB),
    407: (ErrorKind.CREDENTIALS, Action.JOB),  # a proxy's word
    408: (ErrorKind.TIMEOUT, Action.RETRY),
    413: (ErrorKind.TOO_LONG, Action.ROW),
    425: (ErrorKind.SERVER, Action.RETRY),
    429: (ErrorKind.RATE_LIMITED, Action.THROTTLE),
}


def classify_status(status: int) -> tuple[ErrorKind, Action]:
    """Kind and action of an HTTP status that is not a success."""
    if status in _STATUS:
        return _STATUS[status]
    if status >= 500:  # noqa: PLR2004 - the class of server errors
        return ErrorKind.SERVER, Action.RETRY
    if status >= 400:  # noqa: PLR2004 - the class of client errors
        return ErrorKind.INVALID_REQUEST, Action.ROW
    # A redirect (or another non-answer) concerns the address, not the row: every row would meet it.
    return ErrorKind.NOT_FOUND, Action.JOB


def status_failure(status: int, header: Header, message: str, *, now: float) -> Failure:
    """The failure an HTTP status stands for, with `message` as far as the body had one."""
    kind, action = classify_status(status)
    return Failure(
        kind=kind,
        action=action,
        message=clean_message(f"HTTP {status}: {message}" if message else f"HTTP {status}"),
        code=status,
        retry_after_s=retry_after_s(header, now=now),
    )


def retry_after_s(header: Header, *, now: float) -> float | None:
    """Seconds that `Retry-After` asks to wait (RFC 9110, section 10.2.3: seconds or an HTTP date).

    Never negative, at most `MAX_RETRY_AFTER_S`; None where absent or unreadable.
    """
    value = header("retry-after")
    if value is None:
        return None
    try:
        wait_s = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
            wait_s = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, TypeError, IndexError, OverflowError):  # as the parser fails over absurd dates
            return None
    if wait_s != wait_s:  # noqa: PLR0124 - NaN, which float() accepts
        return None
    return min(max(0.0, wait_s), MAX_RETRY_AFTER_S)


def bad_answer(message: str) -> Failure:
    """An answer that cannot be read: transient, for unwell gateways answer with pages and cut bodies."""
    return Failure(ErrorKind.BAD_ANSWER, Action.RETRY, clean_message(message))
