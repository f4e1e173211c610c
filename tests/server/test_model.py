"""The real model behind the protocol: sensible text, real counts, repeatable, cancellable."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from scripted import COMPLETIONS, fetch

from qfbatch.errors import UsageError
from qfbatch.server.embedded import EmbeddedServer
from qfbatch.server.engine import Call, Message, Refusal, Sampling
from qfbatch.server.llama import LlamaEngine, has_chat_template, seed_of
from qfbatch.server.weights import SMOLLM2, cache_directory, path_of, present
from server.test_official_client import OAUTH, run_official

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("model")]
CACHE = cache_directory(os.environ)
CAP = 12  # tokens of an answer: enough to tell texts apart


@pytest.fixture(scope="module")
def model() -> Iterator[EmbeddedServer]:
    """The default model, as `base_url: local` serves it, with short answers."""
    if not present(SMOLLM2, CACHE):
        pytest.skip("the model is not fetched: qfbatch serve --fetch-model")
    with EmbeddedServer(options=["--max-tokens", str(CAP)]) as server:
        yield server


def ask(server: EmbeddedServer, /, endpoint: str = SMOLLM2.endpoint, **body: Any) -> dict[str, Any]:
    """The answer to one call without a stream."""
    status, _, content = fetch(server.base_url + COMPLETIONS + endpoint, json.dumps(body).encode())
    assert status == 200
    answer: dict[str, Any] = json.loads(content)
    return answer


def test_answers_sensibly(model: EmbeddedServer) -> None:
    """A question gets an answer to it, counted by the model's own tokenizer, under its own name."""
    assert model.endpoints == (SMOLLM2.endpoint,)
    answer = ask(model, prompt="What is the capital of France?")
    assert "Paris" in answer["result"]
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens"] > 7
    assert 0 < usage["completion_tokens"] <= CAP
    assert "is_safe" not in answer


def test_cap_is_said(model: EmbeddedServer) -> None:
    """An answer that the token cap cut says so and counts exactly the cap."""
    answer = ask(model, prompt="Write a long story about the sea and a ship.")
    assert (answer["is_truncated"], answer["finish_reason"]) == (True, "length")
    assert answer["usage"]["completion_tokens"] == CAP


def test_stream_equals_whole(model: EmbeddedServer) -> None:
    """A stream carries the same text and counts as the whole answer to the same request."""
    body: dict[str, Any] = {"prompt": "Name three colours.", "seed": 3, "temperature": 0.7}
    whole = ask(model, **body)
    content = fetch(
        model.base_url + COMPLETIONS + SMOLLM2.endpoint, json.dumps({**body, "stream": True}).encode()
    )[2].decode()
    events = [json.loads(event.removeprefix("data: ")) for event in content.split("\n\n")[:-1]]
    assert "".join(event["result"] for event in events) == whole["result"]
    assert events[-1]["usage"] == whole["usage"]
    assert len(events) > 3
    totals = [event["usage"]["total_tokens"] for event in events]
    assert totals == sorted(totals)


def test_same_seed_same_text_alone_or_in_a_batch(model: EmbeddedServer) -> None:
    """A seed fixes the text, whatever else is being generated; without one the request itself does."""
    bodies: list[dict[str, Any]] = [
        {"prompt": f"Write a sentence about the number {n}.", "temperature": 0.9, **extra}
        for n in range(8)
        for extra in ({"seed": n}, {})
    ]
    alone = [ask(model, **body)["result"] for body in bodies]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda body: ask(model, **body)["result"], bodies))
    assert alone == together
    assert len(set(alone)) > 8


def test_stop_and_sampling_reach_the_model(model: EmbeddedServer) -> None:
    """A stop text ends the answer before it; sampling parameters change the text."""
    plain = ask(model, prompt="Count from one to ten in words.", seed=1)["result"]
    stop = plain.split()[2]
    stopped = ask(model, prompt="Count from one to ten in words.", seed=1, stop=[stop])
    assert stop not in stopped["result"]
    assert stopped["finish_reason"] == "normal"
    hot = {
        ask(model, prompt="Tell me a secret.", temperature=1.0, top_k=200, top_p=1.0, seed=n)["result"]
        for n in range(3)
    }
    assert len(hot) == 3


