"""`python -m bench.peers`: the peers beside qfbatch, whole processes, on the same nginx."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Bench, Figure, Measured, Missing, median, table, write
from bench.jobs import JobFolder
from bench.nginx import Nginx
from bench.processes import Took, run
from bench.throughput import job

HERE = Path(__file__).parent
INSTALL_TIMEOUT_S = 600


@dataclass(frozen=True)
class Peer:
    """Another runner.

    Attributes:
        name: in the table.
        requirement: what to install, pinned.
        script: what drives it.
        options: of the script.
        rows: how many, so that start-up does not count and a run ends in reasonable time.
        times: by what factor qfbatch should be faster.
    """

    name: str
    requirement: str
    script: str
    rows: int
    options: tuple[str, ...] = ()
    times: float | None = None


PEERS = (
    Peer("flexllm", "flexllm==0.17.10", "drive_flexllm.py", 10_000, times=10),
    Peer("async-batch-llm", "async-batch-llm[openai]==0.28.0", "drive_async_batch_llm.py", 3_000),
    Peer(
        "async-batch-llm, fsync",
        "async-batch-llm[openai]==0.28.0",
        "drive_async_batch_llm.py",
        3_000,
        ("fsync",),
        times=50,
    ),
)
OUR_ROWS = 50_000


def environment(requirement: str, cache: Path) -> Path:
    """The Python of an environment with this package alone, made once.

    Raises:
        Missing: it cannot be installed.
    """
    place = cache / requirement.translate(str.maketrans("=[]", "---"))
    python = place / "bin" / "python"
    if not (place / "installed").exists():
        try:
            for command in (
                [sys.executable, "-m", "venv", "--clear", str(place)],
                [str(python), "-m", "pip", "install", "--quiet", requirement],
            ):
                subprocess.run(command, capture_output=True, text=True, check=True, timeout=INSTALL_TIMEOUT_S)
        except subprocess.CalledProcessError as error:
            raise Missing(f"{requirement} cannot be installed: {str(error.stderr).strip()[-300:]}") from error
        except subprocess.TimeoutExpired as error:
            raise Missing(f"{requirement} was not installed in {INSTALL_TIMEOUT_S} s") from error
        (place / "installed").touch()
    return python


def compare(bench: Bench, cache: Path) -> list[Measured]:
    """Each peer in turn, qfbatch before each of them; ratios of neighbours."""
    found = []
    ours: list[float] = []
    with Nginx(bench.place("nginx")) as nginx:
        for peer in PEERS:
            began = time.monotonic()
            figures: list[Figure] = []
            missing = ""
            try:
                python = environment(peer.requirement, cache)
                figures = _figures(peer, *_rates(bench, nginx, peer, python, ours))
            except Missing as reason:
                missing = str(reason)
            except (RuntimeError, subprocess.SubprocessError) as error:
                missing = f"failed: {error}".replace("\n", " ")[-400:]
            found.append(Measured(peer.name, tuple(figures), missing, time.monotonic() - began))
    if ours:
        note = f"{OUR_ROWS:,} rows, whole process, group fsync"
        found.insert(0, Measured("qfbatch", (Figure("rows", median(ours), "rows/s", note=note),)))
    return found


def _rates(
    bench: Bench, nginx: Nginx, peer: Peer, python: Path, ours: list[float]
) -> tuple[list[float], list[float], list[float]]:
    """Rows a second, CPU µs a row, and how often qfbatch's rate, of each repetition."""
    rates, cpu_us, ratios = [], [], []
    for number in range(bench.repeats):
        our_rows, rows = bench.size(OUR_ROWS, 500), bench.size(peer.rows, 200)
        slug = peer.script.removesuffix(".py") + "".join(peer.options) + str(number)
        took, _ = job(bench.folder / f"ours-{slug}", nginx, our_rows)
        ours.append(our_rows / took.wall_s)
        folder = JobFolder(bench.place(slug))
        folder.rows(rows)
        took = _driven(peer, python, folder, nginx)
        rates.append(rows / took.wall_s)
        cpu_us.append(took.cpu_s / rows * 1e6)
        ratios.append(ours[-1] / rates[-1])
        bench.say(f"{peer.name} {number + 1}: {rates[-1]:,.0f} rows/s, qfbatch {ours[-1]:,.0f}")
    return rates, cpu_us, ratios


def _driven(peer: Peer, python: Path, folder: JobFolder, nginx: Nginx) -> Took:
    command = [str(python), str(HERE / peer.script), "rows.jsonl", nginx.base_url, "out.jsonl", *peer.options]
    took = run(command, cwd=folder.path)
    out = folder.path / "out.jsonl"
    lines = out.read_text("utf-8").count("\n") if out.exists() else 0
    if lines < sum(1 for _ in (folder.path / "rows.jsonl").open()):
        raise RuntimeError(f"{peer.name} recorded only {lines} rows")
    return took


def _figures(peer: Peer, rates: list[float], cpu_us: list[float], ratios: list[float]) -> list[Figure]:
    return [
        Figure("rows", median(rates), "rows/s", note=f"{peer.rows:,} rows, 64 in flight, {peer.requirement}"),
        Figure("CPU a row", median(cpu_us), "µs"),
        Figure("qfbatch : this", median(ratios), "times", at_least=peer.times),
    ]


def main() -> int:
    """Compare; 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; the figures mean nothing")
    parser.add_argument("--out", type=Path, default=Path("bench"), metavar="FOLDER", help="for peers.json")
    given = parser.parse_args()
    began = datetime.now(UTC).isoformat(timespec="seconds")
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=given.out) as folder:
        bench = Bench(Path(folder).resolve(), given.quick, _say)
        measured = compare(bench, given.out.resolve() / "environments")
    write(given.out / "peers.json", measured, quick=given.quick, began=began)
    sys.stdout.write(table(measured))
    missed = [figure for some in measured for figure in some.figures if figure.reached is False]
    return 1 if missed and not given.quick else 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
