"""The report's page in a real browser: quiet, complete, true, and readable everywhere."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from page_run import (
    ARABIC,
    CHINESE,
    HANDLER,
    LONG,
    MODELS,
    PLANNED_COST,
    PLANNED_TOKENS,
    ROWS,
    SCRIPT,
    open_browser,
    write_page_run,
)
from playwright.sync_api import Browser, BrowserContext, Page

from qfbatch.cli.main import main
from qfbatch.render import numbers

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
MARKS = ".drawing [aria-label][aria-roledescription]:not(g)"
WIDTH_S = 3.0  # of a stretch of time: the run takes 90 s, and a chart shows 40 stretches at most

Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory."""
    return write_page_run(tmp_path_factory.mktemp("runs") / "eval")


@pytest.fixture(scope="module")
def page_file(run: Path) -> Path:
    """Its page, as the command writes it."""
    file = run.parent / "page.html"
    done = CliRunner().invoke(
        main, ["report", str(run), "--by", "topic", "--html", str(file)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.stderr
    return file


@pytest.fixture(scope="module")
def rows(run: Path) -> pl.DataFrame:
    """What lies in the Parquet files, read by nothing of ours."""
    return pl.read_parquet(run / "results" / "*.parquet")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of this module."""
    with open_browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def opened(browser: Browser, page_file: Path) -> Iterator[Opened]:
    """Opens the page as a reader would, in a window and theme of the test's choice."""
    contexts: list[BrowserContext] = []

    def open_page(*, viewport: dict[str, int] = DESKTOP, **how: Any) -> Page:
        context = browser.new_context(viewport=viewport, **how)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.goto(page_file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_asked_for_and_nothing_complains(browser: Browser, page_file: Path, theme: Any) -> None:
    """Opening the page and using it makes no request and no word on the console, hostile prompts or not."""
    heard: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=theme)
    context.on("request", lambda request: heard.append(request.url))
    context.on("console", lambda message: heard.append(message.text))
    context.on("weberror", lambda error: heard.append(str(error.error)))
    context.on("dialog", lambda dialog: heard.append(dialog.message))
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.locator("#theme").click()
    page.locator("input[type=search]").fill("question")
    for summary in page.locator("summary:visible").all():
        summary.click()
    page.mouse.move(300, 500)
    page.wait_for_timeout(200)
    title = page.title()
    context.close()
    assert heard == [page_file.as_uri()]
    assert title == "eval - qfbatch report"


def test_a_comparison_is_quiet_and_drawn(browser: Browser, run: Path, tmp_path: Path) -> None:
    """The page of two models compared makes no request, shows its charts, and filters its examples."""
    file, heard = tmp_path / "page.html", list[str]()
    CliRunner().invoke(main, ["compare", str(run), "--html", str(file)], catch_exceptions=False)
    context = browser.new_context(viewport={"width": 360, "height": 740})
    context.on("request", lambda request: heard.append(request.url))
    context.on("console", lambda message: heard.append(message.text))
    page = context.new_page()
    page.goto(file.as_uri())
    page.get_by_role("radio", name=re.compile("^differs")).check()
    shown = page.locator(".question:visible").count()
    marks = page.evaluate(
        """marks => [...document.querySelectorAll(".chart")].map(chart => [
          +chart.dataset.marks,
          [...chart.querySelectorAll(marks)].filter(mark => mark.getBoundingClientRect().width).length])""",
        MARKS,
    )
    width = page.evaluate("document.documentElement.scrollWidth")
    context.close()
    assert heard == [file.as_uri()]
    assert shown == 10
    assert [stated for stated, _ in marks] == [seen for _, seen in marks]
    assert len(marks) == 2
    assert width == 360


def test_every_chart_is_drawn(opened: Opened, rows: pl.DataFrame) -> None:
    """Each chart has its size and a visible mark for every figure that is not nothing."""
    drawn = opened().evaluate(
        """marks => Object.fromEntries([...document.querySelectorAll(".chart")].map(chart => {
          const svg = chart.querySelector("svg").getBoundingClientRect();
          const sizes = [...chart.querySelectorAll(marks)].map(mark => mark.getBoundingClientRect());
          return [chart.dataset.chart, {
            size: [svg.width, svg.height], stated: +chart.dataset.marks,
            seen: sizes.filter(size => size.width + size.height > 0.5).length,
          }];
        }))""",
        MARKS,
    )
    stretches = _over_time(rows)
    bins = {name: _bins(rows, column).height for name, column in _SPREADS.items()}
    expected = {
        "throughput": stretches.filter(pl.col("ended") > pl.col("failed")).height
        + stretches.filter(pl.col("failed") > 0).height,
        "waits": stretches.filter(pl.col("wait") > 0).height + stretches.height,
        "latency": bins["latency"] + 3 * len(MODELS),
        "first-token": bins["first-token"] + 3 * len(MODELS),
        "tokens": 3 * len(MODELS),
        "cost, CNY": 2 * len(MODELS),
        "plan": 2 * (2 + len(MODELS)),  # tokens and time of all, cost of each
        "tokens-by": 2 * len(MODELS),
        "cost-by, CNY": 2 * len(MODELS),
        "failures": 3 * len(MODELS),
        "safety": 3 * len(MODELS),
    }
    assert {name: chart["seen"] for name, chart in drawn.items()} == expected
    assert {name: chart["stated"] for name, chart in drawn.items()} == expected
    assert [name for name, chart in drawn.items() if min(chart["size"]) < 60] == []


def test_bars_are_as_long_as_their_figures(opened: Opened, rows: pl.DataFrame) -> None:
    """What the eye compares is in proportion: tokens of the two models, piece by piece."""
    widths = opened().evaluate(
        """marks => [...document.querySelectorAll(`[data-chart=tokens] ${marks}`)]
          .map(mark => mark.getBoundingClientRect().width)""",
        MARKS,
    )
    sums = [
        _sum(rows.filter(pl.col("model") == model), column)
        for model in MODELS
        for column in ("prompt_tokens", "completion_tokens", "discarded_tokens")
    ]
    assert [pytest.approx(amount / sums[0], rel=0.01) for amount in sums] == [w / widths[0] for w in widths]


def test_the_figures_are_those_of_the_files(opened: Opened, rows: pl.DataFrame) -> None:
    """Every figure of the first table, recounted from the Parquet files."""
    table = _table(opened(), "[data-block=''] table")
    assert table[0] == ["", *MODELS, "all models"]
    across = [*(rows.filter(pl.col("model") == model) for model in MODELS), rows]
    known = {name: [text(some) for some in across] for name, text in _FIGURES.items()}
    shown = {row[0]: row[1:] for row in table[1:]}
    assert {name: shown.get(name) for name in known} == known
    assert sorted(set(shown) - set(known)) == sorted(_WITHOUT_FIGURE & set(shown))


def test_groups_and_failures_are_those_of_the_files(opened: Opened, rows: pl.DataFrame) -> None:
    """The tables by column and of failures, recounted from the Parquet files."""
    page = opened()
    groups = {(row[0], row[1]): row[2:6] for row in _table(page, "[data-block^='By topic'] table")[1:]}
    assert groups == {
        (model, topic): [
            numbers.count(some.height),
            numbers.share(int((some["status"] == "succeeded").sum()), some.height),
            numbers.count(int((some["status"] == "failed").sum())),
            numbers.count(_sum(some, "total_tokens")),
        ]
        for (model, topic), some in rows.group_by("model", "input_topic")
    }
    failures = {tuple(row[:4]) for row in _table(page, "[data-block='Failures'] table")[1:]}
    assert failures == {
        (model, kind, "-" if code is None else str(code), numbers.count(some.height))
        for (model, kind, code), some in rows.filter(pl.col("status") == "failed").group_by(
            "model", "error_kind", "error_code"
        )
    }


def test_the_charts_tables_are_those_of_the_files(opened: Opened, rows: pl.DataFrame) -> None:
    """The figures behind each chart, recounted from the Parquet files."""
    page = opened()

    def behind(chart: str) -> list[list[str]]:
        return _table(page, f"[data-chart='{chart}'] table")[1:]

    stretches = _over_time(rows)
    assert [row[1:4] for row in behind("throughput")] == [
        [numbers.count(some["ended"]), numbers.count(some["failed"]), numbers.count(some["tokens"])]
        for some in stretches.iter_rows(named=True)
    ]
    assert [row[1:] for row in behind("waits")] == [
        [
            numbers.count(some["ended"]),
            numbers.seconds(some["wait"] / some["ended"]),
            numbers.seconds(some["longest"]),
        ]
        for some in stretches.iter_rows(named=True)
    ]
    for chart, column in _SPREADS.items():
        assert [(row[0], row[2]) for row in behind(chart)] == [
            (model, numbers.count(count))
            for model, count in _bins(rows, column).select("model", "len").rows()
        ]
    by_model = [rows.filter(pl.col("model") == model) for model in MODELS]
    assert behind("cost, CNY") == [
        [
            str(some["model"][0]),
            *(numbers.amount(amount) for amount in (_sum(some, "cost"), _sum(some, "discarded_cost"))),
            numbers.amount(_sum(some, "cost") + _sum(some, "discarded_cost")),
        ]
        for some in by_model
    ]
    plan = {row[0]: row[-1] for row in behind("plan")}
    tokens, planned = _sum(rows, "total_tokens"), len(MODELS) * sum(PLANNED_TOKENS)
    assert plan["tokens: planned"] == numbers.count(planned)
    assert plan["tokens: actual"] == f"{numbers.count(tokens)} ({100 * tokens / planned - 100:+.1f} %)"
    costs = {model: _sum(some, "cost") for model, some in zip(MODELS, by_model, strict=True)}
    assert {model: plan[f"cost, {model}: actual"] for model in MODELS} == {
        model: f"{numbers.amount(cost)} ({100 * cost / PLANNED_COST - 100:+.1f} %)"
        for model, cost in costs.items()
    }
    assert behind("safety") == [
        [
            str(some["model"][0]),
            *(numbers.count(int(some["is_safe"].eq_missing(said).sum())) for said in (True, None, False)),
            f"{_share_of(some, ~pl.col('is_safe'))} unsafe",
        ]
        for some in by_model
    ]
    topics = {row[0]: row[-1] for row in behind("tokens-by")}
    assert topics == {
        str(topic): numbers.count(_sum(some, "total_tokens"))
        for (topic,), some in rows.group_by("input_topic")
    }


def test_the_cards_are_those_of_the_files(opened: Opened, rows: pl.DataFrame) -> None:
    """The figures that stand first, discarded tokens among them, recounted from the Parquet files."""
    cards = opened().evaluate(
        """Object.fromEntries([...document.querySelectorAll(".card")].map(card =>
          [card.querySelector("dt").innerText, card.querySelector("b").innerText]))"""
    )
    assert cards == {
        "succeeded": numbers.share(int((rows["status"] == "succeeded").sum()), rows.height),
        "failed": numbers.count(int((rows["status"] == "failed").sum())),
        "cost": f"{numbers.amount(_sum(rows, 'cost'))} CNY",
        "tokens": numbers.count(_sum(rows, "total_tokens")),
        "paid, but discarded": numbers.count(_sum(rows, "discarded_tokens")),
        "unsafe": numbers.count(rows.filter(~pl.col("is_safe")).height),
        "truncated": numbers.count(rows.filter("is_truncated").height),
        "latency": numbers.seconds(rows["latency_s"].quantile(0.5, "linear")),
        "wait": numbers.seconds(rows["wait_s"].quantile(0.5, "linear")),
        "throughput": numbers.rate(rows.height / _wall_s(rows)),
    }


def test_the_sample_says_how_much_it_is(opened: Opened, rows: pl.DataFrame) -> None:
    """Prompts shown and in the run are stated, and each model has a column in each prompt."""
    page = opened()
    assert (
        page.locator(".extent").inner_text()
        == f"{ROWS} of {ROWS} prompts ({rows.height} of {rows.height} rows)."
    )
    assert page.locator(".question").count() == ROWS
    names = page.locator(".question").nth(7).locator("h4").all_inner_texts()
    assert names == list(MODELS)


def test_hostile_texts_are_only_text(opened: Opened) -> None:
    """Markup stands there as it was written, controls and turned directions are shown, and nothing acts."""
    page = opened()
    texts = [page.locator(".question .prompt").nth(number).text_content() or "" for number in range(5)]
    assert [text.strip() for text in texts] == [
        SCRIPT,
        HANDLER,
        "left [U+202E]right[U+202C] \u241b[31mred\u2400 [U+0085]",
        ARABIC,
        CHINESE,
    ]
    assert page.title() == "eval - qfbatch report"
    assert page.locator(".question :is(script, img, b, i:not(.swatch)), .drawing i").count() == 0
    assert page.locator("script").count() == 1


def test_languages_and_directions_are_marked(opened: Opened) -> None:
    """The page is English, a Chinese text Chinese, others unknown, and each text runs its own way."""
    page = opened()
    prompts = page.locator(".question .prompt > .text")
    assert page.locator("html").get_attribute("lang") == "en"
    assert [prompts.nth(number).get_attribute("lang") for number in (0, 3, 4)] == ["", "", "zh"]
    directions = [prompts.nth(n).evaluate("text => getComputedStyle(text).direction") for n in (0, 3, 4)]
    assert directions == ["ltr", "rtl", "ltr"]


def test_long_texts_are_folded(opened: Opened) -> None:
    """A long answer shows its beginning and its length, and all that the sample has of it on a click."""
    page = opened()
    fold = page.locator(".question").nth(5).locator(".reply .fold").first
    assert len(fold.inner_text()) < 600
    assert fold.locator(".size").inner_text() == f"{len(LONG):,} characters, the first 4,000 here"
    fold.locator("summary").click()
    assert fold.locator(".text").inner_text() == LONG[:4000].strip()
    assert not fold.locator(".preview").is_visible()


def test_answers_are_filtered_and_searched(opened: Opened, rows: pl.DataFrame) -> None:
    """Each filter leaves the prompts that have its mark, by mouse or keys, and the search narrows further."""
    page = opened()
    marked = rows.group_by("row_id").agg(
        failed=(pl.col("status") == "failed").any(),
        unsafe=(~pl.col("is_safe")).any(),
        truncated=pl.col("is_truncated").any(),
        empty=(pl.col("result") == "").any(),
        differs=pl.col("result").drop_nulls().n_unique() > 1,
    )
    found = {}
    for mark in ("failed", "unsafe", "truncated", "empty", "differs"):
        page.get_by_role("radio", name=re.compile(f"^{mark}")).check()
        found[mark] = sorted(page.locator(".question:visible h3").all_inner_texts())
    assert found == {
        mark: sorted(marked.filter(pl.col(mark).fill_null(value=False))["row_id"]) for mark in found
    }
    page.get_by_role("radio", name="all", exact=True).focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("searchbox").fill("QUESTION 17")
    assert page.locator(".question:visible h3").all_inner_texts() == ["q18"]
    assert page.locator(".found").inner_text() == f"1 of {ROWS} shown"
    page.get_by_role("searchbox").fill("no such words")
    assert page.locator(".nothing").is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(opened: Opened, theme: str) -> None:
    """At 360 pixels the page is as wide as the window, and the charts' words stay large enough to read."""
    page = opened(viewport=PHONE, color_scheme=theme)
    for summary in page.locator("summary:visible").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    smallest = page.evaluate(
        """Math.min(...[...document.querySelectorAll(".drawing svg")].map(svg =>
          12 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width))"""
    )
    assert smallest > 9


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_told_from_their_ground(opened: Opened, theme: str) -> None:
    """Text has a contrast of 4.5 at least, and whatever is drawn one of 3, as WCAG 2.2 asks for (AA)."""
    page = opened(color_scheme=theme)
    models = (f"model-{number}" for number in range(1, 9))
    drawn_in = ("bad", "good", "neutral", "wait", "tokens-prompt", "tokens-completion", *models)
    names = ("page", "card", "ink", "muted", "accent", *drawn_in)
    colours: dict[str, str] = page.evaluate(
        "names => Object.fromEntries(names.map(n => [n, getComputedStyle(document.documentElement)"
        ".getPropertyValue('--' + n).trim()]))",
        list(names),
    )
    text = {
        (name, ground): _contrast(colours[name], colours[ground])
        for name, ground in itertools.product(("ink", "muted", "accent", "bad", "good"), ("page", "card"))
    }
    assert {pair: ratio for pair, ratio in text.items() if ratio < 4.5} == {}
    drawn = {name: _contrast(colours[name], colours["card"]) for name in drawn_in}
    assert {name: ratio for name, ratio in drawn.items() if ratio < 3} == {}


def test_the_theme_can_be_chosen(opened: Opened) -> None:
    """The button goes from the system's theme to light, dark and back, whatever the system says."""
    page = opened(color_scheme="dark")
    grounds = []
    for _ in range(4):
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.locator("#theme").click()
    assert grounds[0] == grounds[2] == grounds[3]
    assert grounds[0] != grounds[1]


def test_it_prints(opened: Opened) -> None:
    """On paper the page has several sheets and the light colours, also where dark ones were on screen."""
    page = opened(color_scheme="dark")
    page.locator("#theme").click()
    page.locator("#theme").click()
    sheets = re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))
    assert len(sheets) > 2
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(28, 35, 48)"
    assert not page.locator(".top").is_visible()


