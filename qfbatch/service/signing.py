r"""Request signatures, bce-auth-v1: both sides, signing and verifying. Pure: no clock, no I/O.

    prefix        bce-auth-v1/{access key}/{timestamp}/{seconds it is valid}
    signing key   hex HMAC-SHA256(secret key, prefix)
    canonical     METHOD \n path \n query \n signed headers, each part in its canonical form
    signature     hex HMAC-SHA256(signing key as text, canonical)
    Authorization {prefix}/{signed header names joined by ;}/{signature}

Paths, queries and headers are given decoded, as text; encoding is part of the scheme.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from urllib.parse import quote

SCHEME = "bce-auth-v1"
DATE_HEADER = "x-bce-date"
EXPIRATION_S = 1800  # what the service documents
CLOCK_SKEW = timedelta(minutes=5)  # how far ahead of ours a signer's clock may be
_TIMESTAMP = "%Y-%m-%dT%H:%M:%SZ"
_PARTS = 6  # of an Authorization value, split at "/"
_SECONDS = re.compile("[0-9]{1,8}")


class Refusal(StrEnum):
    """Why a signature is not accepted, in the service's own words (`code`)."""

    MALFORMED = "InvalidHTTPAuthHeader"
    UNKNOWN_KEY = "InvalidAccessKeyId"
    EXPIRED = "RequestExpired"
    MISMATCH = "SignatureDoesNotMatch"


def timestamp_text(moment: datetime) -> str:
    """The moment as the scheme writes it, in `x-bce-date` too.

    Args:
        moment: an aware datetime; fractions of a second are cut off.
    """
    return moment.astimezone(UTC).strftime(_TIMESTAMP)


def sign(
    *,
    method: str,
    path: str,
    query: Iterable[tuple[str, str]] = (),
    headers: Mapping[str, str],
    access_key: str,
    secret_key: str,
    timestamp: datetime,
    expiration_s: int = EXPIRATION_S,
    signed_headers: Sequence[str] | None = None,
) -> str:
    """The `Authorization` value of a request.

    Args:
        method: HTTP method.
        path: the URL's path, decoded.
        query: the URL's parameters, decoded; an `authorization` parameter is not signed.
        headers: the request's headers, names in any case. `Host` carries the port unless it is the default.
        access_key: names the key pair; has no slash.
        secret_key: the shared secret.
        timestamp: when it is signed (aware); must be what `x-bce-date` says, see `timestamp_text`.
        expiration_s: seconds for which the signature is valid.
        signed_headers: names of the headers to sign; all of `headers` by default. Those without a value are
            named but not part of the signature.
    """
    names = [name.lower() for name in (headers if signed_headers is None else signed_headers)]
    prefix = f"{SCHEME}/{access_key}/{timestamp_text(timestamp)}/{expiration_s}"
    signature = _signature(prefix, secret_key, _canonical(method, path, query, headers, names))
    return f"{prefix}/{';'.join(names)}/{signature}"


def verify(
    *,
    authorization: str,
    method: str,
    path: str,
    query: Iterable[tuple[str, str]] = (),
    headers: Mapping[str, str],
    access_key: str,
    secret_key: str,
    now: datetime,
) -> Refusal | None:
    """Why a received request's signature is refused; None where it holds.

    Args:
        authorization: the `Authorization` header's value.
        method: as received.
        path: as received, decoded.
        query: as received, decoded.
        headers: as received, names in any case.
        access_key: the one key pair that is accepted.
        secret_key: its secret.
        now: the verifier's clock (aware).
    """
    parsed = _parse(authorization)
    if parsed is None:
        return Refusal.MALFORMED
    key, stamp, expiration, names, signature, signed_at = parsed
    if not hmac.compare_digest(key.encode(), access_key.encode()):
        return Refusal.UNKNOWN_KEY
    prefix = f"{SCHEME}/{key}/{stamp}/{expiration}"
    expected = _signature(prefix, secret_key, _canonical(method, path, query, headers, names.split(";")))
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        return Refusal.MISMATCH
    if now > signed_at + timedelta(seconds=int(expiration)) or signed_at > now + CLOCK_SKEW:
        return Refusal.EXPIRED
    return None


def _parse(authorization: str) -> tuple[str, str, str, str, str, datetime] | None:
    """Key, timestamp, expiration, signed names in lower case, signature, timestamp as a moment."""
    parts = authorization.split("/")
    if len(parts) != _PARTS or parts[0] != SCHEME:
        return None
    _, key, stamp, expiration, names, signature = parts
    try:
        signed_at = datetime.strptime(stamp, _TIMESTAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    if not names or not _SECONDS.fullmatch(expiration):
        return None
    return key, stamp, expiration, names.lower(), signature, signed_at


def _canonical(
    method: str,
    path: str,
    query: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    names: Sequence[str],
) -> str:
    """The text that is signed; `names` are lower-case, in any order."""
    wanted = set(names)
    pairs = sorted(
        f"{_encoded(key)}={_encoded(value)}" for key, value in query if key.lower() != "authorization"
    )
    lines = sorted(
        f"{_encoded(name.lower())}:{_encoded(value.strip())}"
        for name, value in headers.items()
        if name.lower() in wanted and value.strip()
    )
    return "\n".join([method.upper(), quote(path, safe="/-_.~"), "&".join(pairs), "\n".join(lines)])


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _signature(prefix: str, secret_key: str, canonical: str) -> str:
    signing_key = hmac.new(secret_key.encode(), prefix.encode(), hashlib.sha256).hexdigest()
    return hmac.new(signing_key.encode(), canonical.encode(), hashlib.sha256).hexdigest()


__all__ = ["DATE_HEADER", "EXPIRATION_S", "SCHEME", "Refusal", "sign", "timestamp_text", "verify"]
