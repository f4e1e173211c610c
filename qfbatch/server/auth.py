"""Who may call: OAuth tokens and request signatures, verified where keys are configured.

Without keys any credentials are good, also none; only a token that this server itself has revoked or let
expire is refused then.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from qfbatch.errors import UsageError
from qfbatch.server.protocol import error_payload
from qfbatch.service import signing

TOKEN_SECONDS = 2_592_000  # 30 days, as the service has it
ACCESS_KEY_VARIABLE = "QFBATCH_SERVE_ACCESS_KEY"
SECRET_KEY_VARIABLE = "QFBATCH_SERVE_SECRET_KEY"  # noqa: S105 - the name of a variable, not a secret
_SIGNATURE_STATUS = {
    signing.Refusal.MALFORMED: 400,
    signing.Refusal.UNKNOWN_KEY: 403,
    signing.Refusal.EXPIRED: 400,
    signing.Refusal.MISMATCH: 400,
}


@dataclass(frozen=True, slots=True)
class Keys:
    """The one key pair the server accepts, for OAuth and for signatures; not part of a repr."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


def keys_from(environment: Mapping[str, str]) -> Keys | None:
    """The keys the server is to demand; None where the environment names none.

    Raises:
        UsageError: only one of the two is set.
    """
    access_key = environment.get(ACCESS_KEY_VARIABLE, "")
    secret_key = environment.get(SECRET_KEY_VARIABLE, "")
    if bool(access_key) != bool(secret_key):
        raise UsageError(
            f"only one of {ACCESS_KEY_VARIABLE} and {SECRET_KEY_VARIABLE} is set",
            hint="Set both to demand credentials, or neither to accept any.",
        )
    return Keys(access_key, secret_key) if access_key else None


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that is not let in.

    Attributes:
        status: HTTP status; the service answers bad tokens with 200, bad signatures with 4xx.
        payload: the body.
    """

    status: int
    payload: dict[str, Any]


class Gate:
    """Checks credentials and issues tokens.

    Args:
        keys: what to demand; None lets everyone in.
        clock: unix seconds.
        token_seconds: how long an issued token is good.
    """

    def __init__(
        self, keys: Keys | None, *, clock: Callable[[], float], token_seconds: float = TOKEN_SECONDS
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._token_seconds = token_seconds
        self._expiry: dict[str, float] = {}  # of every token issued; revoked ones have expired at 0

    def check(self, scope: Scope, token: str) -> Refused | None:
        """Why a call is not let in; None where it is.

        Args:
            scope: the ASGI request.
            token: its `access_token`, or empty.
        """
        if token:
            expiry = self._expiry.get(token)
            if expiry is None:
                return None if self._keys is None else Refused(200, error_payload(110))
            if expiry == 0:
                return Refused(200, error_payload(110))
            return None if self._clock() < expiry else Refused(200, error_payload(111))
        return None if self._keys is None else self._check_signature(scope, self._keys)

    def _check_signature(self, scope: Scope, keys: Keys) -> Refused | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        authorization = headers.get("authorization", "")
        if not authorization:
            return Refused(200, error_payload(100, "Invalid parameter: no access_token and no signature"))
        refusal = signing.verify(
            authorization=authorization,
            method=scope["method"],
            path=scope["path"],
            query=parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True),
            headers=headers,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            now=datetime.fromtimestamp(self._clock(), UTC),
        )
        if refusal is None:
            return None
        return Refused(
            _SIGNATURE_STATUS[refusal],
            {
                "code": refusal.value,
                "message": f"IAM certification failed: {refusal.value}",
                "requestId": secrets.token_hex(8),
            },
        )

    def issue(self, client_id: str, client_secret: str) -> dict[str, Any]:
        """A new token, or why there is none (`error`, `error_description`)."""
        if self._keys is not None:
            if not secrets.compare_digest(client_id.encode(), self._keys.access_key.encode()):
                return {"error": "invalid_client", "error_description": "unknown client id"}
            if not secrets.compare_digest(client_secret.encode(), self._keys.secret_key.encode()):
                return {"error": "invalid_client", "error_description": "Client authentication failed"}
        now = self._clock()
        token = f"24.{secrets.token_hex(16)}"
        self._expiry[token] = now + self._token_seconds
        return {
            "access_token": token,
            "expires_in": int(self._token_seconds),
            "refresh_token": f"25.{secrets.token_hex(16)}",
            "scope": "public ai_custom",
            "session_key": secrets.token_hex(16),
            "session_secret": secrets.token_hex(16),
        }

    def revoke(self, token: str) -> None:
        """Refuse a token from now on, as invalid (110)."""
        self._expiry[token] = 0

    def expire(self, token: str) -> None:
        """Refuse a token from now on, as expired (111)."""
        self._expiry[token] = 1

    def revoke_all(self) -> int:
        """Refuse every token issued so far; returns how many were good."""
        now = self._clock()
        good = [token for token, expiry in self._expiry.items() if expiry > now]
        for token in good:
            self.revoke(token)
        return len(good)

    async def token_route(self, request: Request) -> Response:
        """`GET|POST /oauth/2.0/token`: parameters in the query, or in a form."""
        asked = dict(request.query_params)
        if request.method == "POST":
            body = b""
            async for chunk in request.stream():
                body = (body + chunk)[:65536]
            asked |= dict(parse_qsl(body.decode("utf-8", "replace")))
        if asked.get("grant_type") != "client_credentials":
            answer = {
                "error": "unsupported_grant_type",
                "error_description": "The authorization grant type is not supported",
            }
        else:
            answer = self.issue(asked.get("client_id", ""), asked.get("client_secret", ""))
        status = 200 if "access_token" in answer else 401 if answer["error"] == "invalid_client" else 400
        return JSONResponse(answer, status, {"cache-control": "no-store"})


__all__ = [
    "ACCESS_KEY_VARIABLE",
    "SECRET_KEY_VARIABLE",
    "TOKEN_SECONDS",
    "Gate",
    "Keys",
    "Refused",
    "keys_from",
]
