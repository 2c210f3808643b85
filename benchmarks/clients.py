"""The cost of HTTP clients: ``python -m benchmarks.clients``, half a minute. Missing clients are left out.

Each client sends the same chat requests, 64 at a time, to a server that answers at once
(``benchmarks/instant.py``), in a separate process, on asyncio's own loop and on uvloop. ``--write`` puts the
table into the page of benchmarks.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import msgspec

from benchmarks.instant import running
from benchmarks.pages import write_part

REQUESTS, AT_ONCE = 10_000, 64
JSON = {"content-type": "application/json"}
# Clients by name, with the package of each; slow clients get a tenth of the requests.
CLIENTS = {
    "pyreqwest": "pyreqwest",
    "aiohttp": "aiohttp",
    "rnet": "rnet",
    "curl_cffi": "curl_cffi",
    "niquests": "niquests",
    "httpx": "httpx",
}
SLOW = {"httpx", "niquests"}


def payload(number: int) -> bytes:
    """Return the body of a chat request of evalkit."""
    message = {"role": "user", "content": f"Question {number}: say the word w{number}"}
    sampling = {"max_tokens": 16, "temperature": 0.0, "top_p": 1.0, "n": 1}
    return msgspec.json.encode({"model": "instant", "messages": [message], **sampling})


async def pump(post: Callable[[bytes], Awaitable[bytes]], count: int) -> None:
    """Send and check ``count`` requests, 64 at a time."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            reply = msgspec.json.decode(await post(payload(number)))
            if reply["choices"][0]["message"]["content"] != f"w{number}":
                raise ValueError(f"request {number} was answered with another's reply: {reply}")

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def with_pyreqwest(url: str, count: int) -> None:
    from pyreqwest.client import ClientBuilder

    async with ClientBuilder().default_headers(JSON).build() as client:

        async def post(body: bytes) -> bytes:
            async with client.post(url).body_bytes(body).build_streamed() as response:
                return bytes(await response.body_reader.bytes())

        await pump(post, count)


async def with_aiohttp(url: str, count: int) -> None:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def post(body: bytes) -> bytes:
            async with client.post(url, data=body, headers=JSON) as response:
                return await response.read()

        await pump(post, count)


async def with_rnet(url: str, count: int) -> None:
    import rnet

    client = rnet.Client()

    async def post(body: bytes) -> bytes:
        return await (await client.post(url, body=body, headers=JSON)).bytes()

    await pump(post, count)


async def with_curl_cffi(url: str, count: int) -> None:
    from curl_cffi import AsyncSession

    async with AsyncSession(max_clients=AT_ONCE) as client:

        async def post(body: bytes) -> bytes:
            return (await client.post(url, data=body, headers=JSON)).content

        await pump(post, count)


async def with_niquests(url: str, count: int) -> None:
    import niquests

    async with niquests.AsyncSession(pool_maxsize=AT_ONCE) as client:

        async def post(body: bytes) -> bytes:
            return (await client.post(url, data=body, headers=JSON)).content

        await pump(post, count)


async def with_httpx(url: str, count: int) -> None:
    import httpx

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=AT_ONCE)) as client:

        async def post(body: bytes) -> bytes:
            return (await client.post(url, content=body, headers=JSON)).content

        await pump(post, count)


def measure(name: str, loop: str, url: str) -> dict[str, float]:
    """Return the CPU time and the wall time per request in milliseconds, in this process."""
    import uvloop

    count = REQUESTS // 10 if name in SLOW else REQUESTS
    run = uvloop.run if loop == "uvloop" else asyncio.run
    wall, cpu = time.perf_counter(), time.process_time()
    run(globals()[f"with_{name}"](url, count))
    each = 1000 / count
    return {"cpu": (time.process_time() - cpu) * each, "wall": (time.perf_counter() - wall) * each}


def main() -> None:
    """Measure all installed clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", nargs=3, metavar=("CLIENT", "LOOP", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    lines = ["| client | loop | CPU-ms a request | × pyreqwest on uvloop |", "|---|---|---|---|"]
    best = None
    with running() as base:
        for name, package in CLIENTS.items():
            if importlib.util.find_spec(package) is None:
                continue
            for loop in ("uvloop", "asyncio"):
                command = [sys.executable, "-m", "benchmarks.clients", "--one", name, loop]
                ran = subprocess.run(
                    [*command, f"{base}/chat/completions"], capture_output=True, text=True, check=True
                )
                cpu = json.loads(ran.stdout)["cpu"]
                best = best or cpu
                lines.append(f"| {name} | {loop} | {cpu:.3f} | {cpu / best:.1f} |")
                print(lines[-1], flush=True)
    if options.write:
        write_part("clients", "\n".join(lines))


if __name__ == "__main__":
    main()
