"""A deployment on Azure, from the command line: its address, its key, its filter, what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from evalkit.store import open_store
from tests.servers.azure import DEPLOYMENT, KEY, VERSION, Azure, serve

TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample("1", "Is it?", "yes"), Sample("2", "A poison?", "yes")], metrics=[exact_match()])
async def quiz(sample, model):
    return Answer(await model.generate(sample.input, max_tokens=9))
"""


@pytest.fixture
def azure() -> Iterator[Azure]:
    with serve() as server:
        yield server


@pytest.fixture
def run(evalkit: Any, azure: Azure) -> Any:
    (evalkit.folder / "task_quiz.py").write_text(TASK)
    evalkit.environment |= {"AZURE_OPENAI_API_KEY": KEY, "OPENAI_API_KEY": "sk-of-another-vendor-1"}

    def start(
        query: str = f"?query.api-version={VERSION}&header.api-key=$AZURE_OPENAI_API_KEY",
        deployment: str = DEPLOYMENT,
        code: int = 0,
    ) -> Any:
        model = f"openai:{deployment}@{azure.url}/openai/deployments/{deployment}{query}"
        return evalkit("run", "task_quiz.py", "--model", model, code=code)

    return start


def test_a_deployment_is_asked_its_filter_refuses_and_the_key_is_nowhere(run, evalkit, azure) -> None:
    said = run()
    (shown,) = evalkit.json("show", "latest")["runs"]
    assert (shown["status"], shown["counts"]) == ("complete", {"ok": 1, "refused": 1})
    assert set(shown["left_out"]) == {"temperature"}
    why = "sent without temperature, which the server does not take (Unsupported: 'temperature'"
    assert why in said.stderr
    assert "sent without temperature" in evalkit("show", "latest").stdout
    assert all("max_tokens" not in body and "temperature" not in body for body in azure.bodies)
    assert {body["max_completion_tokens"] for body in azure.bodies} == {9, 2048}
    assert all("authorization" not in map(str.lower, headers) for headers in azure.headers)
    assert KEY not in said.stdout + said.stderr
    files = [file for file in evalkit.folder.rglob("*") if file.is_file()]
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    with open_store(evalkit.folder / ".evalkit" / "evalkit.db") as store:
        spec = store.runs.get(shown["id"]).spec.model_spec
    assert spec.endswith(f"?query.api-version={VERSION}&header.api-key=$AZURE_OPENAI_API_KEY")


def test_the_name_of_a_deployment_is_not_the_models_and_its_model_is_part_of_the_identity(
    run, evalkit, azure
) -> None:
    run()
    (shown,) = evalkit.json("show", "latest")["runs"]
    assert not [note for note in shown["notes"] if "another model" in note]
    asked = len(azure.bodies)
    run()
    assert len(azure.bodies) == asked + 1  # the probe: the cache has the rest
    azure.model = "gpt-4o-2024-08-06"
    run()
    assert len(azure.bodies) == asked + 1 + 1 + 2  # all is asked again


@pytest.mark.parametrize(
    ("query", "deployment", "words"),
    [
        ("?header.api-key=$AZURE_OPENAI_API_KEY", DEPLOYMENT, "?query.api-version="),
        (f"?query.api-version={VERSION}", DEPLOYMENT, "?header.NAME=$ITS_NAME"),
        (f"?query.api-version={VERSION}&header.api-key=$NOT_SET", DEPLOYMENT, "NOT_SET is not set"),
        (
            f"?query.api-version={VERSION}&header.api-key=$AZURE_OPENAI_API_KEY",
            "other",
            "The API deployment for this resource does not exist",
        ),
        (f"?api-version={VERSION}", DEPLOYMENT, "query.api-version=…"),
    ],
)
def test_what_is_missing_is_said_before_the_run(run, query, deployment, words) -> None:
    assert words in run(query, deployment, code=2).stderr
