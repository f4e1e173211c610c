#!/usr/bin/env python3
"""Make the pictures of the README anew.

    .venv/bin/python docs/images/make.py

From the top folder, with Chromium installed. Nothing in them is drawn by hand: the sample evaluation is run
once more, in a folder of its own, through the embedded model, at a terminal of 100 columns. What stood there
in the middle and at the end becomes `terminal.svg`; its page, as Chromium shows it, `report.png`. It
takes a few minutes.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import pyte
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COLUMNS, LINES = 100, 120  # more lines than the run writes
MIDDLE = 60  # of 120 rows: the moment of the first half of the picture
COMMAND = ("run", "jobs/eval.yaml")
END_LINES = 17  # of the summary: the rest is as long again
COLOURS = {"brown": "yellow", "brightblack": "bright_black"} | {
    name: name for name in ("red", "green", "yellow", "blue", "magenta", "cyan", "white")
}  # pyte's names, in rich's words
NARROW = {"width": 1180, "height": 1010}

# rich's own template, without the fonts it would fetch: a picture asks nobody.
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""
THEME = TerminalTheme(
    (24, 30, 40),
    (228, 232, 239),
    [
        (69, 76, 88),
        (239, 123, 114),
        (79, 174, 120),
        (232, 184, 92),
        (106, 165, 240),
        (181, 138, 230),
        (75, 184, 167),
        (228, 232, 239),
    ],
    [
        (155, 166, 182),
        (255, 150, 140),
        (110, 205, 150),
        (250, 210, 120),
        (140, 190, 255),
        (205, 165, 245),
        (105, 215, 200),
        (255, 255, 255),
    ],
)


def main() -> None:
    """Run, look twice, report, and look at the page."""
    with tempfile.TemporaryDirectory() as temporary:
        desk = Path(temporary)
        for name in ("jobs", "sample_data"):
            shutil.copytree(ROOT / name, desk / name)
        middle, end = watch(desk)
        typed = Text.assemble(("$ ", "green"), ("qfbatch " + " ".join(COMMAND), "bold"))
        more = Text("…", "dim")
        shown = [typed, *middle, Text(), more, Text(), *end[:END_LINES], more]
        (HERE / "terminal.svg").write_text(picture(shown), encoding="utf-8")
        page = desk / "page.html"
        subprocess.run(  # noqa: S603 - our own command
            qfbatch("report", "runs/eval", "--by", "topic", "--html", str(page)),
            cwd=desk,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        photograph(page, HERE / "report.png")


def qfbatch(*arguments: str) -> list[str]:
    """The command line of `qfbatch …`."""
    return [sys.executable, "-m", "qfbatch", *arguments]


def watch(desk: Path) -> tuple[list[Text], list[Text]]:
    """What stands on the terminal in the middle of the run, and at its end."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    middle: list[Text] = []
    with subprocess.Popen(  # noqa: S603 - our own command
        qfbatch(*COMMAND),
        cwd=desk,
        env={**os.environ, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        while True:
            try:
                stream.feed(os.read(ours, 65536))
            except OSError:  # the terminal's other end is closed: the run is over
                return middle, lines_of(screen)
            done = re.search(r"(\d+)/120", "\n".join(screen.display))
            if not middle and done and int(done[1]) >= MIDDLE:
                middle = lines_of(screen)


def lines_of(screen: pyte.Screen) -> list[Text]:
    """The screen's lines with their colours, up to the last one that is not empty."""
    lines = []
    for row in range(screen.lines):
        line = Text()
        for column in range(screen.columns):
            cell = screen.buffer[row][column]
            line.append(cell.data, Style(bold=cell.bold, color=COLOURS.get(cell.fg)))
        line.rstrip()
        lines.append(line)
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def picture(lines: list[Text]) -> str:
    """The lines as an SVG of a terminal."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(line, overflow="crop", no_wrap=True)
    return console.export_svg(title="qfbatch", theme=THEME, code_format=SVG, unique_id="terminal")


def photograph(page: Path, png: Path) -> None:
    """The page's beginning, as a window shows it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        window = browser.new_page(viewport=NARROW, color_scheme="light")
        window.goto(page.as_uri())
        window.screenshot(path=png)
        browser.close()


if __name__ == "__main__":
    main()
