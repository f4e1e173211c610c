"""Credentials: which are taken, what they add to calls, how they are renewed, and that nobody sees them."""

from __future__ import annotations

import asyncio
import json
import re
import traceback
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from rich.pretty import pretty_repr
from scripted import ScriptedServer

from qfbatch.credentials import Authorizer, OAuth, find_authorizer, unspoken
from qfbatch.errors import ServiceRefused
from qfbatch.records import Action, Completion, ErrorKind, Failure
from qfbatch.service.dialect import Call
from qfbatch.service.dialects import dialect_named
from qfbatch.service.qianfan import QianfanV1
from qfbatch.service.signing import Refusal, verify
from qfbatch.transport import Answer, HttpCall, Response, Transport, TransportError, open_transport

NOW = 1_700_000_000.0
BASE = "https://service.example"
CALL = Call("/completions/yi", {"Content-Type": "application/json"}, b"{}", stream=True)
ENVIRONMENT = {
    "QIANFAN_ACCESS_TOKEN": "S3CR3T-token",
    "QIANFAN_AK": "S3CR3T-ak",
    "QIANFAN_SK": "S3CR3T-sk",
    "QIANFAN_ACCESS_KEY": "S3CR3T-access",
    "QIANFAN_SECRET_KEY": "S3CR3T-secret",
    "QIANFAN_BEARER_TOKEN": "S3CR3T-bearer",
    "QIANFAN_NO_AUTH": "1",
}
TOKEN_NAMES = {"QIANFAN_ACCESS_TOKEN"}
OAUTH_NAMES = {"QIANFAN_AK", "QIANFAN_SK"}
IAM_NAMES = {"QIANFAN_ACCESS_KEY", "QIANFAN_SECRET_KEY"}
BEARER_NAMES = {"QIANFAN_BEARER_TOKEN"}
NONE_NAMES = {"QIANFAN_NO_AUTH"}


class TokenService:
    """A transport that answers token calls.

    Attributes:
        answers: what the next calls get; the last one for good. A `Failure` is a broken exchange.
        calls: what was asked.
    """

    def __init__(
        self, *answers: tuple[int, object] | Failure, headers: Mapping[str, str] | None = None
    ) -> None:
        self.answers = list(answers)
        self.calls: list[HttpCall] = []
        self._headers = headers or {}

    async def ask(self, call: HttpCall) -> Answer:
        """Answer the call."""
        self.calls.append(call)
        await asyncio.sleep(0)  # the network: others get their turn meanwhile
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Failure):
            raise TransportError(answer)
        status, body = answer
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Answer(status, self._headers.get, text)

    def stream(self, call: HttpCall) -> AbstractAsyncContextManager[Response]:
        """Tokens come whole."""
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to release."""


class Clock:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.seconds


def granted(token: str, **fields: object) -> tuple[int, object]:
    """The token service's answer to good keys."""
    return 200, {
        "access_token": token,
        "expires_in": 2592000,
        "scope": "public",
        "session_secret": "",
        **fields,
    }


def find(
    auth: str,
    environ: Mapping[str, str],
    *,
    base_url: str = BASE,
    service: TokenService | None = None,
    now: Clock | None = None,
    api: str = "qianfan",
    key_env: str | None = None,
) -> Authorizer:
    """The authorizer that `service.auth` and the environment lead to."""
    transport = service or TokenService(granted("S3CR3T-granted"))
    return find_authorizer(
        auth,
        dialect=dialect_named(api),
        key_env=key_env,
        base_url=base_url,
        environ=environ,
        transport=transport,
        now=now or Clock(),
    )


def only(*groups: set[str]) -> dict[str, str]:
    """The environment with these variables and no others."""
    return {name: value for name, value in ENVIRONMENT.items() if any(name in group for group in groups)}


def authorized(authorizer: Authorizer, call: Call = CALL) -> HttpCall:
    """The call with its credentials."""
    return asyncio.run(authorizer.authorize(call, timeout_s=7.0))


# Which credentials

NOTHING_SET = (
    "neither QIANFAN_ACCESS_KEY with QIANFAN_SECRET_KEY (IAM), nor QIANFAN_AK with QIANFAN_SK (OAuth), "
    "nor QIANFAN_ACCESS_TOKEN, nor QIANFAN_BEARER_TOKEN is set"
)


