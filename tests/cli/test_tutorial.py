"""docs/tutorial.md, whole: each command is run, each output compared with what is shown."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import ROOT
from scripted import ScriptedServer

TIMEOUT_S = 110
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(sh|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Two prompts, one at a time, are enough to interrupt and resume: a make target stands for its last command.
PROMPTS = 2
SLOWLY = " --concurrency 1"
MAKE = {
    "make run": (["qfbatch serve --fetch-model", "qfbatch run jobs/eval.yaml"], SLOWLY),
    "make report": (["qfbatch report jobs/eval.yaml"], ""),
}


class Terminal:
    """A folder with the checkout's data, and what is typed there."""

    def __init__(self, path: Path, server: ScriptedServer) -> None:
        self.path = path
        keys = {"QIANFAN_ACCESS_KEY": "tutorial-access-key", "QIANFAN_SECRET_KEY": "tutorial-secret-key"}
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("QIANFAN_")},
            **keys,
            "QIANFAN_YI_34B_ENDPOINT": "echo",
            "QIANFAN_BASE_URL": server.base_url,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "80",
        }

    def type(self, commands: str) -> str:
        """Run the lines of a block; returns stdout and stderr as they came."""
        script = "\n".join(self._lines(commands))
        process = subprocess.Popen(
            ["bash", "-euc", f"{script}\n"],
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            if "Ctrl-C" in commands:
                self._wait_for_a_row("runs/eval/journal", process)
                os.killpg(process.pid, signal.SIGINT)
            out, _ = process.communicate(timeout=TIMEOUT_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        assert process.returncode == (130 if "Ctrl-C" in commands else 0), out
        return out.replace(SLOWLY, "")

    def _lines(self, commands: str) -> Iterator[str]:
        for line in commands.splitlines():
            command = line.partition("    #")[0].strip()
            if command in MAKE:
                does, option = MAKE[command]
                assert does == said_by_make(command)
                yield f"exec {does[-1]}{option}" if "Ctrl-C" in line else does[-1] + option
            elif not line.startswith("export "):  # the test's environment has what is exported there
                yield line

    def _wait_for_a_row(self, journals: str, process: subprocess.Popen[str]) -> None:
        until = time.monotonic() + TIMEOUT_S
        while not any(b'"row_id"' in path.read_bytes() for path in (self.path / journals).glob("*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)


def said_by_make(command: str) -> list[str]:
    """The qfbatch commands behind a make target, without the virtual environment's path."""
    done = subprocess.run(
        [*command.split(), "--dry-run", "--old-file=.venv/.local"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.strip().removeprefix(".venv/bin/") for line in done.stdout.splitlines())
    return [line for line in lines if line.startswith("qfbatch ")]


def masked(text: str) -> list[str]:
    """The lines of an output without what differs from run to run: figures, and the widths they make."""
    lines = (" ".join(re.sub(r"[\d.,:~]*\d[\d.,:]*", "N", line).split()) for line in text.splitlines())
    return [line for line in lines if line]


def shows(shown: str, printed: str) -> bool:
    """Whether the shown lines were printed, one after the other; an ellipsis stands for anything."""
    pattern = "\n".join(
        r"(?:.*\n)*?.*" if line == "…" else re.escape(line).replace("…", ".*") for line in masked(shown)
    )
    return re.search(f"^{pattern}$", "\n".join(masked(printed)), re.MULTILINE) is not None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_tutorial_works(tmp_path: Path) -> None:
    """All its blocks run in their order in one folder, and print what the page shows below them."""
    for folder in ("jobs", "sample_data"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    prompts = tmp_path / "sample_data" / "prompts.en.jsonl"
    lines = prompts.read_text(encoding="utf-8").splitlines(keepends=True)
    prompts.write_text("".join(lines[:PROMPTS]), encoding="utf-8")
    wrong = []
    with ScriptedServer() as server:
        terminal = Terminal(tmp_path, server)
        printed = ""
        for language, block in BLOCK.findall(PAGE):
            if language == "sh":
                printed = terminal.type(block)
            elif language == "python":
                printed = terminal.type(f"python - <<'END'\n{block}END")
            elif not shows(block, printed):
                wrong.append(f"shown:\n{block}\nprinted:\n{printed}")
    assert not wrong, "\n".join(wrong)


def test_shown_output_is_compared() -> None:
    """Figures may differ from what is shown, words may not, and an ellipsis stands for any lines."""
    printed = "10:42:01 run runs/eval: 4 rows\nsome\nmore\ncomplete: 4 succeeded\n"
    assert shows("… run runs/eval: 120 rows\n…\ncomplete: 120 succeeded\n", printed)
    assert not shows("… run runs/eval: 120 rows\ncomplete: 120 succeeded\n", printed)
    assert not shows("complete: 120 failed\n", printed)
