"""The OpenAI-compatible routes: parameter rules, shapes of answers, of streams and of errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripted import ScriptedServer, fetch

from server.conftest import BEARER, KEYS

TEXT, CHAT = "/v2/completions", "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "two words"}]


def text(**body: Any) -> dict[str, Any]:
    """A request for a text completion."""
    return {"model": "echo", "prompt": "two words", **body}


def chat(*messages: Any, **body: Any) -> dict[str, Any]:
    """A request for a chat completion."""
    return {"model": "echo", "messages": list(messages) or MESSAGES, **body}


def said(role: str, content: Any) -> dict[str, Any]:
    """A message."""
    return {"role": role, "content": content}


def ask(server: ScriptedServer, path: str, body: dict[str, Any] | bytes) -> dict[str, Any]:
    """The answer to a call, which came with HTTP 200."""
    status, headers, content = server.post(path, body)
    assert (status, headers["content-type"]) == (200, "application/json"), content
    answer: dict[str, Any] = json.loads(content)
    return answer


def stream_of(server: ScriptedServer, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a stream that ended with [DONE]; a stream is these events and nothing else."""
    status, headers, content = server.post(path, {**body, "stream": True})
    assert (status, headers["content-type"]) == (200, "text/event-stream"), content
    *events, done, rest = content.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


@pytest.mark.parametrize("version", ["/v1", "/v2"])
def test_text_completion(server: ScriptedServer, version: str) -> None:
    """A whole text completion has the documented fields and nothing that is not known."""
    answer = ask(server, f"{version}/completions", text())
    assert answer.pop("id").startswith("as-")
    assert answer.pop("created") > 1_700_000_000
    assert answer == {
        "object": "text_completion",
        "model": "echo",
        "choices": [{"index": 0, "text": "two words", "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
    }


@pytest.mark.parametrize("version", ["/v1", "/v2"])
def test_chat_completion(server: ScriptedServer, version: str) -> None:
    """A whole chat completion answers the last message; all of them are counted."""
    body = chat(
        said("system", "Be brief."), said("user", "a"), said("assistant", "b"), said("user", "two words")
    )
    answer = ask(server, f"{version}/chat/completions", body)
    assert answer["object"] == "chat.completion"
    [choice] = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "two words"}
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 6, "completion_tokens": 2, "total_tokens": 8}


def test_content_in_parts(server: ScriptedServer) -> None:
    """A message's content may come in parts of text, which are joined."""
    parts = [{"type": "text", "text": "two "}, {"type": "text", "text": "words"}]
    [choice] = ask(server, CHAT, chat(said("user", parts)))["choices"]
    assert choice["message"]["content"] == "two words"


@pytest.mark.parametrize("with_usage", [False, True])
def test_text_stream(server: ScriptedServer, with_usage: bool) -> None:  # noqa: FBT001 - parametrised
    """A text stream carries the text, then the reason, then the counts only where asked for, then [DONE]."""
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    events = stream_of(server, TEXT, text(prompt="five words in a stream", **options))
    assert {(event["object"], event["model"]) for event in events} == {("text_completion", "echo")}
    assert len({event["id"] for event in events}) == 1
    if with_usage:
        counts = events.pop()
        assert counts["choices"] == []
        assert counts["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    assert [event for event in events if "usage" in event] == []
    choices = [event["choices"][0] for event in events]
    assert "".join(choice["text"] for choice in choices) == "five words in a stream"
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert len(choices) == 5


def test_chat_stream(server: ScriptedServer) -> None:
    """A chat stream names the role first, then carries deltas; its last delta is empty."""
    events = stream_of(server, CHAT, chat(stream_options={"include_usage": True}))
    *deltas, last, counts = events
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    parts = [event["choices"][0]["delta"] for event in deltas]
    assert [part.get("role") for part in parts] == ["assistant"] + [None] * (len(parts) - 1)
    assert "".join(part["content"] for part in parts) == "two words"
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert (counts["choices"], counts["usage"]["total_tokens"]) == ([], 4)


def test_every_protocol_has_the_same_answer(server: ScriptedServer) -> None:
    """The same prompt and parameters get the same text by all protocols; a system message changes it."""
    asked = {"temperature": 0.5, "seed": 7, "stop": ["zzz"]}
    first = json.loads(server.ask("words", {"prompt": "two words", **asked})[2])["result"]
    plain = ask(server, TEXT, text(model="words", **asked))["choices"][0]["text"]
    spoken = ask(server, CHAT, chat(model="words", **asked))["choices"][0]["message"]["content"]
    assert first == plain == spoken
    primed = ask(server, CHAT, chat(said("system", "x"), *MESSAGES, model="words", **asked))
    assert primed["choices"][0]["message"]["content"] != plain


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"max_tokens": 2}, ("one two", "length")),
        ({"max_tokens": 3}, ("one two three", "stop")),
        ({"stop": " t"}, ("one", "stop")),
        ({"stop": ["three", "two"]}, ("one ", "stop")),
    ],
)
def test_what_ends_an_answer(
    server: ScriptedServer, extra: dict[str, Any], expected: tuple[str, str]
) -> None:
    """An answer ends at the cap on tokens, which is said, or at a stop text, given alone or in a list."""
    [choice] = ask(server, TEXT, text(prompt="one two three", **extra))["choices"]
    assert (choice["text"], choice["finish_reason"]) == expected
    events = stream_of(server, TEXT, text(prompt="one two three", **extra))
    assert "".join(event["choices"][0]["text"] for event in events) == expected[0]
    assert events[-1]["choices"][0]["finish_reason"] == expected[1]


