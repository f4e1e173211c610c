"""The evaluation set in `sample_data/`: whole, right where that can be computed, the same in every file."""

# ruff: noqa: RUF001 - Chinese punctuation and the multiplication sign are what prompts contain

from __future__ import annotations

import ast
import io
import json
import operator
import re
import runpy
import unicodedata
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard

FOLDER = Path(__file__).resolve().parents[1] / "sample_data"
LANGUAGES = ("en", "zh")
PROMPT_COLUMNS = ["id", "language", "topic", "difficulty", "prompt", "reference"]
QUESTION_COLUMNS = ["id", "question", "context", "language", "reference"]
EXPRESSION = re.compile(r"(?:What is )?(\d+(?: [-+*/×÷] \d+)+)(?:\?| 等于多少？)")
PYTHON_EXPRESSION = re.compile(
    r"(?:What is the value of this Python expression\? |这个 Python 表达式的值是什么？)(.+)"
)
OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
BUILTINS = {"len": len, "range": range, "sorted": sorted}

Row = dict[str, Any]


def jsonl(data: bytes) -> list[Row]:
    """The rows of a JSONL file, strictly UTF-8."""
    return [json.loads(line) for line in data.decode("utf-8").splitlines()]


def compressed(path: Path) -> list[Row]:
    """The rows of a zstd-compressed JSONL file."""
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())) as reader:
        return jsonl(reader.read())


def parquet(path: Path) -> list[Row]:
    """The rows of a Parquet file."""
    return pl.read_parquet(path).to_dicts()


def read(path: Path) -> list[Row]:
    """The rows of a data file, whatever its format."""
    if path.suffix == ".zst":
        return compressed(path)
    return parquet(path) if path.suffix == ".parquet" else jsonl(path.read_bytes())


def of_language(rows: list[Row], language: str) -> list[Row]:
    """Those of `rows` in `language`, in order."""
    return [row for row in rows if row["language"] == language]


def value(expression: ast.expr) -> Fraction:
    """What an expression of whole numbers and the four operations is worth, exactly."""
    match expression:
        case ast.Constant(value=int(number)):
            return Fraction(number)
        case ast.BinOp(left=left, op=op, right=right):
            return OPERATORS[type(op)](value(left), value(right))
        case _:
            raise AssertionError(ast.dump(expression))


PROMPTS = read(FOLDER / "prompts.jsonl")
QUESTIONS = read(FOLDER / "questions.jsonl")
EXPRESSIONS = [(row, match[1]) for row in PROMPTS if (match := EXPRESSION.fullmatch(row["prompt"]))]
PYTHON_EXPRESSIONS = [
    (row, match[1]) for row in PROMPTS if (match := PYTHON_EXPRESSION.fullmatch(row["prompt"]))
]


def name_of(argument: object) -> str:
    """A row's id, as the name of its test."""
    return str(argument["id"]) if isinstance(argument, dict) else ""


def test_set_is_large_and_half_english_half_chinese() -> None:
    """The evaluation keeps its size, and neither language outweighs the other."""
    counts = Counter(row["language"] for row in PROMPTS)

    assert set(counts) == set(LANGUAGES)
    assert counts["en"] == counts["zh"] >= 60


def test_every_topic_is_asked_equally_in_both_languages() -> None:
    """Results can be compared by topic across languages."""
    english, chinese = (Counter(row["topic"] for row in of_language(PROMPTS, code)) for code in LANGUAGES)

    assert english == chinese
    assert len(english) >= 8


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(PROMPTS, PROMPT_COLUMNS), (QUESTIONS, QUESTION_COLUMNS)],
    ids=["prompts", "questions"],
)
def test_every_row_has_all_columns_and_only_reference_may_be_null(
    rows: list[Row], columns: list[str]
) -> None:
    """A reader can rely on the columns that sample_data/README.md names."""
    assert [list(row) for row in rows] == [columns] * len(rows)
    for row in rows:
        assert all(isinstance(row[column], str) and row[column] for column in columns[:-1]), row
        assert row["reference"] is None or row["reference"].strip() == row["reference"] != "", row


def test_difficulty_is_one_of_three_words() -> None:
    """Grouping by difficulty gives the three groups the README names."""
    assert {row["difficulty"] for row in PROMPTS} == {"easy", "medium", "hard"}


def test_ids_are_unique_and_start_with_the_language() -> None:
    """An id names one row of the whole set, and tells its language."""
    rows = PROMPTS + QUESTIONS

    assert len({row["id"] for row in rows}) == len(rows)
    assert [
        row["id"] for row in rows if not re.fullmatch(rf"{row['language']}-[a-z]+-\d{{3}}", row["id"])
    ] == []


