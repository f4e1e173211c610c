"""`python -m bench`: measure, print one table, write `bench/latest.json`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from .figures import Bench, Figure, Measured, Missing, table, write
from .growth import memory, resume, start
from .latencies import latencies
from .reporting import report
from .serving import model, scripted
from .simulations import adaptive, quota
from .throughput import throughput

MEASUREMENTS: dict[str, Callable[[Bench], list[Figure]]] = {
    "throughput": throughput,
    "latencies": latencies,
    "quota": quota,
    "adaptive": adaptive,
    "memory": memory,
    "resume": resume,
    "start": start,
    "report": report,
    "scripted": scripted,
    "model": model,
}


def measure(names: Sequence[str], bench: Bench) -> list[Measured]:
    """Make the measurements of these names, one after the other."""
    found = []
    for name in names:
        began, load = time.monotonic(), round(os.getloadavg()[0], 1)
        figures: list[Figure] = []
        missing = ""
        try:
            figures = MEASUREMENTS[name](bench)
        except Missing as reason:
            missing = str(reason)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            missing = f"failed: {error}".strip().replace("\n", " ")[-400:]
        if missing:
            bench.say(f"{name}: {missing}")
        found.append(Measured(name, tuple(figures), missing, time.monotonic() - began, load))
    return found


def main() -> int:
    """Measure what the command line names; 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--only", default="", metavar="NAME[,NAME]", help=f"of these: {', '.join(MEASUREMENTS)}"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes; the figures mean nothing")
    parser.add_argument("--out", type=Path, default=Path("bench"), metavar="FOLDER", help="for latest.json")
    given = parser.parse_args()
    names = [name for name in given.only.replace(",", " ").split() if name] or list(MEASUREMENTS)
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        parser.error(f"no such measurement: {', '.join(unknown)} (there are {', '.join(MEASUREMENTS)})")
    began = datetime.now(UTC).isoformat(timespec="seconds")
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=given.out) as folder:
        measured = measure(names, Bench(Path(folder).resolve(), given.quick, _say))
    write(given.out / "latest.json", measured, quick=given.quick, began=began)
    sys.stdout.write(table(measured))
    if given.quick:
        sys.stdout.write("Small sizes: these figures mean nothing.\n")
    missed = [figure for some in measured for figure in some.figures if figure.reached is False]
    return 1 if missed and not given.quick else 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
