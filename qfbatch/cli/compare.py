"""`qfbatch compare`: what changed between two runs, or which of two models is better."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import click

from qfbatch.checkpoint.results import scan_results
from qfbatch.cli.output import emit, wants_color
from qfbatch.cli.page import Page
from qfbatch.cli.report import format_option
from qfbatch.cli.target import Run, open_run
from qfbatch.errors import UsageError
from qfbatch.render import comparison_text
from qfbatch.reporting.compared import Comparison, Matching
from qfbatch.reporting.comparison import EXAMPLES, Subject, compare

MOST_EXAMPLES = 1000
TWO = 2


@click.command("compare")
@click.argument("left")
@click.argument("right", required=False)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Compare this model; given twice, the first on the left with the second on the right.",
)
@click.option(
    "--match",
    type=click.Choice([matching.value for matching in Matching]),
    help="What makes rows the same; by default row_id, or the prompt where no row_id is in common.",
)
@click.option(
    "--examples",
    type=click.IntRange(0, MOST_EXAMPLES),
    default=EXAMPLES,
    show_default=True,
    metavar="N",
    help="How many rows to show of each kind: broken, mended, other answer.",
)
@format_option
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write a page with charts and examples.",
)
def command(
    left: str,
    right: str | None,
    models: tuple[str, ...],
    match: str | None,
    *,
    examples: int,
    form: str,
    html: Path | None,
) -> None:
    """What changed from one run to another, or between two models of one run.

    LEFT and RIGHT are run directories or job files. Two runs are compared model by model, by name; where each
    has one model, these two whatever they are called. One run alone is compared with itself, one model with
    another.

    All figures are of the rows that both sides have. Answers differ when they are not the same to the letter.
    """
    page = None if html is None else Page.at(html)
    runs = [open_run(target) for target in (left, right or left)]
    sides = [scan_results(run.layout) for run in runs]
    comparisons = [
        compare(
            Subject(runs[0].name, runs[0].directory, one, sides[0]),
            Subject(runs[1].name, runs[1].directory, other, sides[1]),
            match=None if match is None else Matching(match),
            examples=examples,
        )
        for one, other in pairs(runs[0], None if right is None else runs[1], models)
    ]
    emit(_rendered(comparisons, form))
    if page is not None:
        page.write_comparisons(comparisons)


def pairs(left: Run, right: Run | None, models: Sequence[str]) -> list[tuple[str, str]]:
    """Which models are compared, left and right.

    Args:
        left: the first run.
        right: the second; None where the first is compared with itself.
        models: as the user named them: none, one or two.

    Raises:
        UsageError: there is no such model, or it is not clear which are meant.
    """
    if len(models) > TWO:
        raise UsageError("--model is given at most twice", hint="Once for both sides, or once for each.")
    for model, run in zip(models, (left, right or left), strict=False):
        _refuse_unknown(model, run)
    if len(models) == TWO:
        return [(models[0], models[1])]
    if right is None:
        if models or len(left.models) != TWO:
            raise UsageError(
                f"{left.directory}: which two models? The run has {', '.join(left.models)}",
                hint="Name both: --model LEFT --model RIGHT. Or name a second run.",
            )
        return [(left.models[0], left.models[1])]
    if models:
        _refuse_unknown(models[0], right)
        return [(models[0], models[0])]
    common = [(model, model) for model in left.models if model in right.models]
    if not common and len(left.models) == len(right.models) == 1:
        return [(left.models[0], right.models[0])]
    if not common:
        raise UsageError(
            f"no model of {left.directory} ({', '.join(left.models)}) is one of {right.directory} "
            f"({', '.join(right.models)})",
            hint="Name one of each: --model LEFT --model RIGHT.",
        )
    return common


def _refuse_unknown(model: str, run: Run) -> None:
    if model not in run.models:
        nearest = get_close_matches(model, run.models, n=1)
        meant = f"Did you mean {nearest[0]}? " if nearest else ""
        raise UsageError(
            f"--model {model}: {run.directory} has no such model",
            hint=f"{meant}Its models: {', '.join(run.models)}.",
        )


def _rendered(comparisons: Sequence[Comparison], form: str) -> str:
    if form == "json":
        return comparison_text.as_json(comparisons)
    if form == "csv":
        return comparison_text.as_csv(comparisons)
    if form == "markdown":
        return comparison_text.as_markdown(comparisons)
    width = shutil.get_terminal_size().columns
    return comparison_text.as_table(comparisons, width=width, color=wants_color())
