"""Scripted faults and quotas, as a client of the OpenAI-compatible routes meets them."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import ScriptedServer

from qfbatch.server.refusals import V1_MESSAGES, V2_ERRORS, V2_NAMES
from qfbatch.server.scripted.quota import FixedWindow, SlidingWindow, TokenBucket, Window, duration_text

# Written out from the service's table of errors: status and type of each code that a client must tell apart.
DOCUMENTED = {
    "malformed_json": (400, "invalid_request_error"),
    "invalid_messages": (400, "invalid_request_error"),
    "characters_too_long": (400, "invalid_request_error"),
    "tokens_too_long": (400, "invalid_request_error"),
    "invalid_argument": (400, "invalid_request_error"),
    "no_parameter_permission": (401, "access_denied"),
    "invalid_model": (401, "invalid_request_error"),
    "invalid_appid": (401, "invalid_request_error"),
    "invalid_iam_token": (401, "invalid_request_error"),
    "system_unsafe": (403, "unsafe_request"),
    "user_setting_unsafe": (403, "unsafe_request"),
    "account_overdue": (403, "access_denied"),
    "model_offline": (403, "access_denied"),
    "method_not_supported": (405, "invalid_request_error"),
    "rpm_rate_limit_exceeded": (429, "rate_limit_exceeded"),
    "tpm_rate_limit_exceeded": (429, "rate_limit_exceeded"),
    "input_tpm_rate_limit_exceeded": (429, "rate_limit_exceeded"),
    "output_tpm_rate_limit_exceeded": (429, "rate_limit_exceeded"),
    "preemptible_rate_limit_exceeded": (429, "rate_limit_exceeded"),
    "user_rate_limit_exceeded": (429, "rate_limit_exceeded"),
    "cluster_rate_limit_exceeded": (429, "rate_limit_exceeded"),
    "cluster_rpm_rate_limit_exceeded": (429, "rate_limit_exceeded"),
    "cluster_tpm_rate_limit_exceeded": (429, "rate_limit_exceeded"),
    "internal_error": (500, "Internal_error"),
    "dispatch_internal_error": (500, "Internal_error"),
}


def ask(
    server: ScriptedServer, prompt: str, model: str = "echo", *, chat: bool = False, **body: Any
) -> tuple[int, dict[str, str], bytes]:
    """One call of either kind."""
    if chat:
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}]}
        return server.post("/v1/chat/completions", {"model": model, **asked, **body})
    return server.post("/v2/completions", {"model": model, "prompt": prompt, **body})


def code_of(content: bytes) -> str:
    """The error's code; empty where it is an answer."""
    code: str = json.loads(content).get("error", {}).get("code", "")
    return code


@pytest.mark.parametrize("code", sorted(DOCUMENTED))
@pytest.mark.parametrize("stream", [False, True])
def test_errors_by_name(server: ScriptedServer, code: str, stream: bool) -> None:  # noqa: FBT001 - parametrised
    """Each documented error can be had by its code, with its status and type, before a stream too."""
    status, headers, content = ask(server, f"{{{{fault: {code}}}}}", chat=stream, stream=stream)
    error = json.loads(content)["error"]
    assert (status, headers["content-type"]) == (DOCUMENTED[code][0], "application/json")
    assert (error["code"], error["type"]) == (code, DOCUMENTED[code][1])
    assert error["message"]
    assert json.loads(content)["id"].startswith("as-")


