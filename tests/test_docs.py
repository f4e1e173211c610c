"""Documents that can rot are held to what they describe."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from qfbatch.job.document import json_schema

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "sample_data").glob("*.md")]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def test_the_job_schema_is_current() -> None:
    """Editors complete what the loader accepts: `qfbatch schema > docs/job.schema.json` after a change."""
    assert json_schema() == json.loads((ROOT / "docs" / "job.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    """No page refers to a file that is not there."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [] == [target for target in targets if not (page.parent / target).exists()]