def test_it_can_be_read_without_scripts(opened: Opened) -> None:
    """Where scripts are switched off, everything is there but the comfort."""
    page = opened(java_script_enabled=False)
    assert page.locator(".question:visible").count() == ROWS
    assert page.locator(".drawing svg:visible").count() == 11
    assert not page.locator(".filters").is_visible()


def test_it_reads_well_aloud(opened: Opened) -> None:
    """Headings go down a level at a time, charts have a text and a table, tables their heads and names."""
    page = opened()
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert [pair for pair in itertools.pairwise(levels) if pair[1] > pair[0] + 1] == []
    charts = page.locator(".chart").count()
    assert page.locator(".chart .drawing[role=img][aria-label]").count() == charts
    assert page.locator(".chart table").count() == charts
    without = page.evaluate(
        """[...document.querySelectorAll("table")].filter(table => !table.caption?.textContent
          || !table.querySelector("thead th[scope=col]")
          || !table.querySelector("tbody th[scope=row]")).length"""
    )
    assert without == 0
    assert page.locator("input:visible").count() == page.locator("label input:visible").count()
    assert (
        page.evaluate("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size")
        == page.locator("[id]").count()
    )


_SPREADS = {"latency": "latency_s", "first-token": "time_to_first_token_s"}
_SUCCEEDED, _FAILED = pl.col("status") == "succeeded", pl.col("status") == "failed"


