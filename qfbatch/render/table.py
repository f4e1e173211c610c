"""The report for a terminal: as wide as asked and no wider; plain text where colours are not wanted."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from qfbatch.render.layout import Block, blocks, state, title
from qfbatch.render.section import Section

NARROWEST = 40
_PADDING = 2  # cells that the box and the gap between columns take, per column
_UNBOUND = 100_000  # wider than any table
_WIDEST_MODEL = 24  # a longer model name is folded rather than given a table of its own


def render(sections: Sequence[Section], *, width: int = 80, color: bool = False) -> str:
    """The report of these runs, in the order given.

    Args:
        sections: the runs.
        width: cells a line may take; at least `NARROWEST` are used.
        color: style with escape sequences; otherwise the text holds none.
    """
    console = Console(
        file=io.StringIO(),
        width=max(width, NARROWEST),
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        _environ={},  # the caller has decided; NO_COLOR, COLUMNS and the like must not decide again
    )
    with console.capture() as capture:
        for section in sections:
            _print_section(console, section)
    return "".join(line.rstrip(" ") + "\n" for line in capture.get().splitlines())


def _print_section(console: Console, section: Section) -> None:
    console.print(Text(title(section), style="bold", overflow="fold"))
    console.print(Text(state(section), style="green" if section.complete else "bold yellow", overflow="fold"))
    for block in blocks(section):
        for piece in _pieces(block, console.width):
            console.print()
            if piece.title:
                console.print(Text(piece.title, style="bold", overflow="fold"))
            console.print(_fitting(piece, console))
    console.print()


def _pieces(block: Block, width: int) -> Iterator[Block]:
    """The block, split between columns where it is divisible and too wide; each piece repeats the labels."""
    if not block.divisible:
        yield block
        return
    widths = [_natural_width(block, place) + _PADDING for place in range(len(block.columns))]
    start = 1
    while start < len(block.columns):
        end, taken = start + 1, widths[0] + widths[start]
        while end < len(block.columns) and taken + widths[end] <= width + _PADDING:
            taken += widths[end]
            end += 1
        yield Block(
            title=block.title,
            columns=(block.columns[0], *block.columns[start:end]),
            rows=tuple((row[0], *row[start:end]) for row in block.rows),
        )
        start = end


def _natural_width(block: Block, place: int) -> int:
    cells = max((cell_len(row[place]) for row in block.rows), default=0)
    return max(cells, min(cell_len(block.columns[place].header), _WIDEST_MODEL))


def _fitting(block: Block, console: Console) -> Table:
    """The block with all columns, or only the essential ones where all do not fit."""
    whole = _table(block, range(len(block.columns)))
    unbound = console.options.update(max_width=_UNBOUND)
    if Measurement.get(console, unbound, whole).maximum <= console.width:
        return whole
    return _table(block, [place for place, column in enumerate(block.columns) if column.essential])


def _table(block: Block, places: Sequence[int]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold"
    )
    for place in places:
        column = block.columns[place]
        table.add_column(Text(column.header), justify="right" if column.number else "left", overflow="fold")
    for row in block.rows:
        table.add_row(*(Text(row[place]) for place in places))
    return table
