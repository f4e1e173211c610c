"""bce-auth-v1 signatures, checked against the official client's own signer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from baidubce.auth.bce_credentials import BceCredentials  # type: ignore[import-untyped]
from baidubce.auth.bce_v1_signer import sign as official_sign  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.service.signing import Refusal, sign, timestamp_text, verify

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PATH = "/rpc/2.0/ai_custom/v1/wenxinworkshop/completions/my_model"
HEADERS = {
    "Content-Type": "application/json",
    "Host": "127.0.0.1:18867",
    "x-bce-date": timestamp_text(NOW),
}
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n"), max_size=20)
names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(lambda name: f"x-{name}")
queries = st.lists(st.tuples(texts, texts), max_size=4)


def officially(
    path: str, query: dict[str, str], headers: dict[str, str], signed: list[str], expiration_s: int
) -> str:
    """The Authorization value by the signer that the official client calls."""
    value: bytes = official_sign(
        BceCredentials("AK", "SK"),
        b"POST",
        path.encode(),
        {key.encode(): value for key, value in headers.items()},
        {key.encode(): value for key, value in query.items()},
        timestamp=NOW.timestamp(),
        expiration_in_seconds=expiration_s,
        headers_to_sign=[name.encode() for name in signed],
    )
    return value.decode()


@pytest.mark.parametrize("signed", [["host", "x-bce-date"], ["x-bce-date", "content-type", "host"]])
@pytest.mark.parametrize("query", [{}, {"b": "2 +", "a": "/ü~", "A": ""}])
def test_sign_equals_the_official_signer(signed: list[str], query: dict[str, str]) -> None:
    """A port in the host, unsorted signed names and characters to encode give the official signature."""
    ours = sign(
        method="POST",
        path=PATH,
        query=query.items(),
        headers=HEADERS,
        access_key="AK",
        secret_key="SK",
        timestamp=NOW,
        expiration_s=300,
        signed_headers=signed,
    )
    assert ours == officially(PATH, query, HEADERS, signed, 300)


def test_verify_accepts_the_official_signature() -> None:
    """What the official client sends is accepted, whatever the order of its signed names."""
    authorization = officially(PATH, {"q": "é"}, HEADERS, ["x-bce-date", "host", "content-type"], 300)
    assert check(authorization, query=[("q", "é")]) is None


def check(
    authorization: str,
    *,
    path: str = PATH,
    query: list[tuple[str, str]] | None = None,
    headers: dict[str, str] | None = None,
    now: datetime = NOW,
    access_key: str = "AK",
) -> Refusal | None:
    """`verify` with this module's request."""
    return verify(
        authorization=authorization,
        method="POST",
        path=path,
        query=query or [],
        headers=headers or HEADERS,
        access_key=access_key,
        secret_key="SK",
        now=now,
    )


def signed(
    path: str = PATH, query: list[tuple[str, str]] | None = None, headers: dict[str, str] | None = None
) -> str:
    """`sign` with this module's request."""
    return sign(
        method="POST",
        path=path,
        query=query or [],
        headers=headers or HEADERS,
        access_key="AK",
        secret_key="SK",
        timestamp=NOW,
    )


def test_expiry_and_clock_skew() -> None:
    """A signature is good for its seconds and not before its time, a small clock skew aside."""
    authorization = signed()
    assert check(authorization, now=NOW + timedelta(seconds=1800)) is None
    assert check(authorization, now=NOW + timedelta(seconds=1801)) is Refusal.EXPIRED
    assert check(authorization, now=NOW - timedelta(seconds=200)) is None
    assert check(authorization, now=NOW - timedelta(seconds=400)) is Refusal.EXPIRED


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer x",
        "bce-auth-v1/AK/2026-03-04/1800/host/00",
        "bce-auth-v1/AK/2026-03-04T05:06:07Z/soon/host/00",
        "bce-auth-v1/AK/2026-03-04T05:06:07Z/1800//00",
        "bce-auth-v1/AK/2026-03-04T05:06:07Z/1800/00",
        "bce-auth-v1/AK/2026-03-04T05:06:07Z/999999999999999999/host/00",
    ],
)
def test_malformed_is_told_apart(authorization: str) -> None:
    """A header that is no signature at all is called malformed, not a mismatch, and never raises."""
    assert check(authorization) is Refusal.MALFORMED


def test_unknown_key() -> None:
    """Another access key is named as such, so that a user knows which of the two keys is wrong."""
    assert check(signed(), access_key="other") is Refusal.UNKNOWN_KEY


@given(
    path=texts.map(lambda text: "/" + text), query=queries, extra=st.dictionaries(names, texts, max_size=4)
)
def test_signed_requests_verify(path: str, query: list[tuple[str, str]], extra: dict[str, str]) -> None:
    """What `sign` makes of any request, `verify` accepts."""
    headers = HEADERS | extra
    assert check(signed(path, query, headers), path=path, query=query, headers=headers) is None


@given(data=st.data(), path=texts.map(lambda text: "/" + text), value=texts)
def test_any_changed_byte_fails(data: st.DataObject, path: str, value: str) -> None:
    """Changing one character of the Authorization value, the path, the query or a header is noticed."""
    headers = HEADERS | {"x-extra": f"<{value}>"}
    query = [("key", value)]
    authorization = signed(path, query, headers)
    place = data.draw(st.integers(0, len(authorization) - 1))
    other = data.draw(st.sampled_from("/;!0aZ").filter(lambda char: char != authorization[place]))
    changed = authorization[:place] + other + authorization[place + 1 :]
    if changed.lower() != authorization.lower():  # the case of a signed name means nothing
        assert check(changed, path=path, query=query, headers=headers) is not None
    assert check(authorization, path=path + "x", query=query, headers=headers) is Refusal.MISMATCH
    assert check(authorization, path=path, query=[("key", value + "x")], headers=headers) is Refusal.MISMATCH
    assert (
        check(authorization, path=path, query=query, headers=headers | {"x-extra": f"<{value}x>"})
        is Refusal.MISMATCH
    )
