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
from qfbatch.gates import Bound, Gates, bound, unmet
from qfbatch.render import csv_text, json_text, markdown, table
from qfbatch.render.section import Section
from qfbatch.reporting import report_on

REPORT = "report.json"
FORMATS = ("table", "json", "csv", "markdown")
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


@click.command("report")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--by", multiple=True, metavar="COLUMN", help="Also by the values of this column; repeatable.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How to print it.",
)
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
) -> None:
    """Token costs and quality of one or more runs.

    TARGET is a run directory or a job file. COLUMN is a carried column (topic) or a column of the results
    (finish_reason). Each run's last report is also kept as JSON in its directory (report.json).

    Exit codes: 0, whether or not rows failed; 1 if a run does not meet --fail-under, --max-failed or
    --max-unsafe, which is then said on stderr.
    """
    page = None if html is None else Page.at(html)
    runs = [open_run(target) for target in targets]
    sections = print_report(runs, by=by, form=form)
    if page is not None:
        page.write(runs, sections, prompts=sample)
    gates = Gates(fail_under, max_failed, max_unsafe)
    passed = [_passes(section, gates) for section in sections]  # of every run, whatever the first one came to
    if not all(passed):
        ctx.exit(GATE_FAILED)


def _passes(section: Section, gates: Gates) -> bool:
    """Whether a run meets its gates; says those it does not."""
    expected = sum(coverage.expected for coverage in section.coverage)
    lines = unmet(gates, section.summary.total, expected)
    for line in lines:
        click.echo(f"gate: {section.directory}: {line}", err=True)
    return not lines


def print_report(runs: Sequence[Run], *, by: Sequence[str] = (), form: str = "table") -> list[Section]:
    """Report on runs to stdout, and keep each one's report in its directory.

    Args:
        runs: what to report on.
        by: columns to group by.
        form: one of `FORMATS`.

    Returns:
        The runs' figures.

    Raises:
        UsageError: there is no such column.
        StorageError: results cannot be read.
    """
    sections = [_section(run, by) for run in runs]
    for run, part in zip(runs, sections, strict=True):
        _keep(run, part)
    emit(_rendered(sections, form))
    return sections


def _section(run: Run, by: Sequence[str]) -> Section:
    return report_on(run.layout, run.manifest, name=run.name, directory=run.directory, by=by)


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
