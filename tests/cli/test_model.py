"""The whole way with nothing made up: a job file, the embedded server, a real model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.desk import Desk
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.results import scan_results
from qfbatch.server import weights

CACHE = weights.cache_directory(os.environ)
EVAL = Path(__file__).parents[2] / "jobs" / "eval.yaml"
QUESTIONS = ["What is the capital of France?", "Name three colors.", "What do bees make?"]


@pytest.mark.slow
@pytest.mark.skipif(not weights.present(weights.SMOLLM2, CACHE), reason="the model is not in the cache")
def test_three_rows_through_the_embedded_model(desk: Desk) -> None:
    """`base_url: local` starts the server, and the model answers all rows under its own name."""
    pytest.importorskip("xllamacpp")
    desk.rows(QUESTIONS)
    name = weights.SMOLLM2.endpoint
    desk.job(service={"base_url": "local", "auth": "none"}, models=[{"name": name, "endpoint": name}])
    done = desk.process("run", "job.yaml", "--concurrency", "3")
    assert done.code == 0, done.err
    results = desk.results()
    assert results["endpoint"].to_list() == [name] * 3
    assert results["result"].n_unique() == 3
    assert all(results["result"].str.len_chars() > 0)
    assert all(results["prompt_tokens"] > 0)
    assert all(results["completion_tokens"] > 0)
    again = desk.process("run", "job.yaml")
    assert (again.code, again.out) == (0, "")
    assert "No call was made." in again.err


@pytest.mark.slow
@pytest.mark.xdist_group("model")
@pytest.mark.skipif(not weights.present(weights.SMOLLM2, CACHE), reason="the model is not in the cache")
def test_the_sample_evaluation_has_the_same_answers_by_every_dialect(desk: Desk) -> None:
    """jobs/eval.yaml runs as it stands with each dialect; the same seed gives the same texts and counts."""
    pytest.importorskip("xllamacpp")
    (desk.path / "sample_data").symlink_to(EVAL.parents[1] / "sample_data")
    seen = []
    for api in ("qianfan", "openai", "openai-chat"):
        options = ["--limit", "2", "--set", f"service.api={api}", "--set", f"output.path={api}"]
        done = desk.process("run", str(EVAL), "--quiet", *options)
        assert done.code == 0, done.err
        answered = scan_results(RunLayout(desk.path / api)).collect().sort("model", "row_id")
        seen.append(answered.select("model", "row_id", "status", "result", "is_truncated", "total_tokens"))
    assert seen[0]["status"].to_list() == ["succeeded"] * 4
    assert seen[0]["result"].n_unique() == 4
    assert seen[0].equals(seen[1])
    assert seen[0].equals(seen[2])
