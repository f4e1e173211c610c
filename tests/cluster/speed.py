"""Prints what several nodes on one machine make of one process's throughput: `python -m cluster.speed`.

One process and nodes of a standing cluster take turns at the same service, which answers after a sleep or at
once. Rows a second are told over the whole command (start of the process to its end), from the first call to
the last one at the server, and in the middle (between the first and the last tenth of all calls), where
neither start nor end matter. Beside it stands the processor time of everything that took part, and how much
of the machine others used meanwhile: where processors are the bound, figures say more of these.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from msgspec import Struct
from scripted import ScriptedServer

from .runs import Driver, Machines, children, command, most_in, write_job

GLANCE_S = 0.5
_TICKS = os.sysconf("SC_CLK_TCK")
_KINDS = (("qfbatch run", "driver"), ("ray::Node", "nodes"), ("ray::Limiter", "limiter"), ("ray", "ray"))


class Turn(Struct):
    """One run.

    Attributes:
        whole_s: from the command's start to its end.
        arrivals: of calls at the server, in order.
        cpu_s: processor time, by who used it.
        others: cores that processes outside the measurement used on average.
    """

    whole_s: float
    arrivals: list[float]
    cpu_s: dict[str, float]
    others: float

    def rates(self) -> tuple[float, float, float]:
        """Rows a second: whole command, first call to last, the middle."""
        calls = self.arrivals
        tenth = len(calls) // 10
        middle = calls[tenth:-tenth]
        return (
            len(calls) / self.whole_s,
            (len(calls) - 1) / (calls[-1] - calls[0]),
            (len(middle) - 1) / (middle[-1] - middle[0]),
        )


class Processors:
    """Watches who uses processors; a context manager.

    Args:
        server: process id of the service.
    """

    def __init__(self, server: int) -> None:
        self._server = server
        self._began: dict[int, float] = {}
        self._used: dict[int, tuple[str, float]] = {}
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self._machine_s, self._at = _machine_s(), time.monotonic()
        for pid in _pids():
            self._began[pid] = _cpu_s(pid)
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._glance()
        self.cpu_s: defaultdict[str, float] = defaultdict(float)
        for kind, used in self._used.values():
            self.cpu_s[kind] += used
        took_s = time.monotonic() - self._at
        self.others = max(0.0, (_machine_s() - self._machine_s - sum(self.cpu_s.values())) / took_s)

    def _watch(self) -> None:
        while not self._ended.wait(GLANCE_S):
            self._glance()

    def _glance(self) -> None:
        for pid in _descendants(os.getpid()):
            kind = self._kind(pid)
            if kind:
                self._used[pid] = kind, max(0.0, _cpu_s(pid) - self._began.get(pid, 0.0))

    def _kind(self, pid: int) -> str:
        if pid == self._server:
            return "server"
        line = command(pid)
        return next((kind for text, kind in _KINDS if text in line), "")


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _descendants(pid: int) -> list[int]:
    own = children(pid)
    return own + [each for child in own for each in _descendants(child)]


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _machine_s() -> float:
    """Processor time that all processes of the machine have used."""
    fields = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]]
    user, nice, system, _idle, _iowait, irq, softirq = fields
    return (user + nice + system + irq + softirq) / _TICKS


def turn(
    folder: Path, server: ScriptedServer, options: argparse.Namespace, address: str | None, *more: str
) -> Turn:
    """Run one job from start to end."""
    folder.mkdir()
    endpoint = server.endpoint(f"echo,delay={options.delay}" if options.delay else "echo")
    limits = {"concurrency": options.concurrency} | ({"qps": options.qps} if options.qps else {})
    job = write_job(
        folder, server.base_url, endpoint, rows=options.rows, shard_rows=options.shard_rows, limits=limits
    )
    with Processors(server.pid) as processors:
        began = time.monotonic()
        with Driver(job, address, *more) as driver:
            code = driver.end(1800)
            assert code == 0, driver.said
        took_s = time.monotonic() - began
    arrivals = sorted(server.traffic(endpoint)["arrivals"])
    shutil.rmtree(folder, ignore_errors=True)
    return Turn(took_s, arrivals, dict(processors.cpu_s), processors.others)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all turns, print each and what comes of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--shard-rows", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds until the service answers")
    parser.add_argument("--qps", type=float, default=0.0, help="limit of calls a second; 0: none")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", action="store_true", help="also print the calls of every second")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="qfbatch-speed-"))
    shares: list[tuple[float, ...]] = []
    try:
        with ScriptedServer() as server, Machines(options.nodes) as machines:
            for number in range(options.turns):
                alone = turn(folder / f"alone{number}", server, options, None)
                tell("one process", alone, options)
                count = ("--ray-nodes", str(options.nodes))
                many = turn(folder / f"nodes{number}", server, options, machines.address, *count)
                tell(f"{options.nodes} nodes", many, options)
                shares.append(tuple(rate / of for rate, of in zip(many.rates(), alone.rates(), strict=True)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, found in zip(
        ("whole command", "first call to last", "middle"), zip(*shares, strict=True), strict=True
    ):
        say(
            f"nodes by one process, {name}: {min(found):.2f} to {max(found):.2f}, "
            f"median {statistics.median(found):.2f}"
        )


def tell(who: str, found: Turn, options: argparse.Namespace) -> None:
    """Print a turn."""
    whole, calls, middle = found.rates()
    used = ", ".join(f"{kind} {cpu_s:.1f}" for kind, cpu_s in sorted(found.cpu_s.items()))
    say(
        f"{who}: {whole:,.0f} rows/s over the command ({found.whole_s:.1f} s), {calls:,.0f} first call "
        f"to last, {middle:,.0f} in the middle; processor seconds: {used}; others used "
        f"{found.others:.2f} cores"
    )
    if options.qps:
        most = f"{most_in(found.arrivals, 1.0)} in any second, {most_in(found.arrivals, 10.0)} in any 10 s"
        say(f"  at most {most}")
    if options.seconds:
        counts: defaultdict[int, int] = defaultdict(int)
        for at in found.arrivals:
            counts[int(at - found.arrivals[0])] += 1
        say("  calls by second: " + " ".join(str(counts[second]) for second in range(max(counts) + 1)))


def say(text: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
