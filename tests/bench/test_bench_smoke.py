"""The measurements work: every cheap one brings figures. How large they are is not a test's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
CHEAP = ("throughput", "latencies", "quota", "resume", "start", "report")
NEED_NGINX = ("throughput", "latencies")


@pytest.mark.slow
def test_quick_mode_brings_figures(tmp_path: Path) -> None:
    """`python -m bench --quick` finds a figure for each measurement, or says what is not installed."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--out", str(tmp_path), "--only", ",".join(CHEAP)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS / "report")))},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (0, "") == (done.returncode, "" if done.returncode == 0 else done.stderr)
    found = {some["name"]: some for some in json.loads((tmp_path / "latest.json").read_bytes())["measured"]}
    assert set(CHEAP) == set(found)
    for name, some in found.items():
        if some["missing"]:
            assert name in NEED_NGINX, some["missing"]
            assert "apt install" in some["missing"]
        else:
            assert all(figure["value"] >= 0 for figure in some["figures"])
            assert some["figures"]
            assert name in done.stdout
