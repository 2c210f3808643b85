"""Metrics written as in a task file: ``bertscore("roberta-base", stat="recall")``, or the name alone."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

import evalkit.metrics
from evalkit.errors import UsageError, did_you_mean
from evalkit.metric import Metric
from evalkit.task import Task

_NO_FACTORIES = {"Metric", "metric", "only", "where_answerable"}


def parse_metric(text: str) -> Metric:
    """Return the metric of a written call of a factory of ``evalkit.metrics`` with plain values as arguments.

    No code of the text is run. Raises ``UsageError`` for another text, an unknown name or wrong arguments.
    """
    try:
        tree = ast.parse(text, mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        values = [ast.literal_eval(node) for node in call.args]
        named = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError):
        raise UsageError(
            f"--metric {text!r}: write it as in a task file: rouge('rouge2', stem=False)"
        ) from None
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    known = sorted(set(evalkit.metrics.__all__) - _NO_FACTORIES)
    if name not in known:
        raise UsageError(
            f"--metric {text!r}: no metric {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}"
        )
    try:
        metric: Metric = getattr(evalkit.metrics, name)(*values, **named)
    except TypeError as error:
        raise UsageError(f"--metric {text!r}: {error}") from None
    return metric


def with_metrics(task: Task, texts: Sequence[str]) -> Task:
    """Return the task with more metrics; a metric that the task has already is not added."""
    present = {metric.name for metric in task.metrics}
    added = {text: parse_metric(text) for text in texts}
    new = {text: metric for text, metric in added.items() if metric.name not in present}
    return replace(task, metrics=(*task.metrics, *new.values()), added=(*task.added, *new)) if new else task
