"""A disk that takes no more: the run stops with exit 4, keeps what was committed, and resumes."""

from __future__ import annotations

from pathlib import Path

from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.results import scan_results

from .running import run_child
from .test_kills import assert_complete, assert_nothing_paid_twice


def test_full_disk_while_a_journal_grows(tmp_path: Path) -> None:
    """A journal that can't grow stops the run; committed rows are readable and not asked again."""
    run = tmp_path / "run"
    full = run_child(run, file_limit=9_000)
    assert full.code == 4
    assert len(full.errors) == 1
    assert "journal/" in full.errors[0]
    assert "Make room" in full.errors[0]
    readable = scan_results(RunLayout(run)).select("model", "row_id").collect()
    assert set(full.committed) <= {" ".join(row) for row in readable.rows()}
    resumed = run_child(run)
    assert (resumed.code, resumed.notes) == (0, [])
    assert_complete(run)
    assert_nothing_paid_twice([full, resumed])


def test_full_disk_while_a_part_is_merged(tmp_path: Path) -> None:
    """A part that can't be written leaves the older part and the journal, and the next run merges them."""
    run = tmp_path / "run"
    assert run_child(run, first=36).code == 0
    before = {path: path.read_bytes() for path in run.glob("results/*")}
    full = run_child(run, file_limit=6_000)
    assert full.code == 4
    assert "results/part-" in full.errors[0]
    assert {path: path.read_bytes() for path in run.glob("results/*")} == before
    assert list(run.glob("journal/*.journal"))
    resumed = run_child(run)
    assert resumed.code == 0
    assert not set(full.committed) & set(resumed.asked)
    assert_complete(run)
