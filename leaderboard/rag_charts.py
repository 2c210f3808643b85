"""The charts of the RAG page: paired differences, causes of errors, curves."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from evalkit.rag_report import Cause, Gain, Point
from evalkit.types import Estimate

from .charts import GREY, ROW_HEIGHT, TEAL

# Okabe and Ito's colours: whose doing it was. Right stands apart by its lightness, too.
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
_NUMBERS = [alt.Tooltip(name, format=".3f") for name in ("value:Q", "low:Q", "high:Q")]
_COUNT = alt.Tooltip("n:Q", format=",")


def differences(gains: Sequence[Gain]) -> alt.LayerChart:
    """One line for each pair of arms: the paired difference; grey where its interval holds 0."""
    lines = [
        {**_estimate(g.difference), "pair": f"{g.first} − {g.second}", "verdict": _verdict(g)} for g in gains
    ]
    order = [line["pair"] for line in lines]
    base = alt.Chart(pd.DataFrame(lines)).encode(
        y=alt.Y("pair:N", sort=order, title=None, axis=alt.Axis(labelLimit=260, grid=False, ticks=False)),
        color=alt.Color(
            "verdict:N",
            scale=alt.Scale(domain=["better", "worse", "not known to differ"], range=[TEAL, ORANGE, GREY]),
            legend=alt.Legend(title=None, orient="top"),
        ),
        tooltip=["pair:N", "meaning:N", *_NUMBERS, _COUNT],
    )
    x = alt.X("low:Q", title="difference, with its interval", axis=alt.Axis(format="+.3~f", tickCount=6))
    interval = base.mark_rule(strokeWidth=3).encode(x=x, x2="high:Q")
    point = base.mark_point(size=130, filled=True, opacity=1).encode(x="value:Q")
    zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color=GREY, strokeDash=[4, 4]).encode(x="zero:Q")
    return (zero + interval + point).properties(height=90 + ROW_HEIGHT * len(lines))


def causes(found: Sequence[Cause]) -> alt.LayerChart:
    """A bar for each cause: its share of all samples, its interval, and how many samples it is."""
    lines = [{**_estimate(c.share), "cause": c.name, "meaning": c.meaning, "count": c.n} for c in found]
    names = [c.name for c in found]
    base = alt.Chart(pd.DataFrame(lines)).encode(
        y=alt.Y("cause:N", sort=names, title=None, axis=alt.Axis(labelLimit=200, grid=False, ticks=False)),
        tooltip=["cause:N", "meaning:N", alt.Tooltip("count:Q", title="samples", format=","), *_NUMBERS],
    )
    x = alt.X(
        "value:Q", title="share of the samples", scale=alt.Scale(domainMin=0), axis=alt.Axis(format=".0%")
    )
    colours = alt.Scale(domain=names, range=[BLAME[name] for name in names])
    bars = base.mark_bar(size=20).encode(x=x, color=alt.Color("cause:N", scale=colours, legend=None))
    interval = base.mark_rule(strokeWidth=2, color=GREY).encode(x="low:Q", x2="high:Q")
    counts = base.mark_text(align="left", dx=6, color=GREY).encode(
        x="high:Q", text=alt.Text("count:Q", format=",")
    )
    return (bars + interval + counts).properties(height=60 + ROW_HEIGHT * len(names))


def curve(
    points: Sequence[Point], x: str, y: str, second: tuple[str, Sequence[Point]] | None = None
) -> alt.LayerChart:
    """Means with intervals over places in their order; a ``second`` series shares the axes.

    Only places that are numbers are joined; a single sample has a point and no interval.
    """
    series = [(y, points), *([second] if second else [])]
    lines = [{**_estimate(p.estimate), "at": p.at, "what": name} for name, some in series for p in some]
    colours = alt.Scale(domain=[name for name, _ in series], range=[TEAL, ORANGE])
    base = alt.Chart(pd.DataFrame(lines)).encode(
        x=alt.X("at:O", sort=[p.at for p in points], title=x, axis=alt.Axis(labelAngle=0, grid=False)),
        color=alt.Color(
            "what:N", scale=colours, legend=alt.Legend(title=None, orient="top") if second else None
        ),
        tooltip=["at:N", "what:N", *_NUMBERS, _COUNT],
    )
    scale = alt.Scale(zero=False, nice=True)
    low = alt.Y("low:Q", title=None if second else y, scale=scale, axis=alt.Axis(format=".3~f"))
    several = base.transform_filter("datum.method != 'undetermined'")
    drawn = several.mark_rule(strokeWidth=2.5, opacity=0.7).encode(y=low, y2="high:Q")
    numbers = base.transform_filter("isFinite(toNumber(datum.at))")
    joined = numbers.mark_line(strokeWidth=1.5, opacity=0.5).encode(y="value:Q")
    dots = base.mark_point(size=110, filled=True, opacity=1).encode(y="value:Q")
    return (joined + drawn + dots).properties(height=260)


def _estimate(estimate: Estimate) -> dict[str, float | int | str]:
    low, high = estimate.ci
    return {"value": estimate.value, "low": low, "high": high, "n": estimate.n, "method": estimate.method}


def _verdict(gain: Gain) -> str:
    low, high = gain.difference.ci
    if low <= 0 <= high:
        return "not known to differ"
    return "better" if (low > 0) == gain.higher_is_better else "worse"
