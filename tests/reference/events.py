"""The events of a run, from their classes."""

from __future__ import annotations

from typing import get_args

from msgspec.structs import fields

from qfbatch.limits.gate import GateStatistics
from qfbatch.outlook import Outlook
from qfbatch.progress import events
from qfbatch.tally import Standing
from reference.markdown import attributes, code, first_sentence, table

INTRODUCTION = """\
What an observer is called with ([from Python](../python.md#observers)): frozen values, in the order in
which things happen; the first is `RunStarted` (before it only `Surveyed`), the last `RunEnded`. The event
file of a run holds most of them, some joined: [events.jsonl](../progress.md#eventsjsonl)."""


def page() -> str:
    """Every event, then the values that events hold."""
    blocks = [
        INTRODUCTION,
        *(_block(event) for event in get_args(events.Event)),
        "## Within events",
        *(_block(value, "###") for value in (Standing, Outlook, GateStatistics)),
    ]
    return "\n\n".join(blocks)


def _block(struct: type, level: str = "##") -> str:
    told = attributes(struct)
    rows = [
        [code(field.name), code(_type(struct, field.name)), told.get(field.name, "")]
        for field in fields(struct)
    ]
    head = f"{level} {struct.__name__}\n\n{first_sentence(struct)}."
    return f"{head}\n\n{table(['field', 'type', ''], rows)}" if rows else head


def _type(struct: type, name: str) -> str:
    for base in struct.__mro__:
        if name in getattr(base, "__annotations__", {}):
            return str(base.__annotations__[name])
    raise LookupError(name)
