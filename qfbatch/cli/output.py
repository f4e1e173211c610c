"""What commands put on stdout: data, and nothing else."""

from __future__ import annotations

import os
import sys

import click


def emit(text: str) -> None:
    """To a terminal as it wants it; to a file or a pipe always UTF-8, whatever the locale says."""
    click.echo(text if sys.stdout.isatty() else text.encode(), nl=False)


def wants_color() -> bool:
    """Whether stdout is a terminal on which colours are welcome."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
