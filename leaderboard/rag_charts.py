"""The charts of the RAG page: paired differences, causes of errors, curves."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from evalkit.compare.rag import Cause, Gain, Point
from evalkit.types import Estimate

from .charts import GREY, ROW_HEIGHT, TEAL, names_axis

# Okabe and Ito's colours, by the part that caused the error. Right replies also differ in lightness.
ORANGE, BLUE, LIGHT = "#D55E00", "#3b8ed0", "#7ccbbf"
BLAME = {
    "right with evidence": TEAL,
    "right": TEAL,
    "right without evidence": LIGHT,
    "not retrieved": ORANGE,
    "partly retrieved": "#E69F00",
    "retrieved but not used": "#CC79A7",
    "used but wrong": BLUE,
    "retrieved but wrong": BLUE,
}
_ENOUGH = 10  # samples of a point whose interval the axis shows
_NUMBERS = [alt.Tooltip(name, format=".3f") for name in ("value:Q", "low:Q", "high:Q")]
_COUNT = alt.Tooltip("n:Q", format=",")


def differences(gains: Sequence[Gain]) -> alt.LayerChart:
    """Draw the paired difference of each pair of arms; grey where its interval contains 0."""
    lines = [
        {**_estimate(g.difference), "pair": f"{g.first} − {g.second}", "verdict": _verdict(g)} for g in gains
    ]
    order = [line["pair"] for line in lines]
    base = alt.Chart(pd.DataFrame(lines)).encode(
        y=alt.Y("pair:N", sort=order, title=None, axis=alt.Axis(**names_axis())),
        color=alt.Color(
            "verdict:N",
            scale=alt.Scale(domain=["better", "worse", "no clear difference"], range=[TEAL, ORANGE, GREY]),
            legend=alt.Legend(title=None, orient="top", columns=2),  # three are wider than a phone
        ),
        tooltip=[alt.Tooltip("pair:N"), alt.Tooltip("meaning:N"), *_NUMBERS, _COUNT],
    )
    x = alt.X("low:Q", title="difference, with its interval", axis=alt.Axis(format="+.3~f", tickCount=6))
    interval = base.mark_rule(strokeWidth=3).encode(x=x, x2=alt.X2("high:Q"))
    point = base.mark_point(size=130, filled=True, opacity=1).encode(x=alt.X("value:Q"))
    zero = (
        alt.Chart(pd.DataFrame({"zero": [0]}))
        .mark_rule(color=GREY, strokeDash=[4, 4])
        .encode(x=alt.X("zero:Q"))
    )
    return (zero + interval + point).properties(height=110 + ROW_HEIGHT * len(lines))


def causes(causes: Sequence[Cause]) -> alt.LayerChart:
    """Draw a bar per cause: its share of the samples, the interval, and the number of samples."""
    lines = [{**_estimate(c.share), "cause": c.name, "meaning": c.meaning, "count": c.n} for c in causes]
    names = [c.name for c in causes]
    base = alt.Chart(pd.DataFrame(lines)).encode(
        y=alt.Y("cause:N", sort=names, title=None, axis=alt.Axis(**names_axis())),
        tooltip=[
            alt.Tooltip("cause:N"),
            alt.Tooltip("meaning:N"),
            alt.Tooltip("count:Q", title="samples", format=","),
            *_NUMBERS,
        ],
    )
    axis = alt.Axis(format=".0%", tickCount=6)

    def x(field: str) -> alt.X:
        return alt.X(field, title="share of the samples", scale=alt.Scale(domainMin=0), axis=axis)

    colours = alt.Scale(domain=names, range=[BLAME[name] for name in names])
    colour = alt.Color("cause:N", scale=colours, legend=None)
    bars = base.mark_bar(size=20).encode(x=x("value:Q"), color=colour)
    interval = base.mark_rule(strokeWidth=2, color=GREY).encode(x=x("low:Q"), x2=alt.X2("high:Q"))
    counts = base.mark_text(align="left", dx=6, color=GREY)
    counts = counts.encode(x=x("high:Q"), text=alt.Text("count:Q", format=","))
    return (bars + interval + counts).properties(height=60 + ROW_HEIGHT * len(names))


def curve(points: Sequence[Point], x: str, y: str) -> alt.LayerChart:
    """Draw means with intervals in the order of the points; a line joins the points at numbers.

    The axis shows whole intervals only of points with enough samples, because few samples give wide ones.
    """
    lines = [{**_estimate(point.estimate), "at": point.at} for point in points]
    base = alt.Chart(pd.DataFrame(lines)).encode(
        x=alt.X("at:O", sort=[p.at for p in points], title=x, axis=alt.Axis(labelAngle=0, grid=False)),
        tooltip=[alt.Tooltip("at:N"), *_NUMBERS, _COUNT],
    )
    scale = alt.Scale(zero=False, nice=True, domain=_domain(points))
    axis = alt.Axis(format=".3~f", tickCount=6)
    interval = base.mark_rule(strokeWidth=2.5, opacity=0.7, color=TEAL, clip=True).encode(
        y=alt.Y("low:Q", title=y, scale=scale, axis=axis), y2=alt.Y2("high:Q")
    )
    numbers = base.transform_filter("isFinite(toNumber(datum.at))")
    joined = numbers.mark_line(strokeWidth=1.5, opacity=0.5, color=TEAL).encode(y=alt.Y("value:Q"))
    dots = base.mark_point(size=110, filled=True, opacity=1, color=TEAL).encode(y=alt.Y("value:Q"))
    return (interval + joined + dots).properties(height=260)


def _domain(points: Sequence[Point]) -> list[float]:
    """Return the lowest and the highest of all values and of the intervals with enough samples."""
    firm = [point.estimate for point in points if point.estimate.n >= _ENOUGH]
    ends = [end for estimate in firm for end in estimate.ci] + [point.estimate.value for point in points]
    return [min(ends), max(ends)]


def _estimate(estimate: Estimate) -> dict[str, float | int | str]:
    low, high = estimate.ci
    return {"value": estimate.value, "low": low, "high": high, "n": estimate.n, "method": estimate.method}


def _verdict(gain: Gain) -> str:
    low, high = gain.difference.ci
    if low <= 0 <= high:
        return "no clear difference"
    return "better" if (low > 0) == gain.higher_is_better else "worse"
