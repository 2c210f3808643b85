"""Fictional trials by a model behind a server that searches itself: the command, the report, the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import searcher
from tests.servers.in_thread import in_thread

SEARCH = ("-p", "topics=8", "-p", "search=bm25", "-p", "k=2")


@pytest.fixture
def served() -> Iterator[str]:
    with in_thread(searcher.ROUTES) as url:
        yield f"openai:{searcher.NAME}@{url}"


def test_an_agent_is_compared_with_one_search(evalkit: Any, served: str) -> None:
    arms = ("-p", "arm=closed_book", "-p", "arm=retrieved", "-p", "arm=agent")
    done = evalkit.json("run", "fictional_trials", *SEARCH, *arms, "--model", served)["runs"]
    assert [run["status"] for run in done] == ["complete"] * 3
    agent = done[2]
    assert agent["calls"] > 2 * 8  # searches and answers
    shown = evalkit.json("show", agent["id"], "--sample", "#0")
    roles = [message["role"] for message in shown["requests"][-1]["messages"]]
    assert roles[:3] == ["user", "assistant", "tool"]
    assert len(shown["answer"]["metadata"]["searches"]) == roles.count("tool")

    (report,) = evalkit.json("rag-report", agent["id"])["reports"]
    found = [point["estimate"]["value"] for point in report["by_search"]]
    assert found == sorted(found)
    assert found[-1] > found[0]
    assert sum(point["estimate"]["value"] for point in report["searches"]) == pytest.approx(1)
    (gain,) = report["agent_gains"]
    assert gain["first_tokens"] > 2 * gain["second_tokens"]
    assert gain["equal_tokens"] is False
    (command,) = [one["command"] for one in report["gaps"] if "equal tokens" in one["what"]]
    assert "arm=retrieved" in command


def test_a_second_run_asks_for_nothing_again(evalkit: Any, served: str) -> None:
    first, second = (
        evalkit.json("run", "fictional_trials", *SEARCH, "-p", "arm=agent", "--model", served)["runs"][0]
        for _ in range(2)
    )
    assert (first["calls_from_cache"], second["calls_from_cache"]) == (0, second["calls"])
    assert second["metrics"] == first["metrics"]
