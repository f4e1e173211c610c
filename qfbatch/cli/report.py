"""`qfbatch report`: what one or more runs came to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.place import replace_content
from qfbatch.cli.output import emit, wants_color
from qfbatch.cli.page import Page
from qfbatch.cli.target import Run, open_run
from qfbatch.errors import StorageError
from qfbatch.render import csv_text, json_text, markdown, table
from qfbatch.render.numbers import one_line, things
from qfbatch.render.section import Section
from qfbatch.reporting.gates import (
    Bound,
    Gates,
    LeastScore,
    bound,
    least_score,
    refuse_unknown_scorers,
    unmet,
    unmet_scores,
)
from qfbatch.reporting.report import report_on
from qfbatch.scoring.evaluation import Evaluation

REPORT = "report.json"
FORMATS = ("table", "json", "csv", "markdown")
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How to print it.",
)
GATE_FAILED = 1


class _BoundType(click.ParamType[Bound]):
    """A number of rows, or a share of them."""

    name = "bound"

    def convert(self, value: Bound | str, param: click.Parameter | None, ctx: click.Context | None) -> Bound:
        """The bound that was typed."""
        if isinstance(value, Bound):
            return value
        try:
            return bound(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _LeastScoreType(click.ParamType[LeastScore]):
    """A scorer's name and the mean it has to reach."""

    name = "score"

    def convert(
        self, value: LeastScore | str, param: click.Parameter | None, ctx: click.Context | None
    ) -> LeastScore:
        """The gate that was typed."""
        if isinstance(value, LeastScore):
            return value
        try:
            return least_score(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("report")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--by", multiple=True, metavar="COLUMN", help="Also by the values of this column; repeatable.")
@format_option
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write a page with charts and answers.",
)
@click.option(
    "--sample",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    metavar="N",
    help="Prompts whose answers the page shows; 0: none.",
)
@click.option(
    "--fail-under",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Exit 1 if less of a run's rows succeeded; rows that have not ended have not.",
)
@click.option(
    "--max-failed",
    type=_BoundType(),
    metavar="N|P%",
    help="Exit 1 if more rows of a run failed, or a larger share of those that have ended.",
)
@click.option(
    "--max-unsafe", type=_BoundType(), metavar="N|P%", help="The same for rows that the service calls unsafe."
)
@click.option(
    "--min-score",
    "min_scores",
    multiple=True,
    type=_LeastScoreType(),
    metavar="SCORER=MEAN",
    help="Exit 1 if a model's mean by this scorer is lower; repeatable.",
)
@click.pass_context
def command(
    ctx: click.Context,
    targets: tuple[str, ...],
    by: tuple[str, ...],
    form: str,
    html: Path | None,
    *,
    sample: int,
    fail_under: float | None,
    max_failed: Bound | None,
    max_unsafe: Bound | None,
    min_scores: tuple[LeastScore, ...],
) -> None:
    """Token costs and quality of one or more runs.

    TARGET is a run directory or a job file. COLUMN is a carried column (topic) or a column of the results
    (finish_reason). Each run's last report is also kept as JSON in its directory (report.json).

    Where the job asks for scores (evaluation), a job file as TARGET is scored as the file says now, a run
    directory as its last start said and without own scorers, which are code.

    Exit codes: 0, whether or not rows failed; 1 if a run does not meet --fail-under, --max-failed,
    --max-unsafe or --min-score, or if an own scorer failed on rows, which is then said on stderr.
    """
    page = None if html is None else Page.at(html)
    runs = [open_run(target) for target in targets]
    evaluations = [run.evaluation() for run in runs]
    for evaluation in evaluations:
        names = [scorer.name for scorer in evaluation.scorers]
        refuse_unknown_scorers(min_scores, names, evaluation.not_run)
    sections = print_report(runs, evaluations, by=by, form=form)
    if page is not None:
        page.write(runs, sections, prompts=sample)
    gates = Gates(fail_under, max_failed, max_unsafe)
    # Of every run, whatever the first one came to.
    passed = [_passes(section, gates, min_scores) for section in sections]
    if not all(passed):
        ctx.exit(GATE_FAILED)


def _passes(section: Section, gates: Gates, min_scores: Sequence[LeastScore]) -> bool:
    """Whether a run meets its gates and could be scored; says what is not so."""
    expected = sum(coverage.expected for coverage in section.coverage)
    lines = unmet(gates, section.summary.total, expected) + unmet_scores(min_scores, section.scores)
    for line in lines:
        click.echo(f"gate: {section.directory}: {line}", err=True)
    return not lines and not tell_scoring(section)


def tell_scoring(section: Section) -> bool:
    """Say on stderr which own scorers failed or were not run; whether one failed."""
    scores = section.scores
    for failure in scores.failures if scores is not None else ():
        click.echo(
            f"scores: {section.directory}: {failure.scorer} failed on {things(failure.rows, 'row')}, "
            f"first on {failure.row_id} of {failure.model}: {one_line(failure.message)}",
            err=True,
        )
    for name in scores.not_run if scores is not None else ():
        click.echo(
            f"scores: {section.directory}: {name} was not run: it is a function of your own, which only the "
            "job file on the command line runs",
            err=True,
        )
    return scores is not None and bool(scores.failures)


def print_report(
    runs: Sequence[Run], evaluations: Sequence[Evaluation], *, by: Sequence[str] = (), form: str = "table"
) -> list[Section]:
    """Report on runs to stdout, and keep each one's report in its directory.

    Args:
        runs: what to report on.
        evaluations: what judges the answers of each.
        by: columns to group by.
        form: one of `FORMATS`.

    Returns:
        The runs' figures.

    Raises:
        UsageError: there is no such column.
        StorageError: results cannot be read.
    """
    sections = [_section(run, by, judged) for run, judged in zip(runs, evaluations, strict=True)]
    for run, part in zip(runs, sections, strict=True):
        _keep(run, part)
    emit(_rendered(sections, form))
    return sections


def _section(run: Run, by: Sequence[str], evaluation: Evaluation) -> Section:
    return report_on(
        run.layout,
        run.manifest,
        name=run.name,
        directory=run.directory,
        by=by,
        evaluation=evaluation,
    )


def _keep(run: Run, part: Section) -> None:
    """The run's last report, beside its results; a run that may only be read is reported all the same."""
    if isinstance(run.layout, RunLayout) and not os.access(run.layout.path, os.W_OK):
        return
    try:
        replace_content(run.layout, REPORT, json_text.render([part]).encode())
    except StorageError as error:
        click.echo(f"note: the report was not kept: {error.message}", err=True)


def _rendered(sections: Sequence[Section], form: str) -> str:
    if form == "json":
        return json_text.render(sections)
    if form == "csv":
        return csv_text.render(sections)
    if form == "markdown":
        return markdown.render(sections)
    return table.render(sections, width=shutil.get_terminal_size().columns, color=wants_color())
