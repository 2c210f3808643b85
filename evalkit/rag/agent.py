"""The arm ``agent``: the model searches the index itself, as often as it wants up to a limit.

The passages keep one number over all searches, in the order in which they were found, so that citation
``[3]`` means one passage in the whole conversation. ``Rag.answer`` lets the model answer in the same
conversation; ``gather`` is for tasks that make their own prompt from the passages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from evalkit.agent import FunctionTool, converse, tool
from evalkit.errors import UsageError
from evalkit.facts import Search, Searched
from evalkit.model import Model
from evalkit.protocols import Retriever
from evalkit.rag.arms import Evidence, shown
from evalkit.rag.prompts import numbered
from evalkit.types import Message, Passage, Requirements, Sample, ToolCall

SEARCHES = 4
FOUND = "search"  # the tool's name
NO_MORE = "No search is left. Answer now from the passages found."
ASK = (
    "(No passage is shown yet. Find passages with the tool search, at most {searches} time{s}. Each search "
    "returns numbered passages; a passage keeps its number, by which you cite it. Answer when you have found "
    "what you need.)"
)
GATHER = (
    "Find the passages that answer the question below with the tool search, at most {searches} time{s}. Do "
    "not answer it. When you have found what you need, reply: DONE\n\nQuestion: {question}"
)
_GATHERED = "DONE"


class Library:
    """The passages that one conversation has found, and its searches. One for each sample."""

    def __init__(self, retriever: Retriever, k: int, searches: int) -> None:
        self.passages: list[Passage] = []
        self.searches: list[Search] = []
        self._retriever, self._k, self._limit = retriever, k, check(searches)
        self._turn = asyncio.Lock()  # searches of one reply run in their order: so are the numbers

    @property
    def tool(self) -> FunctionTool:
        """The search as a tool: ``search(query, k)``."""
        most = self._k

        @tool(name=FOUND)
        async def search(query: str, k: int = most) -> str:
            """Search the literature. Return the best passages, each with the number by which to cite it.

            Args:
                query: What to look for, in words.
                k: The number of passages, at most the default.
            """
            async with self._turn:
                return await self._search(query, max(1, min(k, most)))

        return search

    async def _search(self, query: str, k: int) -> str:
        if len(self.searches) >= self._limit:
            return NO_MORE
        hits = await self._retriever.search(query, k) if query.strip() else ()
        numbers = {passage.id: number for number, passage in enumerate(self.passages, 1)}
        again = [numbers[hit.id] for hit in hits if hit.id in numbers]
        new = [hit for hit in hits if hit.id not in numbers]
        known = {passage.document for passage in self.passages}
        documents = dict.fromkeys(hit.document for hit in new)
        self.searches.append(Search(query, k, [name for name in documents if name not in known]))
        self.passages += new
        return self._told(new, again)

    def _told(self, new: Sequence[Passage], again: Sequence[int]) -> str:
        """Return what the model reads: the new passages, the numbers of known ones, the searches left."""
        first = len(self.passages) - len(new) + 1
        lines = [numbered(new, range(first, first + len(new)))] if new else []
        if again:
            lines.append("Found before: " + " ".join(f"[{number}]" for number in again))
        if not lines:
            lines.append("Nothing was found.")
        left = self._limit - len(self.searches)
        return "\n".join([*lines, f"Searches left: {left}"])

    def evidence(self, sample: Sample, grade: int) -> Evidence:
        """Return what was found: the passages by number, and the searches among the facts."""
        gold = [document for document, graded in sample.relevance.items() if graded >= grade]
        ranking = tuple(dict.fromkeys(passage.document for passage in self.passages))
        found = shown(self.passages, gold, ranking)
        facts = {**found.facts, **msgspec.to_builtins(Searched(self.searches))}
        return Evidence(found.passages, ranking, found.gold, facts)


def instruction(searches: int) -> str:
    """Return the words that stand in a prompt in place of its passages."""
    return ASK.format(searches=searches, s="" if searches == 1 else "s")


def turns(searches: int) -> int:
    """Return the most replies of the model: the searches, a spare one, and the answer."""
    return searches + 2


def first_search(messages: Sequence[Message], question: str) -> list[ToolCall]:
    """Return the calls of a perfect searcher: the question once, then none."""
    searched = any(message.role == "tool" for message in messages)
    return [] if searched else [ToolCall.of(FOUND, query=question)]


async def gather(
    sample: Sample, model: Model, retriever: Retriever, *, k: int, searches: int = SEARCHES, grade: int = 1
) -> Evidence:
    """Let the model search; return the passages that it found, for a prompt of the task's own.

    The passages are then in two prompts: that of the last search, and the task's. Raises ``ModelError``.
    """
    library = Library(retriever, k, searches)
    prompt = GATHER.format(searches=searches, s="" if searches == 1 else "s", question=sample.input)
    await converse(
        model,
        prompt,
        tools=[library.tool],
        max_turns=turns(searches),
        answer_last=True,
        max_tokens=256,
        reference=lambda messages: first_search(messages, sample.input) or _GATHERED,
    )
    return library.evidence(sample, grade)


def share(passages: int, searches: int) -> int:
    """Return the passages of one search, where all searches together may show ``passages``, at least 1."""
    return max(1, passages // check(searches))


def check(searches: int) -> int:
    """Return the number of searches. Raises ``UsageError`` for less than one."""
    if searches < 1:
        raise UsageError(f"searches={searches}: the arm agent searches at least once")
    return searches


def searched(found: Evidence) -> dict[str, Any]:
    """Return the searches behind gathered passages, for ``Answer.metadata``; empty for other evidence."""
    return {name: value for name, value in found.facts.items() if name == "searches"}


def needs_tools(params: Mapping[str, Any]) -> Requirements:
    """Return what the arm of a run needs from the model."""
    return Requirements(tools=params.get("arm") == "agent")
