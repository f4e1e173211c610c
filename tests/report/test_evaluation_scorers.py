"""Single answers judged: the built-in scorers, what is evened out before, Chinese texts, own functions."""

# ruff: noqa: RUF001 - full-width letters and Chinese punctuation are what is evened out

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.errors import UsageError
from qfbatch.job.load import load_job
from qfbatch.job.settings import NORMALISATIONS, ScorerSettings
from qfbatch.scoring.evaluation import Evaluation, evaluation_in, evaluation_of
from qfbatch.scoring.own_scorers import load_function
from qfbatch.scoring.scorers import ScorerError, built_in, normalised, own, reference_texts

ROOT = Path(__file__).resolve().parents[2]
TEXTS = st.text(max_size=30)


def judge(scorer: str, answer: str, *references: str, **settings: Any) -> float | None:
    """The score of one answer; nothing is evened out unless asked for."""
    return built_in(ScorerSettings(scorer, scorer, "reference", **settings)).score(answer, references, {})


@pytest.mark.parametrize(
    ("scorer", "answer", "reference", "settings", "score"),
    [
        ("exact_match", "Paris", "Paris", {}, 1),
        ("exact_match", "Paris.", "Paris", {}, 0),
        ("exact_match", " Paris\n", "Paris", {}, 0),
        ("exact_match", " Paris\n", "Paris", {"normalise": ("whitespace",)}, 1),
        ("exact_match", "PARIS!", "paris", {"normalise": ("case", "punctuation")}, 1),
        ("exact_match", "", "", {}, 1),
        ("exact_match", "ＡＢＣ１２３", "abc123", {"normalise": ("nfkc", "case")}, 1),
        ("exact_match", "Straße", "STRASSE", {"normalise": ("case",)}, 1),
        ("exact_match", "北京。", "北京", {"normalise": ("punctuation",)}, 1),
        ("exact_match", "“北京”，中国", "北京中国", {"normalise": ("punctuation",)}, 1),
        ("exact_match", "-5", "5", {}, 0),
        ("contains", "It is Paris, of course.", "Paris", {}, 1),
        ("contains", "中国的首都是北京。", "北京", {}, 1),
        ("contains", "1850", "85", {}, 1),
        ("contains", "1850", "85", {"whole_words": True}, 0),
        ("contains", "1850 or 85.", "85", {"whole_words": True}, 1),
        ("contains", "等于85。", "85", {"whole_words": True}, 1),
        ("contains", "等于185。", "85", {"whole_words": True}, 0),
        ("contains", "首都是北京市", "北京", {"whole_words": True}, 1),
        ("contains", "concatenate", "cat", {"whole_words": True}, 0),
        ("contains", "a cat", "cat", {"whole_words": True}, 1),
        ("regex", "The answer is 42.", "", {"pattern": r"\b42\b"}, 1),
        ("regex", "The answer is 421.", "", {"pattern": r"\b42\b"}, 0),
        ("regex", "答案：四十二", "", {"pattern": "答案：.+"}, 1),
        ("edit_similarity", "kitten", "sitting", {}, 1 - 3 / 7),
        ("edit_similarity", "北京", "南京", {}, 0.5),
        ("chrf", "北京", "北京", {}, 1),
        ("chrf", "a", "b", {}, 0),
    ],
)
def test_one_answer(scorer: str, answer: str, reference: str, settings: dict[str, Any], score: float) -> None:
    """Each scorer gives what its documentation says."""
    found = judge(scorer, answer, reference, **settings)
    assert found is not None
    assert math.isclose(score, found, abs_tol=1e-12)


@pytest.mark.parametrize("scorer", ["exact_match", "contains", "edit_similarity", "chrf"])
def test_without_a_reference_there_is_no_score(scorer: str) -> None:
    """A row that cannot be judged is no wrong row."""
    assert judge(scorer, "an answer") is None


