"""`qfbatch run` as a process of its own: started, watched, killed, and what it left to say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from qfbatch.checkpoint.faultpoints import VARIABLE

HANG_S = 100.0  # only a hang takes so long
GLANCE_S = 0.003


class Ended(NamedTuple):
    """How a session ended.

    Attributes:
        code: its exit code; negative where a signal ended it.
        stderr: what it said.
    """

    code: int
    stderr: str

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL


class Session:
    """One process of `qfbatch run`; a context manager that leaves no process behind.

    Args:
        job: the job file; its folder is the working directory.
        options: of `run`.
        point: fault point that it dies at; empty for none.
        launcher: a command that runs the rest of its command line.
    """

    def __init__(self, job: Path, *options: str, point: str = "", launcher: Sequence[str] = ()) -> None:
        environment = {name: text for name, text in os.environ.items() if not name.startswith("QIANFAN")}
        environment[VARIABLE] = point
        self._said = job.with_suffix(".stderr")
        command = [*launcher, sys.executable, "-m", "qfbatch", "run", job.name, "--quiet", *options]
        with self._said.open("wb") as stderr:
            self.process = subprocess.Popen(
                command,
                cwd=job.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        self._deadline = time.monotonic() + HANG_S

    @property
    def stderr(self) -> str:
        """What it has said so far."""
        return self._said.read_text("utf-8", "replace")

    def watch(self, due: Callable[[], bool]) -> bool:
        """Look again and again until `due` or its end; returns whether it was due while it lived."""
        while self.process.poll() is None:
            if due():
                return True
            assert time.monotonic() < self._deadline, f"hangs; it said: {self.stderr}"
            time.sleep(GLANCE_S)
        return False

    def says(self, words: str) -> bool:
        """Wait until it has said these words; False if it ended without."""
        return self.watch(lambda: words in self.stderr) or words in self.stderr

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to it and what it started in its group, as a terminal does."""
        os.killpg(self.process.pid, signum)

    def end(self) -> Ended:
        """Wait for its end."""
        self.watch(lambda: False)
        return Ended(self.process.wait(), self.stderr)

    def kill(self) -> Ended:
        """SIGKILL."""
        self.process.kill()
        return Ended(self.process.wait(), self.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def run(job: Path, *options: str, point: str = "", launcher: Sequence[str] = ()) -> Ended:
    """A session from start to end."""
    with Session(job, *options, point=point, launcher=launcher) as session:
        return session.end()


__all__ = ["Ended", "Session", "run"]
