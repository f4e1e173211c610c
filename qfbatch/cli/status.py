"""`qfbatch status`: how a run stands, also while another process runs it."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from typing import Any

import click
import msgspec

from qfbatch.cli.talk import say
from qfbatch.cli.target import Run, open_run
from qfbatch.errors import JobFileError, UsageError
from qfbatch.render import status_text
from qfbatch.render.numbers import cells
from qfbatch.status import RunState, RunStatus, StatusReader

DEFAULT_S = 2.0  # as often as a running process writes
LEAST_S = 0.5
PATIENCE_S = 15.0  # a watch begun beside a run that is just being started waits so long for it
_WAITED_FOR = frozenset(RunState) - {RunState.COMPLETE}


class Seconds(click.FloatRange):
    """Seconds; whoever forgot that the option may take a value is told where to put it."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or an error that names the way out."""
        try:
            float(value)
        except ValueError:
            self.fail(f"{value!r} is no number of seconds; put --watch after the run.", param, ctx)
        return super().convert(value, param, ctx)


@click.command("status")
@click.argument("target")
@click.option(
    "--watch",
    "every_s",
    is_flag=False,
    flag_value=DEFAULT_S,
    type=Seconds(min=LEAST_S),
    metavar="[SECONDS]",
    help="Look again every so often (2 s by default) until nobody runs it any more.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", "json")),
    default="table",
    show_default=True,
    help="How to print it.",
)
@click.pass_context
def command(ctx: click.Context, target: str, every_s: float | None, form: str) -> None:
    """How a run stands: rows by model, rates, time left, cost, limits, last events.

    TARGET is a run directory or a job file. While a process runs it, the figures are at most two seconds old;
    otherwise they are those on disk. Nothing is written and no lock is taken, so it may be asked at any time.
    With --watch a terminal is redrawn in place; elsewhere there is a line a look (JSON: an object a line). A
    watch of an unfinished run that nobody works on waits a while for one to start.

    Exit codes: 0 whatever the state, which the output tells; 2 there is no such run; 4 it cannot be read; 130
    --watch was left with Ctrl-C.
    """
    if every_s is None:
        run = open_run(target)
        click.echo(_text(StatusReader(run.layout, run.directory).read(), form), nl=False)
        return
    try:
        until = time.monotonic() + PATIENCE_S
        run = _awaited_run(target, until)
        reader = StatusReader(run.layout, run.directory)
        _watch(reader, _awaited_status(reader, until), every_s, form)
    except KeyboardInterrupt:
        ctx.exit(130)


def _awaited_run(target: str, until: float) -> Run:
    """The run, which may be about to be made; what is wrong with the target is raised once time is up."""
    told = False
    while True:
        try:
            return open_run(target)
        except JobFileError:
            raise
        except UsageError as error:
            if time.monotonic() >= until:
                raise
            if not told:
                say(f"{error.message}; waiting {PATIENCE_S:.0f} s for it (Ctrl-C ends that)")
                told = True
        time.sleep(LEAST_S)


def _awaited_status(reader: StatusReader, until: float) -> RunStatus:
    """How the run stands once somebody works on it, or nothing is left to work on, or time is up."""
    told = False
    while not (status := reader.read()).held and status.state in _WAITED_FOR and time.monotonic() < until:
        if not told:
            say(f"nobody runs it; waiting {PATIENCE_S:.0f} s for somebody who does (Ctrl-C ends that)")
            told = True
        time.sleep(LEAST_S)
    return status


def _watch(reader: StatusReader, status: RunStatus, every_s: float, form: str) -> None:
    drawn = 0
    redraws = form == "table" and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    while True:
        if redraws:
            drawn = _redraw(_text(status, form), drawn)
        elif form == "json":
            click.echo(msgspec.json.encode(status))
        else:
            click.echo(status_text.headline(status) if status.held else _text(status, form), nl=status.held)
        if not status.held:
            return
        time.sleep(every_s)
        status = reader.read()


def _redraw(text: str, drawn: int) -> int:
    """Over what was drawn before, in one write, line by line so that nothing flickers; returns the lines."""
    size = shutil.get_terminal_size()
    room = max(size.columns - 1, 20)
    lines = [piece for line in text.splitlines() for piece in _wrapped(line, room)][: size.lines - 1]
    up = f"\x1b[{drawn}F" if drawn else ""
    click.echo(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", nl=False)
    return len(lines)


def _wrapped(line: str, room: int) -> list[str]:
    """A line as it is where it fits: a terminal that wraps it would be miscounted in the next look."""
    if cells(line) <= room:
        return [line]
    characters = room if cells(line) == len(line) else room // 2  # wide ones take two places
    return textwrap.wrap(line, characters, subsequent_indent="  ")


def _text(status: RunStatus, form: str) -> str:
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(status), indent=2).decode() + "\n"
    return status_text.render(status)
