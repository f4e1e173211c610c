"""Who may call: OAuth tokens, request signatures and bearer keys, verified where keys are configured.

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
from qfbatch.server.engine import Refusal
from qfbatch.service import signing

TOKEN_SECONDS = 2_592_000  # 30 days, as the service has it
ACCESS_KEY_VARIABLE = "QFBATCH_SERVE_ACCESS_KEY"
SECRET_KEY_VARIABLE = "QFBATCH_SERVE_SECRET_KEY"  # noqa: S105 - the name of a variable, not a secret
BEARER_KEYS_VARIABLE = "QFBATCH_SERVE_BEARER_KEYS"
_BEARER = "bearer "
_SIGNATURE_STATUS = {
    signing.Refusal.MALFORMED: 400,
    signing.Refusal.UNKNOWN_KEY: 403,
    signing.Refusal.EXPIRED: 400,
    signing.Refusal.MISMATCH: 400,
}


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys the server accepts; not part of a repr.

    Attributes:
        access_key, secret_key: the pair for OAuth and for signatures; empty where there is none.
        bearer: each good by itself, in `Authorization: Bearer …`.
    """

    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    bearer: tuple[str, ...] = field(default=(), repr=False)


def keys_from(environment: Mapping[str, str]) -> Keys | None:
    """The keys the server is to demand; None where the environment names none.

    Raises:
        UsageError: only one of the pair is set.
    """
    access_key = environment.get(ACCESS_KEY_VARIABLE, "")
    secret_key = environment.get(SECRET_KEY_VARIABLE, "")
    bearer = tuple(key.strip() for key in environment.get(BEARER_KEYS_VARIABLE, "").split(",") if key.strip())
    if bool(access_key) != bool(secret_key):
        raise UsageError(
            f"only one of {ACCESS_KEY_VARIABLE} and {SECRET_KEY_VARIABLE} is set",
            hint="Set both to demand credentials, or neither to accept any.",
        )
    return Keys(access_key, secret_key, bearer) if access_key or bearer else None


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

    def check(self, scope: Scope, token: str) -> None:
        """Check a V1 request.

        Args:
            scope: the ASGI request.
            token: its `access_token`, or empty.

        Raises:
            Refusal: 110, 111 for the token; 100 or the gateway's own words for a signature; 14 for a key.
        """
        if token:
            expiry = self._expiry.get(token)
            if (expiry is None and self._keys is not None) or expiry == 0:
                raise Refusal(110)
            if expiry is not None and self._clock() >= expiry:
                raise Refusal(111)
        elif self._keys is not None:
            authorization = _header(scope, b"authorization")
            if authorization.lower().startswith(_BEARER):
                self.check_bearer(scope)
            else:
                self._check_signature(scope, authorization, self._keys)

    def check_bearer(self, scope: Scope) -> str:
        """Check a request that brings a key in `Authorization: Bearer …`; returns the key, empty for none.

        Raises:
            Refusal: 14, no key or none of those that are good.
        """
        authorization = _header(scope, b"authorization")
        given = authorization[len(_BEARER) :].strip() if authorization.lower().startswith(_BEARER) else ""
        if self._keys is not None:
            same = [secrets.compare_digest(given.encode(), key.encode()) for key in self._keys.bearer]
            if not any(same):  # all were compared: the time tells nothing
                raise Refusal(14)
        return given

    def _check_signature(self, scope: Scope, authorization: str, keys: Keys) -> None:
        if not authorization:
            raise Refusal(100, "Invalid parameter: no access_token and no signature")
        if not keys.access_key:
            raise Refusal(14)  # an empty pair must not verify what was signed with an empty secret
        refusal = signing.verify(
            authorization=authorization,
            method=scope["method"],
            path=scope["path"],
            query=parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            now=datetime.fromtimestamp(self._clock(), UTC),
        )
        if refusal is not None:
            said = {
                "code": refusal.value,
                "message": f"IAM certification failed: {refusal.value}",
                "requestId": secrets.token_hex(8),
            }
            raise Refusal(14, gateway=(_SIGNATURE_STATUS[refusal], said))

    def issue(self, client_id: str, client_secret: str) -> dict[str, Any]:
        """A new token, or why there is none (`error`, `error_description`)."""
        if self._keys is not None:
            known = secrets.compare_digest(client_id.encode(), self._keys.access_key.encode())
            if not known or not self._keys.access_key:
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


def _header(scope: Scope, name: bytes) -> str:
    """A request header, or empty."""
    for given, value in scope["headers"]:
        if given == name:
            text: str = value.decode("latin-1")
            return text
    return ""


__all__ = [
    "ACCESS_KEY_VARIABLE",
    "BEARER_KEYS_VARIABLE",
    "SECRET_KEY_VARIABLE",
    "TOKEN_SECONDS",
    "Gate",
    "Keys",
    "keys_from",
]
