"""Tables and code in Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

_OUTSIDE_CODE = re.compile(r"<(?=[^`]*(?:`[^`]*`[^`]*)*$)")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what stands in its cells may be Markdown itself, but no HTML."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return _OUTSIDE_CODE.sub("&lt;", text.replace("|", "\\|"))


def code(text: object) -> str:
    """A text as code; nothing for no text."""
    return f"`{text}`" if text not in {None, ""} else ""


def first_sentence(documented: type) -> str:
    """The first paragraph of a class's docstring on one line, without its full stop."""
    text = inspect.getdoc(documented) or ""
    return re.sub(r"\s+", " ", text.partition("\n\n")[0]).removesuffix(".")


def attributes(documented: type) -> dict[str, str]:
    """What the `Attributes:` of a class's docstring say, by name; `a, b: …` says it of both."""
    section = (inspect.getdoc(documented) or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {
        name.strip(): re.sub(r"\s+", " ", words).strip().removesuffix(".")
        for names, words in entries
        for name in names.split(",")
    }
