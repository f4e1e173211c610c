"""A user's desk: a folder with rows and a job file, an environment, and the commands typed there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.dataset as ds
from click.testing import CliRunner
from scripted import ScriptedServer

from qfbatch.cli.main import main

TIMEOUT_S = 100
CREDENTIALS = ("QIANFAN_", "OPENAI_")  # how the names of variables that a developer may have set begin
OAUTH = {"QIANFAN_AK": "desk-access-key-7421", "QIANFAN_SK": "desk-secret-key-9053"}


@dataclass(frozen=True)
class Done:
    """How a command ended: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@dataclass
class Desk:
    """A working folder.

    Attributes:
        path: the folder.
        server: the scripted server its jobs ask.
        environ: variables that commands see beside the system's own.
    """

    path: Path
    server: ScriptedServer
    environ: dict[str, str] = field(default_factory=lambda: dict(OAUTH))

    def at(self, path: Path) -> Desk:
        """The same user in another folder."""
        return Desk(path, self.server, self.environ)

    def rows(self, rows: int | Sequence[Any], name: str = "rows.jsonl") -> Path:
        """Write input: so many plain rows, or these prompts, or these objects."""
        if isinstance(rows, int):
            rows = [f"prompt number {number}" for number in range(rows)]
        objects = [
            {"id": f"r{number}", "prompt": row, "topic": "odd" if number % 2 else "even"}
            if isinstance(row, str)
            else row
            for number, row in enumerate(rows)
        ]
        path = self.path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in objects), encoding="utf-8")
        return path

    def job(self, *, endpoint: str = "echo", name: str = "job.yaml", **sections: Any) -> str:
        """Write a job file; returns the tagged endpoint of its one model `m`. Sections replace whole ones."""
        tagged = self.server.endpoint(endpoint)
        job = {
            "name": "desk",
            "input": {"path": "rows.jsonl", "id": "id", "prompt": "prompt"},
            "service": {"base_url": self.server.base_url},
            "models": [{"name": "m", "endpoint": tagged}],
            "retry": {"retry_count": 2, "backoff_factor": 0.01, "retry_jitter": 0},
            **sections,
        }
        # JSON is YAML: what is written is what is meant.
        (self.path / name).write_text(json.dumps(job, indent=1, ensure_ascii=False), encoding="utf-8")
        return tagged

    def type(self, *arguments: str) -> Done:
        """Run `qfbatch …` in this process: for what a process of its own adds nothing to."""
        runner = CliRunner()
        before = Path.cwd()
        os.chdir(self.path)
        try:
            result = runner.invoke(main, list(arguments), env=self._overrides(), prog_name="qfbatch")
        finally:
            os.chdir(before)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return _sound(Done(result.exit_code, result.stdout, result.stderr))

    def process(self, *arguments: str) -> Done:
        """Run `qfbatch …` as a process of its own, to its end."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.path,
            env=self.environment(),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return _sound(Done(done.returncode, done.stdout.decode(), done.stderr.decode()))

    @contextmanager
    def running(
        self,
        *arguments: str,
        stdout: int | None = subprocess.DEVNULL,
        stderr: int | None = subprocess.DEVNULL,
    ) -> Iterator[subprocess.Popen[str]]:
        """`qfbatch …` as a process of its own, whose end is not waited for: it is killed with the context."""
        with subprocess.Popen(
            self.command(*arguments),
            cwd=self.path,
            env=self.environment(),
            stdout=stdout,
            stderr=stderr,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def command(self, *arguments: str) -> list[str]:
        """The command line of `qfbatch …`."""
        return [sys.executable, "-m", "qfbatch", *arguments]

    def environment(self) -> dict[str, str]:
        """The environment of a process: the system's without credentials, then the desk's own."""
        return {name: value for name, value in self._system().items() if value is not None}

    def results(self, run: str = "runs/desk") -> pl.DataFrame:
        """The finished parts of a run, as a reader of its folder sees them, by model and row."""
        table = ds.dataset(self.path / run / "results", format="parquet").to_table()
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame.sort("model", "source_file", "source_row")

    def texts(self, run: str = "runs") -> str:
        """Everything on disk below a folder, as one text: for what must not be there."""
        files = [path for path in sorted((self.path / run).rglob("*")) if path.is_file()]
        return "\n".join(path.read_bytes().decode("latin-1") for path in files)

    def _overrides(self) -> dict[str, str | None]:
        """Changes to this process's environment, for `type`."""
        return {name: None for name in os.environ if name.startswith(CREDENTIALS)} | self.environ

    def _system(self) -> Mapping[str, str | None]:
        return {**os.environ, **self._overrides()}


def wait_until(due: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Return once something is to be seen, of this process while it lives."""
    deadline = time.monotonic() + TIMEOUT_S
    while not due():
        assert process is None or process.poll() is None, "the process ended before"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _sound(done: Done) -> Done:
    """What holds for every command: a known exit code and no traceback."""
    assert "Traceback" not in done.err + done.out, done.err
    assert done.code in {0, 1, 2, 3, 4, 5, 6, 130, 143}, done
    return done