@pytest.mark.parametrize(
    ("endpoint", "body", "code"),
    [
        (SMOLLM2.endpoint, {"prompt": "word " * 4000}, 336103),
        (SMOLLM2.endpoint, {"prompt": ""}, 336003),
        (SMOLLM2.endpoint, {"prompt": "x", "temperature": -1}, 336003),
        ("yi-34b", {"prompt": "x"}, 336005),
    ],
)
def test_refusals(model: EmbeddedServer, endpoint: str, body: dict[str, Any], code: int) -> None:
    """Too long a prompt, broken rules, and a name that is not the model's are refused by code."""
    assert ask(model, endpoint, **body)["error_code"] == code


def test_clients_that_leave_free_their_slots(model: EmbeddedServer) -> None:
    """Many more clients than slots leave in the middle, and the next one is served all the same."""
    body = json.dumps({"prompt": "Write a very long story.", "stream": True}).encode()
    request = (
        f"POST {COMPLETIONS}{SMOLLM2.endpoint} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    address = ("127.0.0.1", int(model.base_url.rpartition(":")[2]))
    for _ in range(40):
        with socket.create_connection(address) as connection:
            connection.sendall(request.encode() + body)
    assert "Paris" in ask(model, prompt="What is the capital of France?")["result"]


def test_official_client(model: EmbeddedServer, tmp_path: Path) -> None:
    """The official client's calls of every kind are answered by the real model."""
    done = run_official(model.base_url, SMOLLM2.endpoint, OAUTH, ("any", "any"), tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    out = json.loads(done.stdout)
    assert all(answer["result"] and answer["usage"]["completion_tokens"] for answer in out["batch"])
    assert out["stream"][-1]["is_end"]


def test_ends_in_order_with_work_in_flight() -> None:
    """Ending while answers are being generated neither crashes nor hangs."""
    if not present(SMOLLM2, CACHE):
        pytest.skip("the model is not fetched: qfbatch serve --fetch-model")
    server = EmbeddedServer(options=["--max-tokens", "400"]).start()
    body = json.dumps({"prompt": "Write a very long story."}).encode()
    request = (
        f"POST {COMPLETIONS}{SMOLLM2.endpoint} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    address = ("127.0.0.1", int(server.base_url.rpartition(":")[2]))
    connections = [socket.create_connection(address) for _ in range(20)]
    for connection in connections:
        connection.sendall(request.encode() + body)
    os.kill(server.pid, signal.SIGTERM)
    server.close()
    for connection in connections:
        connection.close()
    assert server.exit_code == 0


def ask_v2(server: EmbeddedServer, path: str = "/v2/completions", **body: Any) -> dict[str, Any]:
    """The answer, or the error, of one call to the OpenAI-compatible routes."""
    content = fetch(server.base_url + path, json.dumps({"model": SMOLLM2.endpoint, **body}).encode())[2]
    answer: dict[str, Any] = json.loads(content)
    return answer


def text_of(answer: dict[str, Any]) -> str:
    """The text of a V2 answer."""
    [choice] = answer["choices"]
    text: str = choice["text"] if "text" in choice else choice["message"]["content"]
    return text


def user(content: str) -> dict[str, str]:
    """A user's message."""
    return {"role": "user", "content": content}


def test_every_protocol_has_the_same_answer(model: EmbeddedServer) -> None:
    """The same prompt, parameters and seed, or none, give the same text and counts by every protocol."""
    samplings: list[dict[str, Any]] = [
        {"temperature": 0.9, "seed": 5},
        {"temperature": 0.7, "top_p": 0.9},
        {},
    ]
    for sampling in samplings:
        prompt = "Write a sentence about rain."
        first = ask(model, prompt=prompt, **sampling)
        plain = ask_v2(model, prompt=prompt, **sampling)
        spoken = ask_v2(model, "/v1/chat/completions", messages=[user(prompt)], **sampling)
        assert first["result"] == text_of(plain) == text_of(spoken)
        assert first["usage"] == plain["usage"] == spoken["usage"]


def test_conversations(model: EmbeddedServer) -> None:
    """A system message and earlier messages reach the model; the stream says what the whole answer does."""
    path = "/v2/chat/completions"
    last = user("What is my name?")
    earlier = [user("My name is Barnaby."), {"role": "assistant", "content": "Hello, Barnaby."}]
    with_them, alone = (ask_v2(model, path, messages=[*some, last], temperature=0) for some in (earlier, []))
    assert with_them["usage"]["prompt_tokens"] >= alone["usage"]["prompt_tokens"] + 10
    assert text_of(with_them) != text_of(alone)
    system = {"role": "system", "content": "Answer in French."}
    body: dict[str, Any] = {"messages": [system, user("Who are you?")], "seed": 1}
    whole = ask_v2(model, path, **body)
    assert text_of(whole) != text_of(ask_v2(model, path, messages=body["messages"][1:], seed=1))
    asked = {"model": SMOLLM2.endpoint, "stream": True, "stream_options": {"include_usage": True}, **body}
    content = fetch(model.base_url + path, json.dumps(asked).encode())[2].decode()
    events = [json.loads(event.removeprefix("data: ")) for event in content.split("\n\n")[:-2]]
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1]) == text_of(whole)
    assert events[-1]["usage"] == whole["usage"]


def test_parameters_of_v2_reach_the_model(model: EmbeddedServer) -> None:
    """A request's own cap rules, above the server's and below it; penalties change a repetitive answer."""
    story = "Write a very long story about the sea."
    for cap in (3, 2 * CAP):
        answer = ask_v2(model, prompt=story, max_tokens=cap)
        assert answer["usage"]["completion_tokens"] == cap
        assert answer["choices"][0]["finish_reason"] == "length"
    assert ask_v2(model, prompt=story)["usage"]["completion_tokens"] == CAP
    asked: dict[str, Any] = {"prompt": "Repeat the word ha twenty times.", "max_tokens": 60, "temperature": 0}
    penalties: list[dict[str, Any]] = [
        {},
        {"presence_penalty": 2},
        {"frequency_penalty": 2},
        {"repetition_penalty": 2},
    ]
    texts = [text_of(ask_v2(model, **asked, **penalty)) for penalty in penalties]
    assert len(set(texts)) >= 3
    assert texts[0] not in texts[1:]


def test_refusals_of_v2(model: EmbeddedServer) -> None:
    """What this model cannot do is refused by code."""
    too_long = ask_v2(model, prompt="word " * 4000)
    with_suffix = ask_v2(model, prompt="x", suffix="y")
    codes = [answer["error"]["code"] for answer in (too_long, with_suffix)]
    assert codes == ["tokens_too_long", "invalid_argument"]


def test_no_conversation_without_a_template() -> None:
    """A model without a chat template refuses conversations instead of inventing one."""
    engine = LlamaEngine.__new__(LlamaEngine)
    engine._chats = False
    call = Call("m", "x", Sampling(), stream=False, chat=True)
    with pytest.raises(Refusal, match="no chat template"):
        asyncio.run(anext(engine.generate(call)))


def test_own_model_file(tmp_path: Path) -> None:
    """A file that is no model is one message; chat models are told from base models."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 1000)
    with pytest.raises(UsageError, match="cannot load the model") as caught:
        EmbeddedServer(options=["--model", str(broken)]).start()
    assert "GGUF" in caught.value.hint
    assert not has_chat_template(broken)
    if present(SMOLLM2, CACHE):
        assert has_chat_template(path_of(SMOLLM2, CACHE))


def test_seed_of_a_request() -> None:
    """A given seed is taken; otherwise all that was asked decides it, whichever protocol asked."""

    def seed(prompt: str, chat: bool = False, earlier: tuple[Message, ...] = (), **sampling: Any) -> int:  # noqa: FBT001, FBT002 - short
        call = Call("m", prompt, Sampling(**sampling), stream=False, chat=chat, earlier=earlier)
        return seed_of(call)

    assert seed("a", seed=7) == 7
    assert seed("a") == seed("a") == seed("a", chat=True)
    others = [seed("a"), seed("b"), seed("a", top_k=3), seed("a", earlier=(Message("system", "x"),))]
    assert len(set(others)) == 4
