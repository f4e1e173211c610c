"""`qfbatch compare`: two runs, or two models of one, against a plain computation over the same records."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from report_runs import failed, frame, succeeded, write_run
from rich.cells import cell_len

from qfbatch.cli.main import main
from qfbatch.errors import UsageError
from qfbatch.records import Record
from qfbatch.reporting.compared import Comparison, Kind, Matching, Rows
from qfbatch.reporting.comparison import LONGEST_TEXT, Subject, compare
from qfbatch.reporting.summary import summarise
from qfbatch.scoring.intervals import of_paired_proportions


def subject(records: Sequence[Record], model: str = "yi-34b", directory: str = "runs/a") -> Subject:
    """A side about these records."""
    return Subject("eval", directory, model, frame(records))


def of(left: Sequence[Record], right: Sequence[Record], **options: Any) -> Comparison:
    """Two runs of one model compared."""
    return compare(subject(left), subject(right, directory="runs/b"), **options)


@st.composite
def sides(draw: st.DrawFn) -> tuple[list[Record], list[Record]]:
    """Two runs over some of the same rows, any mix of outcomes, with at least row 0 in both."""

    def one(number: int) -> Record:
        safe = draw(st.none() | st.booleans())
        if draw(st.booleans()):
            prompt = draw(st.sampled_from(["p", "q"]))
            return succeeded(number, result=draw(st.sampled_from("ab")), prompt=prompt, is_safe=safe)
        return failed(number, is_safe=safe)

    numbers = st.sets(st.integers(1, 12))
    left, right = ([one(n) for n in {0, *draw(numbers)}] for _ in range(2))
    return left, draw(st.permutations(right))


@settings(deadline=None, max_examples=60)
@given(sides())
def test_rows_fare_as_adding_up_by_hand_says(both: tuple[list[Record], list[Record]]) -> None:
    """Every count, and the figures of both sides over the rows they share."""
    left, right = ({record.row_id: record for record in side} for side in both)
    pairs = [(left[row_id], right[row_id]) for row_id in left if row_id in right]
    won = [(a, b) for a, b in pairs if a.status == b.status == "succeeded"]
    expected = Rows(
        matched=len(pairs),
        left_only=len(left) - len(pairs),
        right_only=len(right) - len(pairs),
        other_prompt=sum(a.prompt != b.prompt for a, b in pairs),
        both_succeeded=len(won),
        same=sum(a.result == b.result for a, b in won),
        differing=sum(a.result != b.result for a, b in won),
        broken=sum((a.status, b.status) == ("succeeded", "failed") for a, b in pairs),
        mended=sum((a.status, b.status) == ("failed", "succeeded") for a, b in pairs),
        neither=sum(a.status == b.status == "failed" for a, b in pairs),
        unsafe_left=sum(a.is_safe is False and b.is_safe is not False for a, b in pairs),
        unsafe_right=sum(a.is_safe is not False and b.is_safe is False for a, b in pairs),
    )
    found = of(*both)
    assert expected == found.rows
    assert (summarise(frame([a for a, _ in pairs])).models[0]) == found.left.figures
    assert (summarise(frame([b for _, b in pairs])).models[0]) == found.right.figures
    assert (len(left), len(right)) == (found.left.rows, found.right.rows)


def test_examples_are_the_first_of_their_kind() -> None:
    """In the left side's order, as many as asked of each kind, with what stands on either side."""
    left = [succeeded(n, result="x") for n in range(8)] + [failed(8), failed(9)]
    right = [succeeded(n, result="y" * 3000) for n in (5, 1, 0, 3)]
    right += [failed(n) for n in (2, 4, 6, 7)] + [succeeded(8), failed(9)]
    found = of(left, right, examples=2).examples
    assert [
        (Kind.BROKEN, "q3"),
        (Kind.BROKEN, "q5"),
        (Kind.MENDED, "q9"),
        (Kind.DIFFERS, "q1"),
        (Kind.DIFFERS, "q2"),
    ] == [(example.kind, example.left.row_id) for example in found]
    assert ("x", None, "server 500 internal error 2") == (
        found[0].left.answer,
        found[0].right.answer,
        found[0].right.error,
    )
    assert "y" * LONGEST_TEXT == found[3].right.answer
    assert () == of(left, right, examples=0).examples


def test_runs_without_ids_in_common_meet_by_their_prompts() -> None:
    """Equal prompts are told apart by their order; what has no counterpart is counted out."""
    left = [succeeded(n, prompt=p, result=p) for n, p in enumerate(["one", "two", "two", "three"])]
    right = [
        succeeded(n, row_id=f"other-{n}", prompt=p, result=r)
        for n, (p, r) in enumerate([("two", "two"), ("two", "changed"), ("one", "one")])
    ]
    found = of(left, right)
    assert Matching.PROMPT is found.matched_by
    assert (3, 1, 0, 2, 1) == (
        found.rows.matched,
        found.rows.left_only,
        found.rows.right_only,
        found.rows.same,
        found.rows.differing,
    )
    (example,) = found.examples
    assert ("q3", "other-1", "changed") == (example.left.row_id, example.right.row_id, example.right.answer)


