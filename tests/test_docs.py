"""Documents that can rot are held to what they describe."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from documents import ROOT, anchors, prose

from qfbatch.job.document import json_schema

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "sample_data").glob("*.md")]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")


def test_the_job_schema_is_current() -> None:
    """Editors complete what the loader accepts: `make docs` after a change."""
    assert json_schema() == json.loads((ROOT / "docs" / "job.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    """No page refers to a file that is not there, or to a heading that its page does not have."""
    wrong = []
    for target, anchor in LINK.findall(prose(page.read_text(encoding="utf-8"))):
        aim = page.parent / target if target else page
        if not aim.exists() or (anchor and anchor not in anchors(aim.read_text(encoding="utf-8"))):
            wrong.append(f"{target}#{anchor}" if anchor else target)
    assert wrong == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_every_page_can_be_found(page: Path) -> None:
    """Each page below docs/ is linked from an index: docs/README.md or the one in its folder."""
    indexes = {ROOT / "docs" / "README.md", page.parent / "README.md"}
    found = {
        (index.parent / target).resolve()
        for index in indexes
        for target, _ in LINK.findall(index.read_text(encoding="utf-8"))
    }
    assert page in found | {ROOT / "docs" / "README.md"}
