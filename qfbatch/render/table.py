"""The report for a terminal: as wide as asked and no wider; plain text where colours are not wanted."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qfbatch.render.layout import Block, Chapter, chapter
from qfbatch.render.section import Section

NARROWEST = 40
_GAP = 2  # cells between two columns
_WIDEST_HEADER = 40  # a longer model name is folded rather than given so wide a table of its own
_WIDEST_WORD = 32  # a longer word may be broken although others could give way
_SLIMMEST = 2  # cells a column keeps: what the widest character takes


def render(sections: Sequence[Section], *, width: int = 80, color: bool = False) -> str:
    """The report of these runs, in the order given; as `render_chapters`."""
    return render_chapters([chapter(section, brief=True) for section in sections], width=width, color=color)


def render_chapters(chapters: Sequence[Chapter], *, width: int = 80, color: bool = False) -> str:
    """Chapters below each other.

    Args:
        chapters: what to show, in the order given.
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
        for shown in chapters:
            _print_chapter(console, shown)
    return "".join(line.rstrip(" ") + "\n" for line in capture.get().splitlines())


def _print_chapter(console: Console, shown: Chapter) -> None:
    console.print(Text(shown.title, style="bold", overflow="fold"))
    console.print(Text(shown.state, style="green" if shown.settled else "bold yellow", overflow="fold"))
    for block in shown.blocks:
        for piece in _pieces(block, console.width):
            console.print()
            if piece.title:
                console.print(Text(piece.title, style="bold", overflow="fold"))
            places = _fitting(piece, console.width)
            console.print(_table(piece, places, console.width))
            left_out = [c.header for n, c in enumerate(piece.columns) if n not in places]
            if left_out:
                told = f"(no room for {', '.join(left_out)})"
                console.print(Text(told, style="dim", overflow="fold"))
        if block.note:
            console.print(Text(block.note, style="dim", overflow="fold"))
    console.print()


def _pieces(block: Block, width: int) -> Iterator[Block]:
    """The block, split between columns where it is divisible and too wide; each piece repeats the labels."""
    if not block.divisible:
        yield block
        return
    widths = [_natural_width(block, place, _WIDEST_HEADER) + _GAP for place in range(len(block.columns))]
    start = 1
    while start < len(block.columns):
        end, taken = start + 1, widths[0] + widths[start]
        while end < len(block.columns) and taken + widths[end] <= width + _GAP:
            taken += widths[end]
            end += 1
        yield Block(
            title=block.title,
            columns=(block.columns[0], *block.columns[start:end]),
            rows=tuple((row[0], *row[start:end]) for row in block.rows),
        )
        start = end


def _fitting(block: Block, width: int) -> list[int]:
    """Which columns are shown: all, or without the least important ones that the width does not do for."""
    places = list(range(len(block.columns)))
    needed = [_needed_width(block, place) for place in places]
    for place in sorted(places, key=lambda place: -block.columns[place].rank):
        if not block.columns[place].rank or _total(needed[kept] for kept in places) <= width:
            break
        places.remove(place)
    return places


def _widths(block: Block, places: Sequence[int], width: int) -> list[int]:
    """Cells of each column: what it would like, the widest giving way first, and words last of all."""
    widths = [_natural_width(block, place) for place in places]
    floors = [min(_needed_width(block, place), _WIDEST_WORD) for place in places]
    while _total(widths) > width:
        yielding = [n for n, taken in enumerate(widths) if taken > floors[n]]
        candidates = yielding or [n for n, taken in enumerate(widths) if taken > _SLIMMEST]
        if not candidates:
            break
        widest = max(candidates, key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _total(widths: Iterator[int] | Sequence[int]) -> int:
    taken = list(widths)
    return sum(taken) + _GAP * (len(taken) - 1)


def _natural_width(block: Block, place: int, widest_header: int = 1 << 20) -> int:
    """Cells of a column in which nothing is folded, its heading beyond `widest_header` excepted."""
    cells = max((cell_len(row[place]) for row in block.rows), default=0)
    return max(cells, min(cell_len(block.columns[place].header), widest_header), 1)


def _needed_width(block: Block, place: int) -> int:
    """Cells of a column in which no word is broken; of a number nothing."""
    if block.columns[place].number:
        return _natural_width(block, place, _WIDEST_WORD)
    texts = [block.columns[place].header, *(row[place] for row in block.rows)]
    return max((cell_len(word) for text in texts for word in text.split()), default=1)


def _table(block: Block, places: Sequence[int], width: int) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold"
    )
    for place, cells in zip(places, _widths(block, places, width), strict=True):
        column = block.columns[place]
        table.add_column(
            Text(column.header), justify="right" if column.number else "left", overflow="fold", width=cells
        )
    for row in block.rows:
        table.add_row(*(Text(row[place]) for place in places))
    return table
