"""From a shard to the requests still to be made of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qfbatch.flow.loading import Loader
from qfbatch.flow.session import OpenSession, RunOptions, open_session
from qfbatch.job.load import load_job
from qfbatch.job.settings import Job
from qfbatch.reader import ShardReader
from qfbatch.records import Dropped, Record, Request, Status
from qfbatch.service.parameters import as_sent

ROWS: list[dict[str, Any]] = [
    {"id": "a", "prompt": "one two", "topic": "x", "level": 1},
    {"id": "b", "prompt": "你好", "level": None, "parameters": {"top_p": 0.5, "seed": None}},
    {"id": 3, "prompt": "three", "topic": "z", "parameters": None},
]


def job_at(folder: Path, **asked: Any) -> Job:
    """A job over `ROWS`."""
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    job = {
        "name": "j",
        "input": {"path": str(folder / "in.jsonl"), "id": "id", "prompt": "prompt", **asked},
        "service": {"base_url": "http://127.0.0.1:9", "auth": "none"},
        "models": [{"name": "m", "endpoint": "e", "parameters": {"temperature": 0.5}}],
        "output": {"path": str(folder / "run")},
    }
    (folder / "job.yaml").write_text(json.dumps(job), encoding="utf-8")
    return load_job(folder / "job.yaml", environ={})


def loaded(job: Job, session: OpenSession, *, retry_failed: bool = False) -> Iterator[Request]:
    """All that is to be asked."""
    with ShardReader(job.input) as reader:
        load = Loader(job, job.models[0], session, reader, retry_failed=retry_failed)
        for work in session.work["m"]:
            yield from load(work)


def opened(job: Job, options: RunOptions) -> Any:
    """A session of the job."""
    return open_session(job, options, now=lambda: 0.0)


async def commit(session: OpenSession, records: list[Record]) -> None:
    """What an earlier session leaves."""
    async with session.checkpoint.commits(on_commit=lambda _: None, on_closed=lambda *_: None) as committer:
        for record in records:
            committer.append(record)


def test_requests_are_the_rows_with_their_own_parameters(tmp_path: Path) -> None:
    """Each row's id, place, prompt and estimate are its own, and its parameters win where it has some."""
    job = job_at(tmp_path)
    with opened(job, RunOptions()) as session:
        requests = list(loaded(job, session))
    assert [("a", 1, "one two", 3), ("b", 2, "你好", 2), ("3", 3, "three", 2)] == [
        (r.row_id, r.source_row, r.prompt, r.estimated_tokens) for r in requests
    ]
    plain = dict(job.models[0].parameters)
    assert [plain, {**plain, "top_p": 0.5}, plain] == [r.parameters for r in requests]
    assert [as_sent(r.parameters) for r in requests] == [r.parameters_text for r in requests]
    assert {(str(tmp_path / "in.jsonl"), "m", 0, False, False, None)} == {
        (r.source_file, r.model, r.shard, r.messages, r.failed_before, r.dropped_before) for r in requests
    }


@pytest.mark.parametrize(
    ("asked", "carried"),
    [
        ({}, [{"topic": "x", "level": 1}, {"level": None}, {"topic": "z"}]),
        ({"columns": ["topic", "prompt"]}, [
            {"topic": "x", "prompt": "one two"}, {"prompt": "你好"}, {"topic": "z", "prompt": "three"},
        ]),
        ({"columns": []}, [{}, {}, {}]),
        ({"id": None}, [
            {"topic": "x", "level": 1, "id": "a"}, {"level": None, "id": "b"}, {"topic": "z", "id": 3},
        ]),
    ],
)  # fmt: skip
def test_rows_take_along_the_columns_they_have(
    tmp_path: Path, asked: dict[str, Any], carried: list[dict[str, Any]]
) -> None:
    """All columns but those that stand in the results anyway, or the ones that were asked for."""
    job = job_at(tmp_path, **asked)
    with opened(job, RunOptions()) as session:
        assert carried == [request.columns for request in loaded(job, session)]


def test_rows_with_a_final_record_are_not_asked(tmp_path: Path) -> None:
    """A failed record is final too, unless failed rows are asked again; these know what they had to drop."""
    job = job_at(tmp_path)
    answered = Record(
        row_id="a", model="m", endpoint="e", shard=0, source_file="in.jsonl", source_row=1, prompt="one two",
        status=Status.SUCCEEDED, attempts=1, started_at=0, finished_at=0, parameters="{}", result="yes",
    )  # fmt: skip
    failed = msgspec.structs.replace(
        answered, row_id="b", source_row=2, status=Status.FAILED, result=None, discarded_tokens=7
    )
    with opened(job, RunOptions()) as session:
        asyncio.run(commit(session, [answered, failed]))
    with opened(job, RunOptions()) as session:
        assert ["3"] == [request.row_id for request in loaded(job, session)]
    with opened(job, RunOptions(retry_failed=True)) as session:
        assert [("b", True, Dropped(7)), ("3", False, None)] == [
            (r.row_id, r.failed_before, r.dropped_before) for r in loaded(job, session, retry_failed=True)
        ]
