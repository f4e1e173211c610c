"""The report for programs: one JSON document, its structure versioned (docs/report.md describes it).

Numbers are whole (no rounding, no units in text), moments ISO 8601 in UTC, what is not known is null; NaN and
infinities do not occur.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from qfbatch.render.section import Section

FORMAT_VERSION = 1  # raised when a key goes or changes its meaning; a new key does not raise it


class Document(Struct, frozen=True):
    """The whole document."""

    format_version: int
    runs: tuple[Section, ...]


def render(sections: Sequence[Section]) -> str:
    """The report of these runs, in the order given, with a newline at its end."""
    document = Document(FORMAT_VERSION, tuple(sections))
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"
