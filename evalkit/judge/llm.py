"""A judge that is a language model: one question per set of passages and sentence, answered with one word.

The calls use cache, retries and schedule like all others. A reply that is not exactly one of the words
(``evalkit.judge.verdicts``) is an error, never a default verdict. For a *bound* judge, the server constrains
the verdict to a JSON schema.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from evalkit.errors import JudgeError
from evalkit.judge.verdicts import READING, WORDS, read_claims, read_relation
from evalkit.model import Model
from evalkit.models.connect import connect_beside
from evalkit.models.middleware.call_stats import OF_JUDGE, current
from evalkit.protocols import Judge, Relation
from evalkit.rag.prompts import numbered
from evalkit.types import Passage, Requirements, Response, Sample

PROMPTS = Path(__file__).parent / "prompts"
RELATION = (PROMPTS / "relation.txt").read_text(encoding="utf-8")
CLAIMS = (PROMPTS / "claims.txt").read_text(encoding="utf-8")

VERDICT: dict[str, Any] = {
    "type": "object",
    "properties": {"verdict": {"type": "string", "enum": [*WORDS]}},
    "required": ["verdict"],
    "additionalProperties": False,
}


def question(passages: Sequence[Passage], sentence: str) -> str:
    """Return the prompt that asks how the passages relate to the sentence."""
    return RELATION.format(passages=numbered(passages), sentence=sentence)


class LlmJudge(Judge):
    """A judge that asks a model. ``bound``: a JSON schema constrains the verdicts, but not the claims."""

    def __init__(self, model: Model, name: str, *, bound: bool = False) -> None:
        self.name = f"{'llm-json' if bound else 'llm'}:{name}"
        self._model, self._schema = model, VERDICT if bound else None

    async def relation(self, passages: Sequence[Passage], sentence: str, sample: Sample) -> Relation:
        """Return the model's verdict on all the passages together."""
        reply = await self._ask(question(passages, sentence), sample, self._schema)
        relation = read_relation(reply)
        if relation is None:
            raise self._unread(f"answered {reply[:80]!r} instead of one of {', '.join(WORDS)}")
        return relation

    async def claims(self, text: str, sample: Sample) -> list[str]:
        """Return the claims that the model lists."""
        reply = await self._ask(CLAIMS.format(text=text), sample)
        claims = read_claims(reply)
        if claims is None:
            raise self._unread(f"answered {reply[:80]!r} instead of a list of claims, one per line")
        return claims

    def describe(self) -> dict[str, Any]:
        """Return the model's identity, its sampling settings, the prompts' hashes, the reading's version."""
        hashes = {
            name: hashlib.sha256(text.encode()).hexdigest()
            for name, text in (("relation", RELATION), ("claims", CLAIMS))
        }
        return {
            "judge": self.name,
            "identity": self._model.facts.identity,
            "defaults": dict(self._model.defaults),
            "prompts_sha256": hashes,
            "reading": READING,
        }

    async def _ask(self, prompt: str, sample: Sample, schema: dict[str, Any] | None = None) -> str:
        response: Response = await self._model.for_sample(sample).generate(prompt, json_schema=schema)
        usage = response.usage
        current.get().judged.update(
            asked=1,
            from_cache=int(response.from_cache),
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
        )
        if response.notes:
            current.get().noted(response, OF_JUDGE)
        if response.finish_reason != "stop":
            raise self._unread(f"did not finish ({response.finish_reason}): {response.text[:80]!r}")
        return response.text

    def _unread(self, why: str) -> JudgeError:
        current.get().judged["unread"] += 1
        return JudgeError(f"{self.name} {why}")


@asynccontextmanager
async def connected(spec: str, responses: Path, *, bound: bool) -> AsyncIterator[LlmJudge]:
    """Connect the model of a spec as a judge.

    Raises ``ProbeError`` with the fix where the model is missing or, for a ``bound`` judge, ignores the
    schema.
    """
    needs = Requirements(json_schema=bound)
    async with connect_beside(spec, "the judge", needs, responses) as (name, model):
        yield LlmJudge(model, name, bound=bound)
