"""Whole answers, requests and rate headers of the V1 dialect."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.records import Action, Completion, ErrorKind, Failure, Usage, UsageSource
from qfbatch.service import qianfan
from qfbatch.service.dialect import RateSignals
from qfbatch.service.dialects import DIALECTS, dialect_named
from qfbatch.service.fields import MAX_CREATED, MAX_TOKENS
from qfbatch.service.qianfan import PATH, QianfanV1

NO_HEADERS: dict[str, str] = {}
DIALECT = QianfanV1()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "id",
    "object",
    "created",
    "result",
    "is_safe",
    "usage",
    "is_truncated",
    "need_clear_history",
    "ban_round",
    "finish_reason",
    "is_end",
    "sentence_id",
    "error_code",
    "error_msg",
    "code",
    "message",
]


def decode(body: bytes, status: int = 200) -> Completion | Failure:
    """The outcome of a whole answer."""
    return DIALECT.decode(status, NO_HEADERS.get, body, now=0.0)


def decode_json(**fields: Any) -> Completion | Failure:
    """The outcome of an answer with these fields."""
    return decode(json.dumps(fields).encode())


def answered(**fields: Any) -> Completion:
    """The completion that an answer with these fields beside `result` amounts to."""
    outcome = decode_json(result="x", **fields)
    assert isinstance(outcome, Completion)
    return outcome


def test_every_documented_field() -> None:
    """An answer with all documented fields loses none of them, not even the space its text starts with."""
    outcome = decode_json(
        id="as-1",
        object="completion",
        created=1690000000,
        result=" 你好 😀",
        is_safe=1,
        is_truncated=True,
        need_clear_history=False,
        ban_round=-1,
        finish_reason="normal",
        sentence_id=0,
        is_end=True,
        usage={"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5},
    )
    assert outcome == Completion(
        result=" 你好 😀",
        usage=Usage(2, 3, 5),
        is_safe=True,
        need_clear_history=False,
        is_truncated=True,
        ban_round=-1,
        finish_reason="normal",
        response_id="as-1",
        object="completion",
        created=1690000000,
    )


def test_what_is_absent_stays_unknown() -> None:
    """A field the service did not send is None, never a default of ours."""
    assert decode_json(result="") == Completion(result="")
    assert decode(
        b'{"result":"x","is_safe":null,"usage":null,"id":null,"unheard_of":{"a":[1]}}'
    ) == Completion("x")


@pytest.mark.parametrize("name", ["is_safe", "is_truncated", "need_clear_history"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, True),
        (0, False),
        (True, True),
        (False, False),
        (None, None),
        (2, None),
        (-1, None),
        ("1", None),
        ("true", None),
        (1.0, None),
        ([1], None),
        ({}, None),
    ],
)
def test_flags(name: str, value: object, expected: bool | None) -> None:  # noqa: FBT001 - the expected value
    """Flags are 1 and 0 in samples, booleans in tables; anything else says nothing."""
    assert getattr(answered(**{name: value}), name) is expected


@pytest.mark.parametrize("name", ["id", "object", "finish_reason"])
@pytest.mark.parametrize("value", [5, True, ["x"], {"x": 1}])
def test_a_text_of_the_wrong_type_is_unknown(name: str, value: object) -> None:
    """A paid answer is not thrown away over a field of the wrong type."""
    assert getattr(answered(**{name: value}), {"id": "response_id"}.get(name, name)) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (MAX_CREATED, MAX_CREATED),
        ("1690000000", 1690000000),
        (MAX_CREATED + 1, None),
        (-1, None),
        (True, None),
        (1.5, None),
        ("--5", None),
        ("٣", None),
        ("", None),
        ("9" * 5000, None),
        (10**400, None),
    ],
)
def test_created(value: object, expected: int | None) -> None:
    """A creation time is a second that calendars know, or unknown."""
    assert answered(created=value).created == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3), (-1, -1), (2**31 - 1, 2**31 - 1), (2**31, None), (-(2**31) - 1, None), ("x", None)],
)
def test_ban_round(value: object, expected: int | None) -> None:
    """`ban_round` fits the results' column or is unknown."""
    assert answered(ban_round=value).ban_round == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}, Usage(1, 2, 3)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(0, 0, 0)),
        ({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 9}, Usage(1, 2, 9)),
        ({"prompt_tokens": "1", "completion_tokens": "2", "total_tokens": "3"}, Usage(1, 2, 3)),
        ({"prompt_tokens": 1, "completion_tokens": 2}, Usage(1, 2, 3)),
        ({"prompt_tokens": 1, "total_tokens": 3}, Usage(1, 2, 3)),
        ({"completion_tokens": 2, "total_tokens": 3}, Usage(1, 2, 3)),
        ({"completion_tokens": 9, "total_tokens": 3}, Usage(0, 9, 3)),
        ({"total_tokens": 3}, Usage(0, 3, 3, UsageSource.ESTIMATED)),
        ({"prompt_tokens": 3}, Usage(3, 0, 3, UsageSource.ESTIMATED)),
        ({"completion_tokens": 3}, Usage(0, 3, 3, UsageSource.ESTIMATED)),
        ({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": MAX_TOKENS + 1}, Usage(1, 2, 3)),
        ({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 10**300}, Usage(1, 2, 3)),
        ({"prompt_tokens": -1, "completion_tokens": -2, "total_tokens": -3}, None),
        ({"prompt_tokens": True, "completion_tokens": 1.5, "total_tokens": "many"}, None),
        ({}, None),
        ([], None),
        ("x", None),
        (None, None),
        (7, None),
    ],
)
def test_usage(usage: object, expected: Usage | None) -> None:
    """Counts are as reported; one missing count follows from the others, absurd ones do not count."""
    assert answered(usage=usage).usage == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"5",
        b'"text"',
        b"[]",
        b'[{"result":"x"}]',
        b"{",
        b'{"result":"x"',
        b'{"result":"x"}{"result":"y"}',
        b"<html><body>502 Bad Gateway</body></html>",
        b'{"result":"\xff"}',
        b'{"result":"\xed\xa0\x80"}',
        b'{"result":"\\ud800"}',
        b'{"result":"\\udc00\\ud800"}',
        b'{"result":"x","created":' + b"9" * 5000 + b"}",
        b'{"result":"x","usage":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"result":"x","other":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b"[" * 1_000_000,
        b"{}",
        b'{"result":null}',
        b'{"result":5}',
        b'{"result":["x"]}',
        b'{"result":{"text":"x"}}',
        b'{"error_code":0}',
        b'{"error_code":null,"error_msg":null}',
    ],
    ids=range(26),
)
def test_an_answer_that_cannot_be_read_is_retried(body: bytes) -> None:
    """Whatever is no answer of the service is a bad answer, said without repeating it; nothing raises."""
    outcome = decode(body)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.action, outcome.code) == (ErrorKind.BAD_ANSWER, Action.RETRY, None)
    assert "html" not in outcome.message


