"""The report for spreadsheets: one line a model, or a model and group where the report has groups.

Numbers stand without units and separators; what is not known is an empty cell. `by` columns are prefixed
`by_`, so that they never meet a figure of the same name; a cost has one column a currency (`cost_CNY`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime

from qfbatch.render import scores_text
from qfbatch.render.lines import Raw, currencies_of, failures_text, lines
from qfbatch.render.section import Section
from qfbatch.reporting.figures import Figures


def render(sections: Sequence[Section]) -> str:
    """The report of these runs, in the order given, with one header."""
    shown = [(section, figures) for section in sections for figures in _figures(section)]
    figure_lines = lines(currencies_of(figures for _, figures in shown))
    by = list(dict.fromkeys(name for section in sections for name in section.summary.by))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        [
            "run",
            "directory",
            "model",
            *(f"by_{name}" for name in by),
            "expected_rows",
            *(line.key for line in figure_lines),
            "failures",
            *scores_text.columns(sections),
        ]
    )
    for section, figures in shown:
        writer.writerow(
            [
                section.name,
                section.directory,
                figures.model,
                *(cell(figures.group.get(name)) for name in by),
                "" if section.summary.by else _expected(section, figures),
                *(cell(line.value(figures)) for line in figure_lines),
                failures_text(figures.failures),
                *(cell(value) for value in scores_text.values(sections, section, figures)),
            ]
        )
    return buffer.getvalue()


def _figures(section: Section) -> tuple[Figures, ...]:
    return section.groups() if section.summary.by else section.models()


def _expected(section: Section, figures: Figures) -> int:
    return sum(coverage.expected for coverage in section.coverage if coverage.model == figures.model)


def cell(value: Raw) -> str:
    """A value as a spreadsheet takes it; nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)