@pytest.mark.parametrize(
    ("auth", "environ", "found"),
    [
        ("auto", ENVIRONMENT, "token from QIANFAN_ACCESS_TOKEN"),
        ("auto", only(OAUTH_NAMES, IAM_NAMES, BEARER_NAMES), "OAuth keys from QIANFAN_AK and QIANFAN_SK"),
        (
            "auto",
            only({"QIANFAN_AK"}, IAM_NAMES, BEARER_NAMES),
            "IAM keys from QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY",
        ),
        ("auto", only({"QIANFAN_SECRET_KEY"}, BEARER_NAMES), "bearer key from QIANFAN_BEARER_TOKEN"),
        ("auto", only(NONE_NAMES), "none (QIANFAN_NO_AUTH)"),
        ("auto", {"QIANFAN_NO_AUTH": "True", "QIANFAN_ACCESS_TOKEN": ""}, "none (QIANFAN_NO_AUTH)"),
        ("token", ENVIRONMENT, "token from QIANFAN_ACCESS_TOKEN"),
        ("oauth", ENVIRONMENT, "OAuth keys from QIANFAN_AK and QIANFAN_SK"),
        ("iam", ENVIRONMENT, "IAM keys from QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY"),
        ("bearer", ENVIRONMENT, "bearer key from QIANFAN_BEARER_TOKEN"),
        ("none", ENVIRONMENT, "none (service.auth)"),
        ("none", {}, "none (service.auth)"),
    ],
)
def test_which_credentials_are_found(auth: str, environ: Mapping[str, str], found: str) -> None:
    """`auto` takes token, OAuth, IAM, bearer, none in this order, no half pair; a name takes its own only."""
    assert find(auth, environ).found == found


@pytest.mark.parametrize("auth", ["token", "iam", "bearer"])
def test_a_line_end_is_no_part_of_a_credential(auth: str) -> None:
    """Secrets that were read from files end with one; what is sent is the same without."""
    ended = {name: f"{text}\n" for name, text in ENVIRONMENT.items()}
    assert authorized(find(auth, ended)) == authorized(find(auth, ENVIRONMENT))


QIANFAN, OPENAI, ELSEWHERE = (
    "https://qianfan.baidubce.com/v2",
    "https://api.openai.com/v1",
    "https://gateway.example/v1",
)
LOOPBACK = "http://127.0.0.1:8000/v1"
BOTH_KEYS = {"QIANFAN_BEARER_TOKEN": "S3CR3T-q", "OPENAI_API_KEY": "S3CR3T-o"}
NO_KEY_HERE = "none (no key is set, and the server is on this machine)"


@pytest.mark.parametrize(
    ("auth", "base_url", "environ", "key_env", "found"),
    [
        ("auto", QIANFAN, {**ENVIRONMENT, **BOTH_KEYS}, None, "bearer key from QIANFAN_BEARER_TOKEN"),
        ("auto", OPENAI, BOTH_KEYS, None, "bearer key from OPENAI_API_KEY"),
        ("auto", ELSEWHERE, BOTH_KEYS, None, "bearer key from OPENAI_API_KEY"),
        ("auto", ELSEWHERE, only(BEARER_NAMES), None, "bearer key from QIANFAN_BEARER_TOKEN"),
        ("bearer", LOOPBACK, BOTH_KEYS, None, "bearer key from OPENAI_API_KEY"),
        ("auto", ELSEWHERE, {**BOTH_KEYS, "MINE": "S3CR3T-m"}, "MINE", "bearer key from MINE"),
        ("auto", LOOPBACK, only(TOKEN_NAMES, OAUTH_NAMES, IAM_NAMES), None, NO_KEY_HERE),
        ("auto", "http://localhost/v1", {"OPENAI_API_KEY": " "}, None, NO_KEY_HERE),
        ("auto", LOOPBACK, BOTH_KEYS, None, "bearer key from OPENAI_API_KEY"),
        ("auto", ELSEWHERE, {"QIANFAN_NO_AUTH": "1"}, None, "none (QIANFAN_NO_AUTH)"),
        ("none", ELSEWHERE, BOTH_KEYS, None, "none (service.auth)"),
    ],
)
def test_whose_key_a_server_gets(
    auth: str, base_url: str, environ: Mapping[str, str], key_env: str | None, found: str
) -> None:
    """A known service gets its own key alone, any other the general one first, or the one that is named."""
    for api in ("openai", "openai-chat"):
        assert find(auth, environ, base_url=base_url, api=api, key_env=key_env).found == found


