"""The report as one self-contained page.

What is shown, and how each figure reads, is decided elsewhere (`layout`, `lines`, `cards`, `charts`,
`answers`); here it is put together and given to the template. The template escapes every value; the drawings
are the one thing it takes as it is, for the charting library has escaped their texts. Should anything slip
through all the same, the page's own policy lets a browser load nothing and run nothing but the one script,
known by its digest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from qfbatch._version import __version__
from qfbatch.render import numbers
from qfbatch.render.changes import side_names
from qfbatch.render.comparison_text import chapter
from qfbatch.render.html.answers import Filter, Question, extent, filters, questions
from qfbatch.render.html.bars import Chart
from qfbatch.render.html.cards import Card, cards
from qfbatch.render.html.charts import charts, colour_of
from qfbatch.render.html.contrasts import (
    LEFT,
    RIGHT,
    contrast_cards,
    contrast_charts,
    contrast_extent,
    contrast_filters,
    contrast_questions,
)
from qfbatch.render.html.drawing import draw
from qfbatch.render.layout import Block, blocks, state
from qfbatch.render.section import Section
from qfbatch.reporting.compared import Comparison
from qfbatch.reporting.sampled import Sample

GENERATOR = '<meta name="generator" content="qfbatch '  # by which a page of ours is known


class Drawn(NamedTuple):
    """A chart with its drawing and what it is read out as."""

    chart: Chart
    svg: Markup
    alternative: str


class Answers(NamedTuple):
    """A run's sample, ready to be laid out."""

    extent: str
    models: tuple[tuple[str, str], ...]
    filters: tuple[Filter, ...]
    questions: tuple[Question, ...]


class Part(NamedTuple):
    """A run's part of the page, or a comparison's.

    `untitled` names the table that needs no title elsewhere; `answers` is None where no sample was asked for.
    """

    key: str
    name: str
    directory: str
    state: str
    complete: bool
    when: str
    cards: tuple[Card, ...]
    charts: tuple[Drawn, ...]
    blocks: tuple[Block, ...]
    untitled: str
    answers: Answers | None


def render(sections: Sequence[Section], samples: Sequence[Sample | None]) -> str:
    """The page of a report.

    Args:
        sections: the runs, in the order given.
        samples: for each run the answers to show; None for none.
    """
    parts = [
        _run(f"run{number}", section, sample)
        for number, (section, sample) in enumerate(zip(sections, samples, strict=True), start=1)
    ]
    return _page("report", parts)


def render_comparisons(comparisons: Sequence[Comparison]) -> str:
    """The page of comparisons, in the order given."""
    parts = [_contrast(f"pair{number}", comparison) for number, comparison in enumerate(comparisons, start=1)]
    return _page("comparison", parts)


def _page(kind: str, parts: Sequence[Part]) -> str:
    loader = PackageLoader("qfbatch.render.html", ".")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (loader.get_source(environment, name)[0] for name in ("page.css", "page.js"))
    context: dict[str, Any] = {
        "kind": kind,
        "title": ", ".join(dict.fromkeys(part.name for part in parts)),
        "version": __version__,
        "runs": parts,
        "style": Markup(style),  # noqa: S704 - a file of this package
        "script": Markup(script),  # noqa: S704 - likewise
        "style_digest": _digest(style),
        "script_digest": _digest(script),
    }
    return environment.get_template("page.html.jinja").render(context)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _run(key: str, section: Section, sample: Sample | None) -> Part:
    total = section.summary.total
    return Part(
        key=key,
        name=numbers.one_line(section.name),
        directory=numbers.one_line(section.directory),
        state=state(section),
        complete=section.complete,
        when=f"{numbers.moment(total.timing.started_at)} to {numbers.moment(total.timing.finished_at)}",
        cards=cards(total),
        charts=tuple(_drawn(chart) for chart in charts(section)),
        blocks=tuple(blocks(section)),
        untitled="By model",
        answers=None if sample is None else _answers(section, sample),
    )


def _contrast(key: str, comparison: Comparison) -> Part:
    whole = chapter(comparison)
    sides = (numbers.one_line(name) for name in side_names(comparison))
    return Part(
        key=key,
        name=whole.title,
        directory="",
        state=whole.state,
        complete=whole.settled,
        when="",
        cards=contrast_cards(comparison),
        charts=tuple(_drawn(chart) for chart in contrast_charts(comparison)),
        blocks=whole.blocks,
        untitled="Rows",
        answers=Answers(
            extent=contrast_extent(comparison),
            models=tuple(zip(sides, (LEFT[1], RIGHT[1]), strict=True)),
            filters=contrast_filters(comparison),
            questions=contrast_questions(comparison),
        ),
    )


def _drawn(chart: Chart) -> Drawn:
    alternative = f"{chart.title}. {chart.note} The figures are in the table below.".replace("  ", " ")
    return Drawn(chart, Markup(draw(chart.spec)), alternative)  # noqa: S704 - escaped by the charting library


def _answers(section: Section, sample: Sample) -> Answers:
    models = tuple((numbers.one_line(model), colour_of(section, model)) for model in sample.models)
    return Answers(extent(sample), models, filters(sample), questions(sample))


__all__ = ["GENERATOR", "render", "render_comparisons"]
