"""Every scripted fault, as a client meets it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from scripted import ScriptedServer

from qfbatch.server.refusals import V1_MESSAGES


@pytest.mark.parametrize("code", sorted(V1_MESSAGES))
@pytest.mark.parametrize("stream", [False, True])
def test_service_errors(server: ScriptedServer, code: int, stream: bool) -> None:  # noqa: FBT001 - parametrised
    """Each code of the table can be had, as plain JSON with HTTP 200 on streams too."""
    status, headers, body = server.ask("echo", {"prompt": f"{{{{fault: {code}}}}}", "stream": stream})
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {"error_code": code, "error_msg": V1_MESSAGES[code]}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 425, 429, 500, 502, 503, 504])
def test_http_statuses(server: ScriptedServer, status: int) -> None:
    """Real HTTP failures can be had."""
    assert server.ask("echo", {"prompt": f"{{{{fault: {status}}}}}"})[0] == status


def test_retry_after(server: ScriptedServer) -> None:
    """Retry-After comes in seconds as given, or as an HTTP date so many seconds ahead."""
    asked = [{"prompt": f"{{{{fault: 429 retry_after={value}}}}}"} for value in ("1.5", "date:60")]
    seconds, date = (server.ask("echo", body)[1] for body in asked)
    assert seconds["retry-after"] == "1.5"
    ahead = parsedate_to_datetime(date["retry-after"]) - parsedate_to_datetime(date["date"])
    assert 58 <= ahead.total_seconds() <= 61


def test_faults_in_turn_then_success(server: ScriptedServer) -> None:
    """Faults with `times` come in order, counted by prompt, and then the answer does."""
    endpoint = server.endpoint()
    prompts = [f"row {n} {{{{fault: 503 times=2}}}}{{{{fault: 18 times=1}}}}" for n in range(3)]
    for prompt in prompts:
        seen = [server.ask(endpoint, {"prompt": prompt}) for _ in range(4)]
        assert [status for status, _, _ in seen] == [503, 503, 200, 200]
        assert json.loads(seen[2][2])["error_code"] == 18
        assert json.loads(seen[3][2])["result"] == prompt.partition("{")[0]
    assert server.calls(endpoint) == dict.fromkeys(prompts, (4, 1))


def test_faults_of_an_endpoint(server: ScriptedServer) -> None:
    """An endpoint's fault befalls each prompt, or the same share of them every time."""
    always = server.endpoint("echo,fault=503,times=1")
    assert [server.ask(always, {"prompt": "x"})[0] for _ in range(2)] == [503, 200]
    outcomes = []
    for _ in range(2):
        some = server.endpoint("echo,fault=500,share=0.3")
        outcomes.append([server.ask(some, {"prompt": f"row {n}"})[0] for n in range(40)])
    assert outcomes[0] == outcomes[1]
    assert 4 <= outcomes[0].count(500) <= 20


@pytest.mark.parametrize("kind", ["drop", "close", "drop_after_headers", "half_body"])
@pytest.mark.parametrize("stream", [False, True])
def test_broken_connections(server: ScriptedServer, kind: str, stream: bool) -> None:  # noqa: FBT001 - parametrised
    """The connection breaks before the headers, after them, or in the middle of the body."""
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        server.ask("echo", {"prompt": f"some words {{{{fault: {kind}}}}}", "stream": stream})


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("cut_stream after=2", lambda body: body.count(b"data: ") == 2 and b'"is_end":true' not in body),
        ("cut_stream after=0", lambda body: body == b""),
        ("stream_error code=336100", lambda body: b'data: {"error_code":336100' in body),
        ("stream_error code=18 after=0", lambda body: json.loads(body)["error_code"] == 18),
        ("slow bytes=7 gap=0", lambda body: body.endswith(b"\n\n") and b'"is_end":true' in body),
    ],
)
def test_spoilt_streams(server: ScriptedServer, kind: str, check: Callable[[bytes], bool]) -> None:
    """A stream ends early in order, carries an error object, or comes a few bytes at a time."""
    body = server.ask("echo", {"prompt": f"a few words more {{{{fault: {kind}}}}}", "stream": True})[2]
    assert check(body), body


def test_reset_stream(server: ScriptedServer) -> None:
    """A stream's connection is reset in the middle."""
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        server.ask("echo", {"prompt": "a few words {{fault: reset_stream after=1}}", "stream": True})


