"""The `qfbatch` command: names, options shared by commands, and what an error looks like.

A command's module is imported only when that command runs, so `qfbatch --help` needs neither polars, pyarrow
nor the HTTP client.
"""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
from typing import Any

import click

from qfbatch._version import __version__
from qfbatch.cli.garbage import loading
from qfbatch.cli.talk import say
from qfbatch.errors import QfbatchError
from qfbatch.service.redaction import clean_message

TRACEBACK_VARIABLE = "QFBATCH_TRACEBACK"
INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h: none of the documented outcomes

# Command → (module that defines `command`, one-line help shown in the list).
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("qfbatch.cli.run", "Run a job, or resume it."),
    "plan": ("qfbatch.cli.plan", "Show what a run would do, cost and take; no call is made."),
    "check": ("qfbatch.cli.check", "Validate job and input, then ask each model once."),
    "status": ("qfbatch.cli.status", "How a run stands, also while another process runs it."),
    "report": ("qfbatch.cli.report", "Token costs and quality of one or more runs."),
    "compare": ("qfbatch.cli.compare", "What changed between two runs, or two models of one."),
    "export": ("qfbatch.cli.export", "A run's results as one file."),
    "clean": ("qfbatch.cli.clean", "What crashed processes left in a run directory, shown or removed."),
    "serve": ("qfbatch.cli.serve", "A local server that speaks the same protocol."),
    "init": ("qfbatch.cli.init", "Write a commented job file to start from."),
    "schema": ("qfbatch.cli.schema", "Print the job file's JSON Schema, for editors."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only to run it."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run with all standard streams open: where one is closed, a socket must not take its place."""
        _open_standard_streams()
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the documentation."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported on demand; None where there is no such name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = _loaded(COMMANDS[cmd_name][0])
        if "pyarrow" in sys.modules:
            importlib.import_module("qfbatch.cli.light_start").without_pandas()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that was typed, or an error that names the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if args[0].endswith((".yaml", ".yml")):
                near = [f"qfbatch run {args[0]}"]
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command list from `COMMANDS`, without importing the commands."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an expected error becomes one message on stderr and its own exit code."""
        signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().invoke(ctx)
        except QfbatchError as error:
            say(str(error), level="error")
            ctx.exit(error.exit_code)
        except KeyboardInterrupt as interrupt:
            say("interrupted; run the same command again to go on.")
            ctx.exit(128 + (signal.SIGTERM if isinstance(interrupt, _Terminated) else signal.SIGINT))
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # the last one is `… | head`, which click ends in silence
        except Exception as error:  # whatever it is, a user gets one message and an exit code of its own
            if os.environ.get(TRACEBACK_VARIABLE):
                raise
            what = clean_message(f"{type(error).__name__}: {error}")
            say(
                f"qfbatch itself failed: {what}\nEverything committed is safe. This is a fault of qfbatch: "
                f"please report it, with what {TRACEBACK_VARIABLE}=1 prints beforehand.",
                level="error",
            )
            ctx.exit(INTERNAL_ERROR)


def _loaded(module: str) -> click.Command:
    """A command, its module imported now if it has not been."""
    if module not in sys.modules:
        with loading():
            importlib.import_module(module)
    command: click.Command = sys.modules[module].command
    return command


class _Terminated(KeyboardInterrupt):
    """SIGTERM outside a run's event loop, which handles signals itself."""


def _terminate(_signum: int, _frame: object) -> None:
    raise _Terminated


def _open_standard_streams() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open to the end
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="qfbatch")
def main() -> None:
    """Run prompts through text-completion endpoints: rate-limited, resumable, results in Parquet."""


if __name__ == "__main__":
    sys.exit(main())
