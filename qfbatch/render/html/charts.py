"""Which charts a run's page has, each made of the report's own figures.

A chart is a description in Vega-Lite's grammar together with the same figures as a table: who cannot see the
drawing, or wants it to the last digit, reads that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from qfbatch.job.settings import BUILT_IN_SCORERS
from qfbatch.render import numbers
from qfbatch.render.html.bars import Bar, Chart, Piece, bar_chart
from qfbatch.render.html.scores import score_chart
from qfbatch.render.html.spreads import Panel, spread_chart
from qfbatch.render.html.timelines import throughput_chart, waits_chart
from qfbatch.render.lines import currencies_of, failure_name
from qfbatch.render.section import Section
from qfbatch.reporting.accounting import Deviation
from qfbatch.reporting.figures import Cost, Figures, Spread, TimeCost

COLOURS = 8  # of models in the style sheet; further models share the last
MOST_BARS = 12  # of groups and of kinds of failure; the tables have all


def charts(section: Section) -> list[Chart]:
    """The charts of a run in the page's order; what has no figure has no chart."""
    found = [
        *_over_time(section),
        *_spreads(section),
        _tokens(section),
        *_costs(section),
        _plan(section),
        *_groups(section),
        *_scores(section),
        _failures(section),
        _safety(section),
    ]
    return [chart for chart in found if chart is not None]


def colour_of(section: Section, model: str | None) -> str:
    """The name of a model's colour in the style sheet."""
    place = [coverage.model for coverage in section.coverage].index(str(model))
    return f"model-{min(place + 1, COLOURS)}"


def _over_time(section: Section) -> Iterator[Chart | None]:
    timeline = section.summary.timeline
    if timeline is not None:
        yield throughput_chart(timeline)
        yield waits_chart(timeline)


def _spreads(section: Section) -> Iterator[Chart | None]:
    models = {str(figures.model): figures for figures in section.models()}
    colours = {model: colour_of(section, model) for model in models}
    for key, title, histograms, spread in (
        ("latency", "Latency by model", section.summary.latency, _latency),
        ("first-token", "Time to first token", section.summary.time_to_first_token, _first_token),
    ):
        by_model = {histogram.model: histogram for histogram in histograms}
        panels = [
            Panel(by_model[model], found, colours[model])
            for model, figures in models.items()
            if model in by_model and (found := spread(figures))
        ]
        yield spread_chart(key, title, panels)


def _scores(section: Section) -> Iterator[Chart | None]:
    colours = {coverage.model: colour_of(section, coverage.model) for coverage in section.coverage}
    scores = section.scores
    if scores is None:
        return
    for note in scores.scorers:
        found = {score.model: score for score in scores.models if score.scorer == note.name}
        ordered = [found[model] for model in colours if model in found]
        within = note.proportion or note.scorer in BUILT_IN_SCORERS
        yield score_chart(note.name, ordered, colours, unit=within)


def _latency(figures: Figures) -> Spread | None:
    return figures.latency_s


def _first_token(figures: Figures) -> Spread | None:
    return figures.time_to_first_token_s


def _tokens(section: Section) -> Chart | None:
    bars = [
        Bar(
            numbers.one_line(f.model),
            (
                Piece("prompt", "tokens-prompt", f.tokens.prompt, numbers.count(f.tokens.prompt)),
                Piece(
                    "completion", "tokens-completion", f.tokens.completion, numbers.count(f.tokens.completion)
                ),
                Piece("discarded", "bad", f.tokens.discarded, numbers.count(f.tokens.discarded)),
            ),
            numbers.count(f.tokens.total + f.tokens.discarded),
        )
        for f in section.models()
    ]
    note = "Discarded tokens were paid for, but their answers were dropped (retries, cut streams)."
    return bar_chart("tokens", "Tokens by model", note, bars, of="model", total="paid")


def _costs(section: Section) -> Iterator[Chart | None]:
    for currency in currencies_of(section.models()):
        bars = [
            Bar(
                numbers.one_line(figures.model), pieces, numbers.amount(sum(piece.amount for piece in pieces))
            )
            for figures in section.models()
            if (pieces := _cost_pieces(figures, currency))
        ]
        note = "Tokens and unit-hours at the job's prices; dropped answers are paid for, too."
        title = f"Cost by model{_in(currency)}"
        yield bar_chart(f"cost{_in(currency)}", title, note, bars, of="model", total="paid")


def _cost_pieces(figures: Figures, currency: str) -> tuple[Piece, ...]:
    kinds = (
        ("tokens", "tokens-completion", figures.cost),
        ("discarded", "bad", figures.discarded_cost),
        ("unit-hours", "wait", figures.time_cost),
    )
    return tuple(
        Piece(name, colour, amount, numbers.amount(amount))
        for name, colour, costs in kinds
        if (amount := _amount(costs, currency)) is not None
    )


