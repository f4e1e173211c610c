"""Whole runs in object storage, as processes of their own: started, killed, frozen, and what they left."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from kill.sessions import Session
from scripted import ScriptedServer
from storage.s3_servers import BUCKET

from qfbatch.checkpoint.place import StoredRun
from qfbatch.checkpoint.results import scan_results
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import Address
from qfbatch.storage.opening import open_store

ROWS = 240
SHARD_ROWS = 40
CONCURRENCY = 8
Answers = dict[str, str | None]


class StoredJob:
    """One job whose run directory is a prefix of its own in a bucket.

    Args:
        folder: for the job file and its input.
        service: answers it.
        environ: how the store is reached.
        script: of the endpoint.
        rows: of the input.
    """

    def __init__(
        self,
        folder: Path,
        service: ScriptedServer,
        environ: Mapping[str, str],
        *,
        script: str = "echo",
        rows: int = ROWS,
    ) -> None:
        self.rows = rows
        self.endpoint = service.endpoint(script)
        self.address = Address(BUCKET, uuid.uuid4().hex)
        self.path = folder / "job.yaml"
        self._service = service
        self._access = StorageAccess(environ)
        lines = (
            json.dumps({"id": f"row-{n}", "prompt": f"question {n}", "topic": n % 3}) for n in range(rows)
        )
        (folder / "input.jsonl").write_text("\n".join(lines) + "\n")
        self.fields: dict[str, Any] = {
            "name": "stored",
            "input": {"path": "input.jsonl", "id": "id", "prompt": "prompt", "shard_rows": SHARD_ROWS},
            "service": {"base_url": service.base_url, "auth": "none"},
            "models": [{"name": "m", "endpoint": self.endpoint}],
            "limits": {"concurrency": CONCURRENCY, "adaptive": False},
            "output": {"path": str(self.address)},
        }
        self.write()

    def write(self) -> None:
        """Write the job file, as `fields` are now."""
        self.path.write_text(json.dumps(self.fields))

    @property
    def run(self) -> StoredRun:
        """The run directory, seen anew."""
        return StoredRun(open_store(self.address, self._access))

    def session(self, *options: str, point: str = "") -> Session:
        """A process of `qfbatch run`; it dies at this fault point."""
        return Session(self.path, *options, point=point)

    def answers(self) -> Answers:
        """What is committed, by row; every row at most once."""
        frame = scan_results(self.run).select("row_id", "result").collect()
        assert frame["row_id"].is_unique().all()
        return dict(frame.iter_rows())

    def published(self) -> pl.DataFrame:
        """What any tool reads under `results/`; every row at most once."""
        store = self.run.store
        sources = [store.scan_source(info.key) for info in store.list("results/")]
        frames = [pl.read_parquet(path, storage_options=options) for path, options in filter(None, sources)]
        frame = pl.concat(frames) if frames else pl.DataFrame(schema={"row_id": pl.String})
        assert frame["row_id"].is_unique().all()
        return frame

    def paid(self) -> dict[str, int]:
        """Answers completed so far, by row."""
        calls = self._service.calls(self.endpoint)
        return {prompt.replace("question ", "row-"): answered for prompt, (_, answered) in calls.items()}


__all__ = ["CONCURRENCY", "ROWS", "SHARD_ROWS", "StoredJob"]