def test_errors_of_one_protocol_in_the_others_words(server: ScriptedServer) -> None:
    """V1's numbers and V2's codes name faults on all routes; each protocol says them in its own words."""
    assert set(V2_NAMES) == set(V1_MESSAGES)
    assert set(V2_NAMES.values()) <= set(V2_ERRORS)
    for number, name in V2_NAMES.items():
        status, _, content = ask(server, f"{{{{fault: {number}}}}}")
        assert (status, code_of(content)) == (V2_ERRORS[name].status, name)
    for name, error in V2_ERRORS.items():
        status, _, content = server.ask("echo", {"prompt": f"{{{{fault: {name}}}}}"})
        assert (status, json.loads(content)["error_code"]) == (200, error.v1)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_argument"),
        (401, "invalid_iam_token"),
        (403, "http_403"),
        (404, "http_404"),
        (408, "http_408"),
        (429, "rpm_rate_limit_exceeded"),
        (500, "internal_error"),
        (503, "http_503"),
    ],
)
def test_http_statuses(server: ScriptedServer, status: int, code: str) -> None:
    """Any HTTP failure can be had, with an error object, and with Retry-After where asked for."""
    seen, headers, content = ask(server, f"{{{{fault: {status} retry_after=1.5}}}}")
    assert (seen, code_of(content), headers["retry-after"]) == (status, code, "1.5")


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_content_filter(server: ScriptedServer, chat: bool, stream: bool) -> None:  # noqa: FBT001 - parametrised
    """An unsafe answer ends with `content_filter` and carries the service's own flag."""
    content = ask(server, "words {{answer: unsafe}}", chat=chat, stream=stream)[2]
    whole = content.decode().split("\n\n")[-3].removeprefix("data: ") if stream else content
    [choice] = json.loads(whole)["choices"]
    assert (choice["finish_reason"], choice["flag"], choice["ban_round"]) == ("content_filter", 1, -1)


def test_answers_without_counts(server: ScriptedServer) -> None:
    """Token counts can be left out, of a stream that was asked for them too."""
    assert "usage" not in json.loads(ask(server, "{{answer: no_usage}}x")[2])
    options = {"include_usage": True}
    content = ask(server, "{{answer: no_usage}}x", stream=True, stream_options=options)[2]
    assert b'"usage"' not in content
    assert content.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("cut_stream after=2", lambda body: body.count(b"data: ") == 2 and b'"finish_reason":"' not in body),
        ("cut_stream after=99", lambda body: b"[DONE]" not in body and b'"finish_reason":"' not in body),
        ("cut_stream after=0", lambda body: body == b""),
        ("stream_error code=336100", lambda body: b'data: {"error":{"code":"cluster_rate_limit' in body),
        ("slow bytes=7 gap=0", lambda body: body.endswith(b"data: [DONE]\n\n")),
    ],
)
@pytest.mark.parametrize("chat", [False, True])
def test_spoilt_streams(
    server: ScriptedServer,
    kind: str,
    check: Callable[[bytes], bool],
    chat: bool,  # noqa: FBT001 - parametrised
) -> None:
    """A stream ends early in order, carries an error object, or comes a few bytes at a time."""
    status, _, body = ask(server, f"a few words more {{{{fault: {kind}}}}}", chat=chat, stream=True)
    assert status == 200
    assert check(body), body


def test_stream_error_before_the_first_event(server: ScriptedServer) -> None:
    """An error before the first event is a plain answer with its real status."""
    status, _, content = ask(server, "x {{fault: stream_error code=18 after=0}}", stream=True)
    assert (status, code_of(content)) == (429, "user_rate_limit_exceeded")


@pytest.mark.parametrize("kind", ["drop", "close", "drop_after_headers", "half_body", "reset_stream"])
@pytest.mark.parametrize("stream", [False, True])
def test_broken_connections(server: ScriptedServer, kind: str, stream: bool) -> None:  # noqa: FBT001 - parametrised
    """The connection breaks before the headers, after them, or in the middle of the body."""
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(server, f"some words {{{{fault: {kind}}}}}", stream=stream)


def test_bad_bodies(server: ScriptedServer) -> None:
    """Bodies that are no answers: of a wrong shape in this protocol too."""
    wrong = json.loads(ask(server, "{{fault: wrong_types}}")[2])
    assert not isinstance(wrong["choices"], list)
    assert ask(server, "{{fault: html status=502}}")[2].startswith(b"<!DOCTYPE html>")


