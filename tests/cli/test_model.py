"""The whole way with nothing made up: a job file, the embedded server, a real model."""

from __future__ import annotations

import os

import pytest

from cli.desk import Desk
from qfbatch.server import weights

CACHE = weights.cache_directory(os.environ)
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
