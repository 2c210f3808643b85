"""Declaring tasks: what is refused, and how parameters are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest

from evalkit import Answer, Sample, Value, parametrize, task
from evalkit.errors import UsageError
from evalkit.metrics import exact_match
from evalkit.task import check_known, parameters_of

SAMPLES = [Sample("1", "q", "a")]


def test_a_task_must_be_async() -> None:
    with pytest.raises(UsageError, match="must be 'async def'"):

        @task(SAMPLES, metrics=[])
        def not_async(sample, model): ...


def test_a_metric_factory_that_was_not_called_is_named() -> None:
    with pytest.raises(UsageError, match="call the factory"):

        @task(SAMPLES, metrics=[exact_match])
        async def forgot(sample, model): ...


def test_a_generator_object_as_samples_is_refused_because_it_runs_once() -> None:
    with pytest.raises(UsageError, match="pass the generator function itself"):

        @task((s for s in SAMPLES), metrics=[])
        async def once(sample, model): ...


def test_two_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="same name: exact_match"):

        @task(SAMPLES, metrics=[exact_match(), exact_match()])
        async def twice(sample, model): ...


def test_parametrize_works_on_either_side_of_task() -> None:
    @task(SAMPLES, metrics=[])
    @parametrize(k=[1, 2])
    async def below(sample, model, k=1): ...

    @parametrize(k=[1, 2])
    @task(SAMPLES, metrics=[])
    async def above(sample, model, k=1): ...

    assert below.axes == above.axes == {"k": [1, 2]}


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"k": []}, "k has no values"),
        ({"k": [1, 2], "ids": ["one"]}, "'k' has 2 values and 1 ids"),
        ({"k": [1, 2], "ids": {"kk": ["one", "two"]}}, "no axis 'kk'. Did you mean 'k'"),
        ({"k": [1, 2], "j": [1, 2], "ids": ["one", "two"]}, "takes ids={'axis'"),
        ({"k": [1, 2], "ids": ["same", "same"]}, "two values of 'k' are named same"),
        ({"k": [5, Value(10, id="5")]}, "two values of 'k' are named 5"),
        ({"k": [Value(1, id="a=b")]}, "which node ids are made of"),
    ],
)
def test_axes_whose_values_cannot_be_named_are_refused(axes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parametrize(**axes)


def test_arguments_with_defaults_are_parameters_and_the_others_fixtures() -> None:
    async def fn(sample, model, retriever, k: int = 5, *, data: Path | None = None) -> Answer: ...

    params, fixtures = parameters_of(fn)
    assert {n: p.default for n, p in params.items()} == {"k": 5, "data": None}
    assert fixtures == ["retriever"]
    assert params["data"].is_path
    assert not params["k"].is_path


@pytest.mark.parametrize(
    ("default", "hint", "text", "value"),
    [
        (5, int, "7", 7),
        (0.5, float, "1", 1.0),
        (False, bool, "true", True),
        ("x", str, "12", "12"),
        (None, Path | None, "a/b", Path("a/b")),
        ("a", Literal["a", "b"], "b", "b"),
    ],
)
def test_settings_are_converted_by_type(default, hint, text, value) -> None:
    def fn(x=default): ...

    fn.__annotations__["x"] = hint
    assert parameters_of(fn)[0]["x"].convert(text) == value


def test_a_value_of_the_wrong_type_says_which_parameter() -> None:
    def fn(k: int = 5, arm: Literal["oracle", "retrieved"] = "oracle"): ...

    params, _ = parameters_of(fn)
    with pytest.raises(UsageError, match="k='many'"):
        params["k"].convert("many")
    with pytest.raises(
        UsageError, match=r"arm='orakle': must be oracle or retrieved\. Did you mean 'oracle'\?"
    ):
        params["arm"].convert("orakle")


def test_an_unknown_parameter_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no parameter 'kk'\. Did you mean 'k'\? Its parameters: arm, k"):
        check_known(["kk"], ["k", "arm"], "task x")