def _sum(some: pl.DataFrame, column: str) -> Any:
    return some[column].sum()


def _share_of(some: pl.DataFrame, condition: pl.Expr) -> str:
    return numbers.count_and_share(some.filter(condition).height, some.height)


def _percentiles(label: str, column: str) -> dict[str, Callable[[pl.DataFrame], str]]:
    return {
        f"{label} {name}": lambda some, share=share: numbers.seconds(some[column].quantile(share, "linear"))  # type: ignore[misc]
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    }


def _wall_s(some: pl.DataFrame) -> float:
    first, last = some.select(pl.col("started_at").min(), pl.col("finished_at").max()).row(0)
    wall: float = (last - first).total_seconds()
    return wall


_FIGURES: dict[str, Callable[[pl.DataFrame], str]] = {
    "rows": lambda some: numbers.count(some.height),
    "succeeded": lambda some: _share_of(some, _SUCCEEDED),
    "failed": lambda some: _share_of(some, _FAILED),
    "skipped": lambda some: _share_of(some, pl.col("status") == "skipped"),
    "prompt tokens": lambda some: numbers.count(_sum(some, "prompt_tokens")),
    "completion tokens": lambda some: numbers.count(_sum(some, "completion_tokens")),
    "total tokens": lambda some: numbers.count(_sum(some, "total_tokens")),
    "discarded tokens": lambda some: numbers.count(_sum(some, "discarded_tokens")),
    "discarded cost CNY": lambda some: numbers.amount(_sum(some, "discarded_cost")),
    "cost CNY": lambda some: numbers.amount(_sum(some, "cost")),
    "safe": lambda some: _share_of(some, pl.col("is_safe")),
    "unsafe": lambda some: _share_of(some, ~pl.col("is_safe")),
    "safety not said": lambda some: _share_of(some, pl.col("is_safe").is_null()),
    "need clear history": lambda some: _share_of(some, pl.col("need_clear_history")),
    "empty answers": lambda some: _share_of(some, _SUCCEEDED & (pl.col("result") == "")),
    "truncated answers": lambda some: _share_of(some, pl.col("is_truncated")),
    "attempts": lambda some: numbers.count(_sum(some, "attempts")),
    "rows tried again": lambda some: _share_of(some, pl.col("attempts") > 1),
    **_percentiles("latency", "latency_s"),
    **_percentiles("first token", "time_to_first_token_s"),
    **_percentiles("wait", "wait_s"),
    "wall time": lambda some: numbers.duration(_wall_s(some)),
    "rows/s": lambda some: numbers.rate(some.height / _wall_s(some)),
    "tokens/s": lambda some: numbers.rate(_sum(some, "total_tokens") / _wall_s(some)),
}
_WITHOUT_FIGURE = {
    "- reported",
    "- estimated",
    "rows without usage",
    "rows without cost",
    "ban round",
    "started",
    "ended",
}


