"""`qfbatch clean`: what crashed writers left in a run directory, shown or removed."""

from __future__ import annotations

import time
import uuid

import click

from qfbatch.checkpoint.cleaning import find_orphans, find_temporaries, remove_orphans, sizes
from qfbatch.checkpoint.directory import prepare_directory
from qfbatch.checkpoint.place import StoredRun
from qfbatch.checkpoint.stored_tenure import hold_stored
from qfbatch.checkpoint.tenure import hold_folder
from qfbatch.cli.talk import say
from qfbatch.cli.target import Run, open_run
from qfbatch.render import numbers


@click.command("clean")
@click.argument("target")
@click.option("--yes", is_flag=True, help="Remove them; without it they are only shown.")
def command(target: str, *, yes: bool) -> None:
    """Show, or remove with --yes, what killed or fenced processes left in a run directory and nobody reads.

    TARGET is a run directory or a job file. Nothing that is committed is ever removed, nor what --fresh or a
    changed input has set aside. Removing needs the run for itself: it is refused while a process is at work.

    Exit codes: 0 done, or nothing to do; 2 there is no such run; 4 a process is at work, or it can't be read.
    """
    run = open_run(target)
    place = run.layout
    names, size = _stored(place, run, yes=yes) if isinstance(place, StoredRun) else _local(run, yes=yes)
    what = f"{numbers.things(len(names), 'object')}, {numbers.things(size, 'byte')}"
    for name in names:
        click.echo(name)
    if not names:
        say("nothing to remove")
    elif yes:
        say(f"removed {what}")
    else:
        say(f"{what}, can be removed: add --yes")


def _stored(place: StoredRun, run: Run, *, yes: bool) -> tuple[list[str], int]:
    found = find_orphans(place, run.manifest.log_id)
    if yes and found:
        with hold_stored(place, now=time.time) as tenure:
            held = tenure.place
            assert isinstance(held, StoredRun)  # noqa: S101 - what was held is what is given
            found = remove_orphans(held, run.manifest.log_id, f"clean-{uuid.uuid4().hex[:12]}")
    return [f"{place}/{info.key}" for info in found], sizes(found)


def _local(run: Run, *, yes: bool) -> tuple[list[str], int]:
    layout = run.layout
    assert not isinstance(layout, StoredRun)  # noqa: S101 - asked before
    found = find_temporaries(layout)
    size = sum(path.stat().st_size for path in found)
    if yes and found:
        with hold_folder(layout):
            prepare_directory(layout)
    return [str(path) for path in found], size
