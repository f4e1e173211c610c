"""Code blocks of the documentation, for tests that run them: what a document shows must work as it stands."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```(?P<language>[a-z]+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def code_blocks(document: str, language: str) -> list[str]:
    """The blocks of one language in a document of the project, in their order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [block["code"] for block in _BLOCK.finditer(text) if block["language"] == language]
