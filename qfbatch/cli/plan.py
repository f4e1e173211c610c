"""`qfbatch plan`: what a run would do, cost and take; no call is made."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import msgspec

from qfbatch.cli.job_options import job_argument, load
from qfbatch.cli.output import emit, wants_color
from qfbatch.flow.session import RunOptions
from qfbatch.planning.planner import plan_job
from qfbatch.planning.plans import Plan
from qfbatch.progress.events import Surveyed
from qfbatch.progress.survey import SurveyProgress
from qfbatch.render import markdown, plan_text, table

FORMATS = ("table", "json", "markdown")


@click.command("plan")
@job_argument
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows of the input.")
@click.option("--retry-failed", is_flag=True, help="Failed rows are asked again.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How to print it.",
)
def command(
    job_file: Path,
    overrides: tuple[str, ...],
    concurrency: int | None,
    limit: int | None,
    *,
    retry_failed: bool,
    form: str,
) -> None:
    """Show what a run of the job would do: rows, shards, tokens, cost, the limit that binds, the time.

    No call is made and the run directory is not touched. On a run begun before, only what is left counts.
    """
    job, _ = load(job_file, overrides, concurrency)
    shown = SurveyProgress()
    options = RunOptions(limit=limit, retry_failed=retry_failed)
    plan = plan_job(job, options, on_survey=lambda done, total: shown(Surveyed(done, total)))
    emit(_rendered(plan, form))


def _rendered(plan: Plan, form: str) -> str:
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(plan), indent=2).decode() + "\n"
    chapters = [plan_text.chapter(plan)]
    if form == "markdown":
        return markdown.render_chapters(chapters)
    width = shutil.get_terminal_size().columns
    return table.render_chapters(chapters, width=width, color=wants_color())
