"""`qfbatch report` on real run directories."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from report_runs import failed, frame, succeeded, write_run

from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.lock import RunLock
from qfbatch.cli.main import main
from qfbatch.render import json_text
from qfbatch.render.section import section
from qfbatch.reporting.summary import summarise

MODELS = ("yi-34b", "pythia-6.9b")
ROWS = [
    *(succeeded(n, model) for n in range(6) for model in MODELS if (n, model) != (1, "yi-34b")),
    failed(1, is_safe=False),
]
JOB = """\
name: eval
input: {path: prompts.jsonl, prompt: prompt}
service: {base_url: local}
models:
  - {name: yi-34b, endpoint: scripted}
output: {path: runs/eval}
"""


def report(*arguments: str | Path) -> Result:
    """The command's outcome, its exceptions let through."""
    return CliRunner().invoke(main, ["report", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A complete run of six rows and two models, one row failed."""
    return write_run(tmp_path / "eval", ROWS, rows=6, models=MODELS)


def test_a_run_directory_needs_little(run: Path) -> None:
    """A report loads nothing for job files or event loops, and never searches what it loads for garbage."""
    code = (
        "import gc, sys\n"
        "from qfbatch.cli.main import main\n"
        "main(['report', sys.argv[1]], standalone_mode=False)\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 10_000, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, run], capture_output=True, text=True, check=True, timeout=60
    )
    searching, frozen, *loaded = done.stdout.splitlines()[-1].split()
    assert ("True", "True") == (searching, frozen)
    assert "polars" in loaded
    assert set() == set(loaded) & {"asyncio", "pandas", "pydantic", "tqdm", "yaml"}


def test_figures_are_those_of_the_results(run: Path) -> None:
    """The JSON report holds the figures of the very records that were committed, and where they come from."""
    result = report(run, "--format", "json", "--by", "topic")
    assert result.exit_code == 0
    summary = summarise(frame(ROWS), by=["topic"])
    expected = section("eval", str(run), summary, models=MODELS, rows=6)
    assert result.stdout == json_text.render([expected])
    assert expected.complete


@pytest.mark.parametrize("close", [True, False], ids=["closed shards", "open journals"])
def test_a_partial_run_is_not_reported_as_complete(tmp_path: Path, close: bool) -> None:  # noqa: FBT001
    """Rows still missing are counted out, whether what is there lies in parts or in journals."""
    write_run(tmp_path / "eval", ROWS[:5], rows=6, models=MODELS, close=close)
    result = report(tmp_path / "eval")
    assert result.exit_code == 0
    assert "PARTIAL: 5 of 12 rows have ended (yi-34b 2 of 6, pythia-6.9b 3 of 6)." in result.stdout
    assert json.loads((tmp_path / "eval" / "report.json").read_text())["runs"][0]["complete"] is False


def test_a_run_that_goes_on_says_so(run: Path) -> None:
    """A report taken while a process holds the run is one of the moment, and read without its lock."""
    assert "A process is working on it." not in report(run).stdout
    with RunLock.acquire(RunLayout(run)):
        result = report(run)
    assert 0 == result.exit_code
    assert "Complete: 12 of 12 rows have ended. A process is working on it." in result.stdout


def test_a_run_without_a_row_yet(tmp_path: Path) -> None:
    """A run that was only just started says so, rather than showing a page of zeros."""
    result = report(write_run(tmp_path / "eval", [], rows=6))
    assert result.exit_code == 0
    assert result.stdout.endswith("PARTIAL: 0 of 6 rows have ended. There are no figures yet.\n\n")


def test_several_runs_have_a_section_each(run: Path, tmp_path: Path) -> None:
    """In the order given, in every format."""
    other = write_run(tmp_path / "other", ROWS[:2], rows=6, models=MODELS, job={"name": "other"})
    assert [r["name"] for r in json.loads(report(other, run, "--format", "json").stdout)["runs"]] == [
        "other",
        "eval",
    ]
    rows = list(csv.DictReader(io.StringIO(report(other, run, "--format", "csv").stdout)))
    assert [row["run"] for row in rows] == ["other", "other", "eval", "eval"]
    assert re.findall("^## [a-z]+", report(other, run, "--format", "markdown").stdout, re.MULTILINE) == [
        "## other",
        "## eval",
    ]


def test_the_last_report_stays_with_the_run(run: Path) -> None:
    """Whatever the format shown, the directory keeps the JSON of that run."""
    result = report(run, "--format", "csv")
    assert result.exit_code == 0
    assert report(run, "--format", "json").stdout == (run / "report.json").read_text(encoding="utf-8")
    assert list(run.glob(".tmp-*")) == []


def test_a_directory_that_may_only_be_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report is shown all the same and nothing is written."""
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    result = report(run)
    assert (result.exit_code, result.stderr) == (0, "")
    assert not (run / "report.json").exists()


def test_a_report_that_cannot_be_kept_is_a_note(run: Path) -> None:
    """A write that fails is said on stderr and spoils neither the report nor the exit code."""
    (run / "report.json").mkdir()
    result = report(run)
    assert result.exit_code == 0
    assert "Complete: 12 of 12 rows" in result.stdout
    assert result.stderr.startswith("note: the report was not kept: ")


def test_a_job_file_stands_for_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same figures by the job file as by the directory it writes to."""
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(JOB, encoding="utf-8")
    write_run(Path("runs/eval"), ROWS, rows=6, models=MODELS)
    assert report("runs/eval", "--format", "json").stdout == report("job.yaml", "--format", "json").stdout


def test_what_cannot_be_reported_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wrong target is one message with the next step, exit code 2."""
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(JOB, encoding="utf-8")
    Path("empty").mkdir()
    Path("data.csv").touch()
    for target, message, step in (
        (
            "job.yaml",
            "job.yaml: this job has not been run yet: runs/eval holds no run",
            "qfbatch run job.yaml",
        ),
        ("empty", "empty: no run in this directory (it has no manifest.json)", "runs/<name>"),
        ("nowhere", "nowhere: there is no such run directory or job file", "runs/<name>"),
        ("data.csv", "data.csv: neither a run directory nor a job file (.yaml, .yml)", "runs/<name>"),
        ("nowhere.yaml", "nowhere.yaml: 1 problem", "qfbatch init"),
    ):
        result = report(target)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"error: {message}" in result.stderr
        assert step in result.stderr


def test_an_unknown_column_names_the_nearest(run: Path) -> None:
    """A slip in --by is a usage error, and nothing is kept of it."""
    result = report(run, "--by", "topc")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Did you mean topic?" in result.stderr
    assert not (run / "report.json").exists()


def test_in_a_process_of_its_own(run: Path) -> None:
    """Piped, and the locale not UTF-8: plain UTF-8 text of at most 80 columns on stdout alone."""
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1"}
    environ.pop("COLUMNS", None)
    done = subprocess.run(
        [sys.executable, "-m", "qfbatch", "report", str(run), "--by", "topic"],
        env=environ,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode("utf-8")
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "Complete: 12 of 12 rows have ended." in text


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_on_a_terminal(run: Path, no_color: str, coloured: bool) -> None:  # noqa: FBT001
    """Colours on a terminal, unless NO_COLOR is set; and never in a file beside it."""
    import pty  # noqa: PLC0415 - Unix only

    ours, theirs = pty.openpty()
    environ = {**os.environ, "NO_COLOR": no_color, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        [sys.executable, "-m", "qfbatch", "report", str(run)], stdout=theirs, stderr=theirs, env=environ
    ) as process:
        os.close(theirs)
        seen = b""
        while chunk := _read(ours):
            seen += chunk
    os.close(ours)
    assert process.returncode == 0
    assert coloured is (b"\x1b[" in seen)
    assert "Complete: 12 of 12 rows have ended." in seen.decode("utf-8")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other end is closed
        return b""