@pytest.mark.parametrize(
    ("auth", "base_url", "environ", "key_env", "missing"),
    [
        ("auto", QIANFAN, {"OPENAI_API_KEY": "S3CR3T"}, None, "QIANFAN_BEARER_TOKEN is not set"),
        ("auto", OPENAI, only(BEARER_NAMES), None, "OPENAI_API_KEY is not set"),
        (
            "auto",
            "http://10.0.0.5:8000/v1",
            only(TOKEN_NAMES, IAM_NAMES),
            None,
            "neither OPENAI_API_KEY nor QIANFAN_BEARER_TOKEN is set",
        ),
        ("auto", LOOPBACK, BOTH_KEYS, "MINE", "MINE is not set"),
        ("bearer", LOOPBACK, {}, None, "neither OPENAI_API_KEY nor QIANFAN_BEARER_TOKEN is set"),
    ],
)
def test_no_other_key_is_sent_instead(
    auth: str, base_url: str, environ: Mapping[str, str], key_env: str | None, missing: str
) -> None:
    """One service's key never goes to the other, and no key that is there replaces the one named."""
    with pytest.raises(ServiceRefused) as refused:
        find(auth, environ, base_url=base_url, api="openai", key_env=key_env)
    assert refused.value.message == f"no credentials found for service.auth {auth}: {missing}."


@pytest.mark.parametrize(
    ("auth", "environ", "missing"),
    [
        ("token", only(OAUTH_NAMES), "QIANFAN_ACCESS_TOKEN is not set"),
        ("oauth", only({"QIANFAN_AK"}, IAM_NAMES), "QIANFAN_AK and QIANFAN_SK are not both set"),
        ("iam", only({"QIANFAN_SECRET_KEY"}), "QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY are not both set"),
        ("bearer", only(TOKEN_NAMES), "QIANFAN_BEARER_TOKEN is not set"),
        (
            "auto",
            {"QIANFAN_NO_AUTH": "0", "QIANFAN_ACCESS_TOKEN": "", "QIANFAN_AK": "S3CR3T-ak"},
            NOTHING_SET,
        ),
    ],
)
def test_what_is_missing_is_named(auth: str, environ: Mapping[str, str], missing: str) -> None:
    """Without credentials the command ends before any call, naming the variables and the way out."""
    with pytest.raises(ServiceRefused) as refused:
        find(auth, environ)
    assert refused.value.message == f"no credentials found for service.auth {auth}: {missing}."
    assert "service.auth: none" in refused.value.hint
    assert "S3CR3T" not in f"{refused.value!r} {refused.value}"


# What they add


def test_no_credentials() -> None:
    """Without credentials the call goes out as it is."""
    assert authorized(find("none", {})) == HttpCall(
        BASE + "/completions/yi", {"Content-Type": "application/json"}, b"{}", 7.0
    )


def test_a_static_token() -> None:
    """A token travels in the query, encoded, whatever characters it has."""
    sent = authorized(find("token", {"QIANFAN_ACCESS_TOKEN": "a+b/c=&d 你"}))
    assert parse_qsl(urlsplit(sent.url).query, strict_parsing=True) == [("access_token", "a+b/c=&d 你")]
    assert (sent.headers, sent.body, sent.timeout_s) == (CALL.headers, b"{}", 7.0)


def test_a_bearer_key() -> None:
    """A bearer key travels in its header, beside the call's own, and not in the URL."""
    sent = authorized(find("bearer", ENVIRONMENT))
    assert sent.url == BASE + "/completions/yi"
    assert sent.headers == {"Content-Type": "application/json", "Authorization": "Bearer S3CR3T-bearer"}
    assert CALL.headers == {"Content-Type": "application/json"}


