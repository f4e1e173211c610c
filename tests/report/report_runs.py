"""Records, frames and run directories for these tests, made with the package's own builders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from qfbatch import schema
from qfbatch.checkpoint.journal import encode_line
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.manifest import Manifest, write_manifest
from qfbatch.checkpoint.store import Checkpoint
from qfbatch.records import ErrorKind, InputColumn, Record, Shard, SourceFile, Status, Survey, UsageSource

BEGAN_US = 1_780_000_000_000_000  # 2026-05-28 20:26:40 UTC
TOPIC = InputColumn("topic", "string")
SHARD_ROWS = 4


def succeeded(number: int, model: str = "yi-34b", **changes: Any) -> Record:
    """Row `number` (from 0), answered a second after it was asked; each row a second after the one before."""
    given: dict[str, Any] = {
        "status": Status.SUCCEEDED,
        "result": f"answer {number}",
        "is_safe": True,
        "need_clear_history": False,
        "is_truncated": False,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_tokens": 30,
        "usage_source": UsageSource.REPORTED,
        "cost": 0.0012,
        "currency": "CNY",
        "latency_s": 1.0,
    }
    return _record(number, model, given | changes)


def failed(number: int, model: str = "yi-34b", **changes: Any) -> Record:
    """Row `number` (from 0), given up with HTTP 500."""
    given: dict[str, Any] = {
        "status": Status.FAILED,
        "error_kind": ErrorKind.SERVER,
        "error_code": 500,
        "error_message": f"internal error {number}",
        "attempts": 5,
        "latency_s": 0.5,
    }
    return _record(number, model, given | changes)


def frame(records: Sequence[Record], columns: Sequence[InputColumn] = (TOPIC,)) -> pl.LazyFrame:
    """Records as the frame that a report reads."""
    return pl.DataFrame(pl.from_arrow(schema.to_table(records, columns))).lazy()


def write_run(
    directory: Path,
    records: Iterable[Record],
    *,
    rows: int,
    models: Sequence[str] = ("yi-34b",),
    close: bool = True,
    job: Mapping[str, Any] | None = None,
) -> Path:
    """A run directory with these records committed, through the checkpoint's own writers.

    Args:
        directory: where; created.
        records: of any model; `succeeded` and `failed` give them their shards.
        rows: rows of the input, hence expected of each model.
        models: of the job, in its order.
        close: turn the shards into parts; otherwise their journals stay open.
        job: further keys of the job in the manifest.
    """
    layout = RunLayout(directory)
    shards = tuple(
        Shard(number, "prompts.jsonl", first + 1, min(SHARD_ROWS, rows - first), 0)
        for number, first in enumerate(range(0, rows, SHARD_ROWS))
    )
    file = SourceFile("prompts.jsonl", "prompts.jsonl", 1, 1, "00", rows)
    store = Checkpoint.open(layout, models, shards, (TOPIC,), "run-1")
    write_manifest(
        layout,
        Manifest(
            run_id="run-1",
            created_at="2026-05-28T20:26:40Z",
            qfbatch_version="0",
            python="3",
            platform="any",
            job={"name": "eval", "models": [{"name": model} for model in models], **(job or {})},
            fingerprint={},
            survey=Survey((file,), shards, (TOPIC,), rows, 0),
        ),
    )
    store.recover()
    by_shard: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        by_shard.setdefault((record.model, record.shard), []).append(record)
    for (model, shard), some in by_shard.items():
        writer = store.begin(model, shard)
        writer.append(b"".join(encode_line(record) for record in some))
        writer.commit()
        writer.close()
        if close:
            store.close_shard(model, shard)
    return directory


def _record(number: int, model: str, values: dict[str, Any]) -> Record:
    began = BEGAN_US + number * 1_000_000
    given: dict[str, Any] = {
        "row_id": f"q{number + 1}",
        "model": model,
        "endpoint": f"{model}-endpoint",
        "shard": number // SHARD_ROWS,
        "source_file": "prompts.jsonl",
        "source_row": number + 1,
        "prompt": f"question {number}",
        "attempts": 1,
        "started_at": began,
        "finished_at": began + 1_000_000,
        "parameters": '{"temperature":0.8}',
        "columns": {"topic": ("math", "history")[number % 2]},
    }
    return Record(**(given | values))