def test_bounds_and_idle_values_are_accepted(server: ScriptedServer) -> None:
    """Every bound is legal, null and values that ask for nothing are harmless, unknown fields pass."""
    body: dict[str, Any] = {
        "temperature": 2,
        "top_p": 1,
        "top_k": -1,
        "presence_penalty": -2,
        "frequency_penalty": 2,
        "repetition_penalty": 2,
        "seed": 0,
        "max_tokens": 99,
        "stop": ["b" * 20] * 4,
        "suffix": "",
        "user": "me",
        "n": 1,
        "best_of": 1,
        "echo": False,
        "logprobs": None,
        "logit_bias": {},
        "tools": None,
        "response_format": {"type": "text"},
        "stream": None,
        "stream_options": None,
        "surprise": {"deep": [1]},
    }
    assert ask(server, TEXT, text(**body))["choices"][0]["text"] == "two words"
    del body["max_tokens"]
    body |= {"temperature": 0, "max_completion_tokens": 99, "logprobs": False}
    assert ask(server, CHAT, chat(**body))["choices"][0]["message"]["content"] == "two words"


BROKEN: list[tuple[str, dict[str, Any] | bytes, str, str]] = [
    (TEXT, b"", "malformed_json", "JSON"),
    (TEXT, b"[]", "malformed_json", "object"),
    (CHAT, b'{"model":"\\ud800"}', "malformed_json", "JSON"),
    *(
        (TEXT, text(prompt=prompt), "invalid_argument", "prompt")
        for prompt in ("", None, 5, ["a", "b"], [1, 2])
    ),
    *(
        (path, make(**{name: value}), "invalid_argument", name)
        for path, make in ((TEXT, text), (CHAT, chat))
        for name, value in [
            ("temperature", 2.01),
            ("temperature", -0.1),
            ("temperature", "hot"),
            ("top_p", 1.1),
            ("top_k", -2),
            ("presence_penalty", 2.1),
            ("frequency_penalty", -2.1),
            ("repetition_penalty", 0),
            ("penalty_score", 2.1),
            ("seed", -1),
            ("seed", 1.5),
            ("max_tokens", 0),
            ("max_completion_tokens", 0),
            ("stop", ["a"] * 5),
            ("stop", "a" * 21),
            ("stop", [""]),
            ("user", 1),
            ("stream", "yes"),
            ("stream_options", {"include_usage": True}),
            ("n", 2),
            ("best_of", 2),
            ("echo", True),
            ("logprobs", 0 if make is text else True),
            ("logit_bias", {"5": 1}),
            ("tools", [{"type": "function"}]),
            ("response_format", {"type": "json_object"}),
        ]
    ),
    (CHAT, chat(max_tokens=1, max_completion_tokens=2), "invalid_argument", "max_tokens"),
    (CHAT, {"model": "echo"}, "invalid_messages", "messages"),
    (CHAT, {"model": "echo", "messages": []}, "invalid_messages", "messages"),
    (CHAT, chat(said("robot", "x")), "invalid_messages", "robot"),
    (CHAT, chat(said("user", "x"), said("assistant", "y")), "invalid_messages", "last"),
    (CHAT, chat(said("user", "")), "invalid_messages", "last"),
    (CHAT, chat(said("user", None)), "invalid_messages", "content"),
    (
        CHAT,
        chat(said("user", [{"type": "image_url", "image_url": {"url": "x"}}])),
        "invalid_messages",
        "image_url",
    ),
    (TEXT, {"prompt": "x"}, "invalid_model", "empty"),
    (TEXT, text(prompt="{{fault: nonsense}}"), "invalid_argument", "nonsense"),
]