@pytest.mark.parametrize("auth", ["none", "token", "bearer", "iam"])
def test_fixed_credentials_cannot_be_renewed(auth: str) -> None:
    """Where there is nothing to renew, a refused token is the end of the job."""
    authorizer = find(auth, ENVIRONMENT)
    assert asyncio.run(authorizer.renew(authorized(authorizer))) is False


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("https://service.example", "service.example"),
        ("https://service.example:443", "service.example"),
        ("http://service.example:80", "service.example"),
        ("https://service.example:80", "service.example:80"),
        ("http://127.0.0.1:18867", "127.0.0.1:18867"),
        ("http://127.0.0.1:18867/gateway/v9", "127.0.0.1:18867"),
        ("http://127.0.0.1:18867/two%20words", "127.0.0.1:18867"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
@pytest.mark.parametrize("endpoint", ["yi_34b", "echo,tag=1", "two words", "模型", "50%"])
def test_an_iam_signature_verifies(base_url: str, host: str, endpoint: str) -> None:
    """The receiver finds the signature good, with any port, path prefix and character of the endpoint."""
    call = QianfanV1().encode(endpoint, "p", {})
    sent = authorized(find("iam", ENVIRONMENT, base_url=base_url), call)
    assert sent.url == base_url + call.path
    received = {name.lower(): value for name, value in sent.headers.items()}
    assert (received["host"], received["x-bce-date"]) == (host, "2023-11-14T22:13:20Z")

    def refusal(**other: Any) -> Refusal | None:
        request: dict[str, Any] = {
            "method": "POST",
            "path": unquote(urlsplit(sent.url).path),
            "headers": received,
            "access_key": "S3CR3T-access",
            "secret_key": "S3CR3T-secret",
            "now": datetime.fromtimestamp(NOW + 1799, UTC),
        }
        return verify(authorization=sent.headers["Authorization"], **{**request, **other})

    assert refusal() is None
    assert refusal(secret_key="other") == Refusal.MISMATCH
    assert refusal(headers={**received, "host": "elsewhere"}) == Refusal.MISMATCH
    assert refusal(now=datetime.fromtimestamp(NOW + 1801, UTC)) == Refusal.EXPIRED


def test_every_attempt_is_signed_anew() -> None:
    """A retry an hour later does not carry the signature of the first attempt."""
    clock = Clock()
    authorizer = find("iam", ENVIRONMENT, now=clock)
    first = authorized(authorizer)
    clock.seconds += 3600
    second = authorized(authorizer)
    assert (first.headers["x-bce-date"], second.headers["x-bce-date"]) == (
        "2023-11-14T22:13:20Z",
        "2023-11-14T23:13:20Z",
    )
    assert first.headers["Authorization"] != second.headers["Authorization"]


# OAuth


def oauth(service: TokenService, clock: Clock | None = None, base_url: str = BASE) -> OAuth:
    """An authorizer with OAuth keys."""
    authorizer = find("oauth", ENVIRONMENT, service=service, now=clock, base_url=base_url)
    assert isinstance(authorizer, OAuth)
    return authorizer


async def together(authorizer: Authorizer, count: int = 20) -> list[HttpCall]:
    """So many rows that ask at the same time."""
    return list(await asyncio.gather(*(authorizer.authorize(CALL, timeout_s=7.0) for _ in range(count))))


def test_the_token_call() -> None:
    """The token is asked for as the service documents it, below the base URL's path."""
    service = TokenService(granted("S3CR3T-granted"))
    sent = authorized(oauth(service, base_url=BASE + "/prefix"))
    assert sent.url == BASE + "/prefix/completions/yi?access_token=S3CR3T-granted"
    asked = urlsplit(service.calls[0].url)
    assert f"{asked.scheme}://{asked.netloc}{asked.path}" == BASE + "/prefix/oauth/2.0/token"
    assert dict(parse_qsl(asked.query)) == {
        "grant_type": "client_credentials",
        "client_id": "S3CR3T-ak",
        "client_secret": "S3CR3T-sk",
    }


def test_one_token_for_all() -> None:
    """However many rows start at once, and however many follow, one token is fetched."""
    service = TokenService(granted("one"), granted("two"))

    async def scenario() -> set[str]:
        authorizer = oauth(service)
        return {call.url for call in [*await together(authorizer), *await together(authorizer)]}

    assert asyncio.run(scenario()) == {BASE + "/completions/yi?access_token=one"}
    assert len(service.calls) == 1


def test_one_new_token_for_all_rows_in_flight() -> None:
    """A token that the service calls stale is renewed once for all rows it was refused to, late ones too."""
    service = TokenService(granted("one"), granted("two"), granted("three"))

    async def scenario() -> list[HttpCall]:
        authorizer = oauth(service)
        refused = await together(authorizer)
        assert await asyncio.gather(*(authorizer.renew(call) for call in refused)) == [True] * len(refused)
        again = await together(authorizer)
        assert await authorizer.renew(refused[0]) is True
        return again + await together(authorizer)

    assert {call.url for call in asyncio.run(scenario())} == {BASE + "/completions/yi?access_token=two"}
    assert len(service.calls) == 2


def test_a_new_token_may_be_refused_at_once() -> None:
    """Tokens are renewed whenever the service asks, be it right after the last renewal."""
    service = TokenService(granted("one"), granted("two"), granted("three"))

    async def scenario() -> str:
        authorizer = oauth(service)
        for _ in range(2):
            assert await authorizer.renew(await authorizer.authorize(CALL, timeout_s=7.0)) is True
        return (await authorizer.authorize(CALL, timeout_s=7.0)).url

    assert asyncio.run(scenario()).endswith("=three")
    assert len(service.calls) == 3


@pytest.mark.parametrize(
    ("expires_in", "good_for"),
    [
        (2592000, 2592000 - 60),
        (120, 60),
        (60, 30),
        (10, 5),
        (0.5, 0.25),
        (None, 3540),
        ("soon", 3540),
        (0, 3540),
        (-5, 3540),
        (10**300, 3540),
        ([], 3540),
    ],
)
def test_a_token_is_renewed_before_its_end(expires_in: object, good_for: float) -> None:
    """A token is replaced ahead of its end; a short or absurd validity does not mean a fetch a call."""
    service = TokenService(granted("one", expires_in=expires_in), granted("two", expires_in=1000))
    clock = Clock()

    async def scenario() -> list[str]:
        authorizer = oauth(service, clock)
        urls = []
        for later in (0.0, good_for - 0.01, good_for + 0.01):
            clock.seconds = NOW + later
            urls.append((await authorizer.authorize(CALL, timeout_s=7.0)).url[-3:])
        return urls

    assert asyncio.run(scenario()) == ["one", "one", "two"]


def refused_by(service: TokenService) -> Failure:
    """How a call ends whose token cannot be had; the error tells no secret."""
    with pytest.raises(TransportError) as failed:
        authorized(oauth(service))
    assert "S3CR3T" not in "".join(traceback.format_exception(failed.value)) + repr(failed.value.failure)
    return failed.value.failure


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            401,
            {"error": "invalid_client", "error_description": "unknown client id"},
            "the keys were refused: invalid_client: unknown client id",
        ),
        (
            401,
            {"error": "invalid_client", "error_description": "Client authentication failed"},
            "the keys were refused: invalid_client: Client authentication failed",
        ),
        (200, {"error": "invalid_client"}, "the keys were refused: invalid_client"),
        (400, {"error": "bad", "error_description": {"a": 1}}, "the keys were refused: bad"),
        (
            401,
            {"error": "invalid_client", "error_description": "no client_id=S3CR3T-ak&x"},
            "the keys were refused: invalid_client: no client_id=***&x",
        ),
    ],
)
def test_refused_keys_stop_the_job(status: int, body: object, message: str) -> None:
    """Both documented refusals, with any status, are said in the service's words and concern every row."""
    assert refused_by(TokenService((status, body))) == Failure(
        ErrorKind.CREDENTIALS, Action.JOB, message, code=status
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ErrorKind.INVALID_REQUEST),
        (401, ErrorKind.CREDENTIALS),
        (403, ErrorKind.PERMISSION),
        (404, ErrorKind.INVALID_REQUEST),
        (302, ErrorKind.NOT_FOUND),
    ],
)
def test_no_token_route_stops_the_job(status: int, kind: ErrorKind) -> None:
    """A permanent refusal of the token call is never one row's fault: the first proof stops the job."""
    assert refused_by(TokenService((status, b"<html>"))) == Failure(
        kind, Action.JOB, f"HTTP {status}: no access token", code=status
    )


