"""Folders with rows and a job file, and the runs started there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .processes import QFBATCH, Took, run

Prompt = Callable[[int], str]


def plain(number: int) -> str:
    """A short prompt."""
    return f"prompt number {number}"


@dataclass(frozen=True)
class JobFolder:
    """A working folder with one job.

    Attributes:
        path: the folder; it exists.
    """

    path: Path

    @property
    def run_path(self) -> Path:
        """The run directory."""
        return self.path / "run"

    def rows(self, rows: int, prompt: Prompt = plain) -> None:
        """Write the input as JSON lines."""
        with (self.path / "rows.jsonl").open("w", encoding="utf-8") as file:
            for number in range(rows):
                file.write(f'{{"id":"r{number}","prompt":{json.dumps(prompt(number))}}}\n')

    def parquet(self, files: int, rows: int) -> None:
        """Write the input as many Parquet files of so many rows each."""
        folder = self.path / "rows"
        folder.mkdir()
        for file in range(files):
            numbers = range(file * rows, (file + 1) * rows)
            frame = pl.DataFrame({"id": [f"r{n}" for n in numbers], "prompt": [plain(n) for n in numbers]})
            frame.write_parquet(folder / f"rows-{file:05}.parquet")

    def job(self, base_url: str, endpoint: str, *, concurrency: int = 64, **sections: Any) -> Path:
        """Write the job file; sections replace whole ones."""
        job = {
            "name": "bench",
            "input": {
                "path": "rows" if (self.path / "rows").exists() else "rows.jsonl",
                "id": "id",
                "prompt": "prompt",
            },
            "service": {"base_url": base_url, "auth": "none"},
            "models": [{"name": "m", "endpoint": endpoint}],
            "limits": {"concurrency": concurrency},
            "output": {"path": "run"},
            **sections,
        }
        path = self.path / "job.yaml"
        path.write_text(json.dumps(job, indent=1), encoding="utf-8")  # JSON is YAML
        return path

    def run(self, *options: str) -> Took:
        """`qfbatch run` as a process of its own, without progress bar and report."""
        return run([*QFBATCH, "run", "job.yaml", "--quiet", "--no-progress", *options], cwd=self.path)

    def calls_took_s(self) -> float:
        """From the first call of the run to the end of its last."""
        times = (
            pl.scan_parquet(self.run_path / "results" / "*.parquet")
            .select((pl.col("finished_at").max() - pl.col("started_at").min()).dt.total_microseconds())
            .collect()
            .item()
        )
        return float(times) / 1e6

    def succeeded(self) -> int:
        """Rows that succeeded, counted in the results."""
        results = pl.scan_parquet(self.run_path / "results" / "*.parquet")
        count = results.filter(pl.col("status") == "succeeded").select(pl.len()).collect().item()
        return int(count)
