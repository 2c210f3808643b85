"""The test kit for authors of tasks and plug-ins.

from evalkit.testing import assert_prompt, check_backend, check_retriever, check_task, load_task, scripted

TASK = load_task(Path(__file__).with_name("task_mine.py"))

def test_gold_scores_full_marks_and_garbage_none():
    check_task(TASK)

def test_the_prompt_is_pinned():
    assert_prompt(TASK, Path(__file__).with_name("mine.prompt.txt"))

async def test_the_agent_reads_what_it_finds():
    model = scripted([ToolCall.of("search", query="aspirin")], "Aspirin relieves headache.")
    assert (await TASK.fn(sample, model)).text == "Aspirin relieves headache."

def test_my_adapter_keeps_the_contract():
    check_backend("mine:NAME")

def test_my_retriever_keeps_the_contract():
    check_retriever(MyRetriever)
"""

from __future__ import annotations

from evalkit.collection.files import load_task as load_task
from evalkit.testing.backends import check_backend as check_backend
from evalkit.testing.models import scripted as scripted
from evalkit.testing.retrievers import check_retriever as check_retriever
from evalkit.testing.tasks import assert_prompt as assert_prompt
from evalkit.testing.tasks import check_task as check_task
from evalkit.testing.tasks import render as render

__all__ = [
    "assert_prompt",
    "check_backend",
    "check_retriever",
    "check_task",
    "load_task",
    "render",
    "scripted",
]