def test_the_way_of_matching_can_be_stated() -> None:
    """Row ids that happen to be the same in two inputs do not have to count."""
    left = [succeeded(0, prompt="one"), succeeded(1, prompt="two")]
    right = [succeeded(0, prompt="two"), succeeded(1, prompt="one")]
    assert 2 == of(left, right).rows.other_prompt
    assert 0 == of(left, right, match=Matching.PROMPT).rows.other_prompt


def test_sides_with_nothing_in_common_are_refused() -> None:
    """There is nothing to say about them, and a table of zeros would say something."""
    left, right = [succeeded(0, prompt="one")], [succeeded(1, prompt="two")]
    with pytest.raises(UsageError, match="have neither row ids nor prompts in common"):
        of(left, right)
    with pytest.raises(UsageError, match="have no row id in common"):
        of(left, right, match=Matching.ROW_ID)
    with pytest.raises(UsageError, match="runs/b: no row of yi-34b has ended yet"):
        of(left, [])


def invoke(*arguments: str | Path) -> Result:
    """The command's outcome, its exceptions let through."""
    return CliRunner().invoke(main, ["compare", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """A run of two models, and a later one of one of them: an answer dearer, one broken, one changed."""
    models = ("yi-34b", "pythia-6.9b")
    before = [succeeded(n, model, result=f"{model} {n}") for model in models for n in range(4)]
    after = [succeeded(0, cost=0.0024), failed(1), succeeded(2, result="yi-34b 2"), succeeded(3)]
    return (
        write_run(tmp_path / "before", before, rows=4, models=models),
        write_run(tmp_path / "after", after, rows=4),
    )


def test_two_runs_by_model(runs: tuple[Path, Path]) -> None:
    """The models that both have are compared by name, and what changed is worked out."""
    result = invoke(*runs, "--format", "json")
    assert 0 == result.exit_code
    document = json.loads(result.stdout)
    (compared,) = document["comparisons"]
    assert 1 == document["format_version"]
    assert ("yi-34b", "yi-34b", "row_id") == (
        compared["left"]["model"],
        compared["right"]["model"],
        compared["matched_by"],
    )
    assert (1, 2, 1) == (compared["rows"]["same"], compared["rows"]["differing"], compared["rows"]["broken"])
    changed = {change["figure"]: change for change in compared["changes"]}
    assert {"figure": "succeeded", "left": 4, "right": 3, "difference": -1, "relative": -0.25} == changed[
        "succeeded"
    ]
    assert (0.0048, 0.0048, 0.0) == tuple(changed["cost_CNY"][key] for key in ("left", "right", "difference"))
    assert None is changed["failed"]["relative"]
    decoded = msgspec.convert(
        {key: value for key, value in compared.items() if key != "changes"}, Comparison, strict=True
    )
    assert decoded.rows.matched == 4


def test_two_models_of_one_run(runs: tuple[Path, Path]) -> None:
    """Which model is better: the run alone, its two models beside each other."""
    result = invoke(runs[0])
    assert 0 == result.exit_code
    assert result.stdout.startswith(
        "yi-34b → pythia-6.9b\n4 rows on both sides, matched by row_id. Of 4 pairs"
    )
    assert "Answers that differ (4 of 4)" in result.stdout
    assert "q1   question 0  yi-34b 0  pythia-6.9b 0" in result.stdout


def test_a_model_of_one_run_with_another_of_another(runs: tuple[Path, Path]) -> None:
    """Named twice, the first is the left one's and the second the right one's."""
    result = invoke(*runs, "--model", "pythia-6.9b", "--model", "yi-34b", "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(result.stdout), strict=True))
    assert {("pythia-6.9b", "yi-34b")} == {(line["left_model"], line["right_model"]) for line in lines}
    values = {line["figure"]: (line["left"], line["right"], line["difference"]) for line in lines}
    assert ("4", "3", "-1") == values["succeeded"]
    assert ("4", "4", "0") == values["matched_rows"]
    assert ("1", "0", "-1") == values["succeeded_here_only"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([1], "which two models? The run has yi-34b"),
        ([0, 1, "--model", "pythia-6.9b"], "--model pythia-6.9b: {1} has no such model"),
        ([0, 1, "--model", "pythia"], "--model pythia: {0} has no such model"),
        ([0, "--model", "yi-34b"], "which two models? The run has yi-34b, pythia-6.9b"),
        ([0, "--model", "a", "--model", "b", "--model", "c"], "--model is given at most twice"),
    ],
)
def test_models_that_are_not_clear_are_a_usage_error(
    runs: tuple[Path, Path], arguments: list[Any], message: str
) -> None:
    """Each in one message that lists what there is."""
    result = invoke(*(runs[a] if isinstance(a, int) else a for a in arguments))
    assert (2, "") == (result.exit_code, result.stdout)
    assert message.format(*runs) in result.stderr


def test_runs_of_one_model_each_need_no_names(tmp_path: Path) -> None:
    """Two runs that differ in their model alone are what people mean most."""
    one = write_run(tmp_path / "one", [succeeded(0, "a")], rows=1, models=["a"])
    other = write_run(tmp_path / "other", [succeeded(0, "b")], rows=1, models=["b"])
    result = invoke(one, other, "--format", "markdown")
    assert result.stdout.startswith(f"## {one}: a → {other}: b\n".replace("_", r"\_"))
    three = write_run(tmp_path / "three", [succeeded(0, "c")], rows=1, models=["c", "d"])
    assert "no model of" in invoke(one, three).stderr


EXACT: dict[str, Any] = {"name": "exact", "scorer": "exact_match", "reference": "topic"}


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two runs with scores over forty rows: right half of the time, and then right on all but the fifth."""
    monkeypatch.chdir(tmp_path)
    topics = [("math", "history")[n % 2] for n in range(40)]
    before = [succeeded(n, result="math") for n in range(40)]
    after = [failed(n) if n == 39 else succeeded(n, result="?" if n == 5 else topics[n]) for n in range(40)]
    return (
        write_run(tmp_path / "before", before, rows=40, job={"evaluation": [EXACT]}),
        write_run(tmp_path / "after", after, rows=40, job={"evaluation": [EXACT]}),
    )


def test_scores_over_the_rows_that_both_have(judged: tuple[Path, Path]) -> None:
    """Means, difference and its paired interval are of rows scored on both sides, in every format."""
    result = invoke(*judged, "--format", "json")
    (score,) = json.loads(result.stdout)["comparisons"][0]["scores"]
    # Of 39 rows 20 were right before, and on the right another 18 are.
    interval = of_paired_proportions(18, 0, 39)
    assert interval is not None
    assert {
        "scorer": "exact",
        "rows": 39,
        "left": pytest.approx(20 / 39),
        "right": pytest.approx(38 / 39),
        "difference": pytest.approx(18 / 39),
        "interval": {"low": pytest.approx(interval.low), "high": pytest.approx(interval.high)},
        "better": 18,
        "worse": 0,
        "left_only": 1,
        "right_only": 0,
        "errors": 0,
    } == score
    table = invoke(*judged).stdout
    assert "Scores, of the rows that both sides have one for" in table
    assert f"+0.462  {interval.low:+.3f} to {interval.high:+.3f}" in table
    line = next(
        line
        for line in csv.DictReader(io.StringIO(invoke(*judged, "--format", "csv").stdout), strict=True)
        if line["figure"] == "score_exact"
    )
    assert (0.512820512821, 0.974358974359) == (float(line["left"]), float(line["right"]))
    assert (interval.low, interval.high) == pytest.approx((float(line["low"]), float(line["high"])))
    back = json.loads(invoke(judged[1], judged[0], "--format", "json").stdout)
    assert -score["difference"] == back["comparisons"][0]["scores"][0]["difference"]


def test_both_sides_are_judged_alike(judged: tuple[Path, Path]) -> None:
    """A scorer that only one run has judges both, one that means two things none, a job file all."""
    before, after = judged
    models = ("yi-34b",)
    rows = [succeeded(n, result="math") for n in range(4)]
    plain = write_run(before.with_name("plain"), rows, rows=4, models=models)
    other = {**EXACT, "normalise": ["case"]}
    strict = write_run(before.with_name("strict"), rows, rows=4, job={"evaluation": [other]})
    assert 1 == len(json.loads(invoke(plain, after, "--format", "json").stdout)["comparisons"][0]["scores"])
    result = invoke(strict, after, "--format", "json")
    assert [] == json.loads(result.stdout)["comparisons"][0]["scores"]
    assert "scores: exact is left out: the two runs mean different things by it" in result.stderr
    job = {"name": "eval", "input": {"path": "p.jsonl", "prompt": "p"}, "output": {"path": str(strict)}}
    own = {"name": "longer", "scorer": "own_of_compare:judge"}
    missing = {**EXACT, "name": "else", "reference": "answer_key"}
    Path("own_of_compare.py").write_text("def judge(answer, reference, row):\n    return answer.index('m')\n")
    Path("job.yaml").write_text(
        json.dumps({**job, "models": [{"name": "yi-34b", "endpoint": "e"}], "evaluation": [own, missing]})
    )
    result = invoke("job.yaml", after, "--format", "json")
    (score,) = json.loads(result.stdout)["comparisons"][0]["scores"]
    assert ("longer", 2, 2) == (score["scorer"], score["rows"], score["left_only"])
    assert "else is left out: " in result.stderr
    assert 1 == result.exit_code
    assert "longer failed on 19 answers of yi-34b and yi-34b" in result.stderr


def test_no_line_is_wider_than_the_terminal(runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighty cells, examples included."""
    monkeypatch.setenv("COLUMNS", "80")
    text = invoke(runs[0]).stdout
    assert [] == [line for line in text.split("\n") if cell_len(line) > 80]
