"""Scores at the commands: asked for by the job, in every format, as a gate, in an export, and on the page."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result
from report_runs import failed, succeeded, write_run

from qfbatch.cli.main import main

JOB = """\
name: eval
input: {path: prompts.jsonl, prompt: prompt}
models: [{name: yi-34b, endpoint: e}, {name: pythia, endpoint: e}]
output: {path: run}
"""
SCORERS = """\
evaluation:
  - {scorer: exact_match, reference: topic}
  - {scorer: "my_own:judge"}
"""
OWN = """\
def judge(answer, reference, row):
    if row["row_id"] == "q3":
        raise LookupError("no entry")
    return len(answer)
"""


NOTING = """\
def judge(answer, reference, row):
    with open("judged", "a") as file:
        file.write(f"{row['row_id']} of {row['model']}\\n")
    return 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run that asked for nothing, with its job file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = [
        succeeded(n, model, result=("math" if (n % 2 == 0) or model == "yi-34b" else "sport"))
        for model in ("yi-34b", "pythia")
        for n in range(7)
    ]
    write_run(tmp_path / "run", [*rows, failed(7), failed(7, "pythia")], rows=8, models=("yi-34b", "pythia"))
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path


def typed(*arguments: str) -> Result:
    """What `qfbatch …` comes to."""
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def scores_of(result: Result) -> Any:
    """The scores of the first run in a JSON report."""
    return json.loads(result.stdout)["runs"][0]["scores"]


def test_nothing_is_scored_unless_asked(folder: Path) -> None:
    """A job without `evaluation` has no scores, in no format."""
    assert scores_of(typed("report", "job.yaml", "--format", "json")) is None
    for form in ("table", "csv", "markdown"):
        assert "score" not in typed("report", "run", "--format", form).stdout.lower()


def test_a_complete_run_is_scored_afterwards(folder: Path) -> None:
    """Scorers added to the job file of a finished run score it; the run directory keeps what it had."""
    (folder / "job.yaml").write_text(JOB + "evaluation: [{scorer: exact_match, reference: topic}]\n")
    scores = scores_of(typed("report", "job.yaml", "--format", "json"))
    means = {score["model"]: (score["mean"], score["scored"], score["failed"]) for score in scores["models"]}
    assert {"yi-34b": (0.571428571429, 7, 1), "pythia": (0.571428571429, 7, 1)} == means
    assert scores_of(typed("report", "run", "--format", "json")) is None


def test_every_format_has_them(folder: Path) -> None:
    """Tables and Markdown show mean, interval and what is not scored; CSV has a column for each."""
    (folder / "job.yaml").write_text(JOB + "evaluation: [{scorer: exact_match, reference: topic}]\n")
    table = typed("report", "job.yaml", "--by", "topic").stdout
    for text in (
        "Scores (95 % interval)",
        "0.571  0.250 to 0.842",
        "1 failed",
        "Scores by topic",
        "Model against",
    ):
        assert text in table
    assert "| exact\\_match | yi-34b | 0.571 | 0.250 to 0.842 | 7 of 8 | 1 failed |" in (
        typed("report", "job.yaml", "--format", "markdown").stdout
    )
    by_topic = csv.DictReader(
        typed("report", "job.yaml", "--format", "csv", "--by", "topic").stdout.splitlines()
    )
    found = {(row["model"], row["by_topic"]): row["score_exact_match"] for row in by_topic}
    expected = {("yi-34b", "history"): "0.0", ("yi-34b", "math"): "1.0"}
    assert expected == {key: mean for key, mean in found.items() if key[0] == "yi-34b"}


def test_own_scorers_run_for_a_job_file_alone(folder: Path) -> None:
    """Named by the job file they run, and a failure exits 1 after the whole report; a directory runs none."""
    (folder / "job.yaml").write_text(JOB + SCORERS)
    (folder / "my_own.py").write_text(OWN)
    result = typed("report", "job.yaml", "--format", "json")
    assert 1 == result.exit_code
    assert "judge failed on 2 rows, first on q3 of pythia: LookupError: no entry" in result.stderr
    own = [score for score in scores_of(result)["models"] if score["scorer"] == "judge"]
    assert [(6, 1, 1), (6, 1, 1)] == [(score["scored"], score["failed"], score["errors"]) for score in own]
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    manifest["job"]["evaluation"] = [{"scorer": "my_own:judge", "name": "judge"}]
    (folder / "run" / "manifest.json").write_text(json.dumps(manifest))
    from_directory = typed("report", "run", "--format", "json")
    assert (0, ["judge"], []) == (
        from_directory.exit_code,
        scores_of(from_directory)["not_run"],
        scores_of(from_directory)["models"],
    )
    assert "judge was not run" in from_directory.stderr