def test_unicode_beyond_the_first_plane() -> None:
    """A surrogate pair is a character, and NUL is one too."""
    assert decode(b'{"result":"\\ud83d\\ude00\\u0000"}') == Completion("😀\0")


@given(st.binary(), st.sampled_from([200, 204, 302, 400, 403, 429, 500]))
def test_any_bytes_have_an_outcome(body: bytes, status: int) -> None:
    """Arbitrary bytes with any status never raise out of the decoder."""
    assert isinstance(decode(body, status), Failure)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.sampled_from([200, 400, 500]))
def test_any_json_has_an_outcome_that_can_be_stored(fields: dict[str, Any], status: int) -> None:
    """Any types in any fields end as an outcome that the journal and UTF-8 can hold."""
    outcome = decode(json.dumps(fields).encode(), status)
    assert isinstance(outcome, Completion) == (
        status == 200 and isinstance(fields.get("result"), str) and not isinstance(outcome, Failure)
    )
    msgspec.json.encode(outcome)


# Requests -----------------------------------------------------------------------------------------


def test_a_request() -> None:
    """The body is the prompt and the parameters, unknown ones and their nested values included, as JSON."""
    parameters = {"temperature": 0.5, "stop": ["\n\n"], "user_id": "ü", "new_field": {"a": [1, None, True]}}
    call = DIALECT.encode("yi_34b", "你好 😀\0\n", parameters)
    assert json.loads(call.body) == {"prompt": "你好 😀\0\n", **parameters}
    assert call.path == PATH + "yi_34b"
    assert call.headers == {"Content-Type": "application/json"}
    assert call.stream is False


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), (None, False)])
def test_only_true_asks_for_a_stream(value: object, expected: bool) -> None:  # noqa: FBT001 - the expected value
    """The answer is read as a stream exactly where the body asks for one."""
    assert DIALECT.encode("e", "p", {} if value is None else {"stream": value}).stream is expected


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("test1", "test1"),
        ("a-b_c.d~e", "a-b_c.d~e"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("x y,z=1", "x%20y%2Cz%3D1"),
        ("模型", "%E6%A8%A1%E5%9E%8B"),
        ("50%", "50%25"),
    ],
)
def test_an_endpoint_is_one_part_of_the_path(endpoint: str, expected: str) -> None:
    """No character of an endpoint's name can lead the call to another path or query."""
    assert DIALECT.encode(endpoint, "p", {}).path == PATH + expected


def test_dialects_are_found_by_name() -> None:
    """Each dialect goes by the name that job files use."""
    assert {name: dialect_named(name).name for name in DIALECTS} == {name: name for name in DIALECTS}


# Rate headers -------------------------------------------------------------------------------------


def test_rate_headers() -> None:
    """The documented headers are read as numbers."""
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-limit-tokens": "6e4",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-remaining-tokens": "59.5",
    }
    assert DIALECT.rate_signals(headers.get) == RateSignals(60.0, 60000.0, 0.0, 59.5)


@pytest.mark.parametrize("value", ["", "-1", "nan", "inf", "-inf", "1e999", "many", "1,000", "0x10"])
def test_nonsense_in_a_rate_header_says_nothing(value: str) -> None:
    """A limiter never learns NaN, infinity or a negative number."""
    assert DIALECT.rate_signals({"x-ratelimit-limit-requests": value}.get) is None
    signals = DIALECT.rate_signals(
        {"x-ratelimit-limit-tokens": value, "x-ratelimit-remaining-tokens": "5"}.get
    )
    assert signals == RateSignals(remaining_tokens=5.0)


def test_without_rate_headers_there_is_no_signal() -> None:
    """The common case is told apart from headers that say zero."""
    assert DIALECT.rate_signals(NO_HEADERS.get) is None


PLAIN: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, 2, -1, 1.0, 3.0, 2**31, 2**63, "", "x", "1", {}, []]
)
USAGES = (
    st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens"]), PLAIN) | PLAIN
)


@given(st.dictionaries(st.sampled_from([name for name in FIELDS if name != "usage"]), PLAIN), USAGES)
def test_the_short_way_means_the_same(fields: dict[str, Any], usage: object) -> None:
    """A regular answer read as typed values is what reading it field by field makes of it."""
    body = json.dumps({"result": "x", "usage": usage, **fields}).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qianfan, "read_regular", lambda data: None)
        expected = repr(decode(body))  # tells True from 1, which compare equal
    assert repr(decode(body)) == expected