def _over_time(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by the second in which they ended, from the first start on; the last moment is in the last one."""
    start = rows["started_at"].min()
    last = _wall_s(rows) / WIDTH_S - 1
    place = ((pl.col("finished_at") - start).dt.total_microseconds() / (WIDTH_S * 1e6)).floor()
    return (
        rows.group_by(place=place.clip(0, last))
        .agg(
            ended=pl.len(),
            failed=_FAILED.sum(),
            tokens=pl.col("total_tokens").sum(),
            wait=pl.col("wait_s").sum(),
            longest=pl.col("wait_s").max(),
        )
        .sort("place")
    )


def _bins(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Rows by model and by bin of Renard's series R10, ten to the decade, which hold all durations here."""
    edges = [
        round(mantissa * 10.0**decade, 6)
        for decade in (-3, -2, -1, 0)
        for mantissa in (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8)
    ]
    places = [bisect.bisect_right(edges, duration) for duration in rows[column]]
    return (
        rows.select("model", bin=pl.Series(places))
        .group_by("model", "bin")
        .len()
        .sort(pl.col("model").cast(pl.Enum(MODELS)), "bin")
    )


def _table(page: Page, selector: str) -> list[list[str]]:
    """A table's cells, its head first, whether it is folded or not."""
    cells: list[list[str]] = page.locator(selector).evaluate(
        "table => [...table.rows].map(row => [...row.cells].map(cell => cell.textContent.trim()))"
    )
    return cells


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, #rrggbb, as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
