"""What each error code and HTTP status is, and what is done about it: the specification, written out."""

from __future__ import annotations

import json

import pytest

from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.service.qianfan import ERROR_CODES, QianfanV1
from qfbatch.service.signing import Refusal

DIALECT = QianfanV1()

# code, "do", what a report calls it
CODES = [
    (1, "retry", "server"),
    (2, "retry", "server"),
    (3, "job", "not_found"),
    (4, "throttle", "rate_limited"),
    (6, "job", "permission"),
    (13, "job", "credentials"),
    (14, "job", "credentials"),
    (15, "retry", "server"),
    (17, "job", "quota"),
    (18, "throttle", "rate_limited"),
    (19, "job", "quota"),
    (100, "job", "credentials"),
    (110, "refresh", "credentials"),
    (111, "refresh", "credentials"),
    (336000, "retry", "server"),
    (336001, "row", "invalid_request"),
    (336002, "row", "invalid_request"),
    (336003, "row", "invalid_request"),
    (336004, "job", "permission"),
    (336005, "job", "not_found"),
    (336006, "row", "invalid_request"),
    (336007, "row", "too_long"),
    (336008, "row", "invalid_request"),
    (336100, "throttle", "overloaded"),
    (336101, "job", "invalid_request"),
    (336102, "row", "invalid_request"),
    (336103, "row", "too_long"),
    (336104, "row", "invalid_request"),
    (336105, "row", "invalid_request"),
    (336200, "retry", "server"),
    (336303, "row", "invalid_request"),
    (336501, "throttle", "rate_limited"),
    (336502, "throttle", "rate_limited"),
    (337006, "row", "invalid_request"),
]

STATUSES = [
    (400, "row", "invalid_request"),
    (401, "job", "credentials"),
    (402, "row", "invalid_request"),
    (403, "job", "permission"),
    (404, "row", "invalid_request"),
    (405, "row", "invalid_request"),
    (408, "retry", "timeout"),
    (413, "row", "too_long"),
    (422, "row", "invalid_request"),
    (425, "retry", "server"),
    (429, "throttle", "rate_limited"),
    (500, "retry", "server"),
    (502, "retry", "server"),
    (503, "retry", "server"),
    (504, "retry", "server"),
    (529, "retry", "server"),
    (599, "retry", "server"),
]


def failed(status: int, body: bytes, headers: dict[str, str] | None = None) -> Failure:
    """The failure that a whole answer amounts to; a stream's decoder must say the same."""
    header = (headers or {}).get
    outcome = DIALECT.decode(status, header, body, now=0.0)
    stream = DIALECT.stream_decoder(status, header, now=0.0)
    stream.feed(body)
    assert stream.finish() == outcome
    assert isinstance(outcome, Failure)
    return outcome


@pytest.mark.parametrize(("code", "do", "kind"), CODES)
def test_error_code(code: int, do: str, kind: str) -> None:
    """Each documented code is classified as the specification has it, its code and message kept."""
    outcome = failed(200, json.dumps({"error_code": code, "error_msg": "words", "id": "as-1"}).encode())
    assert outcome == Failure(ErrorKind(kind), Action(do), "words", code=code)


def test_no_code_is_forgotten_and_none_invented() -> None:
    """The table holds the specification's codes, no more and no less."""
    assert sorted(ERROR_CODES) == sorted(code for code, _, _ in CODES)


@pytest.mark.parametrize(("status", "do", "kind"), STATUSES)
def test_http_status(status: int, do: str, kind: str) -> None:
    """A status without a body of the service's own is classified by itself."""
    page = b"<html><h1>secret internals</h1></html>"
    assert failed(status, page) == Failure(ErrorKind(kind), Action(do), f"HTTP {status}", code=status)
    assert failed(status, b"") == Failure(ErrorKind(kind), Action(do), f"HTTP {status}", code=status)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 304, 307])
def test_a_status_that_is_no_answer_concerns_every_row(status: int) -> None:
    """Redirects and other non-answers mean a wrong address: the job stops instead of failing row by row."""
    assert failed(status, b"") == Failure(ErrorKind.NOT_FOUND, Action.JOB, f"HTTP {status}", code=status)


@pytest.mark.parametrize("code", [-1, 5, 336999, 2**31 - 1])
def test_an_unknown_code_is_recorded(code: int) -> None:
    """A code that no table knows fails its row, with code and message."""
    outcome = failed(200, json.dumps({"error_code": code, "error_msg": "new"}).encode())
    assert outcome == Failure(ErrorKind.UNKNOWN, Action.ROW, "new", code=code)


def test_a_code_too_large_for_the_results_is_named_in_the_message() -> None:
    """A code beyond the results' integers still makes a failure and is not lost."""
    outcome = failed(200, b'{"error_code": 99999999999}')
    assert outcome == Failure(ErrorKind.UNKNOWN, Action.ROW, "error code 99999999999")


@pytest.mark.parametrize(
    ("status", "do", "kind"), [(429, "throttle", "rate_limited"), (503, "retry", "server")]
)
def test_an_unknown_code_leaves_the_judgement_to_the_status(status: int, do: str, kind: str) -> None:
    """An unknown code does not make a transient HTTP failure final for its row."""
    outcome = failed(status, b'{"error_code": 987654, "error_msg": "later"}')
    assert outcome == Failure(ErrorKind(kind), Action(do), "later", code=987654)


def test_a_known_code_says_more_than_the_status() -> None:
    """The service's code decides where it comes with an HTTP error status, too."""
    outcome = failed(500, b'{"error_code": 336003, "error_msg": "bad"}')
    assert outcome == Failure(ErrorKind.INVALID_REQUEST, Action.ROW, "bad", code=336003)


def test_a_code_written_as_text_is_a_code() -> None:
    """Gateways that write the code as a string are understood."""
    assert failed(200, b'{"error_code": "18"}') == Failure(
        ErrorKind.RATE_LIMITED, Action.THROTTLE, "error code 18", code=18
    )


@pytest.mark.parametrize("code", list(Refusal))
@pytest.mark.parametrize("status", [400, 403])
def test_a_refused_signature_stops_the_job(code: Refusal, status: int) -> None:
    """Signatures are refused with 400 or 403; no row could do better, so the first proof stops the job."""
    body = json.dumps({"code": code, "message": "no", "requestId": "r"}).encode()
    assert failed(status, body) == Failure(
        ErrorKind.CREDENTIALS, Action.JOB, f"HTTP {status}: {code}: no", code=status
    )


def test_other_gateway_errors_keep_their_words() -> None:
    """A gateway's own code and message are shown beside the status that classifies them."""
    assert failed(404, b'{"code": "NoSuchThing", "message": "gone"}') == Failure(
        ErrorKind.INVALID_REQUEST, Action.ROW, "HTTP 404: NoSuchThing: gone", code=404
    )
    assert failed(500, b'{"code": 7, "message": ["x"]}') == Failure(
        ErrorKind.SERVER, Action.RETRY, "HTTP 500", code=500
    )


@pytest.mark.parametrize(
    "body",
    [b'{"error_code": 4}', b'{"error_code": 336501}', b'{"error_code": 2}'],
)
def test_retry_after_is_read_beside_codes(body: bytes) -> None:
    """What the service asks to wait is known for its own codes, not for HTTP statuses alone."""
    assert failed(200, body, {"retry-after": "7"}).retry_after_s == 7.0
    assert failed(503, b"", {"retry-after": "7"}).retry_after_s == 7.0