def test_one_ledger_for_all_protocols(server: ScriptedServer) -> None:
    """Calls of a prompt at an endpoint are counted together, however they come; so faults come in turn."""
    endpoint = server.endpoint()
    prompt = "row {{fault: 503 times=2}}"
    assert ask(server, prompt, endpoint)[0] == 503
    assert ask(server, prompt, endpoint, chat=True)[0] == 503
    assert server.ask(endpoint, {"prompt": prompt})[0] == 200
    assert server.calls(endpoint) == {prompt: (3, 1)}


@pytest.mark.parametrize(
    ("asked", "code", "let_in"),
    [("rpm=3", "rpm_rate_limit_exceeded", 3), ("tpm=11", "tpm_rate_limit_exceeded", 2)],
)
def test_quotas(server: ScriptedServer, asked: str, code: str, let_in: int) -> None:
    """Beyond a quota comes HTTP 429 with its own code, with rate headers; what was let in is the quota."""
    endpoint = server.endpoint(f"echo,{asked},window=sliding,minute=3600")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: ask(server, f"row {n}", endpoint), range(8)))
    codes = [code_of(content) for _, _, content in answers]
    assert sorted(codes) == [""] * let_in + [code] * (8 - let_in)
    refused = next(headers for status, headers, _ in answers if status == 429)
    assert "retry-after" not in refused
    assert refused[f"x-ratelimit-reset-{'requests' if 'rpm' in asked else 'tokens'}"].startswith(
        ("59m", "60m")
    )


def test_quotas_with_retry_after(server: ScriptedServer) -> None:
    """A quota may say in whole seconds when to come again."""
    endpoint = server.endpoint("echo,rpm=1,window=sliding,minute=100,refuse=http")
    assert ask(server, "x", endpoint)[0] == 200
    status, headers, content = ask(server, "x", endpoint)
    assert (status, code_of(content)) == (429, "rpm_rate_limit_exceeded")
    assert 90 <= int(headers["retry-after"]) <= 100


def test_rate_headers(server: ScriptedServer) -> None:
    """Rate headers come in pairs of requests and tokens with a reset each, and only where a quota is."""
    plain = ask(server, "x")[1]
    assert not [name for name in plain if name.startswith("x-ratelimit")]
    seen = ask(server, "x y", server.endpoint("echo,rpm=100,tpm=5000,window=sliding"))[1]
    rates = {name: value for name, value in seen.items() if name.startswith("x-ratelimit")}
    resets = [rates.pop(f"x-ratelimit-reset-{what}") for what in ("requests", "tokens")]
    assert [re.fullmatch(r"(5\d(\.\d+)?s|1m0s)", reset) is not None for reset in resets] == [True, True]
    assert rates == {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "99",
        "x-ratelimit-limit-tokens": "5000",
        "x-ratelimit-remaining-tokens": "4996",
    }


def test_worn_out_keys(server: ScriptedServer) -> None:
    """An endpoint may accept a key for so many calls."""
    endpoint = server.endpoint("echo,token_calls=2")
    body = {"model": endpoint, "prompt": "x"}
    statuses = [server.post("/v1/completions", body, Authorization="Bearer k")[0] for _ in range(3)]
    assert statuses == [200, 200, 401]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0123, "13ms"), (0.9999, "1s"), (17.5, "17.5s"), (59.9999, "1m0s"), (361, "6m1s")],
)
def test_durations(seconds: float, text: str) -> None:
    """Durations are written as such headers have them, never shorter than they are."""
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    "make", [lambda: FixedWindow(5, 60), lambda: SlidingWindow(5, 60), lambda: TokenBucket(5, 60, None)]
)
@given(
    costs=st.lists(st.integers(1, 5), max_size=6), waits=st.lists(st.floats(0, 40), min_size=6, max_size=6)
)
def test_resets(make: Callable[[], Window], costs: list[int], waits: list[float]) -> None:
    """After the reset that a quota tells, all of it is there again; before, where it tells none."""
    window, now = make(), 1000.0
    for cost, wait in zip(costs, waits, strict=False):
        now += wait
        window.take(cost, now)
    later = now + window.reset(now) + 1e-6
    assert window.remaining(later) == pytest.approx(5)
