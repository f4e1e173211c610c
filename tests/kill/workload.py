"""Seeded jobs: an input whose rows behave and misbehave in known ways, and the job file that asks them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PLAIN = "plain"
# kind of row → (share, what its prompt tells the scripted server)
KINDS: dict[str, tuple[float, str]] = {
    "slow": (0.05, "{{answer: delay=0.08}}"),
    "retried": (0.04, "{{fault: 500 times=1}}"),
    "broken": (0.03, "{{fault: half_body times=1}}"),
    "throttled": (0.001, "{{fault: 18 times=1}}"),
    "stubborn": (0.02, "{{fault: 336000 times=4}}"),  # one more than a run's attempts: --retry-failed gets it
    "hanging": (0.1, "{{fault: hang times=1}}"),
    "refused": (0.02, "{{fault: 336003}}"),
}
ATTEMPTS = 3


@dataclass(frozen=True)
class Workload:
    """What a job asks.

    Attributes:
        seed: decides which row is of which kind.
        rows: of the input.
        shard_rows: of a shard.
        concurrency: calls in flight.
        models: name in the job → endpoint of the scripted server.
        kinds: kinds of rows besides plain ones.
        parameters: of the job.
        directive: what every plain prompt tells the server.
        base_text: makes prompts longer.
    """

    seed: int = 1
    rows: int = 600
    shard_rows: int = 50
    concurrency: int = 16
    models: dict[str, str] = field(
        default_factory=lambda: {"plain-model": "echo,delay=0.004", "Zweites/二": "words,delay=0.003"}
    )
    kinds: tuple[str, ...] = ("slow", "retried", "broken", "throttled", "refused")
    parameters: dict[str, Any] = field(default_factory=dict)
    directive: str = ""
    base_text: str = ""

    def kind(self, number: int) -> str:
        """What kind of row this is."""
        if not self.kinds:
            return PLAIN
        draw = random.Random(f"{self.seed}/{number}").random()
        for kind in self.kinds:
            draw -= KINDS[kind][0]
            if draw < 0:
                return kind
        return PLAIN

    def prompt(self, number: int) -> str:
        """The prompt of one row; no two are the same."""
        kind = self.kind(number)
        told = self.directive if kind == PLAIN else KINDS[kind][1]
        return f"question {number} of seed {self.seed}: 你好 {self.base_text}{told}"

    def of_kind(self, kind: str) -> int:
        """How many rows are of this kind."""
        return sum(self.kind(number) == kind for number in range(self.rows))

    @property
    def calls(self) -> int:
        """Answers that one uninterrupted run pays for, stubborn rows included."""
        return (self.rows - self.of_kind("refused")) * len(self.models)

    def key(self, model: str, row_id: str) -> tuple[str, str]:
        """Endpoint and prompt by which the server's ledger knows this row."""
        return self.models[model], self.prompt(int(row_id.removeprefix("row-")))

    def write(self, folder: Path, base_url: str) -> Path:
        """Write the input, once for all jobs of `folder`; returns it."""
        lines = (
            json.dumps({"id": f"row-{number}", "prompt": self.prompt(number), "group": number % 7})
            for number in range(self.rows)
        )
        (folder / "input.jsonl").write_text("\n".join(lines) + "\n")
        return self.write_job(folder, base_url, "run")

    def write_job(self, folder: Path, base_url: str, run: str) -> Path:
        """Write the job file of the run directory `run`; returns its path."""
        job = {
            "name": run,
            "input": {
                "path": "input.jsonl",
                "id": "id",
                "prompt": "prompt",
                "shard_rows": self.shard_rows,
            },
            "service": {"base_url": base_url, "auth": "none"},
            "models": [
                {
                    "name": name,
                    "endpoint": endpoint,
                    "price": {"prompt_per_1k": 0.25, "completion_per_1k": 0.5},
                }
                for name, endpoint in self.models.items()
            ],
            "parameters": self.parameters,
            "retry": {"retry_count": ATTEMPTS, "backoff_factor": 0.02, "retry_jitter": 0.02},
            "limits": {"concurrency": self.concurrency, "adaptive": False},
            "output": {"path": run},
        }
        path = folder / f"{run}.yaml"
        path.write_text(json.dumps(job, ensure_ascii=False))  # JSON is YAML
        return path


__all__ = ["ATTEMPTS", "KINDS", "PLAIN", "Workload"]