def test_prompts_are_unique() -> None:
    """No prompt is counted twice in an evaluation."""
    assert [prompt for prompt, n in Counter(row["prompt"] for row in PROMPTS).items() if n > 1] == []


def test_english_prompts_are_short() -> None:
    """The embedded model answers the English half quickly."""
    assert [row["id"] for row in of_language(PROMPTS, "en") if len(row["prompt"].split()) >= 60] == []


def test_text_has_no_control_characters_and_is_normalised() -> None:
    """Nothing invisible reaches a model: no control character but line feeds, no odd form."""
    for row in PROMPTS + QUESTIONS:
        for text in filter(None, row.values()):
            odd = [c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Co", "Cn"} and c != "\n"]
            assert odd == [], row
            assert "\N{REPLACEMENT CHARACTER}" not in text, row
            assert unicodedata.normalize("NFC", text) == text, row


def test_language_column_tells_the_script() -> None:
    """English rows hold no Han characters, and Chinese prompts are Chinese."""
    han = re.compile(r"[\u4e00-\u9fff]")

    assert [
        r["id"] for r in of_language(PROMPTS, "en") if han.search(json.dumps(r, ensure_ascii=False))
    ] == []
    assert [r["id"] for r in of_language(PROMPTS, "zh") if not han.search(r["prompt"])] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_languages_have_plain_expressions(language: str) -> None:
    """The recomputing tests below have something to recompute in each language."""
    assert len(of_language([row for row, _ in EXPRESSIONS], language)) >= 3
    assert len(of_language([row for row, _ in PYTHON_EXPRESSIONS], language)) >= 3


@pytest.mark.parametrize(("row", "expression"), EXPRESSIONS, ids=name_of)
def test_arithmetic_reference_is_the_value(row: Row, expression: str) -> None:
    """A plain expression's reference is what the expression is worth."""
    parsed = ast.parse(expression.replace("×", "*").replace("÷", "/"), mode="eval")

    assert row["reference"] == str(value(parsed.body))


@pytest.mark.parametrize(("row", "expression"), PYTHON_EXPRESSIONS, ids=name_of)
def test_python_reference_is_the_value(row: Row, expression: str) -> None:
    """A Python expression's reference is what Python makes of it."""
    assert row["reference"] == str(eval(expression, {"__builtins__": BUILTINS}))


@pytest.mark.parametrize("row", [row for row in QUESTIONS if row["reference"]], ids=name_of)
def test_question_template_columns_make_a_prompt(row: Row) -> None:
    """A question asks, and its passage is a passage, so a template over both reads naturally."""
    assert row["question"].endswith(("?", "？", "。"))
    assert row["context"].endswith((".", "。"))


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("prompts.parquet", PROMPTS),
        ("prompts.en.jsonl", of_language(PROMPTS, "en")),
        ("prompts.zh.jsonl", of_language(PROMPTS, "zh")),
        ("compressed/prompts.en.jsonl.zst", of_language(PROMPTS, "en")),
        ("compressed/prompts.zh.jsonl.zst", of_language(PROMPTS, "zh")),
        ("questions.parquet", QUESTIONS),
        ("questions.en.parquet", of_language(QUESTIONS, "en")),
        ("questions.zh.parquet", of_language(QUESTIONS, "zh")),
    ],
)
def test_derived_file_holds_the_same_rows(file: str, expected: list[Row]) -> None:
    """Every file of the set holds the rows of its source, in order."""
    assert read(FOLDER / file) == expected


def test_small_file_holds_one_english_row_a_topic() -> None:
    """The streaming job's input is few rows of all topics."""
    rows = read(FOLDER / "prompts.en.small.jsonl")

    assert all(row in of_language(PROMPTS, "en") for row in rows)
    assert [row["topic"] for row in rows] == list(dict.fromkeys(row["topic"] for row in PROMPTS))


def test_build_writes_every_derived_file_again(tmp_path: Path) -> None:
    """`sample_data/build.py` makes all committed data files but its two sources, with the same rows."""
    written: list[Path] = runpy.run_path(str(FOLDER / "build.py"))["build"](FOLDER, tmp_path)

    built = {path.relative_to(tmp_path).as_posix(): read(path) for path in written}
    committed = {
        path.relative_to(FOLDER).as_posix(): read(path)
        for path in FOLDER.rglob("*")
        if path.suffix in {".jsonl", ".parquet", ".zst"}
    }
    assert built == {k: v for k, v in committed.items() if k not in {"prompts.jsonl", "questions.jsonl"}}
