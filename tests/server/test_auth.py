"""Credentials: tokens and signatures, good, bad, expired and revoked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from scripted import COMPLETIONS, ScriptedServer, fetch

from qfbatch.errors import UsageError
from qfbatch.server.auth import Gate, Keys, keys_from
from qfbatch.server.engine import Refusal
from qfbatch.service.signing import sign, timestamp_text
from server.conftest import KEYS

CONSOLE = "/wenxinworkshop/service/list"


def ask_token(
    server: ScriptedServer, key: str, secret: str, *, grant: str = "client_credentials", post: bool = True
) -> tuple[int, dict[str, Any]]:
    """The token route's answer."""
    query = f"?grant_type={grant}&client_id={key}&client_secret={secret}"
    status, _, body = fetch(f"{server.base_url}/oauth/2.0/token{query}", b"" if post else None)
    return status, json.loads(body)


def signed_headers(
    server: ScriptedServer, path: str, *, secret: str = KEYS[1], age_s: int = 0
) -> dict[str, str]:
    """Headers of a signed request."""
    moment = datetime.now(UTC) - timedelta(seconds=age_s)
    headers = {
        "Host": server.base_url.removeprefix("http://"),
        "Content-Type": "application/json",
        "x-bce-date": timestamp_text(moment),
    }
    authorization = sign(
        method="POST",
        path=path,
        headers=headers,
        access_key=KEYS[0],
        secret_key=secret,
        timestamp=moment,
        signed_headers=["x-bce-date", "host"],
    )
    return headers | {"Authorization": authorization}


def code_of(answer: tuple[int, dict[str, str], bytes]) -> int:
    """The error code of an HTTP 200 answer; 0 where it is an answer."""
    assert answer[0] == 200
    code: int = json.loads(answer[2]).get("error_code", 0)
    return code


@pytest.mark.parametrize("post", [True, False])
def test_token_route(keyed: ScriptedServer, post: bool) -> None:  # noqa: FBT001 - parametrised
    """GET and POST give a token with its documented fields, and the token opens the completions."""
    status, answer = ask_token(keyed, *KEYS, post=post)
    assert status == 200
    assert answer["expires_in"] == 2_592_000
    assert set(answer) >= {"refresh_token", "scope", "session_key", "session_secret"}
    query = f"?access_token={answer['access_token']}"
    assert code_of(keyed.ask("echo", {"prompt": "x"}, query=query)) == 0


@pytest.mark.parametrize(
    ("key", "secret", "words"),
    [("x", KEYS[1], "unknown client id"), (KEYS[0], "x", "Client authentication failed")],
)
def test_token_route_refuses(keyed: ScriptedServer, key: str, secret: str, words: str) -> None:
    """A wrong key and a wrong secret are told apart as documented."""
    assert ask_token(keyed, key, secret) == (401, {"error": "invalid_client", "error_description": words})
    assert ask_token(keyed, *KEYS, grant="password")[1]["error"] == "unsupported_grant_type"


def test_tokens_refused(keyed: ScriptedServer) -> None:
    """No credentials are 100, an unknown token 110, a revoked one 110."""
    assert code_of(keyed.ask("echo", {"prompt": "x"})) == 100
    assert code_of(keyed.ask("echo", {"prompt": "x"}, query="?access_token=made-up")) == 110
    query = f"?access_token={ask_token(keyed, *KEYS)[1]['access_token']}"
    assert code_of(keyed.ask("echo", {"prompt": "x"}, query=query)) == 0
    assert keyed.revoke_tokens() >= 1
    assert code_of(keyed.ask("echo", {"prompt": "x"}, query=query)) == 110


def test_tokens_expire_by_the_clock() -> None:
    """A token is good for its seconds, then it is 111."""
    now = [1000.0]
    gate = Gate(Keys(*KEYS), clock=lambda: now[0], token_seconds=60)
    token = gate.issue(*KEYS)["access_token"]
    gate.check({}, token)
    now[0] += 60
    with pytest.raises(Refusal) as caught:
        gate.check({}, token)
    assert caught.value.code == 111


@pytest.mark.parametrize("code", [110, 111])
def test_tokens_wear_out(server: ScriptedServer, code: int) -> None:
    """An endpoint may accept a token for so many calls; a new token is good again."""
    endpoint = server.endpoint(f"echo,token_calls=2,token_code={code}")
    for _ in range(2):
        query = f"?access_token={ask_token(server, 'any', 'any')[1]['access_token']}"
        codes = [code_of(server.ask(endpoint, {"prompt": f"p{n}"}, query=query)) for n in range(3)]
        assert codes == [0, 0, code]


