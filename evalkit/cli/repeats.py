"""What the repeats of a run say, on the terminal: pass@k, maj@k, pass^k, and the parts of the variance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from evalkit.cli.output import cell
from evalkit.store.records import Run

if TYPE_CHECKING:
    from evalkit.compare.repeat_stats import VarianceSplit
    from evalkit.compare.repeats import RepeatedMetric, Repeats


_NAME = 20  # characters of a metric's name that a narrow terminal keeps on one line


def print_repeats(run: Run, repeats: Repeats) -> None:
    """Print a table by k for each metric that has one, a table of variances, and the notes."""
    from evalkit.cli.terminal import Console, Text

    console = Console()
    for name, metric in repeats.metrics.items():
        if metric.pass_at:
            _print_by_k(f"{run.spec.task}, {run.spec.model}: {name} of {repeats.repeats} repeats", metric)
    _print_variances({n: m.variance for n, m in repeats.metrics.items() if m.variance}, repeats.repeats)
    for note in repeats.sentences:
        console.print(Text(note), soft_wrap=True)


def _print_by_k(title: str, metric: RepeatedMetric) -> None:
    from evalkit.cli.terminal import Console, new_table

    table = new_table(title)
    for name in ("k", "pass@k", "maj@k", "pass^k"):
        table.add_column(name, justify="right", no_wrap=True)
    for k, estimate in metric.pass_at.items():
        table.add_row(str(k), cell(estimate), cell(metric.majority_at[k]), cell(metric.pass_all[k]))
    Console().print(table)


def _print_variances(variances: Mapping[str, VarianceSplit], repeats: int) -> None:
    from evalkit.cli.terminal import Console, Text, new_table

    if not variances:
        return
    table = new_table("Variance of one score, and the standard error of the mean by the number of repeats")
    table.add_column("metric", overflow="fold", min_width=min(max(map(len, variances)), _NAME))
    for name in ("questions", "sampling", "share of sampling", "SE with 1", f"with {repeats}", "with ∞"):
        table.add_column(name, justify="right")
    for name, split in variances.items():
        interval = f" [{split.ci[0]:.0%}, {split.ci[1]:.0%}]" if split.ci else ""
        errors = (f"{se:.4f}" for se in (split.se_of_one, split.se, split.se_of_endless))
        variance = f"{split.questions:.4f}", f"{split.sampling:.4f}", f"{split.share:.0%}{interval}"
        table.add_row(Text(name), *variance, *errors)
    Console().print(table)
