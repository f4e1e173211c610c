"""Charts as SVG: the only place that knows the charting library.

A chart is described in Vega-Lite's grammar, as plain data, and drawn here and now by the libraries that
`vl-convert` carries inside it: no browser, no network, no script in the page. Colours are names of CSS
variables, so one drawing serves the light, the dark and the printed page.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import vl_convert

Spec: TypeAlias = dict[str, Any]

GRAMMAR = "6.4"  # of Vega-Lite; stated, so that another release of the library draws the same
WIDTH = 372  # CSS pixels: a phone's, and a third of a desktop page
FONT = "system-ui, sans-serif"
FONT_SIZE = 12

_CONFIG: Spec = {
    "background": None,
    "font": FONT,
    "padding": 2,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "labelFontSize": FONT_SIZE,
        "titleColor": "var(--muted)",
        "titleFontSize": FONT_SIZE,
        "titleFontWeight": "normal",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelOverlap": "greedy",
    },
    "axisX": {"tickCount": 5, "grid": False},
    "axisY": {"tickCount": 4, "domain": False, "ticks": False},
    "axisXQuantitative": {"grid": False},
    "text": {"font": FONT, "fontSize": FONT_SIZE, "color": "var(--ink)"},
    "header": {
        "labelFont": FONT,
        "labelFontSize": FONT_SIZE,
        "labelColor": "var(--ink)",
        "title": None,
    },
    "facet": {"spacing": 10},
    "scale": {"bandPaddingInner": 0.2},
    "legend": {"disable": True},  # legends are lists in the page: they fold on a phone
}


def draw(spec: Spec) -> str:
    """A chart as an `<svg>` element, its texts escaped.

    Args:
        spec: Vega-Lite, with its data inside; `$schema`, `config` and what makes it `WIDTH` wide are added.
    """
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",  # names the grammar; nothing is fetched
        **({} if "facet" in spec else {"autosize": {"type": "fit-x", "contains": "padding"}, "width": WIDTH}),
        "config": _CONFIG,
        **spec,
    }
    svg: str = vl_convert.vegalite_to_svg(whole, vl_version=GRAMMAR, allowed_base_urls=[])
    return svg


__all__ = ["FONT_SIZE", "WIDTH", "Spec", "draw"]
