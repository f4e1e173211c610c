"""The recipes of docs/recipes.md, run as they stand on a small run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from documents import code_blocks

from cli.desk import Desk

HALF = 6


def printed(desk: Desk, *command: str) -> str:
    """What a command prints in the desk's folder, without a network and without the user's own caches."""
    environment = {
        **desk.environment(),
        "HF_HOME": str(desk.path / "hf"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=desk.path, env=environment, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_recipe_works(desk: Desk) -> None:
    """All commands and all Python blocks run, in the order of the document, and find the run's rows."""
    prompts = [f"answer {n}" for n in range(2 * HALF - 1)] + ["{{fault: 336003}}"]
    desk.rows(
        [
            {"id": f"r{n}", "prompt": prompt, "topic": f"t{n % 2}", "reference": str(n)}
            for n, prompt in enumerate(prompts)
        ]
    )
    models = [{"name": name, "endpoint": desk.server.endpoint("echo")} for name in ("yi-34b", "pythia-6.9b")]
    desk.job(name="job.yaml", models=models, output={"path": "runs/eval"})
    assert desk.type("run", "job.yaml").code == 1

    commands = "".join(code_blocks("docs/recipes.md", "sh"))
    if shutil.which("jq") is None:
        commands = "".join(line for line in commands.splitlines(keepends=True) if "| jq" not in line)
    lines = printed(desk, "bash", "-euc", commands)
    assert lines.count('"row_id":') == 2
    text = printed(desk, sys.executable, "-c", "\n".join(code_blocks("docs/recipes.md", "python")))
    assert "invalid_request" in text  # pandas: failed rows by kind
    assert text.count(f"{4 * HALF} rows") == 2  # polars and datasets, of the exported file
    assert "'result': 'answer 0'" in text  # datasets, of the run's own files
    assert "result_yi-34b" in text  # DuckDB, of the answers side by side
