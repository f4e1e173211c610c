"""`Retry-After` in all its forms, and messages without secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.service.http_failures import MAX_RETRY_AFTER_S, retry_after_s
from qfbatch.service.redaction import MAX_MESSAGE, clean_message

NO_HEADERS: dict[str, str] = {}
NOW = 1445412480.0  # Wed, 21 Oct 2015 07:28:00 GMT


def asked(value: str) -> float | None:
    """The wait that a header value asks for."""
    return retry_after_s({"retry-after": value}.get, now=NOW)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0),
        ("5", 5.0),
        (" 5 ", 5.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("86400", MAX_RETRY_AFTER_S),
        ("1e999", MAX_RETRY_AFTER_S),
        ("-1e999", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wednesday, 21-Oct-15 07:28:30 GMT", 30.0),
        ("Wed Oct 21 07:28:30 2015", 30.0),
        ("Wed, 21 Oct 2015 09:28:30 +0200", 30.0),
        ("Wed, 21 Oct 2015 07:28:30 -0000", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_S),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_retry_after(value: str, expected: float) -> None:
    """Seconds and dates are understood, the past is no wait, and no wait is absurd."""
    assert asked(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nan",
        "soon",
        "Wed, 99 Oct 2015 07:28:30 GMT",
        "21 Oct 99999999 1:1:1",
        "1 Jan 2020 1:1:1 +99999999999999",
    ],
)
def test_an_unreadable_retry_after_says_nothing(value: str) -> None:
    """Nonsense in the header is as good as no header."""
    assert asked(value) is None


def test_no_retry_after() -> None:
    """Without the header there is no wait asked for."""
    assert retry_after_s(NO_HEADERS.get, now=NOW) is None


@given(
    st.one_of(
        st.text(),
        st.from_regex(
            r"[A-Z][a-z]{2}, [0-9]{1,12} [A-Z][a-z]{2} [0-9]{1,9} [0-9]{1,4}:[0-9:]{1,9} [+-]?[0-9A-Z]{1,20}"
        ),
        st.from_regex(r"[0-9]{1,3} (Jan|Dec) [0-9]{1,6} [0-9]{1,3}:[0-9]{1,3} [+-][0-9]{1,30}"),
        st.floats().map(str),
    )
)
def test_no_retry_after_raises(value: str) -> None:
    """Whatever a server writes there, the wait is bounded or nothing."""
    wait_s = asked(value)
    assert wait_s is None or 0.0 <= wait_s <= MAX_RETRY_AFTER_S


TOKEN = "24.0123456789abcdef0123456789abcdef.2592000.1700000000.282335-12345"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("POST https://h/x?access_token=SECRET&a=b failed", "POST https://h/x?access_token=***&a=b failed"),
        (
            "grant_type=c&client_id=SECRET&client_secret=SECRET",
            "grant_type=c&client_id=***&client_secret=***",
        ),
        ('{"access_token":"SECRET","x":1}', '{"access_token":"***","x":1}'),
        (
            '{"refresh_token": "SECRET", "session_key": "SECRET"}',
            '{"refresh_token": "***", "session_key": "***"}',
        ),
        ("{'session_secret': 'SECRET'}", "{'session_secret': '***'}"),
        ("access_token%3DSECRET", "access_token%3D***"),
        ("AK=SECRET sk: SECRET", "AK=*** sk: ***"),
        ("API key provided: SECRET. Bad.", "API key provided: *** Bad."),
        ("key sk-SECRET-0123-x, no", "key sk-***, no"),
        ("api_key=SECRET, apikey: SECRET", "api_key=***, apikey: ***"),
        ("secret_key=SECRET access_key=SECRET", "secret_key=*** access_key=***"),
        ("sent Bearer SECRET.SECRET-x", "sent Bearer ***"),
        ("Authorization: Bearer SECRET", "Authorization: ***"),
        ("Authorization: Basic SECRET", "Authorization: ***"),
        ('"authorization": "SECRET"', '"authorization": "***"'),
        ("Authorization: bce-auth-v1/SECRET/2026-01-01T00:00:00Z/1800/host/SECRET", "Authorization: ***"),
        ("bce-auth-v1/SECRET/2026-01-01T00:00:00Z/1800/host/SECRET refused", "bce-auth-v1/*** refused"),
        ("key bce-v3/ALTAK-SECRET/SECRET refused", "key bce-v3/*** refused"),
        ("key ALTAK-SECRET refused", "key ALTAK-*** refused"),
        ("proxy http://user:SECRET@10.0.0.1:3128 failed", "proxy http://***@10.0.0.1:3128 failed"),
        (f"token {TOKEN} expired", "token *** expired"),
    ],
)
def test_secrets_are_blanked(message: str, expected: str) -> None:
    """Every form in which services, gateways and libraries echo credentials loses them, and only them."""
    assert clean_message(message) == expected
    assert clean_message(message.upper()).upper() == expected.upper()


@pytest.mark.parametrize(
    "message",
    [
        "task=5 risk: high, the disk=full",
        "[invalid_api_key] no api key was given; ask-someone, risk-free-2024",
        "unknown client id",
        "Client authentication failed",
        "Access token invalid or no longer valid",
        "the length of prompt 30000 exceeds 1.5",
        "see https://example.com/docs?page=2",
        "提示词过长: 超出限制",
    ],
)
def test_plain_words_stay(message: str) -> None:
    """Words that merely resemble credentials are kept: the message is what users have."""
    assert clean_message(message) == message


def test_a_message_is_one_printable_line() -> None:
    """Line ends, terminal escapes, NUL and lone surrogates never reach a log or a results file."""
    assert clean_message(" a\r\n\tb\x1b[31mc\x00d\ud800e\u2028f ") == "a b [31mc d e f"


@pytest.mark.parametrize("size", [MAX_MESSAGE, MAX_MESSAGE + 1, 10_000_000])
def test_a_message_is_bounded(size: int) -> None:
    """However much a server says, a message stays short, and says that it was cut."""
    cleaned = clean_message("x" * size)
    assert len(cleaned) == MAX_MESSAGE
    assert cleaned.endswith("…") == (size > MAX_MESSAGE)


@given(
    st.text(st.characters()),
    st.text("0123456789abcdefXYZ", min_size=12, max_size=40),
    st.text(st.characters()),
)
def test_no_message_keeps_a_token(before: str, token: str, after: str) -> None:
    """Whatever stands around a token in a query, the token does not come through."""
    cleaned = clean_message(f"{before}access_token={token}&{after}")
    assert len(cleaned) <= MAX_MESSAGE
    cleaned.encode()
    if token not in before and token not in after:
        assert token not in cleaned
