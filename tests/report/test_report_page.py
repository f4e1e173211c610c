"""The report's page as a file: what the command promises, without a browser."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from report_runs import failed, succeeded, write_run

from qfbatch.cli.main import main
from qfbatch.render.html.answers import language, visible

MODELS = ("yi-34b", "pythia-6.9b")
ROWS = [
    *(succeeded(n, model) for n in range(6) for model in MODELS if n != 1),
    failed(1),
    failed(1, MODELS[1]),
]


def report(*arguments: str | Path) -> Result:
    """The command's outcome, its exceptions let through."""
    return CliRunner().invoke(main, ["report", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of six rows and two models, one row failed in both."""
    return write_run(tmp_path_factory.mktemp("runs") / "eval", ROWS, rows=6, models=MODELS)


def test_a_page_comes_beside_the_report(run: Path, tmp_path: Path) -> None:
    """The report is printed as without a page; where the page is, and how large, is said on stderr."""
    page = tmp_path / "page.html"
    done = report(run, "--format", "json", "--html", page)
    assert done.exit_code == 0
    assert done.stdout == report(run, "--format", "json").stdout
    assert done.stderr == f"page: {page} ({page.stat().st_size / 1000:,.0f} kB)\n"


def test_the_same_results_give_the_same_page(run: Path, tmp_path: Path) -> None:
    """Byte for byte, so that pages can be compared and kept under version control."""
    one, other = tmp_path / "one.html", tmp_path / "other.html"
    report(run, "--by", "topic", "--html", one)
    report(run, "--by", "topic", "--html", other)
    assert one.read_bytes() == other.read_bytes()


def test_nothing_in_the_page_points_elsewhere(run: Path, tmp_path: Path) -> None:
    """No element names an address outside of the page, and its policy allows none."""
    page = tmp_path / "page.html"
    report(run, "--html", page)
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"""(?:src|href|action|data)=["'](?!#|data:,)[^"']*""", text) == []
    assert re.findall(r"url\((?!#)[^)]*\)|@import", text) == []
    assert "Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-" in text
    assert " style=" not in text


def test_runs_have_a_part_each(run: Path, tmp_path: Path) -> None:
    """In the order given, under the jobs' names, each with its figures and answers."""
    other = write_run(tmp_path / "other", ROWS[:2], rows=6, models=MODELS, job={"name": "<other>"})
    page = tmp_path / "page.html"
    report(other, run, "--html", page)
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"<h1[^>]*><bdi>(.*?)</bdi>", text) == ["&lt;other&gt;", "eval"]
    assert re.findall(r'class="state (\w+)"', text) == ["bad", "good"]
    assert re.findall(r'class="extent">(.*?)<', text) == [
        "1 of 1 prompt (2 of 2 rows).",
        "6 of 6 prompts (12 of 12 rows).",
    ]


def test_a_run_without_a_row_has_a_page(tmp_path: Path) -> None:
    """A run that was only just started says that nothing has ended yet."""
    page = tmp_path / "page.html"
    assert report(write_run(tmp_path / "eval", [], rows=6), "--html", page).exit_code == 0
    assert "No row has ended yet." in page.read_text(encoding="utf-8")


def test_answers_can_be_left_out(run: Path, tmp_path: Path) -> None:
    """With --sample 0 the page has figures and charts, but no prompt and no answer."""
    page = tmp_path / "page.html"
    report(run, "--html", page, "--sample", "0")
    text = page.read_text(encoding="utf-8")
    assert "question 0" not in text
    assert "answer 0" not in text
    assert 'data-chart="tokens"' in text


def test_only_pages_are_replaced(run: Path, tmp_path: Path) -> None:
    """An earlier page is replaced; any other file is left alone, and nothing is printed then."""
    page, letter = tmp_path / "page.html", tmp_path / "letter.html"
    report(run, "--html", page)
    assert report(run, "--html", page).exit_code == 0
    letter.write_text("<p>Dear all</p>", encoding="utf-8")
    done = report(run, "--html", letter)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{letter}: exists already and is not a page of qfbatch's" in done.stderr
    assert letter.read_text(encoding="utf-8") == "<p>Dear all</p>"


def test_a_missing_folder_is_named(run: Path, tmp_path: Path) -> None:
    """A page in a folder that does not exist is refused before anything else is done."""
    done = report(run, "--html", tmp_path / "none" / "page.html")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"there is no folder {tmp_path / 'none'}" in done.stderr


def test_a_comparison_has_a_page(run: Path, tmp_path: Path) -> None:
    """Both sides' figures, what changed between them, and rows that fared otherwise, all as text."""
    changed = [
        succeeded(0, result="<b>another</b>"),
        failed(2, error_message="</script>"),
        *ROWS[6:8],
    ]
    other = write_run(tmp_path / "other", changed, rows=6, models=MODELS)
    page = tmp_path / "page.html"
    done = CliRunner().invoke(
        main,
        ["compare", str(run), str(other), "--model", "yi-34b", "--html", str(page)],
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    assert f"page: {page}" in done.stderr
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"<h1[^>]*><bdi>(.*?)</bdi>", text) == [f"{run} → {other}"]
    assert re.findall(r'name="mark" value="(\w+)"', text) == ["broken", "differs"]
    assert re.findall(r'data-marks="([a-z]+)"', text) == ["broken", "differs"]
    assert "&lt;b&gt;another&lt;/b&gt;" in text
    assert re.findall(r'data-chart="(\w+)"', text) == ["changes", "failures"]
    assert text.count("</script>") == 1


@pytest.mark.parametrize("package", ["jinja2", "vl_convert"])
def test_a_missing_package_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """Without the extra the report is as ever, and a page says what to install."""
    for module in [name for name in sys.modules if name.startswith("qfbatch.render.html")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    done = report(run, "--html", tmp_path / "page.html")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "pip install 'qfbatch[html]'" in done.stderr
    assert package in done.stderr
    assert report(run).exit_code == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is the capital of France?", ""),
        ("请用两句话概括主要内容。", "zh"),
        ("请解释 HTTP 503 的含义", "zh"),
        ("The word 你好 means hello.", ""),
        ("日本の首都はどこですか。", "ja"),
        ("한국의 수도는 어디입니까?", "ko"),
        ("مرحبا بالعالم", ""),
        ("1234 😀", ""),
        ("", ""),
    ],
)
def test_a_language_is_told_by_its_script(text: str, expected: str) -> None:
    """Only where the script tells it: Latin or Arabic letters serve many languages."""
    assert language(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\u2028c\n\td", "a\nb\nc\n\td"),
        ("a\rb", "a\u240db"),
        ("\x00\x1b[31m\x7f\x9b", "\u2400\u241b[31m\u2421[U+009B]"),
        ("\u202eevil\u2069", "[U+202E]evil[U+2069]"),
        ("👩‍👩‍👧 ok", "👩‍👩‍👧 ok"),
    ],
)
def test_nothing_stays_invisible(text: str, expected: str) -> None:
    """Controls and turns of direction are shown; emoji and letters stay what they are."""
    assert visible(text) == expected