@pytest.mark.parametrize(
    "body", [b"<html>", b"", {"error": "server_error", "error_description": "try later"}]
)
@pytest.mark.parametrize(
    ("status", "kind", "action"),
    [
        (500, ErrorKind.SERVER, Action.RETRY),
        (503, ErrorKind.SERVER, Action.RETRY),
        (408, ErrorKind.TIMEOUT, Action.RETRY),
        (429, ErrorKind.RATE_LIMITED, Action.THROTTLE),
    ],
)
def test_an_unwell_token_service_is_asked_again(
    status: int, kind: ErrorKind, action: Action, body: object
) -> None:
    """A transient failure of the token service is retried like any other, with its Retry-After."""
    failure = refused_by(TokenService((status, body), headers={"retry-after": "3"}))
    assert failure == Failure(kind, action, f"HTTP {status}: no access token", code=status, retry_after_s=3.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b"\xff",
        b"[" * 100_000,
        {"access_token": None},
        {"access_token": ""},
        {"access_token": 5},
        b'{"access_token":"\\ud800"}',
    ],
    ids=range(12),
)
def test_an_answer_without_a_token_is_a_bad_answer(body: object) -> None:
    """Whatever comes instead of a token is retried and never used as one."""
    assert refused_by(TokenService((200, body))) == Failure(
        ErrorKind.BAD_ANSWER, Action.RETRY, "the token answer has no access_token"
    )


