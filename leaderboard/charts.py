"""The charts: forest plots of estimates, a bar of statuses, a map of all metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd
from altair.utils.schemapi import disable_debug_mode

from evalkit.compare.budget import BudgetPoint
from evalkit.compare.repeats import RepeatedMetric
from evalkit.store.board import Row
from evalkit.store.records import MetricInfo
from evalkit.types import Estimate, Status

from . import text

TEAL, GREY = "#0f9488", "#8a9a98"
# Okabe and Ito's colours, which people with red-green colour blindness can distinguish.
STATUS_COLOURS = {
    Status.OK: "#009E73",
    Status.TRUNCATED: "#E69F00",
    Status.REFUSED: "#CC79A7",
    Status.EMPTY: "#999999",
    Status.UNPARSED: "#56B4E9",
    Status.ERROR: "#D55E00",
}
MODEL_COLOURS = ["#0f9488", "#D55E00", "#3b8ed0", "#CC79A7", "#E69F00", "#56B4E9", "#7a6ff0", "#8a9a98"]
ROW_HEIGHT = 38
UNDETERMINED = "interval undetermined"
LEGEND_LINE, BELOW = 24, 60  # pixels of a line of the legend, and of the axis below with its title


def names_axis() -> dict[str, Any]:
    """Return the options of an axis of names: long names are cut in the middle, sooner on a phone.

    The ends of names differ most (``…/checkpoint-1000``). With ``labelFlush`` the first name would not be
    beside its line.
    """
    longest = "(containerSize()[0] < 500 ? 24 : 44)"
    cut = f"slice(datum.label, 0, 8) + '…' + slice(datum.label, length(datum.label) - {longest} + 9)"
    shown = f"length(datum.label) > {longest} ? {cut} : datum.label"
    return {"grid": False, "ticks": False, "labelFlush": False, "labelLimit": 0, "labelExpr": shown}


disable_debug_mode()  # checks take half the time of a page; a test checks all charts


def spec(chart: alt.Chart | alt.LayerChart) -> dict[str, Any]:
    """Return the chart as Vega-Lite, without checks."""
    document: dict[str, Any] = chart.to_dict(validate=False)
    return document


def axis_title(info: MetricInfo) -> str:
    """Return the metric with its unit and its better direction."""
    arrow = {True: "higher is better →", False: "← lower is better", None: "descriptive"}[
        info.higher_is_better
    ]
    return f"{info.name}{f' ({info.unit})' if info.unit else ''} · {arrow}"


def forest(rows: Sequence[Row], info: MetricInfo) -> alt.LayerChart:
    """Draw a line per run: estimate and interval; hollow and dashed, over the bounds, where not ranked."""
    names = run_names(rows)
    lines = [_line(row, name) for row, name in zip(rows, names, strict=True) if row.estimate is not None]
    return _forest(pd.DataFrame(lines), [line["label"] for line in lines], axis_title(info))


def metrics(estimates: Mapping[str, Estimate], title: str = "estimate with its interval") -> alt.LayerChart:
    """Draw estimates by name with their intervals: metrics of one run, or one metric in several arms."""
    lines = [_estimate(name, estimate, True) for name, estimate in estimates.items()]
    return _forest(pd.DataFrame(lines), list(estimates), title)


def variants(rows: Mapping[str, Sequence[Row]], info: MetricInfo) -> alt.LayerChart:
    """Draw one metric in every variant of a task: a group per variant, a colour per model."""
    lines = [
        {**_line(row, row.run.spec.model), "variant": name, "model": row.run.spec.model}
        for name, ranking in rows.items()
        for row in ranking
        if row.estimate is not None and row.run.is_complete
    ]
    models = sorted({line["model"] for line in lines})
    colour = alt.Color(
        "model:N",
        scale=alt.Scale(domain=models, range=MODEL_COLOURS),
        legend=alt.Legend(title=None, orient="top", labelLimit=260, columns=3),
    )
    y = alt.Y("variant:N", sort=list(rows), title=None, axis=alt.Axis(**names_axis()))
    offset = alt.YOffset("model:N", sort=models, scale=alt.Scale(paddingOuter=0.4))
    base = alt.Chart(pd.DataFrame(lines)).encode(y=y, yOffset=offset, color=colour, tooltip=_TOOLTIP)
    interval = base.mark_rule(strokeWidth=2.5).encode(x=_x("low:Q", axis_title(info)), x2=alt.X2("high:Q"))
    point = base.mark_point(size=75, filled=True, opacity=1).encode(x=alt.X("value:Q"))
    height = sum(20 * sum(line["variant"] == name for line in lines) + 26 for name in rows)
    height += BELOW + LEGEND_LINE * math.ceil(len(models) / 3)  # a chart's height holds legend and axis
    return (interval + point + _undetermined(base)).properties(height=height)


def statuses(counts: Mapping[str, int]) -> alt.Chart:
    """Draw the numbers of samples by status, as parts of one bar."""
    order = [str(status) for status in Status if counts.get(status)]
    table = pd.DataFrame([{"status": s, "n": counts[s], "place": i} for i, s in enumerate(order)])
    colours = alt.Scale(domain=order, range=[STATUS_COLOURS[Status(s)] for s in order])
    return (
        alt.Chart(table)
        .mark_bar(size=26)
        .encode(
            x=alt.X(
                "sum(n):Q",
                stack="zero",
                title="samples",
                axis=alt.Axis(tickMinStep=1, tickCount=10, format=",d"),
            ),
            color=alt.Color(
                "status:N", sort=order, scale=colours, legend=alt.Legend(title=None, orient="top")
            ),
            order=alt.Order("place:Q"),
            tooltip=[alt.Tooltip("status:N"), alt.Tooltip("n:Q", title="samples", format=",")],
        )
        .properties(height=105)
    )


def budget(points: Sequence[BudgetPoint], info: MetricInfo) -> alt.LayerChart:
    """Draw a metric against the tokens that a reply may have, with its interval as a band.

    The score stays the same from one limit to the next, so both are steps. Where scores are missing, the band
    holds the bounds.
    """
    table = pd.DataFrame([_limit(point, info.name) for point in points])
    first, last = points[0].tokens, points[-1].tokens
    scale, axis = alt.Scale(nice=False, zero=False), alt.Axis(format=",d", tickCount=5, grid=True)
    if last > 20 * first:
        ticks = [digit * 10**power for power in range(9) for digit in (1, 2, 5)]
        scale, axis = (
            alt.Scale(type="log", nice=False),
            alt.Axis(format=",d", values=ticks, labelOverlap=True),
        )
    title = "tokens that a reply may have"
    shown = [
        alt.Tooltip("tokens:Q", format=","),
        *_TOOLTIP[1:4],
        alt.Tooltip("cut:Q", title="cut off", format=".1%"),
    ]
    base = alt.Chart(table).encode(x=alt.X("tokens:Q", scale=scale, axis=axis, title=title), tooltip=shown)
    domain = alt.Scale(domain=[info.low, info.high]) if info.high is not None else alt.Scale(zero=True)
    y = alt.Y("low:Q", title=axis_title(info), scale=domain)
    band = base.mark_area(color=TEAL, opacity=0.22, interpolate="step-after").encode(y=y, y2=alt.Y2("high:Q"))
    line = base.mark_line(color=TEAL, strokeWidth=2.5, interpolate="step-after").encode(y=alt.Y("value:Q"))
    return (band + line).properties(height=300)


def by_k(name: str, metric: RepeatedMetric) -> alt.LayerChart:
    """Draw pass@k, maj@k and pass^k of a metric against k, each with its interval as a band."""
    of_k = {"pass@k": metric.pass_at, "maj@k": metric.majority_at, "pass^k": metric.pass_all}
    table = pd.DataFrame(
        [
            {"k": k, **_estimate(kind, estimate, False)}
            for kind, estimates in of_k.items()
            for k, estimate in estimates.items()
        ]
    )
    colour = alt.Color(
        "label:N",
        scale=alt.Scale(domain=list(of_k), range=MODEL_COLOURS),
        legend=alt.Legend(title=None, orient="top", symbolOpacity=1),
    )
    x = alt.X(
        "k:Q", scale=alt.Scale(type="log", base=2), axis=alt.Axis(values=list(metric.pass_at), format="d")
    )
    tooltip = [alt.Tooltip("label:N", title=name), alt.Tooltip("k:Q"), *_TOOLTIP[1:]]
    base = alt.Chart(table).encode(x=x, color=colour, tooltip=tooltip)
    y = alt.Y("low:Q", title=name, scale=alt.Scale(domain=[0, 1]))
    band = base.mark_area(opacity=0.16).encode(y=y, y2=alt.Y2("high:Q"))
    line = base.mark_line(strokeWidth=2.5, point=True).encode(y=alt.Y("value:Q"))
    return (band + line).properties(height=300)


def _limit(point: BudgetPoint, metric: str) -> dict[str, Any]:
    return {"tokens": point.tokens, "cut": point.cut, **_estimate(metric, point.scores[metric], False)}


def overview(rows: Sequence[Row], infos: Sequence[MetricInfo]) -> alt.LayerChart:
    """Draw all metrics by all models; a deeper colour is better, grey has no better direction."""
    table = pd.DataFrame(_cells(rows, infos))
    models = run_names(rows)
    x = alt.X(
        "metric:N",
        sort=[info.name for info in infos],
        scale=alt.Scale(paddingInner=0.03),
        title=None,
        axis=alt.Axis(
            orient="top",
            labelAngle=-35,
            labelOverlap=False,
            labelLimit=160,
            ticks=False,
            domain=False,
            grid=False,
        ),
    )
    y = alt.Y(
        "model:N",
        sort=models,
        scale=alt.Scale(paddingInner=0.06),
        title=None,
        axis=alt.Axis(domain=False, **names_axis()),
    )
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("metric:N"),
        alt.Tooltip("shown:N"),
        alt.Tooltip("interval:N"),
        alt.Tooltip("n:Q"),
    ]
    base = alt.Chart(table).encode(x=x, y=y, tooltip=tooltip)
    scale = alt.Scale(domain=[0, 0.5, 1], range=["#f0faf8", "#7ccbbf", "#0b5f58"], interpolate="rgb")
    fill = alt.Color("good:Q", scale=scale, legend=None)
    ink = alt.condition("datum.good > 0.75", alt.value("#ffffff"), alt.value("#12302d"))
    square = {"cornerRadius": 4, "opacity": 1}
    ranked = base.transform_filter("isValid(datum.good)").mark_rect(**square).encode(color=fill)
    plain = base.transform_filter("!isValid(datum.good)").mark_rect(color="#dfe5e4", **square)
    opacity = alt.ExprRef("bandwidth('x') < 40 ? 0 : 1")  # on a phone only the tooltip shows numbers
    numbers = base.mark_text(fontSize=12, opacity=opacity).encode(text=alt.Text("shown:N"), color=ink)
    longest = max((len(info.name) for info in infos), default=0)
    above = 34 + round(0.6 * min(6.5 * longest, 160))  # the names of the metrics, drawn aslant
    return (plain + ranked + numbers).properties(height=above + ROW_HEIGHT * len(models))


def against_cost(rows: Sequence[Row], info: MetricInfo) -> alt.LayerChart:
    """Draw a point per run: its cost in US dollars, on a logarithmic axis, and its score with interval.

    Each run has a cost above 0.
    """
    costs = [row.run.cost or 0.0 for row in rows]
    lines = [
        _line(row, name) | {"cost": cost, "align": _inwards(cost, costs)}
        for row, name, cost in zip(rows, run_names(rows), costs, strict=True)
    ]
    cost = alt.X(
        "cost:Q", title="US dollars for all samples", scale=alt.Scale(type="log", nice=False, padding=40)
    )
    base = alt.Chart(pd.DataFrame(lines)).encode(x=cost)
    score = alt.Y("value:Q", title=axis_title(info), scale=alt.Scale(zero=False))
    tooltip = [*_TOOLTIP, alt.Tooltip("cost:Q", title="US dollars", format="$,.4~r")]
    points = base.mark_circle(color=TEAL, size=110, opacity=1).encode(y=score, tooltip=tooltip)
    whiskers = base.mark_rule(color=TEAL).encode(y=alt.Y("low:Q"), y2="high:Q")
    labels = [
        base.transform_filter(alt.datum.align == align)
        .mark_text(align=align, dy=-9, fontSize=12, color=GREY)
        .encode(y=alt.Y("high:Q"), text="label:N")
        for align in ("left", "center", "right")
    ]
    return alt.layer(whiskers, points, *labels).properties(height=280)


def _inwards(cost: float, costs: Sequence[float]) -> str:
    """Return how to align a name at its point, so that no name lies over an axis."""
    low, high = math.log(min(costs)), math.log(max(costs))
    place = (math.log(cost) - low) / (high - low) if high > low else 0.5
    return "left" if place < 1 / 3 else "right" if place > 2 / 3 else "center"


_TOOLTIP = [
    alt.Tooltip("label:N", title="run of"),
    alt.Tooltip("value:Q", format=".3f"),
    alt.Tooltip("low:Q", format=".3f"),
    alt.Tooltip("high:Q", format=".3f"),
    alt.Tooltip("n:Q", format=","),
    alt.Tooltip("method:N"),
]


def _undetermined(base: alt.Chart) -> alt.Chart:
    """Say beside a point that its interval is not known: it must not look like an exact value."""
    words = base.transform_filter("datum.undetermined")
    return words.mark_text(align="left", dx=12, fontStyle="italic", text=UNDETERMINED, color=GREY).encode(
        x=alt.X("value:Q"), color=alt.value(GREY)
    )


def short_label(row: Row) -> str:
    """Return the run's label, cut to leave room for the model; empty without one."""
    return text.short(row.run.spec.label or "", 20)


