"""A change of the input, killed anywhere, is either not begun or complete after the next start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qfbatch.checkpoint import faultpoints
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.results import scan_results
from qfbatch.checkpoint.succession import Succession
from resume.runs import begin_run, make_job, write_rows

CHILD = Path(__file__).with_name("child.py")
POINTS = [
    "part.before-rename:2",
    "part.before-unlink",
    "manifest.before-rename",
    *(name for name in faultpoints.NAMES if name.startswith("succession.")),
    "succession.moved:2",
]


def accept(folder: Path, fault: str = "") -> int:
    """Accept the change in a child process; its exit code."""
    environment = {**os.environ, faultpoints.VARIABLE: fault}
    return subprocess.run([sys.executable, str(CHILD), str(folder)], env=environment, check=False).returncode


@pytest.mark.parametrize("fault", POINTS)
def test_a_kill_during_the_change_loses_no_answer(tmp_path: Path, fault: str) -> None:
    """Killed at any point of the change, the next start ends with the same results as one never killed."""
    rows = [{"prompt": f"p{n}", "topic": n} for n in range(12)]
    write_rows(tmp_path / "rows.jsonl", rows)
    job = make_job(tmp_path)
    layout, _ = begin_run(job, {("one", n) for n in range(0, 12, 2)} | {("two", n) for n in range(5)})
    write_rows(tmp_path / "rows.jsonl", [{"prompt": "new", "topic": 0}, *rows[3:]])

    killed = accept(tmp_path, fault)
    finished = accept(tmp_path)

    assert (-9, 0) == (killed, finished)
    results = scan_results(layout).sort("model", "source_row").collect()
    expected = [("one", f"p{n}", n - 1) for n in range(4, 12, 2)] + [("two", f"p{n}", n - 1) for n in (3, 4)]
    assert expected == list(results.select("model", "prompt", "source_row").iter_rows())
    assert not (layout.path / "next").exists()


def test_an_unfinished_generation_is_thrown_away(tmp_path: Path) -> None:
    """What was not complete when the process died is not taken for results."""
    layout = RunLayout(tmp_path)
    succession = Succession(layout)
    succession.begin()
    (succession.next.results / "part-x-000000.parquet").write_bytes(b"half")

    assert not succession.finish()
    assert not succession.next.path.exists()