def _plan(section: Section) -> Chart | None:
    """Planned and actual, each figure on a scale of its own."""
    outcome = section.outcome
    if outcome is None:
        return None
    compared: list[tuple[str, Deviation, Callable[[float], str]]] = [
        ("tokens", outcome.total_tokens, _whole),
        ("time", outcome.time_s, numbers.duration),
        *((f"cost, {model.model}", model.cost, numbers.amount) for model in outcome.models),
    ]
    bars: list[Bar] = []
    for name, deviation, text in compared[:MOST_BARS]:
        if deviation.planned and deviation.actual is not None and deviation.relative is not None:
            shown, planned = numbers.one_line(name), text(deviation.planned)
            off = numbers.signed_share(deviation.relative) if deviation.relative else "as planned"
            actual = f"{text(deviation.actual)} ({off})"
            ratio = deviation.actual / deviation.planned
            longer = max(ratio, 1.0)
            bars += [
                Bar(f"{shown}: planned", (Piece("planned", "neutral", 1 / longer, planned),), planned),
                Bar(f"{shown}: actual", (Piece("actual", "model-1", ratio / longer, actual),), actual),
            ]
    so_far = "" if section.complete else " The run is not complete."
    note = f"Each pair on a scale of its own.{so_far}"
    return bar_chart("plan", "Plan against actual", note, bars, of="figure", total="amount")


def _failures(section: Section) -> Chart | None:
    pieces: dict[str, list[Piece]] = {failure_name(f): [] for f in section.summary.total.failures}
    for figures in section.models():
        name, colour = numbers.one_line(figures.model), colour_of(section, figures.model)
        for failure in figures.failures:
            piece = Piece(name, colour, failure.rows, numbers.count(failure.rows))
            pieces[failure_name(failure)].append(piece)
    rows = {kind: sum(int(piece.amount) for piece in parts) for kind, parts in pieces.items()}
    bars = [Bar(kind, tuple(parts), numbers.things(rows[kind], "row")) for kind, parts in pieces.items()]
    note = _left_out(len(bars), "kinds of failure")
    return bar_chart("failures", "Failures by code", note, bars[:MOST_BARS], of="failure", total="rows")


def _safety(section: Section) -> Chart | None:
    safety = section.summary.total.safety
    if not safety.safe + safety.unsafe:
        return None  # the service never says
    bars = [
        Bar(
            numbers.one_line(f.model),
            (
                Piece("safe", "good", f.safety.safe, numbers.count(f.safety.safe)),
                Piece("not said", "neutral", f.safety.unknown, numbers.count(f.safety.unknown)),
                Piece("unsafe", "bad", f.safety.unsafe, numbers.count(f.safety.unsafe)),
            ),
            f"{numbers.count_and_share(f.safety.unsafe, f.rows)} unsafe",
        )
        for f in section.models()
    ]
    note = "As the service said, in shares of all rows; of failed rows it mostly says nothing."
    return bar_chart("safety", "Safety by model", note, bars, of="model", total="unsafe", shares=True)


def _groups(section: Section) -> Iterator[Chart | None]:
    by = ", ".join(numbers.one_line(name) for name in section.summary.by)
    yield _by_column(section, "tokens-by", f"Tokens by {by}", lambda f: f.tokens.total, _whole)
    for currency in currencies_of(section.groups()):
        key, title = f"cost-by{_in(currency)}", f"Cost by {by}{_in(currency)}"
        yield _by_column(section, key, title, _cost_in(currency), numbers.amount)


def _by_column(
    section: Section,
    key: str,
    title: str,
    amount: Callable[[Figures], float | None],
    text: Callable[[float], str],
) -> Chart | None:
    """A bar for each value of the `--by` columns, a piece for each model; the largest where they are many."""
    pieces: dict[str, list[Piece]] = {}
    for figures in section.groups():
        found = amount(figures)
        if found is not None:
            name = " · ".join(numbers.group_value(value) for value in figures.group.values())
            model = numbers.one_line(figures.model)
            piece = Piece(model, colour_of(section, figures.model), found, text(found))
            pieces.setdefault(name, []).append(piece)
    sums = {name: sum(piece.amount for piece in parts) for name, parts in pieces.items()}
    largest = set(sorted(sums, key=lambda name: -sums[name])[:MOST_BARS])
    bars = [Bar(name, tuple(parts), text(sums[name])) for name, parts in pieces.items() if name in largest]
    note = _left_out(len(sums), "groups")
    return bar_chart(key, title, note, bars, of=", ".join(section.summary.by), total="all models")


def _amount(costs: Sequence[Cost | TimeCost], currency: str) -> float | None:
    return next((cost.amount for cost in costs if (cost.currency or "") == currency), None)


def _cost_in(currency: str) -> Callable[[Figures], float | None]:
    return lambda figures: _amount(figures.cost, currency)


def _whole(amount: float) -> str:
    return numbers.count(round(amount))


def _in(currency: str) -> str:
    return f", {numbers.one_line(currency)}" if currency else ""


def _left_out(found: int, of_what: str) -> str:
    return f"The {MOST_BARS} largest of {numbers.count(found)} {of_what}." if found > MOST_BARS else ""


__all__ = ["COLOURS", "charts", "colour_of"]
