"""The real model behind the protocol: sensible text, real counts, repeatable, cancellable."""

from __future__ import annotations

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
from qfbatch.server.engine import Sampling
from qfbatch.server.llama import has_chat_template, seed_of
from qfbatch.server.weights import SMOLLM2, cache_directory, path_of, present
from server.test_official_client import OAUTH, run_official

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("model")]
CACHE = cache_directory(os.environ)


@pytest.fixture(scope="module")
def model() -> Iterator[EmbeddedServer]:
    """The default model, as `base_url: local` serves it, with short answers."""
    if not present(SMOLLM2, CACHE):
        pytest.skip("the model is not fetched: qfbatch serve --fetch-model")
    with EmbeddedServer(options=["--max-tokens", "24"]) as server:
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
    assert 0 < usage["completion_tokens"] <= 24
    assert "is_safe" not in answer


def test_cap_is_said(model: EmbeddedServer) -> None:
    """An answer that the token cap cut says so and counts exactly the cap."""
    answer = ask(model, prompt="Write a long story about the sea and a ship.")
    assert (answer["is_truncated"], answer["finish_reason"]) == (True, "length")
    assert answer["usage"]["completion_tokens"] == 24


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
    """A given seed is taken; otherwise prompt and sampling decide it."""
    assert seed_of("a", Sampling(seed=7)) == 7
    assert seed_of("a", Sampling()) == seed_of("a", Sampling())
    assert len({seed_of("a", Sampling()), seed_of("b", Sampling()), seed_of("a", Sampling(top_k=3))}) == 3
