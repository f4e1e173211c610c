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
from qfbatch.cli.report import GATE_FAILED, format_option
from qfbatch.cli.target import Run, open_run
from qfbatch.errors import UsageError
from qfbatch.render import comparison_text
from qfbatch.render.numbers import things
from qfbatch.reporting.compared import Comparison, Matching
from qfbatch.reporting.comparison import EXAMPLES, Subject, compare
from qfbatch.reporting.report import json_columns
from qfbatch.schema import INPUT_PREFIX
from qfbatch.scoring.evaluation import Evaluation
from qfbatch.scoring.scorers import Scorer

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
@click.pass_context
def command(
    ctx: click.Context,
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

    Where a job asks for scores (evaluation), both sides are judged alike: as the one job file on the command
    line says, else as both runs say. Exit codes: 0; 1 if an own scorer failed on rows, which stderr tells.
    """
    page = None if html is None else Page.at(html)
    runs = [open_run(target) for target in (left, right or left)]
    sides = [scan_results(run.layout) for run in runs]
    json = [json_columns(run.manifest) for run in runs]
    scorers = _scorers(runs, [side.collect_schema().names() for side in sides])
    comparisons = [
        compare(
            Subject(runs[0].name, runs[0].directory, one, sides[0], json[0]),
            Subject(runs[1].name, runs[1].directory, other, sides[1], json[1]),
            match=None if match is None else Matching(match),
            examples=examples,
            scorers=scorers,
        )
        for one, other in pairs(runs[0], None if right is None else runs[1], models)
    ]
    emit(_rendered(comparisons, form))
    if page is not None:
        page.write_comparisons(comparisons)
    if _tell_failures(comparisons):
        ctx.exit(GATE_FAILED)


def _scorers(runs: Sequence[Run], columns: Sequence[Sequence[str]]) -> list[Scorer]:
    """What judges both sides alike; says on stderr which scorers do not, and why."""
    asked = [run for run in runs if run.job is not None]
    chosen = asked if len(asked) == 1 else runs[:1] if runs[0].directory == runs[1].directory else runs
    evaluations = [run.evaluation() for run in chosen]
    scorers, notes = alike(evaluations)
    notes += [
        f"{name} was not run: own scorers need the job file on the command line"
        for name in dict.fromkeys(name for evaluation in evaluations for name in evaluation.not_run)
    ]
    found = []
    for scorer in scorers:
        reference = scorer.settings.reference
        without = [
            run.directory
            for run, names in zip(runs, columns, strict=True)
            if reference is not None and INPUT_PREFIX + reference not in names
        ]
        if without:
            notes.append(f"{scorer.name} is left out: {without[0]} carries no column {reference}")
        else:
            found.append(scorer)
    for note in notes:
        click.echo(f"scores: {note}", err=True)
    return found


def alike(evaluations: Sequence[Evaluation]) -> tuple[list[Scorer], list[str]]:
    """The scorers of these evaluations, each once, and what to say of those that are not the same in all.

    One that only some have judges all; one that means something else in another judges none.
    """
    by_name: dict[str, list[Scorer]] = {}
    for evaluation in evaluations:
        for scorer in evaluation.scorers:
            by_name.setdefault(scorer.name, []).append(scorer)
    notes = [
        f"{name} is left out: the two runs mean different things by it; name the job file of one of them"
        for name, some in by_name.items()
        if any(scorer.settings != some[0].settings for scorer in some)
    ]
    same = [
        some[0] for some in by_name.values() if all(scorer.settings == some[0].settings for scorer in some)
    ]
    return same, notes


def _tell_failures(comparisons: Sequence[Comparison]) -> bool:
    """Say on stderr which own scorers failed on rows; whether one did."""
    failed = False
    for comparison in comparisons:
        for score in comparison.scores:
            if score.errors:
                failed = True
                sides = f"{comparison.left.model} and {comparison.right.model}"
                answers = things(score.errors, "answer")
                click.echo(f"scores: {score.scorer} failed on {answers} of {sides}", err=True)
    return failed


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