def test_signed_requests(keyed: ScriptedServer) -> None:
    """A signed request is let in, to the completions and to the list of services."""
    headers = signed_headers(keyed, f"{COMPLETIONS}echo,tag=1")
    assert code_of(keyed.ask("echo,tag=1", {"prompt": "x"}, **headers)) == 0
    listed = fetch(keyed.base_url + CONSOLE, b"{}", signed_headers(keyed, CONSOLE))
    result = json.loads(listed[2])["result"]
    assert result["custom"] == []
    assert [service["name"] for service in result["common"]] == ["echo", "words"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"secret": "wrong"}, 400, "SignatureDoesNotMatch"),
        ({"age_s": 4000}, 400, "RequestExpired"),
        ({"path": "/elsewhere"}, 400, "SignatureDoesNotMatch"),
    ],
)
def test_bad_signatures(keyed: ScriptedServer, change: dict[str, Any], status: int, code: str) -> None:
    """A wrong secret, an old signature, and one for another path get the gateway's 4xx."""
    headers = signed_headers(keyed, **{"path": f"{COMPLETIONS}echo"} | change)
    seen, _, body = keyed.ask("echo", {"prompt": "x"}, **headers)
    answer = json.loads(body)
    assert (seen, answer["code"]) == (status, code)
    assert set(answer) == {"code", "message", "requestId"}


def test_without_keys_everyone_is_let_in(server: ScriptedServer) -> None:
    """A server that was given no keys accepts any token, any signature, and none."""
    assert code_of(server.ask("echo", {"prompt": "x"})) == 0
    assert code_of(server.ask("echo", {"prompt": "x"}, query="?access_token=made-up")) == 0
    assert code_of(server.ask("echo", {"prompt": "x"}, Authorization="bce-auth-v1/x")) == 0


def bearer_scope(key: str | None) -> dict[str, Any]:
    """An ASGI request with a bearer key, or without credentials."""
    headers = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
    return {
        "type": "http",
        "method": "POST",
        "path": "/v2/completions",
        "query_string": b"",
        "headers": headers,
    }


def test_bearer_keys() -> None:
    """Any one of the keys lets in, by either protocol; another, none, and the key pair's secret do not."""
    gate = Gate(Keys(*KEYS, bearer=("one", "two")), clock=lambda: 0.0)
    assert [gate.check_bearer(bearer_scope(key)) for key in ("one", "two")] == ["one", "two"]
    gate.check(bearer_scope("two"), "")
    for key in ("three", "", "on", "oneone", KEYS[1], None):
        with pytest.raises(Refusal) as caught:
            gate.check_bearer(bearer_scope(key))
        assert caught.value.code == 14


def test_any_key_closes_both_protocols() -> None:
    """Keys for one protocol leave the other open to nobody, nor to the signature of an empty pair."""
    only_bearer = Gate(Keys(bearer=("one",)), clock=lambda: 0.0)
    assert only_bearer.issue("", "")["error"] == "invalid_client"
    signed = bearer_scope(None)
    moment = datetime.fromtimestamp(0, UTC)
    headers = {"host": "x", "x-bce-date": timestamp_text(moment)}
    authorization = sign(
        method="POST", path=signed["path"], headers=headers, access_key="", secret_key="", timestamp=moment
    )
    headers["authorization"] = authorization
    signed["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
    for scope in (signed, bearer_scope(None)):
        with pytest.raises(Refusal):
            only_bearer.check(scope, "")
    only_pair = Gate(Keys(*KEYS), clock=lambda: 0.0)
    for key in ("", KEYS[0], None):
        with pytest.raises(Refusal):
            only_pair.check_bearer(bearer_scope(key))


def test_keys_come_in_pairs_and_are_not_shown() -> None:
    """One key of the pair without the other is a mistake to be told; no key is ever part of a repr."""
    environment = {
        "QFBATCH_SERVE_ACCESS_KEY": "key-text",
        "QFBATCH_SERVE_SECRET_KEY": "secret-text",
        "QFBATCH_SERVE_BEARER_KEYS": "one-text, two-text,",
    }
    assert keys_from({}) is None
    keys = keys_from(environment)
    assert keys == Keys("key-text", "secret-text", ("one-text", "two-text"))
    assert "text" not in repr(keys)
    with pytest.raises(UsageError, match="only one of"):
        keys_from({"QFBATCH_SERVE_ACCESS_KEY": "key-text"})
