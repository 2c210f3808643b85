"""Batch interfaces, against a server that behaves as documented and against one that misbehaves."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from evalkit.errors import ProbeError, RequestRejected, ServerFailed, SetupError, UsageError
from evalkit.models.batch import anthropic, batched, gemini, jobs, openai
from evalkit.models.batch.journal import JOURNAL, Journal
from evalkit.models.connect import connect
from evalkit.models.middleware import call_stats
from evalkit.types import Requirements, Sample

QUESTIONS = [f"question {i}" for i in range(20)]
ANSWERS = [f"answer to {question}" for question in QUESTIONS]
ONCE = Counter(dict.fromkeys(QUESTIONS, 1))


@pytest.fixture(autouse=True)
def _answers(server) -> None:
    """Each question has a reply of its own: one that goes to another question is seen."""
    server.outcome = lambda question, times: ("ok", f"answer to {question}")


@pytest.mark.parametrize("vendor", ["openai", "responses", "anthropic", "gemini"])
async def test_a_window_goes_out_as_one_job_and_is_paid_for_once(ask, server, vendor) -> None:
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert len(server.jobs) == 1
    assert server.paid == ONCE
    assert server.chats <= 2  # the probe's
    assert await ask(vendor, QUESTIONS) == ANSWERS  # from the response cache
    assert len(server.jobs) == 1


@pytest.mark.parametrize("vendor", ["openai", "responses", "anthropic", "gemini"])
async def test_usage_and_model_come_with_each_reply(ask, vendor) -> None:
    async with ask.connect(vendor) as (_, model):
        reply = await model.generate("question")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (7, 2)
    assert (reply.model, reply.finish_reason, reply.notes) == ("tiny", "stop", ())


async def test_a_server_that_doubles_reorders_garbles_and_breaks_off(ask, server, vendor) -> None:
    server.doubles = server.shuffles = server.garbles = True
    server.breaks_off = 2
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert server.paid == ONCE


async def test_lines_that_expired_failed_or_were_lost_are_asked_again(ask, server, vendor) -> None:
    faults = {0: ("expired", None), 1: ("error", 500), 2: ("error", 429)}

    def outcome(question: str, times: int):
        kind = int(question.split()[1]) % 5
        return (
            faults.get(kind, ("ok", f"answer to {question}"))
            if times == 1
            else ("ok", f"answer to {question}")
        )

    server.outcome = outcome
    server.loses = lambda question, times: times == 1 and int(question.split()[1]) % 5 == 3
    server.shuffles = True
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert len(server.jobs) == 2
    lost = {question for question in QUESTIONS if int(question.split()[1]) % 5 == 3}
    assert {
        question for question, times in server.paid.items() if times > 1
    } == lost  # the server's own fault
    assert set(server.sent.values()) == {1, 2}


async def test_a_refused_line_is_the_error_of_its_sample_alone(ask, server, vendor) -> None:
    server.outcome = lambda q, times: ("error", 400) if q == "question 7" else ("ok", f"answer to {q}")
    replies = await ask(vendor, QUESTIONS)
    assert isinstance(replies[7], RequestRejected)
    assert "failed" in str(replies[7])
    assert replies[:7] + replies[8:] == ANSWERS[:7] + ANSWERS[8:]
    assert server.sent == ONCE


@pytest.mark.parametrize("vendor", ["openai"])
async def test_a_line_that_a_content_filter_withholds_is_a_refusal(ask, server, vendor) -> None:
    server.outcome = lambda question, times: ("error", "content_filter")
    async with ask.connect(vendor) as (_, model):
        reply = await model.generate("question")
    assert (reply.text, reply.finish_reason) == ("", "refusal")
    assert set(server.sent.values()) == {1}


async def test_a_line_that_is_lost_each_time_becomes_an_error(ask, server, vendor) -> None:
    server.loses = lambda question, times: question == "question 3"
    replies = await ask(vendor, QUESTIONS)
    assert isinstance(replies[3], ServerFailed)
    assert "without a result" in str(replies[3])
    assert server.sent["question 3"] == batched.TRIES
    server.loses = lambda question, times: False
    assert await ask(vendor, QUESTIONS) == ANSWERS  # a resumed run asks again
    assert server.sent["question 3"] == batched.TRIES + 1
    assert server.sent["question 4"] == 1


@pytest.mark.parametrize("vendor", ["openai", "gemini"])
async def test_a_job_that_fails_its_validation_stops_the_run_with_the_vendors_words(
    ask, server, vendor
) -> None:
    server.refuses = ("invalid", "this model takes no batches")
    replies = await ask(vendor, QUESTIONS)
    assert all(isinstance(reply, SetupError) for reply in replies)
    assert "this model takes no batches" in str(replies[0])
    assert not server.paid
    server.refuses = None
    assert await ask(vendor, QUESTIONS) == ANSWERS


@pytest.mark.parametrize("vendor", ["openai", "gemini"])
async def test_a_job_above_the_vendors_limit_of_waiting_work_goes_in_parts(ask, server, vendor) -> None:
    server.at_most = 6
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert server.paid == ONCE


@pytest.mark.parametrize("vendor", ["openai"])
async def test_two_jobs_above_the_limit_do_not_wait_for_each_other(ask, server, vendor, monkeypatch) -> None:
    monkeypatch.setattr(openai.OpenAIBatches, "max_lines", 10)
    server.at_most = 6
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert server.paid == ONCE


async def test_two_runs_that_wait_for_one_job_both_go_on_where_lines_failed(ask, server) -> None:
    server.held = True
    server.outcome = lambda q, times: ("expired", None) if times == 1 else ("ok", f"answer to {q}")
    first = asyncio.create_task(ask("openai", QUESTIONS))
    await until(lambda: server.jobs)
    second = asyncio.create_task(ask("openai", QUESTIONS))
    await asyncio.sleep(0.2)  # the second looks at the job of the first
    server.held = False
    assert await first == ANSWERS
    assert await second == ANSWERS


async def test_a_job_that_the_vendor_does_not_know_is_not_paid_for_again_unasked(ask, server, vendor) -> None:
    """The key may be that of another project, where the job goes on."""
    server.vanishes = lambda job: True
    replies = await ask(vendor, QUESTIONS)
    assert all(isinstance(reply, SetupError) for reply in replies)
    assert "`evalkit batches forget" in str(replies[0])
    server.vanishes = lambda job: False
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert (len(server.jobs), server.paid) == (1, ONCE)


async def test_a_new_job_may_be_unknown_for_a_moment(ask, server, vendor) -> None:
    server.vanishes = lambda job: job.looks < 4
    looked = server.look

    def look(name):
        server.jobs[name].looks += 1
        return looked(name)

    server.look = look
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert server.paid == ONCE


async def test_results_that_did_not_arrive_are_downloaded_and_not_paid_for_again(ask, server, vendor) -> None:
    server.pages, server.cuts = 1, 2
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert server.paid == ONCE


async def test_a_page_in_place_of_results_stops_the_run_and_costs_nothing(
    ask, server, vendor, monkeypatch
) -> None:
    monkeypatch.setattr(batched, "DOWN_S", 0.05)
    server.pages = 1000
    replies = await ask(vendor, QUESTIONS)
    assert "Please log in" in str(replies[0])
    server.pages = 0
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert server.paid == ONCE


async def test_a_state_that_is_none_is_looked_at_again(ask, server) -> None:
    server.unclear = 2
    assert await ask("openai", QUESTIONS) == ANSWERS
    assert server.paid == ONCE


async def test_two_runs_that_begin_at_once_pay_once(ask, server, vendor) -> None:
    replies = await asyncio.gather(ask(vendor, QUESTIONS), ask(vendor, [*QUESTIONS, "another"]))
    assert replies == [ANSWERS, [*ANSWERS, "answer to another"]]
    assert server.paid == ONCE | {"another": 1}


async def test_a_submission_is_tried_again_when_the_vendor_is_busy(ask, server, vendor) -> None:
    server.busy = 2
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert server.paid == ONCE


async def test_a_submission_whose_reply_was_lost_is_found_and_not_made_twice(ask, server, vendor) -> None:
    server.hangs_up = 1
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert len(server.jobs) == 1
    assert server.paid == ONCE


async def test_a_run_that_ends_between_submission_and_reply_finds_its_job(
    ask, server, vendor, monkeypatch
) -> None:
    server.hangs_up, server.held = 1, True
    monkeypatch.setattr(jobs, "PAUSES_S", (1000.0,))
    stop = asyncio.Event()
    waiting = asyncio.create_task(ask(vendor, QUESTIONS, stop))
    await until(lambda: server.jobs)
    stop.set()
    assert all(isinstance(reply, asyncio.CancelledError) for reply in await waiting)
    journal = Journal(ask.folder / JOURNAL)
    assert [job.id for job in journal.jobs()] == [None]
    journal.close()

    server.held = False
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert len(server.jobs) == 1
    assert server.paid == ONCE


async def test_a_job_that_was_written_down_and_never_submitted_is_submitted(ask, server, vendor) -> None:
    server.busy = 1000
    stop = asyncio.Event()
    waiting = asyncio.create_task(ask(vendor, QUESTIONS, stop))
    journal = Journal(ask.folder / JOURNAL)
    await until(journal.jobs)
    journal.close()
    stop.set()
    await waiting
    server.busy = 0
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert server.paid == ONCE


async def test_a_second_run_waits_for_the_job_of_the_first(ask, server, vendor) -> None:
    server.held = True
    first = asyncio.create_task(ask(vendor, QUESTIONS))
    await until(lambda: server.jobs and next(iter(server.jobs.values())).looks)
    second = asyncio.create_task(ask(vendor, [*QUESTIONS, "one more"]))
    await until(lambda: len(server.jobs) == 2)
    server.held = False
    assert await first == ANSWERS
    assert await second == [*ANSWERS, "answer to one more"]
    assert server.paid == ONCE + Counter(["one more"])


async def test_replies_for_which_no_request_waited_stay_at_the_vendor_until_they_are_asked_for(
    ask, server, vendor
) -> None:
    server.held = True
    stop = asyncio.Event()
    waiting = asyncio.create_task(ask(vendor, QUESTIONS, stop))
    await until(lambda: server.jobs)
    stop.set()
    await waiting
    server.held = False
    assert await ask(vendor, QUESTIONS[:10]) == ANSWERS[:10]
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert server.paid == ONCE
    journal = Journal(ask.folder / JOURNAL)
    assert journal.jobs() == []
    journal.close()


async def test_a_cancelled_job_stops_the_run_and_the_next_asks_anew(ask, server, vendor) -> None:
    server.held = True
    waiting = asyncio.create_task(ask(vendor, QUESTIONS))
    await until(lambda: server.jobs and next(iter(server.jobs.values())).looks)
    server._canceled(next(iter(server.jobs)))
    replies = await waiting
    assert all(isinstance(reply, SetupError) and "cancelled" in str(reply) for reply in replies)
    assert await ask(vendor, QUESTIONS) == ANSWERS


async def test_second_turns_go_in_a_second_round(ask, server, vendor) -> None:
    async def talk(model, question: str) -> str:
        model = model.for_sample(Sample(question, question))
        first = await model.generate(question)
        return (await model.generate(first.text)).text

    async with ask.connect(vendor) as (_, model):
        replies = await asyncio.gather(*(talk(model, question) for question in QUESTIONS))
    assert replies == [f"answer to answer to {question}" for question in QUESTIONS]
    assert [len(job.lines) for job in server.jobs.values()] == [20, 20]


async def test_files_keep_the_vendors_limits(ask, server, vendor, monkeypatch) -> None:
    for service in (openai.OpenAIBatches, anthropic.AnthropicBatches, gemini.GeminiBatches):
        monkeypatch.setattr(service, "max_lines", 8)
    assert await ask(vendor, QUESTIONS) == ANSWERS
    assert max(len(job.lines) for job in server.jobs.values()) <= 8
    assert server.paid == ONCE


@pytest.mark.parametrize("vendor", ["openai"])
async def test_counts_say_what_the_vendor_says(ask, server, vendor) -> None:
    stats = call_stats.CallStats()
    token = call_stats.current.set(stats)
    try:
        await ask(vendor, QUESTIONS)
    finally:
        call_stats.current.reset(token)
    (progress,) = stats.jobs.values()
    assert (progress.lines, progress.done, progress.state, progress.ended) == (20, 20, "completed", True)


@pytest.mark.parametrize("vendor", ["openai"])
async def test_what_is_no_chat_is_refused(ask, vendor) -> None:
    async with ask.connect(vendor) as (_, model):
        with pytest.raises(RequestRejected, match="only chats"):
            await model.complete("Once upon a time")
        with pytest.raises(RequestRejected, match="no log-probabilities"):
            await model.loglikelihood("a", ["b"])


async def test_what_no_batch_interface_has_is_refused_before_the_run(tmp_path) -> None:
    spec, stop = "openai:tiny@http://127.0.0.1:1?batch=true", asyncio.Event()
    with pytest.raises(ProbeError, match="no log-probabilities"):
        async with connect(spec, Requirements(logprobs=True), tmp_path / "r.db", stop=stop):
            pass
    with pytest.raises(UsageError, match="--max-inflight has no effect"):
        async with connect(spec, Requirements(), tmp_path / "r.db", stop=stop, max_inflight=8):
            pass


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.005)
