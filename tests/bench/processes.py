"""Commands as whole processes: how long, how much CPU, how much memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

LAUNCHER = Path(__file__).with_name("measured.py")
# Where qfbatch is installed as its users have it: what tests need beside it (numpy, pandas) slows its start.
PYTHON = os.environ.get("BENCH_PYTHON", sys.executable)
QFBATCH = (PYTHON, "-m", "qfbatch")
TIMEOUT_S = 1200.0


class Took(Struct, frozen=True):
    """What a process took.

    Attributes:
        began: when it was started, on the monotonic clock.
        wall_s: from start to end.
        user_s, system_s: CPU of all its threads.
        peak_bytes: resident memory at most.
        code: its exit code.
    """

    began: float
    wall_s: float
    user_s: float
    system_s: float
    peak_bytes: int
    code: int

    @property
    def cpu_s(self) -> float:
        """CPU of all its threads."""
        return self.user_s + self.system_s

    @property
    def peak_mb(self) -> float:
        """Resident memory at most, megabytes."""
        return self.peak_bytes / 1e6


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    codes: tuple[int, ...] = (0,),
    environment: Mapping[str, str] | None = None,
) -> Took:
    """Run a command to its end.

    Args:
        command: the command.
        cwd: where.
        codes: exit codes that are expected.
        environment: variables beside those of this process.

    Raises:
        RuntimeError: it ended otherwise; with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        result, said = Path(folder, "took.json"), Path(folder, "said")
        with said.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LAUNCHER), str(result), *command],
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                process.wait(TIMEOUT_S)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
        took = msgspec.json.decode(result.read_bytes(), type=Took)
        if took.code not in codes:
            tail = said.read_text("utf-8", "replace")[-1500:]
            raise RuntimeError(f"{' '.join(command)} ended with {took.code}:\n{tail}")
        return took
