"""Commands and options as click knows them, and the make targets."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

from qfbatch.cli.main import COMMANDS
from reference.markdown import code, table

MAKEFILE = Path(__file__).resolve().parents[2] / "Makefile"

INTRODUCTION = """\
`qfbatch COMMAND --help` says the same. Data goes to stdout, all else to stderr. How each command can end:
[exit codes](errors.md#exit-codes)."""


def command_named(name: str) -> click.Command:
    """A command of `qfbatch`."""
    command: click.Command = import_module(COMMANDS[name][0]).command
    return command


def make_targets() -> dict[str, str]:
    """The targets of the Makefile that are for people, with what they say of themselves."""
    return dict(re.findall(r"^([a-z-]+):.*## (.*)$", MAKEFILE.read_text(encoding="utf-8"), re.MULTILINE))


def page() -> str:
    """All commands, then the make targets."""
    index = "\n".join(f"- [`qfbatch {name}`](#qfbatch-{name}): {COMMANDS[name][1]}" for name in COMMANDS)
    targets = table(["target", ""], ([code(f"make {name}"), text] for name, text in make_targets().items()))
    return "\n\n".join(
        [
            INTRODUCTION,
            index,
            *(_section(name) for name in COMMANDS),
            "## make",
            "In a checkout; each target installs what it needs.",
            targets,
        ]
    )


def _section(name: str) -> str:
    command = command_named(name)
    context = click.Context(command, info_name=f"qfbatch {name}")
    usage = command.get_usage(context).removeprefix("Usage: ")
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    told = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    options = [
        [", ".join(code(opt) for opt in _names(option)), option.help or "", _values(option), _default(option)]
        for option in command.get_params(context)
        if isinstance(option, click.Option) and "--help" not in option.opts
    ]
    parts = [f"## qfbatch {name}", f"```text\n{' '.join(usage.split())}\n```", told]
    return "\n\n".join([*parts, *([table(["option", "", "value", "default"], options)] if options else [])])


def _names(option: click.Option) -> list[str]:
    return [*option.opts, *option.secondary_opts]


def _values(option: click.Option) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.type, click.Choice):
        return ", ".join(code(choice) for choice in option.type.choices)
    if isinstance(option.type, click.IntRange | click.FloatRange):
        return ", ".join([*([option.metavar.strip("[]")] if option.metavar else []), *_bounds(option.type)])
    return option.metavar.strip("[]") if option.metavar else option.type.name


def _bounds(span: click.IntRange | click.FloatRange) -> Iterator[str]:
    if span.min is not None:
        yield f"{'>' if span.min_open else '≥'} {span.min:g}"
    if span.max is not None:
        yield f"{'<' if span.max_open else '≤'} {span.max:g}"


def _default(option: click.Option) -> str:
    if not option.show_default or option.is_flag:
        return ""
    return code(f"{option.default:g}" if isinstance(option.default, float) else option.default)
