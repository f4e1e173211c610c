"""Runs on a cluster for tests: machines, the driver's process, and whom to kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

START_S = 200.0
GLANCE_S = 0.05


class Machines:
    """See `machines`; a context manager that leaves no process behind."""

    def __init__(self, machines: int, cpus: int = 1) -> None:
        self._command = [
            sys.executable,
            str(Path(__file__).with_name("machines.py")),
            str(machines),
            str(cpus),
        ]
        self.address = ""
        self.raylets: list[int] = []
        self.gcs = 0
        self._head = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the cluster did not start"
        told = json.loads(line)
        self.address, self.raylets, self._head = told["address"], told["raylets"], told["head"]
        self.gcs = told["gcs"]
        return self

    def workers(self, kind: str) -> list[int]:
        """Processes of actors of this class, on all machines."""
        return [
            pid
            for raylet in (*self.raylets, self._head)
            for pid in children(raylet)
            if command(pid).startswith(f"ray::{kind}")
        ]

    def machine_of(self, worker: int) -> int:
        """The raylet whose machine a worker is on."""
        return next(raylet for raylet in self.raylets if worker in children(raylet))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Whatever is left of it is in its process group, and nothing else is.
            for pid in [
                pid
                for pid in map(int, filter(str.isdecimal, (path.name for path in Path("/proc").iterdir())))
                if _group(pid) == self._process.pid
            ]:
                _kill(pid)
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()


class Driver:
    """`qfbatch run` as a process, by default on a cluster; a context manager that leaves none behind.

    Args:
        job: the job file.
        address: of the cluster; None runs without.
        options: further options of the command.
    """

    def __init__(self, job: Path, address: str | None, *options: str) -> None:
        self._said = job.with_suffix(".stderr")
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        where = [] if address is None else ["--ray", address]
        with self._said.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "qfbatch", "run", job.name, "--quiet", *where, *options],
                cwd=job.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self._said.read_text("utf-8", "replace")

    def until(self, due: Callable[[], bool], within_s: float = START_S) -> None:
        """Wait until something is due; fails if the run ends before."""
        deadline = time.monotonic() + within_s
        while not due():
            assert self.process.poll() is None, f"ended: {self.said}"
            assert time.monotonic() < deadline, f"not in time: {self.said}"
            time.sleep(GLANCE_S)

    def end(self, within_s: float = START_S) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(within_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def write_job(
    folder: Path, base_url: str, endpoint: str, *, rows: int, shard_rows: int, **sections: object
) -> Path:
    """A job over plain rows; returns its file."""
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(rows):
            file.write(f'{{"id":"r{number}","prompt":"prompt number {number}"}}\n')
    job = {
        "name": "cluster",
        "input": {"path": "rows.jsonl", "id": "id", "prompt": "prompt", "shard_rows": shard_rows},
        "service": {"base_url": base_url, "auth": "none"},
        "models": [{"name": "m", "endpoint": endpoint}],
        "output": {"path": "run"},
        **sections,
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps(job))
    return path


def most_in(arrivals: list[float], window_s: float) -> int:
    """The most arrivals in any window of this length."""
    first = most = 0
    for index, at in enumerate(arrivals):
        while arrivals[first] <= at - window_s:
            first += 1
        most = max(most, index - first + 1)
    return most


def sockets(pid: int) -> set[str]:
    """Inodes of a process's sockets."""
    try:
        links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]  # noqa: PTH115 - no path
    except OSError:
        return set()
    return {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}


def tcp_sockets(state: str) -> dict[str, tuple[str, str]]:
    """By inode, both addresses of this machine's TCP sockets in a state, as the kernel writes them."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state:
                found[fields[9]] = fields[1], fields[2]
    return found


def children(pid: int) -> list[int]:
    """Child processes."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found


def command(pid: int) -> str:
    """A process's command line; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def stop(pid: int) -> None:
    """Freeze a process."""
    os.kill(pid, signal.SIGSTOP)


def thaw(pid: int) -> None:
    """Let a frozen process go on."""
    os.kill(pid, signal.SIGCONT)


def kill(pid: int) -> None:
    """SIGKILL."""
    os.kill(pid, signal.SIGKILL)


def _group(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
