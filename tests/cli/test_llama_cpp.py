"""A server that is not ours: llama.cpp's own HTTP server, asked as anybody's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cli.desk import Desk
from qfbatch.server import weights

CACHE = weights.cache_directory(os.environ)
KEY = "sk-llama-7421-not-to-be-seen"
# Serves until its stdin ends; the address is the first line of its output.
SERVE = """
import sys, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.n_ctx, parameters.n_parallel, parameters.cache_ram_mib = 1024, 4, 0
parameters.cpuparams.n_threads = 2
parameters.api_keys = [sys.argv[2]]
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
TOO_LONG = "word " * 2000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("model"),
    pytest.mark.skipif(not weights.present(weights.SMOLLM2, CACHE), reason="the model is not in the cache"),
]


@pytest.fixture(scope="module")
def llama_cpp() -> Iterator[str]:
    """The address of a running server that demands `KEY`."""
    pytest.importorskip("xllamacpp")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(weights.path_of(weights.SMOLLM2, CACHE)), KEY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait()


@pytest.mark.parametrize(("api", "stream"), [("openai", False), ("openai", True), ("openai-chat", True)])
def test_rows_through_llama_cpp(desk: Desk, llama_cpp: str, api: str, stream: bool) -> None:  # noqa: FBT001
    """Answers, counts, log probabilities and refusals of a server we did not write; resumed on the way."""
    desk.environ = {"LLAMA_KEY": KEY}
    desk.rows([*(f"Count to {number}:" for number in range(2, 8)), TOO_LONG])
    desk.job(
        service={"api": api, "base_url": f"{llama_cpp}/v1", "key_env": "LLAMA_KEY"},
        parameters={"max_tokens": 4, "temperature": 0, "seed": 7, "stream": stream}
        | ({"logprobs": 1} if api == "openai" else {"logprobs": True}),
        models=[{"name": "m", "endpoint": "any/name"}],
    )
    begun = desk.type("run", "job.yaml", "--quiet", "--limit", "3")
    assert begun.code == 0, begun.err
    done = desk.type("run", "job.yaml", "--quiet")
    assert done.code == 1, done.err
    *answered, refused = desk.results().iter_rows(named=True)
    assert [row["status"] for row in answered] == ["succeeded"] * 6
    assert {(row["completion_tokens"], row["usage_source"]) for row in answered} == {(4, "reported")}
    assert {(row["finish_reason"], row["is_truncated"]) for row in answered} == {("length", True)}
    assert all(row["result"] and row["prompt_tokens"] for row in answered)
    assert all('"logprob"' in row["extra"] for row in answered)
    assert (refused["error_kind"], refused["error_code"]) == ("too_long", 400)
    assert KEY not in desk.texts() + begun.err + done.err


def test_a_wrong_key_at_llama_cpp(desk: Desk, llama_cpp: str) -> None:
    """Refused credentials stop the run at the first proof, with the server's own words."""
    desk.environ = {"LLAMA_KEY": "another"}
    desk.rows(2)
    desk.job(service={"api": "openai", "base_url": f"{llama_cpp}/v1", "key_env": "LLAMA_KEY"})
    done = desk.type("run", "job.yaml", "--quiet")
    assert (done.code, "Invalid API Key" in done.err) == (5, True)
