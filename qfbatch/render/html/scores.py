"""Scores on the page: for each scorer the models' means with their intervals, on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qfbatch.render import numbers
from qfbatch.render.html.bars import ROW, Chart
from qfbatch.render.html.drawing import Spec
from qfbatch.render.scores_text import CONFIDENCE_TEXT, interval, not_scored, number, scored
from qfbatch.scoring.scores import Score

_UNIT = (0.0, 1.0)


def score_chart(
    scorer: str, scores: Sequence[Score], colours: Mapping[str, str], *, unit: bool
) -> Chart | None:
    """One scorer's chart; None where no model has a mean.

    Args:
        scorer: its name.
        scores: its scores by model, from top to bottom.
        colours: names of the models' colours.
        unit: its scores go from 0 to 1, and so does the scale.
    """
    shown = [score for score in scores if score.mean is not None]
    if not shown:
        return None
    name = numbers.one_line(scorer)
    return Chart(
        key=f"score-{name}",
        title=f"Score: {name}",
        note=f"Mean of the rows that have a score, with its {CONFIDENCE_TEXT}. Whether two models differ is "
        "said by the table of one against the other, not by whether their intervals overlap.",
        spec=_spec(shown, colours, unit=unit),
        marks=len(shown) + sum(score.interval is not None for score in shown),
        legend=(),
        header=("model", "mean", "interval", "rows scored", "not scored"),
        rows=tuple(
            (
                numbers.one_line(score.model),
                number(score.mean),
                interval(score.interval),
                scored(score),
                not_scored(score),
            )
            for score in shown
        ),
    )


def _spec(scores: Sequence[Score], colours: Mapping[str, str], *, unit: bool) -> Spec:
    values = [
        {
            "bar": place,
            "name": numbers.one_line(score.model, 36),
            "mean": score.mean,
            "low": score.interval.low if score.interval else None,
            "high": score.interval.high if score.interval else None,
            "colour": f"var(--{colours[score.model]})",
            "text": f"{numbers.one_line(score.model)}: {number(score.mean)} ({interval(score.interval)})",
        }
        for place, score in enumerate(scores)
    ]
    y: Spec = {"field": "bar", "type": "ordinal", "axis": None, "scale": {"padding": 0}}
    x: Spec = {
        "type": "quantitative",
        "title": None,
        "scale": {"domain": list(_UNIT), "nice": False} if unit else {"zero": False},
        "axis": {"grid": True},
    }
    colour: Spec = {"field": "colour", "type": "nominal", "scale": None}
    described: Spec = {"field": "text", "type": "nominal"}
    return {
        "data": {"values": values},
        "height": len(scores) * ROW,
        "layer": [
            {
                "transform": [{"filter": "datum.low != null"}],
                "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.5, "yOffset": 9},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "low"},
                    "x2": {"field": "high"},
                    "color": colour,
                    "description": described,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "yOffset": 9},
                "encoding": {"y": y, "x": {**x, "field": "mean"}, "color": colour, "description": described},
            },
            {
                "mark": {"type": "text", "aria": False, "baseline": "middle", "align": "left", "yOffset": -8},
                "encoding": {"y": y, "x": {"value": 0}, "text": {"field": "name", "type": "nominal"}},
            },
        ],
    }


__all__ = ["score_chart"]
