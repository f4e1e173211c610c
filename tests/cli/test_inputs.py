"""The same rows give the same results, however they are stored and however many are asked at once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from cli.desk import Desk

PLACES = {"source_file", "endpoint"}
TIMES = {"latency_s", "time_to_first_token_s", "wait_s", "started_at", "finished_at", "created"}
ROWS = [
    {"id": 1, "question": "one two", "context": "first", "parameters": {"temperature": 0.2}, "level": 1.5},
    {"id": 2, "question": "六 七", "context": "second", "parameters": None, "level": None},
    {
        "id": 3,
        "question": "{{fault: 336003}}",
        "context": "third",
        "parameters": {"top_p": 0.5},
        "level": 3.0,
    },
]


def _write(rows: list[dict[str, object]], path: Path) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if path.name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines))
    elif path.name.endswith(".zst"):
        path.write_bytes(zstandard.compress(lines))
    else:
        path.write_bytes(lines)


def _asked(desk: Desk, name: str) -> pl.DataFrame:
    _write(ROWS, desk.path / name)
    desk.job(
        name=f"{name}.yaml",
        input={"path": name, "id": "id", "template": "{context}: {question}", "columns": ["level"]},
        parameters={"temperature": 0.9},
        output={"path": f"runs/{name}"},
    )
    assert desk.type("run", f"{name}.yaml").code == 1
    return desk.results(f"runs/{name}").drop(*PLACES, *TIMES, "response_id")


def test_every_kind_of_file_gives_the_same(desk: Desk) -> None:
    """JSONL, plain or compressed, and Parquet give equal results, row parameters and template included."""
    plain = _asked(desk, "rows.jsonl")
    assert plain["prompt"].to_list() == ["first: one two", "second: 六 七", "third: {{fault: 336003}}"]
    assert [json.loads(text) for text in plain["parameters"]] == [
        {"temperature": 0.2},
        {"temperature": 0.9},
        {"temperature": 0.9, "top_p": 0.5},
    ]
    assert plain["input_level"].to_list() == [1.5, None, 3.0]
    for name in ("rows.jsonl.gz", "rows.jsonl.zst", "rows.parquet"):
        assert _asked(desk, name).equals(plain), name


def test_results_do_not_depend_on_concurrency(desk: Desk) -> None:
    """One at a time or 32 at once: equal results apart from times."""
    prompts = [
        f"{{{{fault: 503 times={number % 2}}}}} row {number}" if number % 7 == 0 else f"row {number}"
        for number in range(80)
    ]
    prompts[5] = "{{fault: 336003}} never"
    desk.rows(prompts)
    frames = []
    for concurrency in ("1", "32"):
        desk.job(output={"path": f"runs/c{concurrency}"}, models=[{"name": "m", "endpoint": "echo"}])
        desk.server.reset()
        assert desk.type("run", "job.yaml", "--concurrency", concurrency).code == 1
        frames.append(desk.results(f"runs/c{concurrency}").drop(*TIMES, "response_id"))
    assert frames[0].equals(frames[1])


@pytest.mark.parametrize("paths", ["parts", "parts/*.jsonl", ["parts/a.jsonl", "parts/b.jsonl"]])
def test_several_files(desk: Desk, paths: str | list[str]) -> None:
    """A folder, a pattern and a list name the same files; rows without ids are called by where they stand."""
    (desk.path / "parts").mkdir()
    for name in ("a", "b"):
        desk.rows([{"prompt": f"{name} {number}"} for number in range(2)], name=f"parts/{name}.jsonl")
    desk.job(input={"path": paths, "prompt": "prompt"})
    assert desk.type("run", "job.yaml").code == 0
    assert desk.results()["row_id"].to_list() == [
        "parts/a.jsonl:1",
        "parts/a.jsonl:2",
        "parts/b.jsonl:1",
        "parts/b.jsonl:2",
    ]


def test_an_input_that_was_cut_off_since_is_called_so(desk: Desk) -> None:
    """Where the input broke since the last start, the error also says how it has changed."""
    path = desk.rows(6)
    desk.job()
    assert desk.type("run", "job.yaml", "--limit", "2").code == 0
    size = path.stat().st_size
    cut = size // 2 - 5
    path.write_bytes(path.read_bytes()[:cut])
    done = desk.type("run", "job.yaml")
    assert done.code == 3
    assert "rows.jsonl:3: is not valid JSON" in done.err
    assert f"Since the run was started:\n  rows.jsonl: changed, from {size} to {cut} bytes\n" in done.err
    assert desk.type("plan", "job.yaml").code == 3
