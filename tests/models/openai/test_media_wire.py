"""Pictures on the wire: order, bytes and count as the server received them; what is dropped is noticed."""

from __future__ import annotations

import asyncio
import base64
import io
import math
import tracemalloc

import PIL.Image
import pytest
from aiohttp import web

from evalkit.errors import ProbeError, RequestRejected, UsageError
from evalkit.media.pixels import plain_png
from evalkit.media.sniff import look
from evalkit.model import Model
from evalkit.models import load, wrap
from evalkit.models.openai.byte_semaphore import ByteSemaphore
from evalkit.models.openai.media_probe import tone_wav
from evalkit.types import Audio, Image, Message, Request, Requirements, Text, Video

RED, GREEN, BLUE = (plain_png(70, 66, c) for c in ((200, 0, 0), (0, 200, 0), (0, 0, 200)))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))


def said(cost=16, dropped=()):
    """Answers; every part that is no text costs ``cost`` tokens, but for the kinds that are ``dropped``."""

    async def answer(request, body):
        content = body["messages"][-1]["content"]
        kinds = [part["type"] for part in content] if isinstance(content, list) else []
        tokens = 10 + sum(cost for kind in kinds if kind not in ("text", *dropped))
        choice = {"message": {"content": "ok"}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": tokens}})

    return answer


@pytest.fixture
async def model(script):
    script.chat(said())
    backend = load(f"openai:tiny@{script.url}")
    yield Model(wrap(backend), adapter=backend)
    await backend.close()


def parts_of(body):
    """Kind and payload of each part of the last message, media decoded."""
    found = []
    for part in body["messages"][-1]["content"]:
        value = part[part["type"]]
        if part["type"] in ("image_url", "video_url"):
            head, _, data = value["url"].partition(",")
            found.append((head, base64.b64decode(data)))
        elif part["type"] == "input_audio":
            found.append((value["format"], base64.b64decode(value["data"])))
        else:
            found.append(("text", value))
    return found


async def test_parts_arrive_in_their_order_byte_for_byte(script, model, tmp_path):
    path = tmp_path / "green.png"
    path.write_bytes(GREEN)
    message = Message(
        "user", (Text("one"), Image.of(RED), Image.open(path), Text("two"), Image.of(BLUE), Text("three"))
    )
    await model.generate([Message("system", "Look."), message])
    body = script.seen[0][1]
    png = "data:image/png;base64"
    assert parts_of(body) == [
        ("text", "one"),
        (png, RED),
        (png, GREEN),
        ("text", "two"),
        (png, BLUE),
        ("text", "three"),
    ]
    assert body["messages"][0] == {"role": "system", "content": "Look."}


async def test_what_the_server_does_not_take_arrives_converted(script, model):
    out = io.BytesIO()
    PIL.Image.new("CMYK", (30, 20), (0, 255, 255, 0)).save(out, "TIFF")
    await model.generate("?", images=[Image.of(out.getvalue(), "image/tiff")])
    (head, data), _ = parts_of(script.seen[0][1])
    arrived = PIL.Image.open(io.BytesIO(data))
    assert (head, arrived.format, arrived.size) == ("data:image/png;base64", "PNG", (30, 20))
    assert arrived.convert("RGB").getpixel((0, 0)) == (255, 0, 0)


async def test_limits_of_the_spec(script):
    script.chat(said())
    backend = load(f"openai:tiny@{script.url}?max_side=35&images=png,webp&video=file")
    model = Model(wrap(backend), adapter=backend)
    out = io.BytesIO()
    PIL.Image.new("RGB", (30, 20)).save(out, "WEBP")
    film = Video("0" * 64, "video/mp4", data=b"film")
    parts = (Image.of(RED), Image.of(out.getvalue()), film, Text("?"))
    await model.generate([Message("user", parts)])
    await backend.close()
    small, webp, whole, _ = parts_of(script.seen[0][1])
    assert PIL.Image.open(io.BytesIO(small[1])).size == (35, 33)
    assert webp == ("data:image/webp;base64", out.getvalue())
    assert whole == ("data:video/mp4;base64", b"film")
    with pytest.raises(UsageError, match="picture formats"):
        load(f"openai:tiny@{script.url}?images=,")


async def test_sound_is_sent_as_input_audio(script, model):
    tone = tone_wav(0.05)
    await model.generate([Message("user", (Audio.of(tone), Text("What is it?")))])
    assert parts_of(script.seen[0][1])[0] == ("wav", tone)


async def test_a_converted_picture_has_a_cache_key_of_its_own(script, model):
    first, second = (
        Model(model.sender),
        Model(model.sender, adapter=load(f"openai:t@{script.url}?max_side=20")),
    )
    await first.generate("?", images=[Image.of(RED)])
    await second.generate("?", images=[Image.of(RED)])
    one, two = (m.describe(m.calls[0].request)["messages"][0]["content"][0] for m in (first, second))
    assert one["sha256"] != two["sha256"]
    assert two["size"] == [20, 18]


class Counting:
    """A server that counts tokens of text and pictures, of at most ``most`` pictures."""

    def __init__(self, script, cost=16, most=99, reported=None):
        self.cost, self.most, self.reported = cost, most, reported
        script.replies["/v1/chat/completions"] = self.answer

    async def answer(self, request, body):
        content = body["messages"][-1]["content"]
        parts = content if isinstance(content, list) else []
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"][: self.most]
        details = {} if self.reported is None else {"prompt_tokens_details": {"image_tokens": self.reported}}
        usage = {"prompt_tokens": 10 + self.counted(urls), **details}
        choice = {"message": {"content": "red"}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": usage})

    def counted(self, urls):
        return sum(self.tokens_of(look(base64.b64decode(url.partition(",")[2])).size) for url in urls)

    def tokens_of(self, size):
        return self.cost


@pytest.mark.parametrize(
    ("most", "error"),
    [(99, None), (1, "keeps one image of several"), (0, "drops images silently")],
)
async def test_the_probe_counts_pictures(script, most, error):
    Counting(script, most=most)
    backend = load(f"openai:tiny@{script.url}")
    if error:
        with pytest.raises(ProbeError, match=error):
            await backend.probe(Requirements(images=True))
    else:
        await backend.probe(Requirements(images=True))
    await backend.close()


async def test_pictures_that_are_dropped_in_the_run_are_no_answer(script):
    server = Counting(script)
    backend = load(f"openai:tiny@{script.url}")
    await backend.probe(Requirements(images=True))
    several = Request(messages=(Message("user", (*(Image.of(p) for p in (RED, GREEN, BLUE)), Text("?"))),))
    assert (await backend.send(several)).text == "red"
    server.most = 1
    with pytest.raises(RequestRejected, match=r"one of 3 images: .* has 26 prompt tokens, and 26 with one"):
        await backend.send(several)
    server.most = 0
    with pytest.raises(RequestRejected, match=r"one of 3 images: .* has 10 prompt tokens, and 10 with one"):
        await backend.send(several)
    await backend.close()


class Tiles(Counting):
    """Idefics3: the longest side becomes 1456 pixels, cut into tiles of 364; each has 169 tokens."""

    def tokens_of(self, size):
        scale = 1456 / max(size)
        columns, rows = (math.ceil(max(1, round(side * scale)) / 364) for side in size)
        return 169 * (rows * columns + 1)


class Uncached(Counting):
    """Ollama: the prompt tokens leave out what lies in the prompt cache."""

    def __init__(self, script, **options):
        super().__init__(script, **options)
        self.seen = set()

    def counted(self, urls):
        new = [url for url in urls if url not in self.seen]
        self.seen.update(urls)
        return super().counted(new)


def shown(*sizes, text="?"):
    images = (Image.of(plain_png(*size, (9, 99, 9))) for size in sizes)
    return Request(messages=(Message("user", (*images, Text(text))),))


async def test_a_wide_strip_may_cost_less_than_the_square_of_the_probe(script):
    server = Tiles(script)
    backend = load(f"openai:tiny@{script.url}")
    await backend.probe(Requirements(images=True))
    for sizes in (((1500, 300),), ((600, 800),), ((500, 500), (1500, 300)), ((1500, 300),) * 3):
        assert (await backend.send(shown(*sizes))).text == "red"
    script.seen.clear()
    await backend.send(shown((1500, 300), text="again"))
    assert len(script.seen) == 1, "what is known is not measured again"
    server.most = 0
    with pytest.raises(RequestRejected, match=r"dropped the image: .* 1500x300, .* 10 prompt tokens, and 10"):
        await backend.send(shown((1500, 300)))
    await backend.close()


async def test_a_server_that_drops_one_type_of_pictures_is_noticed(script):
    """It is measured with pictures of the same type: a PNG would have been seen."""

    class OnlyPng(Counting):
        def counted(self, urls):
            return super().counted([url for url in urls if url.startswith("data:image/png")])

    OnlyPng(script)
    backend = load(f"openai:tiny@{script.url}")
    await backend.probe(Requirements(images=True))
    out = io.BytesIO()
    PIL.Image.new("RGB", (80, 60)).save(out, "JPEG")
    jpeg = Image.of(out.getvalue(), "image/jpeg")
    with pytest.raises(RequestRejected, match=r"dropped the image: .* 80x60, .* 10 prompt tokens, and 10"):
        await backend.send(Request(messages=(Message("user", (jpeg, Text("?"))),)))
    await backend.close()


async def test_a_second_question_about_a_picture_may_cost_nothing(script):
    server = Uncached(script)
    backend = load(f"openai:tiny@{script.url}")
    for _ in range(2):  # a second run finds the pictures of the first in the server's cache
        await backend.probe(Requirements(images=True))
        for text in ("organ?", "side?", "plane?"):
            assert (await backend.send(shown((80, 80), (90, 90), text=text))).text == "red"
    server.most = 0
    with pytest.raises(ProbeError, match="drops images silently"):
        await backend.probe(Requirements(images=True))
    await backend.close()


@pytest.mark.parametrize("reported", [0, None])
async def test_a_usage_without_image_tokens_is_no_proof(script, reported):
    server = Counting(script, reported=16)
    backend = load(f"openai:tiny@{script.url}")
    await backend.probe(Requirements(images=True))
    server.reported = reported
    assert (await backend.send(shown((80, 80)))).text == "red"
    script.seen.clear()
    assert (await backend.send(shown((80, 80), text="again"))).text == "red"
    assert len(script.seen) == 1, "the field means nothing here: not measured again"
    server.most = 0
    with pytest.raises(RequestRejected, match="dropped the image"):
        await backend.send(shown((80, 80)))
    await backend.close()


async def test_a_server_that_always_reports_no_image_tokens_is_believed_its_prompt_tokens(script):
    Counting(script, reported=0)
    backend = load(f"openai:tiny@{script.url}")
    await backend.probe(Requirements(images=True))
    script.seen.clear()
    assert (await backend.send(shown((80, 80)))).text == "red"
    assert len(script.seen) == 1
    await backend.close()


async def test_what_the_chat_template_does_not_know_is_noticed_at_its_first_use(script):
    """SGLang with a template that knows no films: it answers the text alone, as if nothing had been shown."""
    script.chat(said(dropped=("video_url", "input_audio")))
    backend = load(f"openai:tiny@{script.url}?video=file")
    model = Model(wrap(backend), adapter=backend)
    film, tone = Video("0" * 64, "video/mp4", data=b"film"), Audio.of(tone_wav(0.05))
    for part, name in ((film, "video"), (tone, "audio")):
        for _ in range(2):
            with pytest.raises(
                RequestRejected, match=f"dropped the {name}: .* 26 prompt tokens, and 26 without it"
            ):
                await model.generate([Message("user", (part, Image.of(RED), Text("?")))])
    script.seen.clear()
    for _ in range(3):
        await model.generate("?", images=[Image.of(RED)])
    assert len(script.seen) == 4, "pictures are compared once"
    await backend.close()


async def test_sound_that_is_dropped_is_refused_before_the_run(script):
    script.chat(said(dropped=("input_audio",)))
    backend = load(f"openai:tiny@{script.url}")
    with pytest.raises(ProbeError, match="drops sounds"):
        await backend.probe(Requirements(audio=True))
    await backend.close()


async def test_a_picture_is_read_when_its_turn_comes(script, tmp_path):
    """100 requests of 2 MB each, two at a time: what lies in memory is a few requests, not 100."""
    script.chat(said())
    noise = plain_png(64, 64, (220, 30, 30)) + b"\0" * 2_000_000 + b"IEND"
    paths = []
    for i in range(20):
        path = tmp_path / f"{i}.png"
        path.write_bytes(noise + bytes([i]))
        paths.append(path)
    backend = load(f"openai:tiny@{script.url}?max_inflight=2")
    model = Model(wrap(backend), adapter=backend)
    images = [Image.open(path) for path in paths for _ in range(5)]
    script.seen = Forgetful()
    tracemalloc.start()
    replies = await asyncio.gather(*(model.generate("?", images=[image], max_tokens=4) for image in images))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await backend.close()
    assert {r.text for r in replies} == {"ok"}
    assert peak < 120e6, f"{peak / 1e6:.0f} MB; all 100 together are 270 MB"


class Forgetful(list):
    """Keeps nothing: the test's own server must not hold what it was sent."""

    def append(self, item):
        pass


async def test_bytes_in_flight_are_bounded():
    limit, held, most, order = ByteSemaphore(100), 0, 0, []

    async def use(name, size):
        nonlocal held, most
        async with limit.hold(size):
            held += size
            most = max(most, held)
            order.append(name)
            await asyncio.sleep(0.001)
            held -= size

    await asyncio.gather(*(use(i, size) for i, size in enumerate([60, 30, 50, 10, 250, 0, 40])))
    assert order == [0, 1, 2, 3, 4, 5, 6], "first come, first served"
    assert most == 250, "one that is larger than the limit goes alone"


async def test_a_wait_for_room_can_be_given_up():
    limit = ByteSemaphore(100)
    async with limit.hold(100):
        waiting = asyncio.create_task(_hold(limit, 50))
        behind = asyncio.create_task(_hold(limit, 60))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        assert not behind.done()
    assert await behind == 60
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def _hold(limit, size):
    async with limit.hold(size):
        return size
