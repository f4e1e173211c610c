"""What stands in the documentation, for tests: what a page shows must work as it stands."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```(?P<language>[a-z]+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)


def code_blocks(document: str, language: str) -> list[str]:
    """The blocks of one language in a document of the project, in their order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [block["code"] for block in _BLOCK.finditer(text) if block["language"] == language]


def prose(text: str) -> str:
    """A document without its blocks of code."""
    return _FENCED.sub("", text)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives a document's headings: lower case, no punctuation, hyphens for blanks."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(text)):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        later = (f"{name}-{number}" for number in itertools.count(1))
        found.add(next(anchor for anchor in itertools.chain([name], later) if anchor not in found))
    return found
