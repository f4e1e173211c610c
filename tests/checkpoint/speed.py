"""What the checkpoint costs a row, as docs/checkpoint.md quotes it; not a test.

    python -m checkpoint.speed FOLDER      (from tests/; FOLDER on the disk in question)

Times are CPU of this process, the best of five: other work on the machine must not count.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from qfbatch.checkpoint.committer import Committer
from qfbatch.checkpoint.journal import encode_line
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.parts import read_part_rows, write_part
from qfbatch.checkpoint.results import scan_results
from qfbatch.checkpoint.store import Checkpoint

from .rows import COLUMNS, RUN_ID, plan, record

SHARDS, ROWS, PARTS, REPEATS = 10, 1000, 1000, 5
RECORDS = [record(n, shard=n // ROWS, take=2) for n in range(SHARDS * ROWS)]


def opened(run: Path, shards: int = SHARDS) -> Checkpoint:
    """A recovered checkpoint."""
    checkpoint = Checkpoint.open(RunLayout(run), ["m"], plan(shards, ROWS), COLUMNS, RUN_ID)
    checkpoint.recover()
    return checkpoint


def cpu(step: Callable[[], object]) -> float:
    """CPU seconds of one step, all threads."""
    start = time.process_time()
    step()
    return time.process_time() - start


async def commit(checkpoint: Checkpoint) -> None:
    """All records through the committer, as fast as it takes them; no part is built."""
    committer = Committer(checkpoint)
    await committer.__aenter__()
    for row in RECORDS:
        if committer.crowded:
            await committer.wait_for_room()
        committer.append(row)
    await committer.close(partial=False)


def run_commit(checkpoint: Checkpoint) -> None:
    """`commit` on a loop of its own."""
    asyncio.run(commit(checkpoint))


def close_all(checkpoint: Checkpoint) -> None:
    """Every journal to its part."""
    for number in range(SHARDS):
        checkpoint.close_shard("m", number)


def say(text: str) -> None:
    """A figure."""
    print(text)  # noqa: T201 - figures on stdout are what this is for


def main(folder: Path) -> None:
    """Print one line per figure."""
    append, merge = [], []
    for _ in range(REPEATS):
        shutil.rmtree(folder, ignore_errors=True)
        checkpoint = opened(folder)
        append.append(cpu(partial(run_commit, checkpoint)))
        merge.append(cpu(partial(close_all, checkpoint)))
    rows = len(RECORDS)
    say(f"journal line: {len(encode_line(RECORDS[-1]))} bytes")
    say(f"append and group commit: {min(append) / rows * 1e6:.1f} us CPU a row")
    say(f"journal to part: {min(merge) / rows * 1e6:.1f} us CPU a row")
    layout = RunLayout(folder)
    table = read_part_rows(layout.part("m", 0))
    for number in range(PARTS):
        write_part(layout.part("m", number), table, run_id=RUN_ID, model="m", shard=number)
    starts = [cpu(lambda: opened(folder, PARTS)) for _ in range(REPEATS)]
    say(f"start with {PARTS} parts ({PARTS * ROWS} rows): {min(starts):.2f} s")
    reads = [
        cpu(lambda: scan_results(layout).select(pl.col("total_tokens").sum()).collect())
        for _ in range(REPEATS)
    ]
    say(f"one column of all of them: {min(reads):.2f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) / "qfbatch-speed")
