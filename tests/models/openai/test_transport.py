"""The way to the server fails in the middle of a run: TLS, name resolution, connections that are closed."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.simserver.evaluate import evaluate, right, serving
from evalkit.errors import SetupError
from evalkit.models.openai import first_answers
from tests.servers.certificates import Authority

N = 40


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that is trusted."""
    trusted = Authority(tmp_path / "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.file))
    return trusted


@asynccontextmanager
async def hanging_up(port: int) -> AsyncIterator[list[bytes]]:
    """Takes connections and drops them in the middle of the handshake."""
    begun: list[bytes] = []

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.append(await reader.read(1))
        writer.transport.abort()

    async with await asyncio.start_server(drop, "127.0.0.1", port):
        yield begun


@pytest.mark.parametrize("wrong", ["authority", "name", "handshake"])
async def test_tls_that_fails_for_seconds_costs_nothing(authority, tmp_path, wrong: str) -> None:
    good = authority.context()
    async with serving({}, scale=5.0, ssl_context=good) as (live, port):
        run = asyncio.create_task(evaluate(tmp_path, port, N, "&max_inflight=4", host="https://localhost"))
        while sum(live.answered.values()) < 8 and not run.done():
            await asyncio.sleep(0.01)
    if wrong == "handshake":
        async with hanging_up(port) as begun:
            await asyncio.sleep(3)
        assert begun
    else:
        signer = Authority(tmp_path / "unknown") if wrong == "authority" else authority
        bad = signer.context("elsewhere" if wrong == "name" else "localhost")
        async with serving({}, port=port, ssl_context=bad) as (untrusted, _):
            await asyncio.sleep(3)
        assert not untrusted.asked
    async with serving({}, port=port, ssl_context=good) as (later, _):
        outcome = await run
    assert outcome.samples == right(N)
    assert 0 < sum(later.asked.values()) < N
    # Those under way were broken off, and the first answers are compared once the server is back. The probe
    # asks one question.
    assert sum((live.asked + later.asked).values()) <= 1 + N + 4 + first_answers.MOST


async def test_a_certificate_that_stays_wrong_stops_the_run_and_says_so(authority, tmp_path) -> None:
    async with serving({}, scale=5.0, ssl_context=authority.context()) as (live, port):
        limits = "&max_inflight=4&down_timeout=2"
        run = asyncio.create_task(evaluate(tmp_path, port, N, limits, host="https://localhost"))
        while sum(live.answered.values()) < 8 and not run.done():
            await asyncio.sleep(0.01)
    async with serving({}, port=port, ssl_context=Authority(tmp_path / "unknown").context()):
        with pytest.raises(SetupError, match=r"no answer for.*certificate.*resume the run"):
            await run


TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

def samples():
    for i in range(200):
        yield Sample(str(i), f"question {i}", "yes")

@task(samples, metrics=[exact_match()])
async def small(sample, model) -> Answer:
    return Answer(await model.generate(sample.input))
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare (util-linux) for names of its own")
def test_a_name_that_is_not_found_for_seconds_costs_nothing(evalkit, scripted, tmp_path) -> None:
    """The system's own resolver, on files that a mount namespace puts in the place of its own."""
    (tmp_path / "task_small.py").write_text(TASK)
    hosts, resolver = tmp_path / "hosts", tmp_path / "resolv.conf"
    known = "127.0.0.1 localhost model.test\n"
    hosts.write_text(known)
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    scripted.delay_s, scripted.hangs_up = 0.02, True  # each request looks for the name
    url = scripted.url.replace("127.0.0.1", "model.test")
    script = f"""
        mount --bind "{hosts}" /etc/hosts && mount --bind "{resolver}" /etc/resolv.conf || exit 77
        exec "{sys.executable}" -m evalkit run task_small.py --model openai:tiny@{url} --max-inflight 4 --json
    """
    process = subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=tmp_path,
        env=evalkit.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while sum(scripted.answered.values()) < 40 and process.poll() is None:
        time.sleep(0.01)
    if process.poll() == 77 or (process.poll() and "unshare failed" in process.stderr.read()):
        process.communicate()
        pytest.skip("no private mounts on this machine")
    scripted.delay_s = 0.2  # what is asked until the name is gone is not all
    hosts.write_text("127.0.0.1 localhost\n")
    time.sleep(1)
    asked = sum(scripted.asked.values())
    time.sleep(2)
    assert sum(scripted.asked.values()) == asked < 200
    scripted.delay_s = 0.02
    hosts.write_text(known)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "Unreachable" in err
    (run,) = json.loads(out)["runs"]
    assert (run["status"], run["counts"]) == ("complete", {"ok": 200})
    assert sum(scripted.asked.values()) <= 200 + first_answers.MOST  # compared once the name is back


async def test_a_server_that_comes_back_with_another_model_stops_the_run(tmp_path) -> None:
    async with serving({}, scale=5.0) as (live, port):
        run = asyncio.create_task(evaluate(tmp_path, port, N, "&max_inflight=4"))
        while sum(live.answered.values()) < 8 and not run.done():
            await asyncio.sleep(0.01)
    async with serving({}, port=port, root="another/model") as (later, _):
        with pytest.raises(SetupError, match=r"another model.*root: None then, 'another/model' now.*resume"):
            await run
    assert not later.asked


def test_a_url_that_is_no_api_is_refused_before_the_run(evalkit, scripted, tmp_path) -> None:
    (tmp_path / "task_small.py").write_text(TASK)
    for path in ("/somewhere", "/v1/chat/completions"):
        done = evalkit("run", "task_small.py", "--model", f"openai:tiny@{scripted.url}{path}", code=2)
        assert f"there is no API at {scripted.url}{path}" in done.stderr
    assert not scripted.asked


def test_a_proxy_is_used_where_the_spec_names_it_and_only_there(evalkit, scripted, tmp_path) -> None:
    (tmp_path / "task_small.py").write_text(TASK)
    evalkit.environment["HTTP_PROXY"] = scripted.url
    run = ["run", "task_small.py", "--limit", "3", "--model"]
    refused = evalkit(*run, "openai:tiny@http://model.invalid?down_timeout=1", code=2)
    assert "HTTP_PROXY is not used: set a proxy with ?proxy=" in refused.stderr
    assert not scripted.requests
    evalkit(*run, f"openai:tiny@http://model.invalid?proxy={scripted.url}")
    assert sum(scripted.asked.values()) == 3
    refused = evalkit(*run, "openai:tiny@http://model.invalid?proxy=http://me:secret@proxy", code=2)
    assert "must be a URL without a password" in refused.stderr
    assert "secret" not in refused.stderr
