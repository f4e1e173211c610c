"""`qfbatch plan`: what a run would do, cost and take; no call is made."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from qfbatch.cli.job_options import job_argument, load
from qfbatch.planning import plan_job
from qfbatch.progress.events import Surveyed
from qfbatch.progress.survey import SurveyProgress
from qfbatch.render import plan_text


@click.command("plan")
@job_argument
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
def command(job_file: Path, overrides: tuple[str, ...], concurrency: int | None, form: str) -> None:
    """Show what a run of the job would do: rows, shards, tokens, cost, the limit that binds, the time.

    No call is made and the run directory is not touched. On a run begun before, only what is left counts.
    """
    job, _ = load(job_file, overrides, concurrency)
    shown = SurveyProgress()
    plan = plan_job(job, on_survey=lambda done, total: shown(Surveyed(done, total)))
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(plan), indent=2))
    else:
        click.echo(plan_text.render(plan), nl=False)
