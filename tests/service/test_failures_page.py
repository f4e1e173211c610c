"""docs/failures.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from qfbatch.breaker import BreakerPolicy
from qfbatch.limits.gate import MAX_PAUSE_S
from qfbatch.records import Action, ErrorKind
from qfbatch.retry import RetryPolicy
from qfbatch.service import openai_errors
from qfbatch.service.http_failures import MAX_RETRY_AFTER_S
from qfbatch.service.qianfan import ERROR_CODES
from qfbatch.service.redaction import MAX_MESSAGE
from qfbatch.service.signing import Refusal
from qfbatch.transport import MAX_BODY_BYTES

PAGE = (Path(__file__).parents[2] / "docs" / "failures.md").read_text(encoding="utf-8")


def table(first_heading: str) -> list[list[str]]:
    """The cells of the table whose head starts so, without head and rule."""
    lines = PAGE.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_table_of_codes_is_the_code() -> None:
    """Every code of the page is classified as the page says, and none is missing there."""
    page = {
        int(code): (ErrorKind(kind), Action(word))
        for codes, _, word, kind in table("code")
        for code in codes.split(",")
    }
    assert page == ERROR_CODES


def test_the_table_of_words_is_the_code() -> None:
    """Every code and type of the OpenAI dialects is classified as the page says, none is missing."""
    page = {
        name: (ErrorKind(kind), Action(word))
        for names, word, kind in table("code or type")
        for name in re.findall(r"`([^`]+)`", names)
        if name != "is_safe"
    }
    assert page == openai_errors.ERROR_CODES


def test_the_table_of_statuses_is_the_code() -> None:
    """The statuses that mean more there than in HTTP are those of the page."""
    page = {
        int(status): (ErrorKind(kind), Action(word))
        for statuses, word, kind in table("status, where no code is known")
        for status in re.findall(r"\d+", statuses)
        if status != "200"
    }
    assert page == openai_errors.STATUSES


def test_every_word_is_explained() -> None:
    """The words of the table are those of the code, each with its meaning."""
    assert [row[0] for row in table("word")] == [action.value for action in Action]


def test_every_kind_can_be_met() -> None:
    """Each `error_kind` that results may hold stands on the page."""
    kinds = {row[-1] for heading in ("code", "code or type", "anything else") for row in table(heading)}
    assert {kind.value for kind in ErrorKind} - kinds == set()
    assert [code for code in Refusal if f"`{code}`" not in PAGE] == []


def test_the_figures_are_the_code() -> None:
    """Bounds and thresholds that the page names are those in force."""
    breaker, retry = BreakerPolicy(), RetryPolicy()
    for phrase in (
        f"{breaker.failed_attempts} attempts of at least {breaker.failing_rows} rows failed",
        f"transiently over {breaker.quiet_s:g} s",
        f"{breaker.failed_attempts} attempts failed over {breaker.unreachable_s:g} s",
        f"{breaker.alike_rows} rows in a row failed alike",
        f"`throttle_timeout` ({retry.throttle_timeout_s / 60:g} min)",
        f"never above {MAX_PAUSE_S:g} s a time",
        f"more than {MAX_RETRY_AFTER_S / 60:g} minutes is taken",
        f"at most {MAX_MESSAGE} characters",
        f"over {MAX_BODY_BYTES // 2**20} MiB",
    ):
        assert phrase in PAGE
