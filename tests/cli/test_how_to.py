"""The scripts of docs/how-to/, run as they stand on a small run."""

from __future__ import annotations

import subprocess
import sys

from documents import ROOT, code_blocks

from cli.desk import Desk


def test_every_script_works(desk: Desk) -> None:
    """All Python blocks run, and find the run's rows."""
    rows = [{"id": f"r{n}", "prompt": f"answer {n}", "topic": "t", "reference": str(n)} for n in range(4)]
    desk.rows([*rows[:3], {**rows[3], "reference": "another answer"}])
    models = [{"name": name, "endpoint": desk.server.endpoint("echo")} for name in ("yi-34b", "pythia-6.9b")]
    scorers = [{"scorer": "contains", "whole_words": True, "normalise": ["case", "whitespace"]}]
    desk.job(name="job.yaml", models=models, output={"path": "runs/eval"}, evaluation=scorers)
    ran = desk.type("run", "job.yaml")
    assert ran.code == 0
    assert "Scores (95 % interval)" in ran.out
    assert desk.type("export", "job.yaml", "scored.parquet", "--scores").code == 0

    pages = sorted((ROOT / "docs" / "how-to").glob("*.md"))
    scripts = "\n".join(
        block for page in pages for block in code_blocks(str(page.relative_to(ROOT)), "python")
    )
    done = subprocess.run(
        [sys.executable, "-c", scripts],
        capture_output=True,
        text=True,
        check=False,
        cwd=desk.path,
        env=desk.environment(),
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "8 succeeded, 0 failed" in done.stdout  # python.md: the run was complete
    wrong = done.stdout.partition("another answer")[2].count("another answer") + 1
    assert wrong == len(models)  # score.md: echoes hold their reference, but for one row of each model