BROKEN = Failure(ErrorKind.CONNECTION, Action.RETRY, "no connection")


def test_a_broken_token_call() -> None:
    """A token call that breaks is a failure of the attempt, to be retried."""
    assert refused_by(TokenService(BROKEN)) == BROKEN


def test_rows_share_a_failed_fetch() -> None:
    """Rows that waited for a fetch that failed fail with it; the next attempt asks again, once for all."""
    service = TokenService(BROKEN, BROKEN, granted("one"))

    async def scenario() -> None:
        authorizer = oauth(service)
        for calls in (1, 2):
            results = await asyncio.gather(
                *(authorizer.authorize(CALL, timeout_s=7.0) for _ in range(20)), return_exceptions=True
            )
            assert [type(result) for result in results] == [TransportError] * 20
            assert len(service.calls) == calls
        await together(authorizer)

    asyncio.run(scenario())
    assert len(service.calls) == 3


def test_a_failed_renewal_keeps_nobody_from_the_next() -> None:
    """A renewal that failed is made good by the next one."""
    service = TokenService(granted("one"), BROKEN, granted("two"))

    async def scenario() -> str:
        authorizer = oauth(service)
        refused = await together(authorizer)
        results = await asyncio.gather(*(authorizer.renew(call) for call in refused), return_exceptions=True)
        assert [type(result) for result in results] == [TransportError] * len(refused)
        assert len(service.calls) == 2
        assert await authorizer.renew(refused[0]) is True
        return (await authorizer.authorize(CALL, timeout_s=7.0)).url

    assert asyncio.run(scenario()).endswith("=two")


def test_a_cancelled_fetch_keeps_nobody_waiting() -> None:
    """A row that is cancelled while it fetches the token for all leaves the fetch to the next."""
    service = TokenService(BROKEN, granted("one"))

    async def scenario() -> str:
        authorizer = oauth(service)
        with pytest.raises(TransportError):  # an older failure that must not be taken for this fetch's
            await authorizer.authorize(CALL, timeout_s=7.0)
        first = asyncio.create_task(authorizer.authorize(CALL, timeout_s=7.0))
        second = asyncio.create_task(authorizer.authorize(CALL, timeout_s=7.0))
        await asyncio.sleep(0)
        first.cancel()
        return (await second).url

    assert asyncio.run(scenario()).endswith("=one")


# Secrets