@pytest.mark.parametrize(("path", "body", "code", "word"), BROKEN)
def test_broken_rules(
    server: ScriptedServer, path: str, body: dict[str, Any] | bytes, code: str, word: str
) -> None:
    """A request that breaks a rule, or asks for what is not there, gets HTTP 400 and is told which it is."""
    status, headers, content = server.post(path, body)
    assert (status, headers["content-type"]) == (400, "application/json"), content
    answer = json.loads(content)
    assert set(answer) == {"error", "id"}
    assert (answer["error"]["code"], answer["error"]["type"]) == (code, "invalid_request_error")
    assert word in answer["error"]["message"]


@pytest.mark.parametrize("model", ["nobody", "echo,surprise=1"])
def test_unknown_model(server: ScriptedServer, model: str) -> None:
    """A model that is not served is HTTP 401, as the service has it; in the list of models it is 404."""
    for path, body in ((TEXT, text(model=model)), (CHAT, chat(model=model))):
        status, _, content = server.post(path, body)
        assert (status, json.loads(content)["error"]["code"]) == (401, "invalid_model")
    status, _, content = fetch(f"{server.base_url}/v1/models/{model}")
    assert (status, json.loads(content)["error"]["code"]) == (404, "invalid_model")


@pytest.mark.parametrize("version", ["/v1", "/v2"])
def test_models_and_other_paths(server: ScriptedServer, version: str) -> None:
    """The models are listed and found by name; a wrong method is 405, a wrong path 404."""
    base = server.base_url + version
    listed = json.loads(fetch(f"{base}/models")[2])
    assert listed["object"] == "list"
    assert [(model["id"], model["object"]) for model in listed["data"]] == [
        ("echo", "model"),
        ("words", "model"),
    ]
    assert json.loads(fetch(f"{base}/models/echo,delay=0")[2])["id"] == "echo,delay=0"
    for path in ("completions", "chat/completions"):
        status, headers, content = fetch(f"{base}/{path}")
        assert (status, headers["allow"]) == (405, "POST")
        assert json.loads(content)["error"]["code"] == "method_not_supported"
    status, _, content = fetch(f"{base}/embeddings", b"{}")
    assert (status, json.loads(content)["error"]["code"]) == (404, "not_found")


def test_keys(keyed: ScriptedServer, server: ScriptedServer) -> None:
    """A server with keys lets in each of them and nobody else, to all routes; one without lets in all."""
    for key in (*(f"Bearer {key}" for key in BEARER), f"bearer {BEARER[1]}"):
        assert keyed.post(TEXT, text(), Authorization=key)[0] == 200
        assert fetch(f"{keyed.base_url}/v1/models", None, {"Authorization": key})[0] == 200
    refused: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {BEARER[0]}"},
        {"Authorization": f"Bearer {KEYS[0]}"},
    ]
    for headers in refused:
        for status, _, content in (
            keyed.post(TEXT, text(), **headers),
            keyed.post(CHAT, chat(stream=True), **headers),
            fetch(f"{keyed.base_url}/v1/models", None, headers),
            fetch(f"{keyed.base_url}/v1/models/echo", None, headers),
        ):
            assert (status, json.loads(content)["error"]["code"]) == (401, "invalid_iam_token")
        assert server.post(TEXT, text(), **headers)[0] == 200


def test_a_bearer_key_opens_v1_too(keyed: ScriptedServer) -> None:
    """V1 behind a gateway takes a bearer key; a wrong one is refused by V1's own code."""
    good, bad = ({"Authorization": f"Bearer {key}"} for key in (BEARER[0], "wrong"))
    assert json.loads(keyed.ask("echo", {"prompt": "x"}, **good)[2])["result"] == "x"
    assert json.loads(keyed.ask("echo", {"prompt": "x"}, **bad)[2])["error_code"] == 14
