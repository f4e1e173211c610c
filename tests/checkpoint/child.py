"""A small run in a process of its own, for tests that kill it.

It says on stdout, unbuffered:

    asked <row_id>       the service would be paid now
    committed <row_id>   `on_commit` has it
    note <text>          what recovery said
    error <text>         and exit 4

Arguments: run directory, JSON of options (see `Options`).
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path

import msgspec

from qfbatch.checkpoint.committer import Committer
from qfbatch.checkpoint.directory import check_directory
from qfbatch.checkpoint.files import make_folder
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.lock import RunLock
from qfbatch.checkpoint.manifest import Manifest, read_manifest, write_manifest
from qfbatch.checkpoint.store import Checkpoint
from qfbatch.cli.light_start import without_pandas
from qfbatch.errors import StorageError
from qfbatch.records import Record, Status, Survey

from .rows import COLUMNS, RUN_ID, plan, record

MODELS = ("m", "Model/二")


class Options(msgspec.Struct):
    """What to run.

    Attributes:
        shards, rows: the plan; rows are of one shard.
        first: only the first rows of every shard.
        retry: ask failed rows again.
        again: ask all rows again so many times, closing every shard each time.
        group_rows: of the committer.
        file_limit: RLIMIT_FSIZE in bytes while rows run; 0 for none.
        hold: only take the lock, say so, and wait to be killed.
        pause_s: between rows.
        quiet: say nothing, for a parent that doesn't read.
    """

    shards: int = 3
    rows: int = 40
    first: int = 1_000_000
    retry: bool = False
    again: int = 0
    group_rows: int = 16
    file_limit: int = 0
    hold: bool = False
    pause_s: float = 0.0
    quiet: bool = False


def say(word: str, text: str) -> None:
    """One line, at once: a killed process must not have lines left in a buffer."""
    os.write(1, f"{word} {text}\n".encode())


def say_committed(group: list[Record]) -> None:
    """Report a group; one write, so that a kill cuts between groups."""
    os.write(1, "".join(f"committed {r.model} {r.row_id}\n" for r in group).encode())


async def work(checkpoint: Checkpoint, options: Options, take: int) -> None:
    """Ask what is not done, shards of all models interleaved."""
    async with Committer(
        checkpoint, on_commit=say_committed, group_rows=options.group_rows, group_seconds=0.005
    ) as committer:
        for shard in range(options.shards):
            for model in MODELS:
                done = checkpoint.open_shard(model, shard)
                for number in range(shard * options.rows, shard * options.rows + options.rows):
                    if number >= shard * options.rows + options.first:
                        continue
                    status = done.get(f"row-{number}")
                    if status is not None and not (options.retry and status == Status.FAILED) and take <= 2:
                        continue
                    say("asked", f"{model} row-{number}")
                    await asyncio.sleep(options.pause_s)
                    await committer.wait_for_room()
                    committer.append(record(number, model=model, shard=shard, take=take))
                committer.finish(model, shard)
                await committer.wait_for_room()


def main() -> int:
    """Run as told; 0, or 4 where storage failed."""
    without_pandas()
    layout = RunLayout(Path(sys.argv[1]))
    options = msgspec.json.decode(sys.argv[2], type=Options)
    if options.quiet:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    check_directory(layout)
    make_folder(layout.path)
    with RunLock.acquire(layout):
        if options.hold:
            say("holding", str(os.getpid()))
            signal.pause()
        try:
            if read_manifest(layout) is None:
                survey = Survey((), plan(options.shards, options.rows), COLUMNS, 0, 0)
                write_manifest(layout, Manifest(RUN_ID, "now", "0", "3", "linux", {}, {}, survey))
            checkpoint = Checkpoint.open(layout, MODELS, plan(options.shards, options.rows), COLUMNS, RUN_ID)
            for note in checkpoint.recover().notes:
                say("note", note)
            if options.file_limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_limit, resource.RLIM_INFINITY))
            asyncio.run(work(checkpoint, options, 2 if options.retry else 1))
            for take in range(3, 3 + options.again):
                asyncio.run(work(checkpoint, options, take))
        except StorageError as error:
            say("error", str(error).replace("\n", " "))
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