def run_names(rows: Sequence[Row]) -> list[str]:
    """Return each row's name: the model with its run's label; with the run's id where a name is twice."""
    names = [" · ".join(filter(None, (row.run.spec.model, short_label(row)))) for row in rows]
    twice = {name for name in names if names.count(name) > 1}
    pairs = zip(rows, names, strict=True)
    return [f"{name} · {row.run.id}" if name in twice else name for row, name in pairs]


def _line(row: Row, name: str) -> dict[str, Any]:
    assert row.estimate is not None
    compared = row.run.is_complete and row.reason in ("", "descriptive")
    label = name if compared else f"{name} ({row.run.status}, not ranked)"
    return _estimate(label, row.estimate, compared)


def _estimate(label: str, estimate: Estimate, compared: bool) -> dict[str, Any]:
    bounds = None if compared else estimate.bounds
    low, high = bounds or estimate.ci
    what = {"n": estimate.n, "method": "bounds" if bounds else estimate.method, "compared": compared}
    undetermined = not (math.isfinite(low) and math.isfinite(high))
    if undetermined:
        low = high = estimate.value
    return {
        "label": label,
        "value": estimate.value,
        "low": low,
        "high": high,
        "undetermined": undetermined,
        **what,
    }


def _x(field: str, title: str) -> alt.X:
    axis = alt.Axis(format=",.3~f", tickCount=7, grid=True)
    return alt.X(field, title=title, scale=alt.Scale(zero=False, nice=True, padding=14), axis=axis)


