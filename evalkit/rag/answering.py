"""The value of the fixture ``rag``: one sample, answered in the arm of its run.

    @task(samples, metrics=[...])
    @rag_arms
    async def my_rag(sample: Sample, model: Model, rag: Rag) -> Answer:
        return await rag.answer(memory="{question}", passages="{passages}\n\n{question} Cite as [1].")

Every RAG task has the parameters of this fixture (``arm``, ``k``, ``position``, ``query``, ``searches``), of
the retriever (``search``, ``encoder``, ``chunk_words``) and of the review (``judge``, ``claims``). A task
with another default, or other values, declares the parameter in its own signature.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import msgspec

from evalkit.agent import converse
from evalkit.metrics.abstaining import ABSTENTION, answerable
from evalkit.model import Model, Reference
from evalkit.protocols import Retriever
from evalkit.rag.agent import SEARCHES, Library, first_search, gather, instruction, turns
from evalkit.rag.arms import Arm, Evidence, evidence
from evalkit.rag.prompts import asks_for_citations, cited, numbered, text_of
from evalkit.rag.queries import QueryStrategy, write_queries
from evalkit.types import Answer, Message, Sample

Reviewer = Callable[[Sample, Answer, Sequence[Literal["citations", "claims"]]], Awaitable[Answer]]


@dataclass(frozen=True)
class Rag:
    """One sample, with the model, the retriever and the review of its run.

    In the arm ``closed_book`` the retriever is None.
    """

    sample: Sample
    model: Model
    retriever: Retriever
    review: Reviewer
    arm: Arm = "retrieved"
    k: int = 5
    position: int | None = None
    query: QueryStrategy = "question"
    searches: int = SEARCHES

    async def evidence(self, grade: int = 1) -> Evidence:
        """Return the passages of the arm; documents of at least ``grade`` answer the question.

        In the arm ``retrieved`` the strategy ``query`` writes the queries. From now on ``baseline:gold``
        replies with the target, cites what answers where the prompt asks for citations, and abstains where
        that is right. In the arm ``agent`` the model searches first. Raises the errors of
        ``evalkit.rag.arms.evidence``.
        """
        shown = await self._gathered(grade) if self.arm == "agent" else await self._searched(grade)
        if not self.sample.choices:
            self.model.expect(partial(self._perfect_reply, shown))
        return shown

    async def _gathered(self, grade: int) -> Evidence:
        return await gather(
            self.sample, self.model, self.retriever, k=self.k, searches=self.searches, grade=grade
        )

    async def _searched(self, grade: int) -> Evidence:
        rewritten = self.arm == "retrieved" and self.query != "question"
        queries = await write_queries(self.sample, self.model, self.query) if rewritten else []
        shown = await evidence(
            self.sample,
            self.retriever,
            self.arm,
            k=self.k,
            position=self.position,
            grade=grade,
            queries=queries,
        )
        facts = {**shown.facts, "queries": queries} if rewritten else shown.facts
        return msgspec.structs.replace(shown, facts=facts)

    async def answer(
        self,
        *,
        memory: str,
        passages: str,
        grade: int = 1,
        cite: bool = True,
        shown: Evidence | None = None,
        ending: str = "",
        read: Callable[[str], str] | None = None,
        **sampling: Any,
    ) -> Answer:
        """Ask the model once about the arm's passages; return its answer, reviewed where the run has a judge.

        ``passages`` is the prompt with ``{passages}`` and ``{question}``; ``memory`` is the prompt of arms
        without passages, with ``{question}``. ``shown`` replaces the arm's own passages. ``sampling`` goes to
        ``Model.generate``. In the arm ``agent`` the model searches and answers in one conversation, whose
        prompt has an instruction in place of ``{passages}``. ``baseline:gold`` replies with the target and
        cites the gold passages behind each sentence (not with ``cite=False``); it abstains where that is
        right. ``ending`` is the last line of a perfect reply that is not part of the answer; ``read`` returns
        the part of a reply that is.
        """
        if shown is None and self.arm == "agent":
            perfect = partial(self._perfect, cite=cite, ending=ending)
            answer = await self._by_agent(passages, grade, perfect, sampling)
        else:
            shown = shown or await self.evidence(grade)
            filled = memory if shown.passages is None else passages
            prompt = filled.format(passages=numbered(shown.passages or ()), question=self.sample.input)
            reference = self._perfect(shown, cite, ending)
            answer = shown.answer(await self.model.generate(prompt, reference=reference, **sampling))
        if read is not None:
            answer = msgspec.structs.replace(answer, text=read(answer.reply))
        return await self.review(
            self.sample, answer, ("claims",) if answer.passages is None else ("citations", "claims")
        )

    def _perfect_reply(self, shown: Evidence, messages: Sequence[Message]) -> str:
        return self._perfect(shown, asks_for_citations(text_of(messages)))

    async def _by_agent(
        self, prompt: str, grade: int, perfect: Callable[[Evidence], str], sampling: Mapping[str, Any]
    ) -> Answer:
        """Return the answer of a model that searches, in the conversation in which it searches."""
        library = Library(self.retriever, self.k, self.searches)

        def reference(messages: Sequence[Message]) -> Reference:
            found = first_search(messages, self.sample.input)
            return found or perfect(library.evidence(self.sample, grade))

        conversation = await converse(
            self.model,
            prompt.format(passages=instruction(self.searches), question=self.sample.input),
            tools=[library.tool],
            max_turns=turns(self.searches),
            answer_last=True,
            reference=reference,
            **sampling,
        )
        found = library.evidence(self.sample, grade)
        return conversation.answer(passages=found.passages, ranking=found.ranking, metadata=found.facts)

    def _perfect(self, shown: Evidence, cite: bool, ending: str = "") -> str:
        """Return the perfect reply to a prompt with the evidence ``shown``; ``ending`` is its last line."""
        if answerable(self.sample, Answer(metadata=shown.facts)) is False:
            return ABSTENTION
        target = next(iter(self.sample.targets), "")
        reply = cited(target, shown.gold if cite else ())
        return f"{reply}\n{ending}" if ending else reply
