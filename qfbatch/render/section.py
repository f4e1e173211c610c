"""One run's part of a report: its figures, and how much of the run they cover."""

from __future__ import annotations

from msgspec import Struct

from qfbatch.reporting.accounting import Activity, Outcome, Superseded
from qfbatch.reporting.figures import Figures, Summary
from qfbatch.scoring.scores import Scores


class Coverage(Struct, frozen=True):
    """How much of one model's work has ended.

    Attributes:
        model: its name in the job.
        expected: rows the run has for it; 0 for a model that the job no longer names.
        present: rows with a result, failed and skipped ones included.
    """

    model: str
    expected: int
    present: int


class Section(Struct, frozen=True):
    """One run in a report.

    Attributes:
        name: the job's.
        directory: the run directory, as the user would name it.
        complete: every expected row has ended.
        coverage: by model, in the job's order.
        summary: the figures of the rows that have ended.
        activity: the run's sessions; None where they are not known.
        superseded: answers set aside when the input changed; None without any.
        outcome: plan against actual; None where no plan was kept.
        scores: what the job's scorers make of the answers; None where it has none.
    """

    name: str
    directory: str
    complete: bool
    coverage: tuple[Coverage, ...]
    summary: Summary
    activity: Activity | None = None
    superseded: Superseded | None = None
    outcome: Outcome | None = None
    scores: Scores | None = None

    def models(self) -> tuple[Figures, ...]:
        """Figures by model in the job's order; a model without a row yet has zeros."""
        known = {figures.model: figures for figures in self.summary.models}
        return tuple(known.get(c.model) or Figures(model=c.model) for c in self.coverage)

    def groups(self) -> tuple[Figures, ...]:
        """Figures by group, models in the job's order."""
        order = {c.model: place for place, c in enumerate(self.coverage)}
        return tuple(sorted(self.summary.groups, key=lambda figures: order[str(figures.model)]))


def section(name: str, directory: str, summary: Summary, *, models: tuple[str, ...], rows: int) -> Section:
    """A run's section.

    Args:
        name: the job's.
        directory: the run directory, as the user would name it.
        summary: of the rows that have ended.
        models: the job's models, in its order.
        rows: rows each of them is to answer.
    """
    present = {figures.model: figures.rows for figures in summary.models}
    coverage = [Coverage(model, rows, present.get(model, 0)) for model in models]
    coverage += [Coverage(str(model), 0, count) for model, count in present.items() if model not in models]
    complete = all(c.present >= c.expected for c in coverage)
    return Section(name, directory, complete, tuple(coverage), summary)


__all__ = ["Coverage", "Section", "section"]
