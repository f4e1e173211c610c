"""The four formats: one fixed report compared as a whole, and what must hold for any report."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_runs import failed, frame, succeeded
from rich.cells import cell_len

from qfbatch.records import ErrorKind, Record, UsageSource
from qfbatch.render import csv_text, json_text, markdown, numbers, table
from qfbatch.render.layout import state
from qfbatch.render.section import Section, section
from qfbatch.reporting.summary import summarise

GOLDEN = Path(__file__).with_name("golden")
MODELS = ("yi-34b", "pythia-6.9b")
Render = Callable[[Sequence[Section]], str]


def a_section(records: Sequence[Record], *, rows: int, by: Sequence[str] = (), **changes: Any) -> Section:
    """A section about these records."""
    given: dict[str, Any] = {"name": "eval", "directory": "runs/eval", "models": MODELS}
    return section(**(given | changes), summary=summarise(frame(records), by=by), rows=rows)


@pytest.fixture
def report() -> list[Section]:
    """Two small runs: a partial one with failures, Chinese, two currencies; and one that has not begun."""
    records = [
        succeeded(0, time_to_first_token_s=0.25, wait_s=0.5),
        succeeded(1, is_safe=False, is_truncated=True, attempts=2, discarded_tokens=30, latency_s=75.5),
        succeeded(2, result=" ", usage_source=UsageSource.ESTIMATED, columns={"topic": "数学"}),
        failed(3, columns={"topic": None}),
        succeeded(0, "pythia-6.9b", cost=1234.5, currency="USD"),
        failed(
            1,
            "pythia-6.9b",
            error_kind=ErrorKind.TIMEOUT,
            error_code=None,
            error_message="无响应\n| 60 s <b>",
        ),
        failed(2, "pythia-6.9b"),
    ]
    return [
        a_section(records, rows=4, by=["topic"]),
        a_section([], rows=4, by=["topic"], name="next", directory="runs/next"),
    ]


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("report-80.txt", lambda sections: table.render(sections, width=80)),
        ("report-200.txt", lambda sections: table.render(sections, width=200)),
        ("report.json", json_text.render),
        ("report.csv", csv_text.render),
        ("report.md", markdown.render),
    ],
)
def test_the_fixed_report(name: str, render: Render, report: list[Section]) -> None:
    """Every format of one fixed report reads as agreed; a change here is a change users see."""
    assert (GOLDEN / name).read_text(encoding="utf-8") == render(report)


WORDS = st.text(max_size=60) | st.text("模型回答中文。", max_size=60) | st.just("word " * 20)


@settings(deadline=None, max_examples=40)
@given(
    width=st.integers(40, 200),
    topics=st.lists(WORDS, min_size=1, max_size=4),
    message=WORDS,
    models=st.lists(WORDS.filter(bool), min_size=1, max_size=5, unique=True),
)
def test_no_line_is_wider_than_asked(width: int, topics: list[str], message: str, models: list[str]) -> None:
    """Cells of a terminal are counted, Chinese taking two, whatever the texts; and nothing steers it."""
    rows = [succeeded(n, model, columns={"topic": t}) for model in models for n, t in enumerate(topics)]
    rows += [failed(9, model, error_message=message, columns={"topic": "x"}) for model in models]
    text = table.render([a_section(rows, rows=20, by=["topic"], models=tuple(models))], width=width)
    assert [line for line in text.split("\n") if cell_len(line) > width] == []
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", text) == []


def test_chinese_columns_line_up() -> None:
    """A Chinese value moves its neighbours by the cells it takes."""
    rows = [succeeded(0, columns={"topic": "数学"}), succeeded(1, columns={"topic": "history"})]
    text = table.render([a_section(rows, rows=2, by=["topic"], models=("yi-34b",))], width=80)
    first, second = [line for line in text.split("\n") if line.startswith("yi-34b ")]
    assert cell_len(first) == cell_len(second)
    assert cell_len(first[: first.index("100 %")]) == cell_len(second[: second.index("100 %")])


def test_many_models_take_several_tables() -> None:
    """Where the models do not fit side by side, each still has all its figures and the labels beside them."""
    models = tuple(f"model-{n}" for n in range(9))
    text = table.render([a_section([succeeded(0, m) for m in models], rows=1, models=models)], width=80)
    labels = [line for line in text.split("\n") if line.startswith("total tokens")]
    assert len(labels) > 1
    assert " ".join(labels).replace("total tokens", "").split() == 9 * ["30"] + ["270"]


def test_colour_only_when_asked(report: list[Section], monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller decides; what the environment says about colours is the caller's to read."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    assert "\x1b" not in table.render(report, width=80)
    coloured = table.render(report, width=80, color=True)
    assert "\x1b[1;33mPARTIAL" in coloured
    assert table.render(report, width=80) == "".join(
        line.rstrip(" ") + "\n" for line in re.sub(r"\x1b\[[\d;]*m", "", coloured).splitlines()
    )


def test_json_reads_back(report: list[Section]) -> None:
    """The document decodes into the very values it was made of."""
    document = msgspec.json.decode(json_text.render(report), type=json_text.Document)
    assert json_text.Document(1, tuple(report)) == document


def test_json_has_no_nan() -> None:
    """Not-a-number and infinities, in figures or in groups, never reach a JSON reader."""
    rows = [succeeded(0, latency_s=math.inf, cost=math.nan, wait_s=math.nan)]

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} in JSON")

    document = json.loads(
        json_text.render([a_section(rows, rows=1, by=["latency_s"])]), parse_constant=refuse
    )
    assert document["runs"][0]["summary"]["groups"][0]["group"] == {"latency_s": "inf"}


def test_csv_parses_back(report: list[Section]) -> None:
    """One header, as many cells in every line, and numbers that are numbers."""
    lines = list(csv.DictReader(io.StringIO(csv_text.render(report)), strict=True))
    assert [(line["model"], line["by_topic"]) for line in lines[:4]] == [
        ("yi-34b", "history"),
        ("yi-34b", "math"),
        ("yi-34b", "数学"),
        ("yi-34b", ""),
    ]
    assert all(None not in line and None not in line.values() for line in lines)
    assert sum(section.summary.total.rows for section in report) == sum(int(line["rows"]) for line in lines)
    assert sum(float(line["cost_USD"] or 0) for line in lines) == 1234.5


def test_csv_without_groups_has_a_line_a_model() -> None:
    """A model that has not begun has its line too, with what is expected of it."""
    text = csv_text.render([a_section([succeeded(0)], rows=4)])
    lines = list(csv.DictReader(io.StringIO(text), strict=True))
    assert [(line["model"], line["expected_rows"], line["rows"]) for line in lines] == [
        ("yi-34b", "4", "1"),
        ("pythia-6.9b", "4", "0"),
    ]


def test_markdown_cells_hold_no_markup() -> None:
    """A message with pipes, tags and new lines stays one cell of plain text."""
    rows = [failed(0, error_message="a|b\n<script>`x` [y](z) *w*")]
    text = markdown.render([a_section(rows, rows=1)])
    (line,) = [line for line in text.splitlines() if "script" in line]
    assert line.endswith(r"| a\|b \<script\>\`x\` \[y\](z) \*w\* |")


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (4, "Complete: 4 of 4 rows have ended."),
        (3, "PARTIAL: 3 of 4 rows have ended."),
        (0, "PARTIAL: 0 of 4 rows have ended. There are no figures yet."),
    ],
)
def test_a_partial_run_says_so(present: int, expected: str) -> None:
    """A run counts as complete when every row has ended, failed ones included, and not before."""
    part = a_section([failed(n) for n in range(present)], rows=4, models=("yi-34b",))
    assert expected == state(part)
    assert part.complete is (present == 4)


def test_a_model_the_job_no_longer_names_is_shown() -> None:
    """Its rows count, nothing is expected of it, and it makes up for no other model's missing rows."""
    part = a_section([succeeded(n, "old") for n in range(4)], rows=4, models=("yi-34b",))
    assert [figures.model for figures in part.models()] == ["yi-34b", "old"]
    assert state(part) == "PARTIAL: 0 of 4 rows have ended (yi-34b 0 of 4)."


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (numbers.count(1234567), "1,234,567"),
        (numbers.share(0, 0), "-"),
        (numbers.share(0, 5), "0 %"),
        (numbers.share(5, 5), "100 %"),
        (numbers.share(1, 3), "33.3 %"),
        (numbers.share(1, 100_000), "<0.1 %"),
        (numbers.share(99_999, 100_000), ">99.9 %"),
        (numbers.seconds(None), "-"),
        (numbers.seconds(0.0004), "0.000 s"),
        (numbers.seconds(9.9999), "10.0 s"),
        (numbers.seconds(1234.5), "1,234 s"),
        (numbers.duration(59.9), "1 min 00 s"),
        (numbers.duration(3599.7), "1 h 00 min"),
        (numbers.duration(45.67), "45.7 s"),
        (numbers.duration(90_061), "25 h 01 min"),
        (numbers.rate(None), "-"),
        (numbers.rate(0.5), "0.50/s"),
        (numbers.rate(12345.6), "12,346/s"),
        (numbers.amount(0.0000125), "0.000013"),
        (numbers.amount(0.5), "0.5000"),
        (numbers.amount(1234567.891), "1,234,567.89"),
        (numbers.moment(None), "-"),
        (numbers.group_value(None), "(null)"),
        (numbers.group_value(""), "(empty)"),
        (numbers.group_value(True), "true"),  # noqa: FBT003 - a value
        (numbers.one_line("a\x1b[31m\n b\u202e"), "a[31m b"),
        (numbers.one_line("x" * 300, 5), "xxxx…"),
    ],
)
def test_numbers_read_as_agreed(actual: str, expected: str) -> None:
    """Each kind of figure at its edges."""
    assert expected == actual


def test_a_narrow_table_breaks_no_name() -> None:
    """Columns go before a model's name is cut in two, and which went is said."""
    models = ("SmolLM2-135M-Instruct", "pythia-6.9b-deduped-v1")
    rows = [succeeded(n, model, columns={"topic": "photosynthesis"}) for n in range(2) for model in models]
    rows += [failed(2, model, error_message="one rather long explanation " * 5) for model in models]
    text = table.render([a_section(rows, rows=3, by=["topic"], models=models)], width=80)
    # In the heading, for either topic, and with its failures.
    for model in models:
        assert 4 == sum(model in line for line in text.split("\n"))
    assert "(no room for failed, discarded, unsafe, empty, truncated, " in text
