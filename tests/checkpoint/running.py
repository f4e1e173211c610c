"""Starting `child` and reading what it said before its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from qfbatch.checkpoint.faultpoints import VARIABLE

PACKAGE = __package__ or "checkpoint"
ROOT = Path(__file__).parents[len(PACKAGE.split("."))]
HANG_S = 100.0  # only a hang takes so long


class Said(NamedTuple):
    """What a child said: rows as "<model> <row_id>"."""

    code: int
    asked: list[str]
    committed: list[str]
    notes: list[str]
    errors: list[str]


def start(run: Path, *, fault: str = "", **options: Any) -> subprocess.Popen[str]:
    """Start a child on a run directory."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), VARIABLE: fault}
    command = [sys.executable, "-m", f"{PACKAGE}.child", str(run), msgspec.json.encode(options).decode()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> Said:
    """Wait for a child's end and sort what it said."""
    try:
        out, _ = process.communicate(timeout=HANG_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    lines = [line.partition(" ")[::2] for line in out.splitlines()]
    by_word = [[text for word, text in lines if word == w] for w in ("asked", "committed", "note", "error")]
    return Said(process.returncode, *by_word)


def run_child(run: Path, *, fault: str = "", **options: Any) -> Said:
    """Run a child to its end, natural or not."""
    return finish(start(run, fault=fault, **options))
