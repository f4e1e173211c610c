"""Requests of the OpenAI dialects: what goes over the wire, and whose key goes where."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from qfbatch.service.dialect import Call, Dialect
from qfbatch.service.dialects import DIALECTS
from qfbatch.service.parameters import check_parameters

COMPLETIONS, CHAT = DIALECTS["openai"], DIALECTS["openai-chat"]
BOTH = pytest.mark.parametrize("dialect", [COMPLETIONS, CHAT], ids=lambda dialect: dialect.name)
JSON_HEADERS = {"Content-Type": "application/json"}


def sent(call: Call) -> dict[str, Any]:
    """The body of a call."""
    body: dict[str, Any] = msgspec.json.decode(call.body)
    return body


def test_a_completion_request() -> None:
    """The model's name and the prompt go into the body, whatever they hold; parameters stand beside them."""
    call = COMPLETIONS.encode("org/model:v1?", "你好 \n", {"max_tokens": 5, "seed": -1})
    assert (call.path, call.headers, call.stream) == ("/completions", JSON_HEADERS, False)
    assert sent(call) == {"model": "org/model:v1?", "prompt": "你好 \n", "max_tokens": 5, "seed": -1}


def test_a_chat_request() -> None:
    """A prompt is one message of the user; a list of messages goes out as it is."""
    call = CHAT.encode("m", "hi", {})
    assert (call.path, call.headers, call.stream) == ("/chat/completions", JSON_HEADERS, False)
    assert sent(call) == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    messages = [{"role": "system", "content": "é"}, {"role": "user", "content": [{"type": "text"}]}]
    call = CHAT.encode("m", msgspec.json.encode(messages).decode(), {}, messages=True)
    assert sent(call) == {"model": "m", "messages": messages}


@BOTH
def test_a_stream_asks_for_its_usage(dialect: Dialect) -> None:
    """Token counts of a stream come only when asked for; a server that knows better can be told otherwise."""
    call = dialect.encode("m", "x", {"stream": True})
    assert call.stream
    assert sent(call)["stream_options"] == {"include_usage": True}
    own = {"stream": True, "stream_options": {"include_usage": False}}
    assert sent(dialect.encode("m", "x", own))["stream_options"] == {"include_usage": False}
    assert "stream_options" not in sent(dialect.encode("m", "x", {"stream": False}))


@BOTH
@pytest.mark.parametrize(
    ("parameters", "field", "message"),
    [
        ({"temperature": 2.5}, "temperature", "must be at least 0 and at most 2, not 2.5"),
        ({"max_tokens": 0}, "max_tokens", "must be a whole number of at least 1, not 0"),
        ({"top_k": -2}, "top_k", "must be a whole number of at least -1, not -2"),
        ({"seed": 1.5}, "seed", "must be a whole number of at most 18 digits, not 1.5"),
        ({"presence_penalty": -3}, "presence_penalty", "must be at least -2 and at most 2, not -3"),
        ({"repetition_penalty": 0}, "repetition_penalty", "must be above 0 and at most 10, not 0"),
        ({"user": 1}, "user", "must be text, not 1"),
        (
            {"n": 2},
            "n",
            "is not for jobs: a row has one answer; repeat the row or the model for more",
        ),
        (
            {"extra": {"best_of": 2}},
            "extra.best_of",
            "is not for jobs: a row has one answer; repeat the row or the model for more",
        ),
        ({"extra": {"model": "x"}}, "extra.model", "is the model's `endpoint`"),
        ({"extra": {"messages": []}}, "extra.messages", "come from the input, not from here"),
        ({"penalty_score": 1.1}, "penalty_score", None),
    ],
)
def test_parameters_have_the_ranges_of_the_dialect(
    dialect: Dialect, parameters: dict[str, Any], field: str, message: str | None
) -> None:
    """What no such server takes is refused before any call, by the dialect's own table."""
    (problem,) = check_parameters(dialect.rules, parameters)
    assert problem.field == field
    if message is not None:
        assert problem.message == message


@BOTH
def test_common_parameters_are_accepted(dialect: Dialect) -> None:
    """Ends of ranges included; whatever else a server knows goes under `extra`."""
    parameters = {
        "max_tokens": 1,
        "temperature": 2,
        "top_p": 0,
        "top_k": -1,
        "seed": -(2**63),
        "presence_penalty": -2,
        "frequency_penalty": 2.0,
        "repetition_penalty": 1.1,
        "stop": ["a text longer than twenty characters"],
        "user": "u",
        "stream": True,
        "extra": {"min_p": 0.1, "stream_options": {"include_usage": False}},
    }
    assert check_parameters(dialect.rules, parameters) == []


def test_the_routes_own_parameters() -> None:
    """Each route has what only it knows; log probabilities are a number in one and a flag in the other."""
    assert check_parameters(COMPLETIONS.rules, {"suffix": "x", "logprobs": 5}) == []
    chat = {"max_completion_tokens": 9, "logprobs": True, "top_logprobs": 20}
    assert check_parameters(CHAT.rules, chat) == []
    assert [p.field for p in check_parameters(CHAT.rules, {"suffix": "x", "logprobs": 5})] == [
        "suffix",
        "logprobs",
    ]


@BOTH
@pytest.mark.parametrize(
    ("base_url", "keys"),
    [
        ("https://qianfan.baidubce.com/v2", ("QIANFAN_BEARER_TOKEN",)),
        ("https://api.openai.com/v1", ("OPENAI_API_KEY",)),
        ("https://gateway.example/v1", ("OPENAI_API_KEY", "QIANFAN_BEARER_TOKEN")),
        ("https://notbaidubce.com/v1", ("OPENAI_API_KEY", "QIANFAN_BEARER_TOKEN")),
    ],
)
def test_a_key_goes_to_its_own_service(dialect: Dialect, base_url: str, keys: tuple[str, ...]) -> None:
    """One service's key is not sent to the other because it happens to be set."""
    assert dialect.key_variables(base_url) == keys
