"""From a chart to an SVG that lives inside the page: no script, no request, the page's colours.

Charts are Altair's; vl-convert draws them without a browser. Every chart is drawn twice, wide and
narrow, and a media query shows one: text keeps its size on a phone.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
import vl_convert
from markupsafe import Markup

from headstart.report.charts.scales import Scale, Size
from headstart.report.palette import Look

INK, MUTED, GRID, PAGE = "var(--ink)", "var(--muted)", "var(--grid)", "var(--page)"
WIDE, NARROW = "wide", "narrow"
# Rows carry their own colours, shapes and dashes: these are values, not categories.
COLOUR = alt.Color("colour:N", scale=None, legend=None)
FILL = alt.Fill("fill:N", scale=None, legend=None)
SHAPE = alt.Shape("shape:N", scale=None, legend=None)
DASH = alt.StrokeDash("dash:N", scale=None, legend=None)
OPACITY = alt.Opacity("opacity:Q", scale=None, legend=None)
TEXT, TIP = alt.Text("text:N"), alt.Description("tip:N")
_SVG = "{http://www.w3.org/2000/svg}"

Row = dict[str, Any]
Align = Literal["left", "center", "right"]


@dataclass(frozen=True)
class Layer:
    """Rows and how they are marked. Apart, because Altair copies what a chart holds many times."""

    rows: Sequence[Row]
    marks: alt.Chart


def styled(look: Look, **rest: Any) -> Row:
    """A row that is drawn as its arm is; `rest` is where it stands and what it says."""
    looks = {"colour": look.colour, "fill": look.colour, "shape": look.shape}
    return looks | {"dash": list(look.dash)} | rest


def points(rows: Sequence[Row], at: Row, **mark: Any) -> Layer:
    """A point for each row, in its arm's look, that says the row's ``tip``."""
    chart = alt.Chart().mark_point(aria=True, opacity=1, **mark)
    return Layer(rows, chart.encode(**at, color=COLOUR, fill=FILL, shape=SHAPE, description=TIP))


def lines(rows: Sequence[Row], at: Row, detail: str) -> Layer:
    """A bold line through the rows that have the same value in the field `detail`."""
    chart = alt.Chart().mark_line(strokeWidth=2.5)
    return Layer(rows, chart.encode(**at, detail=f"{detail}:N", color=COLOUR, strokeDash=DASH))


def whiskers(rows: Sequence[Row], x: alt.X, y: Scale, **mark: Any) -> Layer:
    """Each row's interval from ``low`` to ``high``."""
    chart = alt.Chart().mark_rule(strokeWidth=1.5, **mark)
    low = alt.Y("low:Q", scale=y.vega())
    return Layer(rows, chart.encode(x=x, y=low, y2="high:Q", color=COLOUR))


def texts(rows: Sequence[Row], at: Row, align: Align = "left", **mark: Any) -> Layer:
    """Each row's ``text`` in its ``colour``, centred on its height."""
    chart = alt.Chart().mark_text(align=align, baseline="middle", **mark)
    return Layer(rows, chart.encode(**at, color=COLOUR, text=TEXT))


def draw(layers: Sequence[Layer], size: Size, label: str) -> Markup:
    """The SVG element of a layered chart; `label` says to a screen reader what it shows."""
    spec = {
        "$schema": alt.SCHEMA_URL,
        "layer": [
            layer.marks.to_dict(validate=False, context={"top_level": False})
            | {"data": {"values": list(layer.rows)}}
            for layer in layers
        ],
        "width": size.plot_width,
        "height": size.plot_height,
        "autosize": {"type": "none"},
        "padding": {
            "left": size.left,
            "right": size.right,
            "top": size.top,
            "bottom": size.bottom,
        },
        "background": None,
        "config": _config(size),
    }
    return _inline(vl_convert.vegalite_to_svg(spec), label)


def _config(size: Size) -> dict[str, Any]:
    text = {"labelFontSize": size.font, "titleFontSize": size.font}
    return {
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "text": {"fontSize": size.font, "color": INK},
        "axis": text
        | {
            "labelColor": MUTED,
            "titleColor": MUTED,
            "titleFontWeight": "normal",
            "gridColor": GRID,
            "domain": False,
            "ticks": False,
            "labelPadding": 8,
            "titlePadding": 10,
            "labelFlush": False,
            "labelOverlap": False,
        },
        "axisX": {"grid": False, "domain": True, "domainColor": GRID, "ticks": True}
        | {"tickColor": GRID, "labelPadding": 4},
        "aria": False,
    }


def _inline(svg: str, label: str) -> Markup:
    """Strip what only a stand-alone file needs; turn descriptions into native tooltips."""
    root = ET.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if not _drawn(child):
                parent.remove(child)
    for element in root.iter():
        _tidy(element)
    root.set("role", "img")
    root.set("aria-label", label)
    return Markup(ET.tostring(root, encoding="unicode"))  # ElementTree escapes all text


def _drawn(element: ET.Element) -> bool:
    empty = element.get("class") in ("background", "foreground") and not element.get("stroke")
    return not empty and element.get("display") != "none"


def _tidy(element: ET.Element) -> None:
    element.tag = element.tag.removeprefix(_SVG)
    description = element.get("aria-label")
    for attribute in ("aria-label", "aria-hidden", "aria-roledescription", "role", "class"):
        element.attrib.pop(attribute, None)
    if description:
        title = ET.Element("title")
        title.text = description
        element.insert(0, title)
    for attribute in ("transform", "d"):
        if attribute in element.attrib:
            element.set(attribute, re.sub(r"-?\d+\.\d+", _rounded, element.attrib[attribute]))


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.1f}".removesuffix(".0")
