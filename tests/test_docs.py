"""Documents that can rot are held to what they describe."""

from __future__ import annotations

import json
import re
from collections import Counter
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


def test_the_changelog_has_each_heading_once() -> None:
    """Of a version all additions stand together, and so do all changes, whoever added last."""
    versions = re.split(r"(?m)^## ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))[1:]
    for version in versions:
        headings = re.findall(r"(?m)^### .*$", version)
        assert sorted(set(headings)) == sorted(headings)


class TestTranslation:
    """README.zh-CN.md says what README.md says: what both must name is compared, the words are not."""

    ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
    CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")

    def test_both_name_the_same_commands_keys_and_files(self) -> None:
        """Commands, options, keys and files between backticks are the same, in the same number."""
        assert Counter(inline_code(self.CHINESE)) == Counter(inline_code(self.ENGLISH))

    def test_both_have_the_same_blocks_of_code(self) -> None:
        """Blocks differ in their comments alone."""
        assert without_comments(self.CHINESE) == without_comments(self.ENGLISH)

    def test_both_lead_to_the_same_places(self) -> None:
        """Links and pictures are the same, in the same order; each leads to the other language."""
        links = [[target for target, _ in LINK.findall(text)] for text in (self.CHINESE, self.ENGLISH)]
        assert [links[0][0], links[1][0]] == ["README.md", "README.zh-CN.md"]
        assert links[0][1:] == links[1][1:]

    def test_both_have_the_same_figures(self) -> None:
        """Every figure stands in both, and those that were measured in docs/performance.md."""
        assert Counter(figures(self.CHINESE)) == Counter(figures(self.ENGLISH))
        measured = self.ENGLISH.partition("## What it is good at")[2].partition("##")[0]
        page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
        assert set(figures(measured)) <= set(figures(page))


def inline_code(text: str) -> list[str]:
    """What stands between backticks outside blocks."""
    return re.findall(r"`([^`\n]+)`", prose(text))


def without_comments(text: str) -> list[str]:
    """The blocks of code, fenced or indented, without the comments at the end of their lines."""
    blocks = re.findall(r"^```.*?^```$|^ {4}\S[^\n]*$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+# .*", "", block) for block in blocks]


def figures(text: str) -> list[str]:
    """The numbers outside code and links."""
    words = re.sub(r"`[^`\n]*`|\]\([^)]*\)", "", prose(text))
    return re.findall(r"\d[\d,.]*(?<![,.])", words)