@pytest.mark.parametrize("auth", ["none", "token", "bearer", "iam", "oauth"])
def test_no_repr_shows_a_secret(auth: str) -> None:
    """Authorizers, what they hold, and the calls they make are safe to print and to log."""
    service = TokenService(granted("S3CR3T-granted"))
    authorizer = find(auth, ENVIRONMENT, service=service)
    sent = authorized(authorizer)
    shown = [authorizer, sent, [sent], {"call": sent}, *service.calls, authorizer.found]
    text = " ".join(f"{each!r} {each} {pretty_repr(each)}" for each in shown)
    assert "S3CR3T" not in text


@pytest.mark.parametrize("auth", ["token", "bearer", "iam", "oauth"])
def test_a_service_that_repeats_the_key(auth: str) -> None:
    """A key of any form that the service's own words repeat is blanked: they go to logs and results."""
    sent = authorized(find(auth, ENVIRONMENT, service=TokenService(granted("S3CR3T-granted"))))
    carried = [sent.headers.get("Authorization", "").split(" ")[-1], *sent.url.split("access_token=")[1:]]
    said = Failure(ErrorKind.CREDENTIALS, Action.JOB, f"nobody knows {' nor '.join(carried)} here", 401)
    told = unspoken(said, sent)
    assert (told.kind, told.action, told.code) == (said.kind, said.action, said.code)
    assert re.fullmatch(r"nobody knows (\*\*\*)?( nor )?(\*\*\*)? here", told.message)
    assert unspoken(told, sent) is told


def test_words_that_are_no_key_stay() -> None:
    """A call without credentials, or with a key too short to be one, changes no message."""
    said = Failure(ErrorKind.SERVER, Action.RETRY, "a bad gateway")
    for headers in ({}, {"Authorization": "Bearer a"}):
        assert unspoken(said, HttpCall(BASE, headers, b"", 1.0)) is said


# Against a server that checks


def test_a_server_that_checks() -> None:
    """The local server accepts OAuth and signed calls with its keys, and a revoked token is renewed once."""
    keys = ("test-access-key", "test-secret-key")
    dialect = QianfanV1()

    async def ask(authorizer: Authorizer, transport: Transport, endpoint: str) -> Completion | Failure:
        call = dialect.encode(endpoint, "hello", {})
        sent = await authorizer.authorize(call, timeout_s=10.0)
        answer = await transport.ask(sent)
        outcome = dialect.decode(answer.status, answer.header, answer.body, now=NOW)
        if isinstance(outcome, Failure) and outcome.action is Action.REFRESH:
            assert await authorizer.renew(sent) is True
            return await ask(authorizer, transport, endpoint)
        return outcome

    async def scenario(server: ScriptedServer, keys: tuple[str, str], names: tuple[str, str]) -> list[object]:
        transport = open_transport(base_url=server.base_url, connect_timeout_s=5.0, environ={})
        try:
            authorizer = find_authorizer(
                "auto",
                dialect=dialect,
                base_url=server.base_url,
                environ=dict(zip(names, keys, strict=True)),
                transport=transport,
                now=lambda: datetime.now(UTC).timestamp(),
            )
            outcomes: list[object] = []
            for _ in range(2):
                answers = [ask(authorizer, transport, server.endpoint()) for _ in range(8)]
                outcomes += [
                    outcome.result if isinstance(outcome, Completion) else (outcome.kind, outcome.action)
                    for outcome in await asyncio.gather(*answers)
                ]
                outcomes.append(server.revoke_tokens())
            return outcomes
        finally:
            await transport.close()

    iam, oauth_names = ("QIANFAN_ACCESS_KEY", "QIANFAN_SECRET_KEY"), ("QIANFAN_AK", "QIANFAN_SK")
    refused = (ErrorKind.CREDENTIALS, Action.JOB)
    with ScriptedServer(keys=keys) as server:
        assert asyncio.run(scenario(server, keys, iam)) == (["hello"] * 8 + [0]) * 2
        assert asyncio.run(scenario(server, keys, oauth_names)) == (["hello"] * 8 + [1]) * 2
        assert asyncio.run(scenario(server, (keys[0], "wrong"), iam)) == ([refused] * 8 + [0]) * 2
