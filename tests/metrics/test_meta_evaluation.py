"""How metrics agree with human counts of facts on MTS-Dialog: known figures, and the table in docs."""

import gzip
import json
import re
from pathlib import Path

import pytest
from scipy.stats import pearsonr

from evalkit.collection.with_metrics import parse_metric
from evalkit.types import Answer, Sample
from tests.metrics.tiny import WORDNET

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `([^`]+)` \| ([−\d.]+) \| ([−\d.]+) \| ([−\d.]+) \|$", re.MULTILINE)
COLUMNS = ("factual_f1", "hallucination_rate", "omission_rate")


@pytest.fixture(scope="module")
def rows(data):
    path = data / "mts_dialog" / "metric_meta_eval.jsonl.gz"
    return [json.loads(line) for line in gzip.open(path, "rt", encoding="utf-8")]


def correlations(metric, rows):
    values = [metric(Sample("s", r["dialogue"], r["reference"]), Answer(text=r["output"])) for r in rows]
    assert None not in values
    return [pearsonr(values, [r[column] for r in rows]).statistic for column in COLUMNS]


def test_rouge_1_correlates_as_the_datas_readme_says(rows):
    factual, _, omitted = correlations(parse_metric("rouge('rouge1')"), rows)
    assert (round(factual, 3), round(omitted, 3)) == (0.401, -0.467)


def test_the_table_in_the_documentation_is_what_comes_out(rows):
    table = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(table) == 10
    for name, *printed in table:
        if name == "meteor" and not WORDNET.exists():
            continue
        kind, _, source = name.partition("[source=")
        call = f"rouge('{kind}')" if kind.startswith("rouge") else f"{kind}('input')" if source else kind
        found = correlations(parse_metric(call), rows)
        assert found == pytest.approx([float(x.replace("−", "-")) for x in printed], abs=0.005001), name
