"""Parameter rules, error codes and the shape of answers, over HTTP."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from scripted import ScriptedServer, fetch

COMPLETE = {
    "id",
    "object",
    "created",
    "result",
    "usage",
    "is_truncated",
    "need_clear_history",
    "finish_reason",
}


def answer(server: ScriptedServer, body: dict[str, Any] | bytes, endpoint: str = "echo") -> dict[str, Any]:
    """The JSON answer of one call, which came with HTTP 200."""
    status, headers, content = server.ask(endpoint, body)
    assert (status, headers["content-type"]) == (200, "application/json")
    answered: dict[str, Any] = json.loads(content)
    return answered


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        (b"", 336002, "JSON"),
        (b"{", 336002, "JSON"),
        (b"[]", 336002, "object"),
        (b'"prompt"', 336002, "object"),
        (b"\xff\xfe", 336002, "JSON"),
        (b'{"prompt":"\\ud800"}', 336002, "JSON"),
        ({}, 336003, "prompt"),
        ({"prompt": ""}, 336003, "prompt"),
        ({"prompt": None}, 336003, "prompt"),
        ({"prompt": 5}, 336001, "prompt"),
        ({"prompt": ["x"]}, 336001, "prompt"),
        ({"prompt": "x", "stream": "yes"}, 336001, "stream"),
        ({"prompt": "x", "temperature": 0}, 336003, "temperature"),
        ({"prompt": "x", "temperature": 1.01}, 336003, "temperature"),
        ({"prompt": "x", "temperature": "hot"}, 336001, "temperature"),
        ({"prompt": "x", "temperature": True}, 336001, "temperature"),
        ({"prompt": "x", "top_p": -0.1}, 336003, "top_p"),
        ({"prompt": "x", "top_p": 1.1}, 336003, "top_p"),
        ({"prompt": "x", "top_k": 0}, 336003, "top_k"),
        ({"prompt": "x", "top_k": 1.5}, 336001, "top_k"),
        ({"prompt": "x", "penalty_score": 0.9}, 336003, "penalty_score"),
        ({"prompt": "x", "penalty_score": 2.1}, 336003, "penalty_score"),
        ({"prompt": "x", "stop": ["a"] * 5}, 336003, "stop"),
        ({"prompt": "x", "stop": ["a" * 21]}, 336003, "stop"),
        ({"prompt": "x", "stop": "a"}, 336001, "stop"),
        ({"prompt": "x", "seed": -1}, 336003, "seed"),
        ({"prompt": "x", "user_id": 1}, 336001, "user_id"),
        ({"prompt": "{{fault: nonsense}}"}, 336003, "nonsense"),
    ],
)
def test_broken_rules(server: ScriptedServer, body: dict[str, Any] | bytes, code: int, word: str) -> None:
    """A request that breaks a documented rule gets the service's code and a message naming the parameter."""
    answered = answer(server, body)
    assert answered["error_code"] == code
    assert word in answered["error_msg"]


def test_bounds_and_unknown_fields_are_accepted(server: ScriptedServer) -> None:
    """Every bound itself is legal, null means absent, and unknown fields pass as the service lets them."""
    body = {
        "prompt": "x",
        "temperature": 1,
        "top_p": 0,
        "top_k": 1,
        "penalty_score": 2.0,
        "stop": ["b" * 20] * 4,
        "user_id": "me",
        "seed": 0,
        "stream": None,
        "surprise": {"deep": [1]},
    }
    assert answer(server, body)["result"] == "x"


def test_answer_without_stream(server: ScriptedServer) -> None:
    """A whole answer has the documented fields, and token counts that follow the documented rule."""
    answered = answer(server, {"prompt": "two words 和汉字"})
    assert set(answered) == COMPLETE
    assert answered["result"] == "two words 和汉字"
    assert answered["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}


def test_stream_is_exactly_events(server: ScriptedServer) -> None:
    """A stream is `data: {json}` and an empty line and nothing else; only its last event says is_end."""
    status, headers, content = server.ask("echo", {"prompt": "five words in a stream", "stream": True})
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert re.fullmatch(rb"(data: \{[^\n]*\}\n\n)+", content)
    events = [json.loads(event.removeprefix("data: ")) for event in content.decode().split("\n\n")[:-1]]
    assert "".join(event["result"] for event in events) == "five words in a stream"
    assert [event["is_end"] for event in events] == [False] * (len(events) - 1) + [True]
    assert [event["sentence_id"] for event in events] == list(range(len(events)))
    assert events[-1]["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}


def test_answers_depend_on_what_is_asked_alone(server: ScriptedServer) -> None:
    """The same request has the same answer, another prompt or parameter another one."""
    asked: list[dict[str, Any]] = [
        {"prompt": "a"},
        {"prompt": "a"},
        {"prompt": "b"},
        {"prompt": "a", "seed": 1},
    ]
    first, again, other, seeded = (answer(server, body, "words")["result"] for body in asked)
    assert first == again
    assert len({first, other, seeded}) == 3


def test_stop_ends_the_answer(server: ScriptedServer) -> None:
    """Generation stops where the text ends with a stop text."""
    assert answer(server, {"prompt": "one. two. three.", "stop": ["three", ". "]})["result"] == "one"


@pytest.mark.parametrize("endpoint", ["nobody", "echo,surprise=1", "echo,qps=fast", "echo,window=round"])
def test_unknown_endpoint(server: ScriptedServer, endpoint: str) -> None:
    """A name that is not served, or that has an option nobody knows, does not exist."""
    assert answer(server, {"prompt": "x"}, endpoint)["error_code"] == 336005


def test_other_paths_and_methods(server: ScriptedServer) -> None:
    """GET on the completions route and unknown paths get the service's codes."""
    assert json.loads(fetch(server.url("echo"))[2])["error_code"] == 336101
    assert json.loads(fetch(f"{server.base_url}/rpc/2.0/other")[2])["error_code"] == 3
    assert json.loads(fetch(f"{server.base_url}/")[2])["endpoints"] == ["echo", "words"]


def test_rate_headers_only_where_a_limit_is(server: ScriptedServer) -> None:
    """X-Ratelimit headers are sent where a limit is configured, and not otherwise: clients act on them."""
    plain = server.ask("echo", {"prompt": "x"})[1]
    assert not [name for name in plain if name.startswith("x-ratelimit")]
    limited = server.ask(server.endpoint("echo,rpm=100,tpm=5000"), {"prompt": "x y"})[1]
    assert {name: value for name, value in limited.items() if name.startswith("x-ratelimit")} == {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "99",
        "x-ratelimit-limit-tokens": "5000",
        "x-ratelimit-remaining-tokens": "4996",
    }
