"""All of one sample: question, passages, requests, answer, citations, scores. None of the text is trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pandas as pd
import streamlit as st

from evalkit.metrics.citation import citations
from evalkit.store.records import Run, SampleRecord
from evalkit.store.turns import compacted, shown, talks
from evalkit.types import Sample, Status
from evalkit.util.money import dollars

from . import conversation, text

COLOURS = {
    Status.OK: "green",
    Status.TRUNCATED: "orange",
    Status.REFUSED: "violet",
    Status.EMPTY: "gray",
    Status.UNPARSED: "blue",
    Status.ERROR: "red",
}
SHOWN_IMAGES = {"image/png", "image/jpeg", "image/webp", "image/gif"}  # not SVG, which can contain scripts


def sample(record: SampleRecord, run: Run) -> None:
    """Draw one sample."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(str(record.status), color=COLOURS[record.status])  # type: ignore[arg-type]
        st.text(f"{record.sample.id}" + (f" · repeat {record.repeat}" if run.spec.repeats > 1 else ""))
        cached = f", {record.calls_from_cache} from cache" if record.calls_from_cache else ""
        thought = f" ({record.tokens.reasoning:,} reasoning)" if record.tokens.reasoning else ""
        tokens = f"{record.tokens.prompt:,} + {record.tokens.completion:,} tokens{thought}"
        calls = "1 call" if record.calls == 1 else f"{record.calls} calls"
        cost = f" · {dollars(record.cost)}" if record.calls else ""
        judge = f", judge {dollars(record.judge_cost)}" if record.judge_cost else ""
        st.caption(text.escape(f"{calls}{cached} · {tokens}{cost}{judge} · {record.latency_s:.2f} s"))
    if record.error:
        st.error("This sample failed and has no score. What the error says:", icon=":material/error:")
        text.show(record.error, "error")
    st.markdown("##### Question")
    text.show(record.sample.input, "question")
    images(record.sample)
    if not only_ranked(record):
        st.markdown("##### Answer")
        answer(record)
        for number, target in enumerate(record.sample.targets, 1):
            st.markdown("##### Target" if len(record.sample.targets) == 1 else f"##### Target {number}")
            text.show(target, f"target-{number}", "none")
    scores(record, [info.name for info in run.spec.metrics])
    for number, talk in enumerate(talks(record)):
        conversation.draw(talk, f"talk-{record.sequence}-{number}")
    ranking(record)
    passages(record)
    requests(record)
    if record.sample.metadata:
        with st.expander("Metadata of the sample"):
            facts(record.sample.metadata)


def answer(record: SampleRecord) -> None:
    """Draw the reply and the passages that it cites."""
    if record.answer is None:
        st.caption("none")
        return
    text.show(record.answer.reply, "reply", record.no_answer)
    for note in record.answer.response.notes if record.answer.response else ():
        st.warning(text.escape(note), icon=":material/info:")
    if record.answer.response and record.answer.response.reasoning:
        with st.expander("Reasoning"):
            text.show(record.answer.response.reasoning, "reasoning")
    shown = record.answer.passages
    cited = marks(record) if shown else []
    if shown and cited:
        gold = gold_documents(record.sample)
        passages = [(number, shown[number - 1] if number else None) for number in cited]
        rows = [
            {
                "cites": f"[{number}]" if number else "[?]",
                "gold": passage is not None and passage.document in gold,
                "document": passage.document if passage else "there is no such passage",
                "title": passage.title if passage else "",
            }
            for number, passage in passages
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True)


def marks(record: SampleRecord) -> list[int | None]:
    """Return the numbers, from 1, of the passages that a reply cites, each once; None for no passage."""
    if record.answer is None or not record.answer.passages:
        return []
    sentences = citations(record.answer.reply, len(record.answer.passages))
    cited_indices = dict.fromkeys(index for _, cited in sentences for index in cited)
    return [None if index is None else index + 1 for index in cited_indices]


def gold_documents(sample: Sample) -> set[str]:
    """Return the documents that are relevant for a sample."""
    return {document for document, grade in sample.relevance.items() if grade > 0}


def only_ranked(record: SampleRecord) -> bool:
    """Return whether the task only retrieves: the answer has a ranking and no reply."""
    answer = record.answer
    return answer is not None and answer.response is None and answer.ranked is not None and not answer.reply


