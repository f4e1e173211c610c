"""How a row with a fault ends by whichever dialect: what the services' tables have in common."""

from __future__ import annotations

RETRIED_STATUSES = {408, 425, 500, 502, 503, 504}
BROKEN = (
    "drop", "close", "drop_after_headers", "half_body", "invalid_json", "wrong_types", "not_object",
    "empty_body", "html",
)  # fmt: skip
BROKEN_STREAMS = (*BROKEN, "cut_stream", "reset_stream", "stream_error")
Ending = tuple[str, int | None, int]


def common_endings(*, stream: bool) -> dict[str, Ending]:
    """For each prompt with a fault: status, error code and calls of its row, which may be made twice."""
    expected: dict[str, Ending] = {"plain": ("succeeded", None, 1)}
    for status in RETRIED_STATUSES:
        expected[f"{{{{fault: {status}}}}}"] = ("failed", status, 2)
        expected[f"{{{{fault: {status} times=1}}}}"] = ("succeeded", None, 2)
    for kind in BROKEN_STREAMS if stream else BROKEN:
        expected[f"some words to break {{{{fault: {kind} times=1}}}}"] = ("succeeded", None, 2)
    expected["some words to break {{fault: half_body}}"] = ("failed", None, 2)
    expected["some words, slowly {{fault: slow}}"] = ("succeeded", None, 1)
    expected["{{answer: unsafe}}"] = ("succeeded", None, 1)
    expected["{{answer: empty}}"] = ("succeeded", None, 1)
    return expected


__all__ = ["Ending", "common_endings"]