def test_a_blank_reference_is_contained_in_nothing() -> None:
    """Where any answer would be right, none is judged."""
    assert (None, None) == (judge("contains", "x", ""), judge("chrf", "x", " "))
    assert judge("contains", "x", "。", normalise=("punctuation",)) is None


def test_the_best_of_several_references_counts() -> None:
    """A list of right answers is right where one of them is."""
    assert judge("exact_match", "UK", "United Kingdom", "UK") == 1
    assert judge("edit_similarity", "kitten", "puppy", "kitten") == 1


@given(TEXTS, TEXTS)
def test_edit_similarity_is_levenshteins(one: str, other: str) -> None:
    """It is symmetric, and what the textbook's table of prefixes gives."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, start=1):
        before, row = row, [i]
        for j, right in enumerate(other, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (left != right)))
    expected = 1 - row[-1] / max(len(one), len(other), 1)
    found, turned = judge("edit_similarity", one, other), judge("edit_similarity", other, one)
    assert found == turned
    assert found is not None
    assert math.isclose(expected, found, abs_tol=1e-12)


@given(st.text("ab 北京天安门", max_size=30), st.text("ab 北京天安门", min_size=1, max_size=30))
def test_chrf_is_popovics(answer: str, reference: str) -> None:
    """It is the F score of runs of 1 to 6 characters, recall counting twice, of lengths both texts have."""
    found = judge("chrf", answer, reference)
    if not reference.strip():
        assert found is None
        return
    assert found is not None
    one, other = (list("".join(text.split())) for text in (answer, reference))
    orders = [n for n in range(1, 7) if min(len(one), len(other)) >= n]
    precisions, recalls = [], []
    for n in orders:
        given_, wanted = (
            Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1)) for text in (one, other)
        )
        common = sum((given_ & wanted).values())
        precisions.append(common / sum(given_.values()))
        recalls.append(common / sum(wanted.values()))
    precision, recall = (sum(p) / len(orders) if orders else 0.0 for p in (precisions, recalls))
    expected = 5 * precision * recall / (4 * precision + recall) if precision + recall else 0.0
    assert math.isclose(expected, found, abs_tol=1e-9)


@given(TEXTS, TEXTS, st.sets(st.sampled_from(NORMALISATIONS)).map(tuple))
def test_scores_keep_their_bounds(answer: str, reference: str, steps: tuple[str, ...]) -> None:
    """From 0 to 1; an answer that is its reference is right; evening out never makes a right answer wrong."""
    for scorer in ("exact_match", "contains", "edit_similarity", "chrf"):
        score = judge(scorer, answer, reference, normalise=steps)
        assert score is None or 0 <= score <= 1 + 1e-12
        own_score = judge(scorer, answer, answer, normalise=steps)
        assert own_score is None or math.isclose(1, own_score)
    plain = judge("exact_match", answer, reference)
    assert plain == 0 or judge("exact_match", answer, reference, normalise=steps) == 1


def test_evened_texts() -> None:
    """Every step does what it says, in one order whatever the order in the job."""
    text = " Ｔｈｅ  “ﬁrst”…\n1½ "
    assert "The “first”... 1" in normalised(text, ("nfkc", "whitespace"))
    assert "thefirst11⁄2" == normalised(text, ("whitespace", "punctuation", "case", "nfkc")).replace(" ", "")
    assert text == normalised(text, ())


@pytest.mark.parametrize(
    ("cell", "as_json", "texts"),
    [
        (None, False, []),
        ("", False, [""]),
        (85, False, ["85"]),
        (85.0, False, ["85"]),
        (0.5, False, ["0.5"]),
        (True, False, ["true"]),
        ('["a"]', False, ['["a"]']),
        ('["a", 1, null]', True, ["a", "1"]),
        ('"a"', True, ["a"]),
        ("1.0", True, ["1"]),
        ("null", True, []),
        ('{"a":1}', True, ['{"a":1}']),
    ],
)
def test_references_of_any_type(cell: Any, as_json: bool, texts: list[str]) -> None:  # noqa: FBT001
    """Numbers read as people write them, lists hold several right answers, null is none."""
    assert texts == reference_texts(cell, as_json=as_json)


def test_own_functions_return_numbers_or_nothing() -> None:
    """Numbers, booleans and None; anything else is a failure of the function, and so is what it raises."""
    settings = ScorerSettings("m:f", "f")

    def scored(value: object) -> float | None:
        return own(settings, lambda *_: value).score("answer", (), {})

    assert [1.0, 0.0, 2.5, -3.0, None] == [scored(value) for value in (True, False, 2.5, -3, None)]
    for value in (float("nan"), float("inf"), "1", [1], 10**400):
        with pytest.raises(ScorerError, match="no finite number"):
            scored(value)
    for raised in (KeyError("k"), SystemExit(3)):

        def fail(*_: object, raised: BaseException = raised) -> float:
            raise raised

        with pytest.raises(ScorerError, match=type(raised).__name__):
            own(settings, fail).score("answer", (), {})


def test_own_functions_are_found_beside_the_job_file(tmp_path: Path) -> None:
    """A module in the job's folder is found, and never stands in for one of Python's own."""
    (tmp_path / "beside_the_job.py").write_text("def f(answer, reference, row):\n    return len(answer)\n")
    (tmp_path / "statistics.py").write_text("def f(answer, reference, row):\n    return 1\n")
    assert load_function("beside_the_job:f", [tmp_path])("four", None, {}) == 4
    with pytest.raises(UsageError, match=r"there is no function f in .*statistics\.py"):
        load_function("statistics:f", [tmp_path])


@pytest.mark.parametrize(
    ("content", "spec", "message"),
    [
        (None, "no_such_module_here:f", "there is no module no_such_module_here"),
        ("import no_such_thing", "broken_one:f", "importing it failed: ModuleNotFoundError"),
        ("1 / 0", "broken_two:f", "importing it failed: ZeroDivisionError"),
        ("def f(:", "broken_three:f", "importing it failed: SyntaxError"),
        ("f = 3", "broken_four:f", "there is no function f"),
    ],
)
def test_functions_that_cannot_be_had(tmp_path: Path, content: str | None, spec: str, message: str) -> None:
    """Each is said before anything is scored, with what is wrong."""
    if content is not None:
        (tmp_path / f"{spec.partition(':')[0]}.py").write_text(content)
    with pytest.raises(UsageError, match=message):
        load_function(spec, [tmp_path])


def test_a_run_directory_runs_no_code() -> None:
    """What a manifest says of own scorers is told, not imported; built-in ones are ready."""
    found = evaluation_in(
        {
            "evaluation": [
                {"scorer": "os:system", "name": "harmful"},
                {"scorer": "exact_match", "name": "em", "reference": "reference"},
            ]
        }
    )
    assert (["em"], ("harmful",)) == ([scorer.name for scorer in found.scorers], found.not_run)
    assert Evaluation() == evaluation_in({})


def test_cheap_scorers_need_no_extra() -> None:
    """Exact match, contains and regular expressions load neither library; the others say what to install."""
    code = (
        "import sys\n"
        "sys.modules['rapidfuzz'] = sys.modules['sacrebleu'] = None\n"
        "from qfbatch.job.settings import ScorerSettings as S\n"
        "from qfbatch.scoring.scorers import built_in\n"
        "for name in ('exact_match', 'contains', 'regex'):\n"
        "    built_in(S(name, name, pattern='x'))\n"
        "for name in ('edit_similarity', 'chrf'):\n"
        "    try:\n"
        "        built_in(S(name, name))\n"
        "    except Exception as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.count("pip install 'qfbatch[evaluate]'") == 2


def test_the_sample_job_asks_for_scores() -> None:
    """`make run` ends with a share of answers that hold their reference."""
    evaluation = evaluation_of(load_job(ROOT / "jobs" / "eval.yaml", environ={}))
    (scorer,) = evaluation.scorers
    assert scorer.score("It is PARIS.", ["Paris"], {}) == 1
    assert scorer.score("It is 850.", ["85"], {}) == 0
