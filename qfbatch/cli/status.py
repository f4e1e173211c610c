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

from qfbatch.cli.target import open_run
from qfbatch.render import status_text
from qfbatch.status import RunStatus, StatusReader

DEFAULT_S = 2.0  # as often as a running process writes
LEAST_S = 0.5


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
    With --watch a terminal is redrawn in place; elsewhere there is a line a look (JSON: an object a line).

    Exit codes: 0 whatever the state, which the output tells; 2 there is no such run; 4 it cannot be read; 130
    --watch was left with Ctrl-C.
    """
    run = open_run(target)
    reader = StatusReader(run.layout, run.directory)
    status = reader.read()
    if every_s is None:
        click.echo(_text(status, form), nl=False)
        return
    try:
        _watch(reader, status, every_s, form)
    except KeyboardInterrupt:
        ctx.exit(130)


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
    return [line] if len(line) <= room else textwrap.wrap(line, room, subsequent_indent="  ")


def _text(status: RunStatus, form: str) -> str:
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(status), indent=2).decode() + "\n"
    return status_text.render(status)
