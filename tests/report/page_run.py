"""One run with everything in it that a page has to show, and a browser to look at the page with.

Two models, 90 rows: failures of three kinds, unsafe, truncated and empty answers, retries with discarded
tokens, waits, costs, streams, and texts that would do harm where they are not escaped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from report_runs import failed, succeeded, write_run

from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.predictions import add_prediction
from qfbatch.planning.plans import ModelPlan, Plan, Prediction
from qfbatch.records import ErrorKind, Record

MODELS = ("yi-34b", "pythia/<i>6.9b</i>")
ROWS = 90
PLANNED_TOKENS, PLANNED_COST = (5_000, 10_000), 0.25  # of each model: prompt and completion; CNY
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

SCRIPT = "</script><script>document.title='owned'</script>"
HANDLER = "<img src=x onerror=\"document.title='owned'\"> & &lt; {{ 7*7 }} {% x %}"
STEERED = "left \u202eright\u202c \x1b[31mred\x00 \x85"
ARABIC = "مرحبا بالعالم، كيف حالك؟"
CHINESE = "请用两句话概括《红楼梦》😀的主要内容。"
LONG = "An answer that goes on. " * 400  # 9,600 characters: folded, and cut in the sample
PROMPTS = {0: SCRIPT, 1: HANDLER, 2: STEERED, 3: ARABIC, 4: CHINESE, 5: LONG}


def write_page_run(directory: Path) -> Path:
    """The run directory, through the checkpoint's own writers."""
    records = [_row(number, model) for model in MODELS for number in range(ROWS)]
    run = write_run(directory, records, rows=ROWS, models=MODELS)
    planned = tuple(
        ModelPlan(model, model, ROWS, 0, 0, ROWS, *PLANNED_TOKENS, PLANNED_COST, "CNY", 1.0, "assumed")
        for model in MODELS
    )
    plan = Plan("eval", str(run), 1, 1, ROWS, planned, "the run's qps (2)", 90.0, "new")
    add_prediction(RunLayout(run), "run-1", Prediction(0, "2026-05-28T20:26:40.000+00:00", plan))
    return run


def _row(number: int, model: str) -> Record:
    slow = 1 if model == MODELS[0] else 3
    latency_s = 0.125 * slow * (1 + number % 7)
    timing = {"latency_s": latency_s, "wait_s": (number % 5) * 0.25, "time_to_first_token_s": latency_s / 4}
    prompt = PROMPTS.get(number, f"question {number}")
    dropped = {"attempts": 2, "discarded_tokens": 170, "discarded_cost": 0.0017, "currency": "CNY"}
    retried = dropped if number % 8 == 3 else {}
    if number % 11 == 6:
        kind, code = (
            (ErrorKind.SERVER, 503),
            (ErrorKind.INVALID_REQUEST, 336003),
            (ErrorKind.TIMEOUT, None),
        )[number % 3]
        return failed(number, model, error_kind=kind, error_code=code, prompt=prompt, **timing, **retried)
    answer = PROMPTS.get(number, f"answer {number if slow == 1 or number % 2 else 'other'}")
    marked = {
        "is_safe": number % 13 != 5,
        "need_clear_history": number % 13 == 5,
        "is_truncated": number % 17 == 9,
        "result": "" if number % 29 == 21 else answer,
    }
    tokens = 20 + number * slow
    usage = {
        "prompt_tokens": 10 + number,
        "completion_tokens": tokens,
        "total_tokens": 10 + number + tokens,
        "cost": (10 + number + 2 * tokens) / 100_000,
    }
    return succeeded(number, model, prompt=prompt, **marked, **usage, **timing, **retried)


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """Headless Chromium; a test without it is skipped, but fails where tests must all run (CI=true)."""
    executable = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if executable is None:
        reason = "no Chromium: install the package `chromium` (apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=list(FLAGS), downloads_path=profile, timeout=60_000
        )
        try:
            yield browser
        finally:
            browser.close()