def ranking(record: SampleRecord) -> None:
    """Draw the ranks of the relevant documents."""
    ranked = record.answer.ranked if record.answer else None
    gold = {document: grade for document, grade in record.sample.relevance.items() if grade > 0}
    if ranked is None or not gold:
        return
    ranks = {document: rank for rank, document in enumerate(ranked, 1)}
    st.markdown("##### Ranking")
    st.caption(f"{len(gold.keys() & ranks.keys())} of {len(gold)} relevant documents among {len(ranked)}")
    rows = [
        {"rank": str(ranks.get(document, "not found")), "document": document, "grade": grade}
        for document, grade in sorted(gold.items(), key=lambda item: ranks.get(item[0], len(ranks) + 1))
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)


def scores(record: SampleRecord, order: list[str]) -> None:
    """Draw every score of the sample, in the order of the task's metrics."""
    st.markdown("##### Scores")
    if not record.scores:
        st.caption("none")
        return
    rows = [
        {
            "metric": s.metric,
            "value": text.number(s.value),
            "note": s.error or ("" if s.value is not None else "does not apply"),
        }
        for s in sorted(
            record.scores, key=lambda s: order.index(s.metric) if s.metric in order else len(order)
        )
    ]
    frame = pd.DataFrame(rows)
    st.dataframe(frame if frame["note"].any() else frame.drop(columns="note"), hide_index=True)


def passages(record: SampleRecord) -> None:
    """Draw the passages of the prompt, with marks for gold and cited ones."""
    shown = record.answer.passages if record.answer else None
    if shown is None:
        return
    gold = gold_documents(record.sample)
    n_gold = sum(passage.document in gold for passage in shown)
    st.markdown("##### Passages")
    if gold:
        st.caption(f"{n_gold} of {len(shown)} are gold; {len(gold)} are gold in all")
    cited = marks(record)
    for number, passage in enumerate(shown, 1):
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge(f"{number}", color="gray")
                if passage.document in gold:
                    st.badge("gold", icon=":material/star:", color="yellow")
                if number in cited:
                    st.badge("cited", icon=":material/format_quote:", color="green")
                if passage.metadata.get("retracted") is True:
                    st.badge("retracted", icon=":material/block:", color="red")
                st.caption(f"score {passage.score:.3f}")
                st.text(
                    passage.id if passage.id == passage.document else f"{passage.id} of {passage.document}"
                )
            if passage.title:
                st.text(passage.title)
            with st.expander("Text", key=f"passage-{record.sequence}-{number}"):
                text.show(passage.text, f"passage-{number}")


def requests(record: SampleRecord) -> None:
    """Draw the requests as they were sent; of one that continues another, what is new."""
    for number, request in enumerate(compacted(record.requests), 1):
        with st.expander(f"Request {number} of {len(record.requests)}, as it was sent"):
            if "after" in request:
                st.caption(f"The messages and tools of request {request['after'] + 1}, and then:")
            for place, message in enumerate(request.get("messages") or ()):
                if isinstance(message, dict):
                    st.text(str(message.get("role", "")))
                    text.show(shown(message.get("content")), f"request-{number}-{place}")
                    if also := {name: message[name] for name in ("tool_calls", "native") if name in message}:
                        facts(also)
            if request.get("prompt"):
                st.text("prompt")
                text.show(str(request["prompt"]), f"request-{number}-prompt")
            facts({k: v for k, v in request.items() if k not in ("messages", "prompt", "after")})


def facts(values: Mapping[str, Any]) -> None:
    """Draw named values as a table: nested ones by their path (``server.dtype``), lists as JSON."""
    rows = [{"name": name, "value": value} for name, value in _flat(values, "")]
    if not rows:
        st.caption("nothing was recorded")
        return
    config = {"name": st.column_config.TextColumn(width="small"), "value": st.column_config.TextColumn()}
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, column_config=config, height=min(38 + 35 * len(rows), 560)
    )


def _flat(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{path}{name}.")
        elif value is not None and value != "" and value != {} and value != []:
            plain = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            yield f"{path}{name}", plain


def images(sample: Sample) -> None:
    """Draw images when the reader asks: a drawn image is served to anyone who knows its address."""
    if not sample.images or not st.toggle(f"Show {len(sample.images)} images", key="images"):
        return
    for image in sample.images:
        if image.media_type in SHOWN_IMAGES and image.data is not None:
            st.image(image.data)
        else:
            st.text(f"{image.media_type} {image.sha256}: not shown")