@pytest.mark.parametrize(
    ("kind", "status", "content_type", "start"),
    [
        ("invalid_json", 200, "application/json", b'{"id"'),
        ("not_object", 200, "application/json", b"["),
        ("wrong_types", 200, "application/json", b'{"id":7'),
        ("html", 200, "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("html status=502", 502, "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("empty_body", 200, "application/json", b""),
        ("slow bytes=5 gap=0", 200, "application/json", b'{"id"'),
    ],
)
def test_bad_bodies(server: ScriptedServer, kind: str, status: int, content_type: str, start: bytes) -> None:
    """Bodies that are no answers, and one that is but comes slowly."""
    seen, headers, body = server.ask("echo", {"prompt": f"words {{{{fault: {kind}}}}}"})
    assert (seen, headers["content-type"]) == (status, content_type)
    assert body.startswith(start)


@pytest.mark.parametrize(
    ("directive", "shown"),
    [
        ("unsafe", {"is_safe": 0, "need_clear_history": True, "ban_round": -1}),
        ("truncated", {"is_truncated": True, "finish_reason": "length"}),
        ("empty", {"result": ""}),
        ("object=chat.completion", {"object": "chat.completion"}),
        ("delay=0.01 sigma=1", {"is_truncated": False}),
    ],
)
def test_odd_answers(server: ScriptedServer, directive: str, shown: dict[str, object]) -> None:
    """Answers that are good, and unusual."""
    body = json.loads(server.ask("echo", {"prompt": f"words {{{{answer: {directive}}}}}"})[2])
    assert {name: body[name] for name in shown} == shown


def test_huge_and_usageless_answers(server: ScriptedServer) -> None:
    """An answer of the asked size, and one without token counts."""
    huge = json.loads(server.ask("echo", {"prompt": "abc {{answer: size=3000000}}"})[2])
    assert len(huge["result"]) >= 3_000_000
    assert "usage" not in json.loads(server.ask("echo", {"prompt": "{{answer: no_usage}}x"})[2])


@pytest.mark.parametrize(("asked", "code"), [("qps=3", 18), ("rpm=3", 336501), ("tpm=11", 336502)])
@pytest.mark.parametrize("window", ["sliding", "bucket"])
def test_quotas_by_code(server: ScriptedServer, asked: str, code: int, window: str) -> None:
    """Beyond a quota comes its own code; what was let in is exactly the quota."""
    # A "minute" of an hour (and of a fraction of a call a second) so that the test's own pace means nothing.
    slow = "qps=3,burst=3" if asked == "qps=3" and window == "bucket" else asked
    endpoint = server.endpoint(f"echo,{slow},window={window},minute=3600")
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda n: server.ask(endpoint, {"prompt": f"row {n}"})[2], range(8)))
    codes = [json.loads(body).get("error_code", 0) for body in bodies]
    if code == 18:  # seconds pass while the test runs
        assert codes.count(0) >= 3
        assert set(codes) <= {0, 18}
    else:
        assert sorted(codes) == [0] * (3 if code == 336501 else 2) + [code] * (5 if code == 336501 else 6)
    assert server.traffic(endpoint)["refused"] == 8 - codes.count(0)


def test_quotas_by_status(server: ScriptedServer) -> None:
    """A quota may refuse with HTTP 429 and the whole seconds to wait; a refused call spends no fault."""
    endpoint = server.endpoint("echo,rpm=1,window=sliding,minute=100,refuse=http")
    prompt = {"prompt": "x {{fault: 503 times=1}}"}
    assert server.ask(endpoint, prompt)[0] == 503
    status, headers, body = server.ask(endpoint, prompt)
    assert (status, json.loads(body)["error_code"]) == (429, 336501)
    assert 90 <= int(headers["retry-after"]) <= 100


def test_concurrency_limit(server: ScriptedServer) -> None:
    """More calls at once than allowed get 336100, and the most at once is remembered."""
    endpoint = server.endpoint("echo,concurrency=2,delay=0.5")
    with ThreadPoolExecutor(6) as pool:
        bodies = list(pool.map(lambda n: server.ask(endpoint, {"prompt": f"row {n}"})[2], range(6)))
    codes = [json.loads(body).get("error_code", 0) for body in bodies]
    assert 0 in codes
    assert set(codes) <= {0, 336100}
    seen = server.traffic(endpoint)
    assert seen["in_flight"] == 0
    assert seen["calls"] == 6


@pytest.mark.parametrize(
    ("rule", "code"), [("calls=2", 17), ("calls=2,calls_code=19", 19), ("max_chars=1", 336007)]
)
def test_exhausted(server: ScriptedServer, rule: str, code: int) -> None:
    """A total quota runs out after so many answers; prompts beyond the length limit are refused."""
    endpoint = server.endpoint(f"echo,{rule}")
    prompts = ["a", "b", "c"] if code != 336007 else ["a", "b", "cc"]
    codes = [
        json.loads(server.ask(endpoint, {"prompt": prompt})[2]).get("error_code", 0) for prompt in prompts
    ]
    assert codes == [0, 0, code]


def test_ledger_file(tmp_path: Path) -> None:
    """Each completed answer, and only those, is a line in the ledger file, also of clients that are gone."""
    ledger = tmp_path / "paid.jsonl"
    with ScriptedServer(ledger=ledger) as own:
        own.ask("echo", {"prompt": "one"})
        own.ask("echo", {"prompt": "two {{fault: 500}}"})
        own.ask("echo", {"prompt": "three", "stream": True})
        own.reset()
        assert own.calls("echo") == {}
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert lines == [{"endpoint": "echo", "prompt": "one"}, {"endpoint": "echo", "prompt": "three"}]
