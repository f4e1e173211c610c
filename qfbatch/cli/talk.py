"""What commands say on stderr: text for people, or objects like the log's with `--log-format json`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import click

_AS_JSON = "qfbatch.cli.talk.as_json"  # in the context's meta, which a command shares with the group


def use_json(encode: Callable[[dict[str, str]], str]) -> None:
    """From here on this command says everything as JSON, its errors included.

    Args:
        encode: makes one line of JSON; given, because `qfbatch --help` has no use for an encoder.
    """
    click.get_current_context().meta[_AS_JSON] = encode


def say(text: str, *, level: str = "info") -> None:
    """Say something on stderr.

    Args:
        text: one or more lines.
        level: info, warning or error; text begins with the latter two.
    """
    if encode := click.get_current_context().meta.get(_AS_JSON):
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = encode({"time": moment, "level": level, "message": text})
    elif level != "info":
        text = f"{level}: {text}"
    click.echo(text, err=True)


def abandon_stdout() -> None:
    """Let what is still buffered for a closed pipe go nowhere, so that it is no error at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
