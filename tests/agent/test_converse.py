"""``converse``: tools that run, fail or do not exist, the end of a conversation."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from evalkit import (
    Audio,
    Done,
    Image,
    Message,
    Model,
    Sample,
    Status,
    ToolCall,
    UsageError,
    converse,
    tool,
)
from evalkit.errors import CorpusError, ModelError, RequestRejected, ServerFailed
from evalkit.models.baseline import BaselineBackend
from evalkit.models.fake import FakeBackend
from evalkit.models.spec import parse_spec
from evalkit.status import classify_answer
from evalkit.testing import scripted
from evalkit.types import Request, Response

call = ToolCall.of


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@tool
async def fail(how: str) -> None:
    """Fail."""
    failures: dict[str, Any] = {
        "error": ValueError("no such row"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
        "cancelled": asyncio.CancelledError(),
        "corpus": CorpusError("the corpus is gone"),
        "server": ServerFailed("500"),
    }
    raise failures[how]


@tool
def submit(answer: str) -> Done:
    """End."""
    return Done(answer)


def results(conversation) -> list[str]:
    return [called.result for called in conversation.calls]


async def test_tools_are_called_until_the_model_answers() -> None:
    model = scripted(
        [call("add", a=2, b=3)], [call("add", a=5, b=5), call("add", a=1, b=1)], "The sum is 10."
    )
    conversation = await converse(model, "Sum?", tools=[add], max_turns=5)
    assert [m.role for m in conversation.messages] == [
        "user", "assistant", "tool", "assistant", "tool", "tool", "assistant",
    ]  # fmt: skip
    assert results(conversation) == ["5", "10", "2"]
    assert (conversation.stopped, conversation.turns, conversation.text) == ("answer", 3, "The sum is 10.")
    asked = [c.request for c in model.calls]
    assert [len(request.messages) for request in asked] == [1, 3, 6]
    assert all([t.name for t in request.tools] == ["add"] for request in asked)
    for message in asked[-1].messages:
        if message.role == "tool":
            answered = {c.id for m in asked[-1].messages for c in m.tool_calls}
            assert message.tool_call_id in answered


async def test_what_goes_wrong_is_told_to_the_model_and_counted() -> None:
    calls = [
        call("substract", a=1),
        call("add", a="two", b=3),
        ToolCall("x", "add", None, '{"a": 1'),
        call("fail", how="error"),
        call("fail", how="exit"),
        call("fail", how="interrupt"),
        call("fail", how="cancelled"),
        call("add", a=1, b=1),
    ]
    conversation = await converse(scripted(calls, "done"), "?", tools=[add, fail])
    told = results(conversation)
    assert "there is no tool 'substract'. Tools: add, fail" in told[0]
    assert "Expected `int`, got `str` - at `$.a`" in told[1]
    assert "no JSON object: '{\"a\": 1'" in told[2]
    assert told[3:] == [
        "error: ValueError: no such row",
        "error: SystemExit: 3",
        "error: KeyboardInterrupt",
        "error: CancelledError",
        "2",
    ]
    assert (conversation.unknown_tools, conversation.broken_arguments, conversation.tool_failures) == (
        1,
        2,
        4,
    )
    assert [c.problem for c in conversation.calls][-1] is None
    facts = conversation.answer().metadata["conversation"]
    assert (facts["unknown_tools"], facts["broken_arguments"], facts["tool_failures"]) == (1, 2, 4)


@pytest.mark.parametrize(("how", "error"), [("corpus", CorpusError), ("server", ModelError)])
async def test_what_the_infrastructure_did_wrong_is_no_failure_of_the_tool(how, error) -> None:
    """The sample is then an error that can be resumed: the model has nothing to do with it."""
    with pytest.raises(error):
        await converse(scripted([call("add", a=1, b=1), call("fail", how=how)]), "?", tools=[add, fail])


async def test_a_cancelled_conversation_ends_also_inside_a_tool() -> None:
    began = asyncio.Event()

    @tool
    async def wait() -> None:
        """Wait."""
        began.set()
        await asyncio.Event().wait()

    talking = asyncio.create_task(converse(scripted([call("wait")]), "?", tools=[wait]))
    await began.wait()
    talking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await talking


async def test_calls_of_one_turn_run_at_the_same_time() -> None:
    meeting = asyncio.Barrier(3)

    @tool
    async def meet(name: str) -> str:
        """Wait for two others."""
        await meeting.wait()
        return name

    calls = [call("meet", name=name) for name in "abc"]
    conversation = await converse(scripted(calls, "done"), "?", tools=[meet])
    assert results(conversation) == ["a", "b", "c"]


async def test_plain_functions_run_in_order_in_a_thread_and_do_not_block_the_loop() -> None:
    loop_runs = threading.Event()
    log: list[str] = []

    @tool
    def write(name: str) -> str:
        """Write a line."""
        assert loop_runs.wait(30)  # only the event loop sets it
        log.append(name)
        return threading.current_thread().name

    async def set_soon() -> None:
        await asyncio.sleep(0)
        loop_runs.set()

    calls = [call("write", name=name) for name in "abcdef"]
    conversation, _ = await asyncio.gather(converse(scripted(calls, "done"), "?", tools=[write]), set_soon())
    assert log == list("abcdef")
    assert threading.main_thread().name not in results(conversation)


async def test_a_tool_can_end_the_conversation() -> None:
    model = scripted([call("add", a=1, b=1), call("submit", answer="two")], "never said")
    conversation = await converse(model, "?", tools=[add, submit])
    assert (conversation.stopped, conversation.turns, conversation.text) == ("tool", 1, "two")
    answer = conversation.answer()
    assert answer.text == "two"
    assert classify_answer(answer) is Status.OK
    assert [m["content"] for m in answer.metadata["conversation"]["results"]] == ["2", "two"]


@pytest.mark.parametrize(
    ("value", "text", "status"),
    [("", "", Status.EMPTY), (7, "7", Status.OK), (None, "Bye.", Status.OK)],
)
async def test_the_value_that_ends_a_conversation_is_its_answer(value, text, status) -> None:
    @tool
    def end() -> Done:
        """End."""
        return Done(value)

    conversation = await converse(
        scripted(Response(text="Bye.", tool_calls=(call("end"),))), "?", tools=[end]
    )
    answer = conversation.answer()
    assert (conversation.stopped, answer.text, classify_answer(answer)) == ("tool", text, status)


@pytest.mark.parametrize(
    ("turn", "stopped", "status"),
    [
        ([call("add", a=1, b=1)], "max_turns", Status.TRUNCATED),
        (Response(text="The su", finish_reason="length"), "length", Status.TRUNCATED),
        (Response(text="", finish_reason="length", tool_calls=(call("add"),)), "length", Status.TRUNCATED),
        (Response(text="", finish_reason="refusal"), "refusal", Status.REFUSED),
        ("", "answer", Status.EMPTY),
        ("2", "answer", Status.OK),
    ],
)
async def test_why_a_conversation_ended_decides_the_status_of_its_answer(turn, stopped, status) -> None:
    conversation = await converse(scripted(turn), "?", tools=[add], max_turns=3)
    assert conversation.stopped == stopped
    assert classify_answer(conversation.answer()) is status
    assert len(conversation.calls) == (3 if stopped == "max_turns" else 0)


async def test_a_conversation_that_used_up_its_turns_says_so_beside_what_else_went_wrong() -> None:
    model = scripted([call("add", a=1, b=1)], [call("substract", a=1)])
    await converse(model, "?", tools=[add], max_turns=2)
    assert [made.response.notes for made in model.calls] == [
        (),
        ("called an unknown tool", "the conversation had used up its turns before the answer"),
    ]


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000",  # OpenAI, vLLM
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",  # SGLang
        "the request exceeds the available context size, try increasing it",  # llama.cpp
        "prompt is too long: 210000 tokens > 200000 maximum",  # Anthropic
        "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000",  # Anthropic, too
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",  # Gemini
        "`inputs` tokens + `max_new_tokens` must be <= 4096",  # TGI
    ],
)
async def test_a_conversation_that_outgrows_the_context_is_truncated_and_no_error(message) -> None:
    def model(request: Request) -> Response:
        if len(request.messages) > 4:
            raise RequestRejected(message, status=400)
        return Response(text="", tool_calls=(call("add", a=1, b=1),))

    conversation = await converse(Model(FakeBackend(model)), "?", tools=[add])
    assert (conversation.stopped, conversation.turns) == ("context", 2)
    assert classify_answer(conversation.answer()) is Status.TRUNCATED
    with pytest.raises(RequestRejected):  # the task's own prompt is too long
        await converse(Model(FakeBackend(model)), [Message("user", "?")] * 5, tools=[add])


async def test_other_refusals_in_the_middle_are_errors() -> None:
    def model(request: Request) -> Response:
        if len(request.messages) > 1:
            raise RequestRejected("400: unknown role: tool")
        return Response(text="", tool_calls=(call("add", a=1, b=1),))

    with pytest.raises(RequestRejected, match="unknown role"):
        await converse(Model(FakeBackend(model)), "?", tools=[add])


async def test_the_last_turn_may_be_kept_for_the_answer() -> None:
    def model(request: Request) -> Response:
        if request.tool_choice == "none":
            return Response(text="I have to answer.")
        return Response(text="", tool_calls=(call("add", a=1, b=1),))

    conversation = await converse(Model(FakeBackend(model)), "?", tools=[add], max_turns=3, answer_last=True)
    assert (conversation.stopped, conversation.turns, len(conversation.calls)) == ("answer", 3, 2)


async def test_results_are_texts_json_or_pictures() -> None:
    picture = Image.of(b"png")

    @tool
    def get(kind: str) -> Any:
        """Return a value."""
        values = {"text": "é", "none": None, "list": [1, {"a": None}], "picture": picture}
        return {**values, "both": ["Look:", picture]}[kind]

    kinds = ("text", "none", "list", "picture", "both")
    conversation = await converse(scripted([call("get", kind=k) for k in kinds], "done"), "?", tools=[get])
    messages = [m for m in conversation.messages if m.role == "tool"]
    assert [m.content for m in messages[:3]] == ["é", "null", '[1,{"a":null}]']
    assert messages[3].content == (picture,)
    assert [getattr(part, "text", part) for part in messages[4].content] == ["Look:", picture]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "the tool get returned what JSON cannot hold .*object.*: return a text"),
        ({"scan": Image.of(b"png")}, r"the tool get returned media that models do not get so \(Image\)"),
        ([Image.of(b"png"), {"a": [Audio.of(b"wav")]}], r"\(Audio\): return an Image, or a list"),
    ],
)
async def test_a_result_that_no_model_could_read_is_the_tasks_fault(value, why) -> None:
    @tool
    def get() -> Any:
        """Return a value."""
        return value

    with pytest.raises(UsageError, match=why):
        await converse(scripted([call("get")], "done"), "?", tools=[get])


async def test_messages_generation_and_native_turns_reach_the_model() -> None:
    native = {"role": "assistant", "signed": "x"}
    first = Response(text="", tool_calls=(call("add", a=1, b=1),), native=native)
    model = scripted(first, "2")
    start = [Message("system", "Be brief."), Message("user", "1+1?")]
    await converse(model, start, tools=[add], max_tokens=7, temperature=0.5, parallel_tool_calls=False)
    request = model.calls[-1].request
    assert request.messages[:2] == tuple(start)
    assert request.messages[2].native == native
    assert (request.max_tokens, request.temperature) == (7, 0.5)
    assert request.extra == {"parallel_tool_calls": False}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_turns": 0}, "at least one turn"),
        ({"tools": [add, add]}, "two tools have the name 'add'"),
        ({"tools": [add], "tool_choice": "ad"}, "tool_choice='ad' names no tool. Did you mean 'add'"),
        ({"tool_choice": "required"}, "needs tools="),
        ({"tools": [tool(name="none")(add.fn)]}, "'none' cannot be the name of a tool"),
        ({"tools": [tool(name="a b")(add.fn)]}, "'a b' cannot be the name of a tool"),
        ({"tools": add}, r"tools= takes a list: write tools=\[add\]"),
        (
            {"messages": [{"role": "user", "content": "?"}]},
            r"list of Message, such as .* one of its messages is",
        ),
        ({"tools": [len]}, "converse runs tools, and .*len.* has no function: write @tool"),
    ],
)
async def test_wrong_arguments_are_refused(arguments, message) -> None:
    with pytest.raises(UsageError, match=message):
        await converse(scripted("x"), **{"messages": "?", **arguments})


async def test_any_iterable_of_tools_is_offered_in_each_turn() -> None:
    model = scripted([call("add", a=1, b=1)], "2")
    await converse(model, "?", tools=(each for each in [add]))
    assert [[t.name for t in made.request.tools] for made in model.calls] == [["add"], ["add"]]


# --- The perfect model -------------------------------------------------------------------------------------


def gold() -> Model:
    return Model(BaselineBackend(parse_spec("baseline:gold"))).for_sample(Sample("1", "1+1?", "2"))


async def test_gold_makes_the_perfect_turns() -> None:
    conversation = await converse(gold(), "?", tools=[add], reference=[[call("add", a=1, b=1)], "It is 2."])
    assert results(conversation) == ["2"]
    assert conversation.text == "It is 2."

    def policy(messages):
        return f"It is {messages[-1].text}." if messages[-1].role == "tool" else [call("add", a=2, b=2)]

    assert (await converse(gold(), "?", tools=[add], reference=policy)).text == "It is 4."


async def test_gold_without_a_reference_answers_with_the_target() -> None:
    conversation = await converse(gold(), "?", tools=[add])
    assert (conversation.text, conversation.calls) == ("2", ())
    reply = await gold().generate("?", tools=[add], reference=[call("add", a=1, b=1)])
    assert [(c.name, c.arguments) for c in reply.tool_calls] == [("add", {"a": 1, "b": 1})]