@pytest.mark.parametrize(
    ("gate", "code", "said"),
    [
        ("exact_match=0.571", 0, ""),
        ("exact_match=0.6", 1, "--min-score exact_match=0.6: yi-34b has 0.571 (7 rows scored)"),
        ("exact_mtch=0.6", 2, "Did you mean exact_match?"),
        ("exact_match", 2, "no scorer's name with a number"),
        ("exact_match=nan", 2, "no scorer's name with a number"),
    ],
)
def test_the_gate(folder: Path, gate: str, code: int, said: str) -> None:
    """Each model has to reach the mean; what cannot be asked is a usage error."""
    (folder / "job.yaml").write_text(JOB + "evaluation: [{scorer: exact_match, reference: topic}]\n")
    result = typed("report", "job.yaml", "--min-score", gate)
    assert code == result.exit_code
    assert said in result.stderr


def test_scores_row_by_row(folder: Path) -> None:
    """An export with scores has a column for each scorer, so that the worst rows can be found."""
    (folder / "job.yaml").write_text(JOB + "evaluation: [{scorer: exact_match, reference: topic}]\n")
    assert 0 == typed("export", "job.yaml", "rows.parquet", "--scores", "--model", "pythia").exit_code
    rows = pl.read_parquet("rows.parquet").sort("source_row")
    assert [1, 0, 1, 0, 1, 0, 1, None] == rows["score_exact_match"].to_list()
    assert "score_exact_match" not in typed("export", "job.yaml", "-", "--format", "csv").stdout
    for arguments in (("run", "x.csv", "--scores"), ("job.yaml", "x.csv", "--scores", "--wide")):
        refused = typed("export", *arguments)
        assert (2, False) == (refused.exit_code, Path("x.csv").exists())


def test_an_export_scores_a_row_once(folder: Path) -> None:
    """A scorer, which may be slow or cost money, is called once for each answer that is exported."""
    (folder / "job.yaml").write_text(JOB + 'evaluation: [{scorer: "noting:judge"}]\n')
    (folder / "noting.py").write_text(NOTING)
    assert 0 == typed("export", "job.yaml", "rows.parquet", "--scores").exit_code
    judged = (folder / "judged").read_text().splitlines()
    assert [f"q{n} of {model}" for n in range(1, 8) for model in ("pythia", "yi-34b")] == sorted(judged)


def test_the_page_shows_them(folder: Path) -> None:
    """Tables of scores stand on the page, and a chart of means with their intervals for each scorer."""
    (folder / "job.yaml").write_text(JOB + "evaluation: [{scorer: exact_match, reference: topic}]\n")
    assert 0 == typed("report", "job.yaml", "--html", "page.html").exit_code
    page = Path("page.html").read_text(encoding="utf-8")
    assert 'data-block="Scores (95 % interval)"' in page
    assert 'data-chart="score-exact_match" data-marks="4"' in page


def test_jobs_say_what_is_wrong_with_their_scorers(folder: Path) -> None:
    """Every problem at once, each at its line, with the nearest name."""
    (folder / "job.yaml").write_text(
        JOB.replace("prompt: prompt}", "prompt: prompt, columns: [topic]}") + "evaluation:\n"
        "  - {scorer: exact_mach, reference: topic}\n"
        "  - {scorer: regex, whole_words: true}\n"
        "  - {scorer: regex, pattern: '(', name: other}\n"
        "  - {scorer: chrf, refrence: topic}\n"
        "  - {scorer: contains, reference: topic, normalise: [cases]}\n"
        "  - {scorer: 'm:contains', normalise: [case]}\n"
        "  - {scorer: exact_match}\n"
    )
    result = typed("report", "job.yaml")
    assert 2 == result.exit_code
    for text in (
        "line 6: evaluation[0].scorer: must be exact_match, contains, regex, edit_similarity, chrf or a ",
        'did you mean "exact_match"?',
        "line 7: evaluation[1].pattern: is required for regex",
        "line 7: evaluation[1].whole_words: means nothing to regex",
        "line 8: evaluation[2].pattern: is no regular expression",
        'line 9: evaluation[3]: unknown key "refrence"; did you mean "reference"?',
        "line 10: evaluation[4].normalise[0]: must be nfkc, case, punctuation or whitespace",
        "line 11: evaluation[5].normalise: means nothing to m:contains",
        "line 11: evaluation[5].name: evaluation[4] is called contains, too",
        "line 12: evaluation[6].reference: reference is not among input.columns",
    ):
        assert text in result.stderr
