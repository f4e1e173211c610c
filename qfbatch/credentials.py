"""Credentials: found in the environment, added to calls, renewed when the service says they went stale.

Secrets live in this module's objects and in the calls they sign, nowhere else: no repr, message, log or file
has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec

from qfbatch.errors import ServiceRefused
from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.service.dialect import Call, Dialect
from qfbatch.service.http_failures import bad_answer, status_failure
from qfbatch.service.redaction import clean_message
from qfbatch.service.signing import sign
from qfbatch.transport import Answer, HttpCall, Transport, TransportError
from qfbatch.transport.environment import is_loopback

IAM_EXPIRATION_S = 1800  # the documented validity of a signature
OAUTH_PATH = "/oauth/2.0/token"
OAUTH_TIMEOUT_S = 30.0
RENEW_BEFORE_S = 60.0  # a token this close to its end is renewed before it is used, at most half of its life
MAX_VALIDITY_S = 10 * 365 * 86400  # beyond it, a number is no validity
DEFAULT_VALIDITY_S = 3600.0  # of a token whose service does not say

SHORTEST_SECRET = 4  # characters; what is shorter is no secret, and would blank parts of words

_DEFAULT_PORTS = {"https": ":443", "http": ":80"}

_HTTP_OK = 200
_SET = frozenset({"1", "true", "yes", "on"})


class Authorizer(Protocol):
    """Adds credentials to calls.

    Attributes:
        found: where the credentials came from, for `check` and logs; never what they are.
    """

    found: str

    async def authorize(self, call: Call, *, timeout_s: float) -> HttpCall:
        """The call, ready to be sent.

        Raises:
            TransportError: if a token has to be fetched and cannot be.
        """

    async def renew(self, refused: HttpCall) -> bool:
        """The service called the credentials of `refused` stale: get new ones, once for all rows in flight.

        Returns:
            False if there is nothing to renew.

        Raises:
            TransportError: if a token has to be fetched and cannot be.
        """


class NoCredentials:
    """Calls go out as they are: private deployments, and the embedded server."""

    def __init__(self, base_url: str, found: str) -> None:
        self._base_url = base_url
        self.found = found

    async def authorize(self, call: Call, *, timeout_s: float) -> HttpCall:
        """The call as it is."""
        return HttpCall(self._base_url + call.path, call.headers, call.body, timeout_s)

    async def renew(self, refused: HttpCall) -> bool:
        """There is nothing to renew."""
        del refused
        return False


class Bearer:
    """`Authorization: Bearer …`."""

    def __init__(self, base_url: str, key: str, found: str) -> None:
        self._base_url = base_url
        self._header = f"Bearer {key}"
        self.found = found

    async def authorize(self, call: Call, *, timeout_s: float) -> HttpCall:
        """The call with its header."""
        headers = {**call.headers, "Authorization": self._header}
        return HttpCall(self._base_url + call.path, headers, call.body, timeout_s)

    async def renew(self, refused: HttpCall) -> bool:
        """A fixed key cannot be renewed."""
        del refused
        return False


class StaticToken:
    """A fixed `access_token` in the query."""

    def __init__(self, base_url: str, token: str, found: str) -> None:
        self._base_url = base_url
        self._query = "?access_token=" + quote(token, safe="")
        self.found = found

    async def authorize(self, call: Call, *, timeout_s: float) -> HttpCall:
        """The call with the token in its query."""
        url = self._base_url + call.path + self._query
        return HttpCall(url, call.headers, call.body, timeout_s)

    async def renew(self, refused: HttpCall) -> bool:
        """A fixed token cannot be renewed."""
        del refused
        return False


class Iam:
    """IAM AK/SK: every attempt is signed on its own (bce-auth-v1).

    Args:
        base_url: scheme, authority and path prefix of the service.
        access_key: AK.
        secret_key: SK.
        found: where they came from.
        now: wall clock, seconds since the epoch.
    """

    def __init__(
        self, base_url: str, access_key: str, secret_key: str, found: str, *, now: Callable[[], float]
    ) -> None:
        self._base_url = base_url
        parts = urlsplit(base_url)
        self._host = parts.netloc.rpartition("@")[2].removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))
        self._prefix = parts.path
        self._access_key = access_key
        self._secret_key = secret_key
        self._now = now
        self.found = found

    async def authorize(self, call: Call, *, timeout_s: float) -> HttpCall:
        """The call, signed now."""
        timestamp = datetime.fromtimestamp(self._now(), UTC)
        headers = {
            **call.headers,
            "Host": self._host,
            "x-bce-date": timestamp.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        headers["Authorization"] = sign(
            method="POST",
            path=unquote(self._prefix + call.path),  # the scheme encodes the path by itself
            query={},
            headers=headers,
            access_key=self._access_key,
            secret_key=self._secret_key,
            timestamp=timestamp,
            expiration_s=IAM_EXPIRATION_S,
        )
        return HttpCall(self._base_url + call.path, headers, call.body, timeout_s)

    async def renew(self, refused: HttpCall) -> bool:
        """Signatures are made anew for every attempt anyway."""
        del refused
        return False


class OAuth:
    """OAuth client credentials: an `access_token` in the query, fetched when needed, once for everybody.

    Args:
        base_url: scheme, authority and path prefix of the service.
        client_id: AK.
        client_secret: SK.
        found: where they came from.
        transport: carries the token call.
        now: wall clock, seconds since the epoch.
        on_renewed: told when a stale token was replaced.
    """

    def __init__(
        self,
        base_url: str,
        client_id: str,
        client_secret: str,
        found: str,
        *,
        transport: Transport,
        now: Callable[[], float],
        on_renewed: Callable[[], None],
    ) -> None:
        self._base_url = base_url
        self._on_renewed = on_renewed
        self._client_id = client_id
        self._client_secret = client_secret
        self._transport = transport
        self._now = now
        self._query = ""
        self._renew_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._fetches = 0
        self._failure: Failure | None = None
        self.found = found

    async def authorize(self, call: Call, *, timeout_s: float) -> HttpCall:
        """The call with a valid token in its query."""
        if self._now() >= self._renew_at:
            fetches = self._fetches
            async with self._fetching:
                if self._now() >= self._renew_at:
                    await self._fetch(after=fetches)
        url = self._base_url + call.path + self._query
        return HttpCall(url, call.headers, call.body, timeout_s)

    async def renew(self, refused: HttpCall) -> bool:
        """Fetch a new token, unless another row has done so since `refused` was made."""
        fetches = self._fetches
        async with self._fetching:
            if self._query and refused.url.endswith(self._query):
                await self._fetch(after=fetches)
                self._on_renewed()
        return True

    async def _fetch(self, *, after: int) -> None:
        """Fetch a token, unless that failed while the caller waited, who then shares the failure.

        Args:
            after: how many fetches had ended when the caller began to wait.
        """
        if self._fetches != after and self._failure is not None:
            raise TransportError(self._failure)
        self._failure = None
        try:
            await self._ask()
        except TransportError as error:
            self._failure = error.failure
            raise
        finally:
            self._fetches += 1

    async def _ask(self) -> None:
        query = urlencode(
            {
                "grant_type": "client_credentials",
                "client_id": self._client_id,
                "client_secret": self._client_secret,
            }
        )
        call = HttpCall(
            url=f"{self._base_url}{OAUTH_PATH}?{query}",
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            body=b"",
            timeout_s=OAUTH_TIMEOUT_S,
        )
        token, expires_in_s = _token(await self._transport.ask(call), now=self._now())
        self._query = "?access_token=" + quote(token, safe="")
        self._renew_at = self._now() + expires_in_s - min(RENEW_BEFORE_S, expires_in_s / 2)


def unspoken(failure: Failure, sent: HttpCall) -> Failure:
    """The failure without the call's own key or token, should the service's words repeat it.

    What looks like a credential is blanked wherever messages are made; a key may look like any word.
    """
    carried = [sent.headers.get("Authorization", "").rpartition(" ")[2]]
    carried += [unquote(token) for token in urlsplit(sent.url).query.split("access_token=")[1:]]
    message = failure.message
    for secret in carried:
        if len(secret) >= SHORTEST_SECRET:
            message = message.replace(secret, "***")
    return failure if message == failure.message else msgspec.structs.replace(failure, message=message)


def _token(answered: Answer, *, now: float) -> tuple[str, float]:
    """The token of an OAuth answer and its validity in seconds; `TransportError` for anything else."""
    try:
        answer: Any = msgspec.json.decode(answered.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    status = answered.status
    refused = status_failure(status, answered.header, "no access token", now=now)
    transient = status != _HTTP_OK and refused.action in (Action.RETRY, Action.THROTTLE)
    if isinstance(answer.get("error"), str) and not transient:
        description = answer.get("error_description")
        details = f": {description}" if isinstance(description, str) and description else ""
        message = clean_message(f"the keys were refused: {answer['error']}{details}")
        raise TransportError(Failure(ErrorKind.CREDENTIALS, Action.JOB, message, code=status))
    if status != _HTTP_OK:
        if refused.action is Action.ROW:  # no row is at fault: every row would meet it
            refused = msgspec.structs.replace(refused, action=Action.JOB)
        raise TransportError(refused)
    token = answer.get("access_token")
    if not isinstance(token, str) or not token:
        raise TransportError(bad_answer("the token answer has no access_token"))
    expires_in = answer.get("expires_in")
    known = isinstance(expires_in, int | float) and 0 < expires_in <= MAX_VALIDITY_S
    return token, float(expires_in) if known else DEFAULT_VALIDITY_S


def find_authorizer(
    auth: str,
    *,
    dialect: Dialect,
    key_env: str | None = None,
    base_url: str,
    environ: Mapping[str, str],
    transport: Transport,
    now: Callable[[], float],
    on_renewed: Callable[[], None] = lambda: None,
) -> Authorizer:
    """The credentials that `service.auth` asks for, from the environment.

    `auto` takes what is there of what the dialect knows, in the service's own order: a static token, OAuth
    keys, IAM keys, a bearer key, then `QIANFAN_NO_AUTH`.

    Args:
        auth: auto, iam, oauth, token, bearer or none.
        dialect: what is spoken.
        key_env: variable that holds the bearer key; None for those that the dialect names.
        base_url: of the service, without a trailing slash.
        environ: the process environment and `.env`.
        transport: carries token calls.
        now: wall clock, seconds since the epoch.
        on_renewed: told when the service called a token stale and a new one was fetched.

    Raises:
        ServiceRefused: if the asked-for variables are not set.
    """
    wanted = dialect.access.auths if auth == "auto" else (auth,)
    if auth == "auto" and key_env is not None:
        wanted = ("bearer",)  # a key that the job names is the one it means
    token = _given(environ, "QIANFAN_ACCESS_TOKEN")
    ak, sk = _given(environ, "QIANFAN_AK"), _given(environ, "QIANFAN_SK")
    access_key, secret_key = _given(environ, "QIANFAN_ACCESS_KEY"), _given(environ, "QIANFAN_SECRET_KEY")
    keys = dialect.key_variables(base_url) if key_env is None else (key_env,)
    if "token" in wanted and token:
        return StaticToken(base_url, token, "token from QIANFAN_ACCESS_TOKEN")
    if "oauth" in wanted and ak and sk:
        found = "OAuth keys from QIANFAN_AK and QIANFAN_SK"
        return OAuth(base_url, ak, sk, found, transport=transport, now=now, on_renewed=on_renewed)
    if "iam" in wanted and access_key and secret_key:
        found = "IAM keys from QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY"
        return Iam(base_url, access_key, secret_key, found, now=now)
    for name in keys if "bearer" in wanted else ():
        if key := _given(environ, name):
            return Bearer(base_url, key, f"bearer key from {name}")
    if "none" in wanted and (reason := _open_for(auth, dialect, base_url, environ)):
        return NoCredentials(base_url, f"none ({reason})")
    raise ServiceRefused(
        f"no credentials found for service.auth {auth}: {_missing(wanted, keys)}.",
        hint="Set them in the environment or in a .env file beside where you run qfbatch, "
        "or use service.auth: none for a server that needs none.",
    )


def _given(environ: Mapping[str, str], name: str) -> str:
    """A credential as its variable holds it, without the line end that a secret read from a file has."""
    return environ.get(name, "").strip()


def _open_for(auth: str, dialect: Dialect, base_url: str, environ: Mapping[str, str]) -> str:
    """Why calls may go without credentials; empty where they may not."""
    if auth == "none":
        return "service.auth"
    if environ.get("QIANFAN_NO_AUTH", "").lower() in _SET:
        return "QIANFAN_NO_AUTH"
    if dialect.access.open_on_loopback and is_loopback(urlsplit(base_url).hostname or ""):
        return "no key is set, and the server is on this machine"
    return ""


def _missing(wanted: Sequence[str], keys: Sequence[str]) -> str:
    """Which variables would have been taken, as the end of a message."""
    bearer = " nor ".join(keys)
    if "iam" in wanted and len(wanted) > 1:
        return (
            "neither QIANFAN_ACCESS_KEY with QIANFAN_SECRET_KEY (IAM), "
            f"nor QIANFAN_AK with QIANFAN_SK (OAuth), nor QIANFAN_ACCESS_TOKEN, nor {bearer} is set"
        )
    if "bearer" in wanted:
        return f"{bearer} is not set" if len(keys) == 1 else f"neither {bearer} is set"
    return _MISSING[wanted[0]]


_MISSING = {
    "iam": "QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY are not both set",
    "oauth": "QIANFAN_AK and QIANFAN_SK are not both set",
    "token": "QIANFAN_ACCESS_TOKEN is not set",
}
