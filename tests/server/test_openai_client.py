"""The official `openai` client, unchanged, against the scripted engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pytest
from scripted import ScriptedServer

from server.conftest import BEARER

COUNTED: Any = {"stream": True, "stream_options": {"include_usage": True}}


def client_of(
    server: ScriptedServer, key: str = "any", version: str = "v1", retries: int = 0
) -> openai.OpenAI:
    """A client of a server."""
    return openai.OpenAI(base_url=f"{server.base_url}/{version}", api_key=key, max_retries=retries)


def user(content: str) -> Any:
    """A conversation of one message."""
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_completions(server: ScriptedServer, version: str) -> None:
    """A text completion, whole and streamed, with its token counts."""
    with client_of(server, version=version) as client:
        whole = client.completions.create(
            model="echo", prompt="two words", max_tokens=9, temperature=2, seed=1, stop=["zz"], user="me"
        )
        events = list(client.completions.create(model="echo", prompt="a few streamed words", **COUNTED))
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("two words", "stop")
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.usage.total_tokens) == (2, 2, 4)
    assert "".join(event.choices[0].text for event in events[:-1]) == "a few streamed words"
    assert events[-2].choices[0].finish_reason == "stop"
    assert events[-1].usage.total_tokens == 8


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_chat(server: ScriptedServer, version: str) -> None:
    """A chat completion, whole and streamed; an unsafe one is content_filter."""
    with client_of(server, version=version) as client:
        whole = client.chat.completions.create(
            model="echo", messages=user("two words"), max_completion_tokens=9, presence_penalty=1
        )
        events = list(client.chat.completions.create(model="echo", messages=user("a few words"), **COUNTED))
        unsafe = client.chat.completions.create(model="echo", messages=user("x {{answer: unsafe}}"))
    assert whole.choices[0].message.content == "two words"
    assert whole.choices[0].message.role == "assistant"
    assert events[0].choices[0].delta.role == "assistant"
    assert "".join(event.choices[0].delta.content or "" for event in events[:-1]) == "a few words"
    assert events[-1].usage.total_tokens == 6
    assert unsafe.choices[0].finish_reason == "content_filter"


def test_async(server: ScriptedServer) -> None:
    """The client on an event loop: whole, streamed, many at once."""

    async def calls() -> tuple[list[str], str, str]:
        async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="any") as client:
            many = await asyncio.gather(
                *(client.completions.create(model="echo", prompt=f"row {n}") for n in range(50))
            )
            text = [
                event.choices[0].text
                async for event in await client.completions.create(
                    model="echo", prompt="some text", stream=True
                )
            ]
            spoken = [
                event.choices[0].delta.content or ""
                async for event in await client.chat.completions.create(
                    model="echo", messages=user("some talk"), stream=True
                )
            ]
        return [answer.choices[0].text for answer in many], "".join(text), "".join(spoken)

    assert asyncio.run(calls()) == ([f"row {n}" for n in range(50)], "some text", "some talk")


def test_models(server: ScriptedServer) -> None:
    """The list of models, and one by its name."""
    with client_of(server) as client:
        assert [model.id for model in client.models.list()] == ["echo", "words"]
        assert client.models.retrieve("echo").owned_by == "qfbatch"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nobody")


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ("rpm_rate_limit_exceeded", openai.RateLimitError, "rpm_rate_limit_exceeded"),
        ("429", openai.RateLimitError, "rpm_rate_limit_exceeded"),
        ("336003", openai.BadRequestError, "invalid_argument"),
        ("account_overdue", openai.PermissionDeniedError, "account_overdue"),
        ("invalid_appid", openai.AuthenticationError, "invalid_appid"),
        ("500", openai.InternalServerError, "internal_error"),
        ("503", openai.InternalServerError, "http_503"),
        ("drop", openai.APIConnectionError, None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_error_classes(
    server: ScriptedServer,
    fault: str,
    error: type[openai.APIError],
    code: str | None,
    stream: bool,  # noqa: FBT001 - parametrised
) -> None:
    """Each failure is raised as the class the client has for it, with the service's code."""
    with client_of(server) as client:
        with pytest.raises(error) as caught:
            client.completions.create(model="echo", prompt=f"x {{{{fault: {fault}}}}}", stream=stream)
        assert caught.value.code == code
        with pytest.raises(error) as caught:
            client.chat.completions.create(
                model="echo", messages=user(f"x {{{{fault: {fault}}}}}"), stream=stream
            )
        assert caught.value.code == code


def test_an_error_within_a_stream(server: ScriptedServer) -> None:
    """An error object in the middle of a stream is raised, after the events before it."""
    with client_of(server) as client:
        stream = client.completions.create(
            model="echo", prompt="a few words more {{fault: stream_error code=336501}}", stream=True
        )
        seen = [next(stream)]
        with pytest.raises(openai.APIError) as caught:
            seen.extend(stream)
    assert len(seen) == 1
    assert caught.value.code == "rpm_rate_limit_exceeded"


def test_broken_rules_and_unknown_models(server: ScriptedServer) -> None:
    """A broken rule is a bad request that names the parameter; a model that is not there is refused."""
    with client_of(server) as client:
        with pytest.raises(openai.BadRequestError, match="temperature") as caught:
            client.completions.create(model="echo", prompt="x", temperature=3)
        assert caught.value.code == "invalid_argument"
        with pytest.raises(openai.BadRequestError, match="n is not supported"):
            client.completions.create(model="echo", prompt="x", n=2)
        with pytest.raises(openai.AuthenticationError, match="gpt-4") as refused:
            client.completions.create(model="gpt-4", prompt="x")
        assert refused.value.code == "invalid_model"


def test_keys(keyed: ScriptedServer) -> None:
    """Good keys are let in; a wrong one is an AuthenticationError everywhere."""
    for key in BEARER:
        with client_of(keyed, key) as client:
            assert client.completions.create(model="echo", prompt="x").choices[0].text == "x"
            assert client.models.list().data[0].id == "echo"
    with client_of(keyed, "wrong") as client:
        calls: list[Callable[[], object]] = [
            lambda: client.completions.create(model="echo", prompt="x"),
            lambda: client.chat.completions.create(model="echo", messages=user("x"), stream=True),
            client.models.list,
        ]
        for call in calls:
            with pytest.raises(openai.AuthenticationError) as caught:
                call()
            assert caught.value.code == "invalid_iam_token"


def test_the_clients_own_retries(server: ScriptedServer) -> None:
    """The client's own retries see the status and the Retry-After that they act on."""
    endpoint = server.endpoint()
    prompt = "x {{fault: 429 times=1 retry_after=0.01}}{{fault: 503 times=1 retry_after=0.01}}"
    with client_of(server, retries=2) as client:
        answer = client.completions.create(model=endpoint, prompt=prompt)
    assert answer.choices[0].text == "x "
    assert server.calls(endpoint) == {prompt: (3, 1)}
