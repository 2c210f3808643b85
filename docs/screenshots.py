"""Take the pictures of the leaderboard for the documentation: ``python docs/screenshots.py STORE OUT [RUN]``.

Serves the store, opens the pages in a headless Chromium and saves ``leaderboard.png``, ``run.png``,
``samples.png``, ``leaderboard-dark.png`` with the dark theme and, if RUN is of a RAG task in several arms,
``rag.png``. RUN is by default the newest complete run.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

from evalkit_leaderboard.data import settings
from evalkit_leaderboard.launch import command
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from evalkit.compare.rag.comparison import comparisons, with_siblings
from evalkit.store import open_store

HEIGHTS = {"leaderboard": 1760, "run": 1320, "samples": 1700, "rag": 2460}
PATIENCE_MS = 120_000
# The script has ended, no element is stale, a placeholder or a spinner, and every chart is drawn.
SETTLED = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  const waits = '[data-stale=true], [data-testid=stSkeleton], [data-testid=stSpinner]';
  const drawn = chart => chart.querySelector('canvas, svg');
  return app?.dataset.testScriptState === 'notRunning' && !document.querySelector(waits)
    && [...document.querySelectorAll('[data-testid=stVegaLiteChart], [data-testid=stDataFrame]')]
      .every(drawn);
}"""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def main(store: str, out: Path, run_id: str | None) -> None:
    """Take all pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with open_store(store, create=False) as opened:
        run = (
            opened.runs.get(run_id)
            if run_id
            else next(r for r in opened.runs.find(limit=1000) if r.is_complete)
        )
        page = opened.board.page(run.id, status="ok", limit=1)
        compared = next(iter(comparisons(with_siblings(opened, run))), None)
    sample = page.rows[0].sequence if page.rows else 0
    base, _, variant = run.spec.task.partition("[")
    board = (
        {"task": base, "variant": variant.removesuffix("]").replace(",", ", ")} if variant else {"task": base}
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"EVALKIT_STORE": str(Path(store).absolute())}
    server = subprocess.Popen(command(port), env=environment)  # noqa: S603 (our own words)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/_stcore/health")
        with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
            light = ["leaderboard", "run", "samples", *(["rag"] if compared else [])]
            for scheme, names in (("light", light), ("dark", ["leaderboard"])):
                browser = playwright.chromium.launch_persistent_context(
                    profile,
                    executable_path=shutil.which("chromium"),
                    args=FLAGS,
                    color_scheme=scheme,
                )
                tab = browser.new_page()
                urls = {
                    "leaderboard": f"{address}/?{urllib.parse.urlencode(board)}",
                    "run": f"{address}/run?run={run.id}",
                    "samples": f"{address}/samples?run={run.id}&sample={sample}",
                }
                if compared:
                    chosen = {"rag_task": settings(compared), "rag_model": run.spec.model}
                    urls["rag"] = f"{address}/rag?{urllib.parse.urlencode(chosen)}"
                for name in names:
                    picture = out / (f"{name}.png" if scheme == "light" else f"{name}-{scheme}.png")
                    tab.set_viewport_size({"width": 1360, "height": HEIGHTS[name]})
                    take(tab, urls[name], picture)
                browser.close()
    finally:
        server.terminate()
        server.wait()


def take(tab: Page, url: str, picture: Path) -> None:
    """Take the picture of a page once it is finished."""
    tab.goto(url)
    finished(tab)
    tab.screenshot(path=picture)
    with Image.open(picture) as taken:  # a third of the bytes; other ways to quantize lose rare colours
        few = taken.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size // 1024} KB")


def finished(tab: Page) -> None:
    """Wait until the script has ended, no placeholder is left, and three pictures are equal.

    Charts and tables are drawn after the page reports that it is ready, on a busy machine seconds later.
    """
    tab.get_by_test_id("stMainBlockContainer").get_by_role("heading").first.wait_for(timeout=PATIENCE_MS)
    tab.wait_for_function(SETTLED, timeout=PATIENCE_MS)
    end, same, before = time.monotonic() + PATIENCE_MS / 1000, 0, b""
    while same < 2:
        if time.monotonic() > end:
            raise SystemExit(f"{tab.url} does not stop changing")
        tab.wait_for_timeout(1000)
        now = tab.screenshot()
        same = same + 1 if now == before and tab.evaluate(SETTLED) else 0
        before = now


def wait_for(url: str) -> None:
    """Wait until the server answers."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(url):  # noqa: S310 (our own server)
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the board did not start")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