def _forest(table: pd.DataFrame, order: Sequence[str], title: str) -> alt.LayerChart:
    y = alt.Y("label:N", sort=list(order), title=None, axis=alt.Axis(**names_axis()))
    colour = alt.condition("datum.compared", alt.value(TEAL), alt.value(GREY))
    base = alt.Chart(table).encode(y=y, color=colour, tooltip=_TOOLTIP)
    dash = alt.condition("datum.compared", alt.value([1, 0]), alt.value([4, 4]))
    interval = base.mark_rule(strokeWidth=3).encode(
        x=_x("low:Q", title), x2=alt.X2("high:Q"), strokeDash=dash
    )
    solid = (
        base.transform_filter("datum.compared")
        .mark_point(size=130, filled=True, opacity=1)
        .encode(x=alt.X("value:Q"))
    )
    hollow = (
        base.transform_filter("!datum.compared")
        .mark_point(size=110, strokeWidth=2)
        .encode(x=alt.X("value:Q"))
    )
    drawn = interval + solid + hollow + _undetermined(base)
    return drawn.properties(height=70 + ROW_HEIGHT * len(order))


def _cells(rows: Sequence[Row], infos: Sequence[MetricInfo]) -> list[dict[str, Any]]:
    cells = []
    for info in infos:
        if not any(info.name in row.run.metrics for row in rows):
            continue  # it does not apply to this variant
        estimates = {
            name: row.run.metrics.get(info.name) for row, name in zip(rows, run_names(rows), strict=True)
        }
        values = [e.value for e in estimates.values() if e is not None and e.value == e.value]
        for model, estimate in estimates.items():
            scored = estimate is not None and estimate.value == estimate.value
            cells.append(
                {
                    "model": model,
                    "metric": info.name,
                    "shown": f"{estimate.value:,.3f}" if scored and estimate else "–",
                    "interval": text.interval(estimate) if scored else "–",
                    "n": estimate.n if estimate else 0,
                    "good": _goodness(estimate.value, values, info) if scored and estimate else None,
                }
            )
    return cells


def _goodness(value: float, values: Sequence[float], info: MetricInfo) -> float | None:
    if info.higher_is_better is None:
        return None
    low, high = (info.low, info.high) if info.high is not None else (min(values), max(values))
    share = 0.5 if high <= low else min(max((value - low) / (high - low), 0.0), 1.0)
    return share if info.higher_is_better else 1.0 - share
