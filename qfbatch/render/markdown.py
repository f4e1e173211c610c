"""The report for pages and pull requests: headings and GitHub tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qfbatch.render.layout import Block, Chapter, Column, chapter
from qfbatch.render.section import Section

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#])")  # what GitHub would read as markup inside a cell


def render(sections: Sequence[Section]) -> str:
    """The report of these runs, in the order given."""
    return render_chapters([chapter(section) for section in sections])


def render_chapters(chapters: Sequence[Chapter]) -> str:
    """Chapters below each other."""
    return "\n".join(line for shown in chapters for line in _chapter(shown))


def _chapter(shown: Chapter) -> list[str]:
    text = [f"## {_plain(shown.title)}", "", _plain(shown.state), ""]
    for block in shown.blocks:
        if block.title:
            text += [f"### {_plain(block.title)}", ""]
        text += [*_table(block), ""]
    return text


def _table(block: Block) -> list[str]:
    return [
        _row([column.header for column in block.columns]),
        "|" + "|".join(_rule(column) for column in block.columns) + "|",
        *(_row(row) for row in block.rows),
    ]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _rule(column: Column) -> str:
    return " ---: " if column.number else " --- "


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
