"""The board in a real browser: open a run, filter samples, follow a deep link, survive hostile output."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


class Visit:
    """A tab, with everything that it asked for and every error that its scripts raised."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))

    def outside(self, board: str) -> list[str]:
        inside = (board, board.replace("http", "ws", 1), "data:", "blob:")
        return [url for url in self.requests if not url.startswith(inside)]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory):
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=CHROMIUM,
            args=FLAGS,
            viewport={"width": 1360, "height": 1000},
            accept_downloads=True,
        )
        opened.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        yield opened
        opened.close()


@pytest.fixture
def visit(context) -> Iterator[Visit]:
    page = context.new_page()
    yield Visit(page)
    page.close()


def settled(page: Page) -> None:
    page.get_by_test_id("stMainBlockContainer").get_by_role("heading").first.wait_for()
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")


def click_row(page: Page, row: int, table: int = 0) -> None:
    """Select a row of a table of the page, the first one, counted from 1; it is drawn on a canvas."""
    settled(page)
    page.wait_for_timeout(500)  # a canvas does not tell when it has been drawn
    canvas = page.get_by_test_id("stDataFrame").nth(table).get_by_test_id("data-grid-canvas")
    canvas.click(position={"x": 18, "y": 18 + 35 * row}, force=True)


def test_from_the_board_to_a_run_to_its_failed_samples(board: str, visit: Visit) -> None:
    page = visit.page
    page.goto(f"{board}/?task=pubmed_rag&variant=arm%3Dretrieved%2C+k%3D5")
    settled(page)
    expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(3)
    page.get_by_role("button", name="recall@5").or_(page.get_by_role("radio", name="recall@5")).first.click()
    page.wait_for_url("**metric=recall*")
    expect(page.get_by_text("Best recall@5")).to_be_visible()
    click_row(page, 5)
    page.wait_for_url("**/run?run=dri-ret-51c0")
    expect(page.get_by_text("evalkit resume dri-ret-51c0")).to_be_visible()
    page.get_by_role("link", name="Look at its samples").click()
    page.wait_for_url("**/samples?run=dri-ret-51c0")
    expect(page.get_by_text("60 samples match")).to_be_visible()
    page.get_by_test_id("stMainBlockContainer").get_by_text("error", exact=True).first.click()
    expect(page.get_by_text("10 samples match")).to_be_visible()
    page.wait_for_url("**status=error*")
    click_row(page, 1)
    expect(page.get_by_test_id("stCode").get_by_text("ServerFailed: 500 after 5 tries")).to_be_visible()
    assert "sample=50" in page.url
    page.get_by_role("button", name="Next →").click()
    page.wait_for_url("**sample=51*")
    assert visit.outside(board) == []


def test_the_rag_page_draws_its_charts_and_leads_to_a_run(board: str, visit: Visit) -> None:
    page = visit.page
    page.goto(f"{board}/rag?rag_task=pubmed_rag&rag_model=borealis-8b")
    settled(page)
    expect(page.get_by_text("Perfect retrieval adds")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first).to_be_visible()
    page.get_by_role("button", name="rouge1").or_(page.get_by_role("radio", name="rouge1")).first.click()
    page.wait_for_url("**rag_metric=rouge1*")
    page.get_by_role("spinbutton", name="A reply is right from this rouge1 on").fill("0.5")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Right: rouge1 of at least 0.500")).to_be_visible()
    click_row(page, 1, table=-1)
    page.wait_for_url("**/run?run=bor-*")
    assert visit.outside(board) == []


def test_a_deep_link_opens_directly_and_survives_a_reload(board: str, visit: Visit) -> None:
    page = visit.page
    page.goto(f"{board}/samples?run=aur-ret-7f3a&sample=7&text=Does")
    settled(page)
    question = page.get_by_test_id("stCode").first
    expect(question).to_contain_text("Does ")
    before = question.inner_text()
    page.reload()
    settled(page)
    expect(page.get_by_test_id("stCode").first).to_have_text(before)
    expect(page.get_by_role("searchbox", name="Text")).to_have_value("Does")


def test_a_deep_link_has_its_frame_on_a_board_that_nobody_has_visited(fresh_board: str, visit: Visit) -> None:
    visit.page.goto(f"{fresh_board}/rag?rag_model=cirrus-3b")
    settled(visit.page)
    expect(visit.page.get_by_text("cirrus-3b").first).to_be_visible()
    expect(visit.page.get_by_test_id("stSidebarNav")).to_have_count(0)  # Streamlit's own list of files


def test_a_link_to_nothing_says_so(board: str, visit: Visit) -> None:
    visit.page.goto(f"{board}/samples?run=gone&sample=1")
    expect(visit.page.get_by_text("names a run that is not in this store")).to_be_visible()
    visit.page.goto(f"{board}/samples?run=aur-ret-7f3a&sample=4711")
    expect(visit.page.get_by_text("names a sample that this run does not have")).to_be_visible()


@pytest.mark.parametrize(
    "path",
    [
        "/?task=attack",
        "/rag",
        "/run?run=hostile",
        "/samples?run=hostile&sample=0",
        "/samples?run=hostile&sample=1",
        "/samples?run=hostile&sample=2",
    ],
)
def test_hostile_text_does_no_harm(board: str, visit: Visit, listener: Any, path: str) -> None:
    page = visit.page
    page.goto(board + path)
    settled(page)
    for closed in page.get_by_test_id("stExpander").all():
        closed.locator("summary").click()
    page.wait_for_timeout(1500)  # what would be fetched, is fetched by now
    assert listener.hits == []
    assert visit.outside(board) == []
    assert visit.dialogs == []
    assert page.locator("img[src*='leak'], img[src*='img.png']").count() == 0
    assert page.locator(f"a[href*='{listener.port}'], a[href*='evil']").count() == 0
    assert page.get_by_test_id("stException").count() == 0


def test_a_megabyte_of_text_is_cut_and_said_to_be_cut(board: str, visit: Visit) -> None:
    page = visit.page
    page.goto(f"{board}/samples?run=hostile&sample=1")
    expect(page.get_by_text("The first 20,000 of 1,000,").first).to_be_visible()
    assert len(page.get_by_test_id("stMainBlockContainer").inner_text()) < 60_000


def test_the_list_can_be_downloaded(board: str, visit: Visit, tmp_path: Path) -> None:
    visit.page.goto(f"{board}/samples?run=dri-ret-51c0&status=error")
    settled(visit.page)
    with visit.page.expect_download() as download:
        visit.page.get_by_test_id("stDownloadButton").click()
    download.value.save_as(tmp_path / "samples.csv")
    lines = (tmp_path / "samples.csv").read_text().splitlines()
    assert len(lines) == 11
    assert lines[0].startswith("sequence,sample,repeat,status")


def test_the_download_in_the_toolbar_of_a_table_is_not_offered(board: str, visit: Visit) -> None:
    """It would hold the drawn rows alone, with formulas as they are."""
    visit.page.goto(f"{board}/samples?run=dri-ret-51c0")
    settled(visit.page)
    visit.page.get_by_test_id("stDataFrame").first.hover()
    expect(visit.page.get_by_test_id("stElementToolbar").first).to_be_visible()
    expect(visit.page.get_by_role("button", name="Download as CSV")).to_have_count(0)


def test_on_a_phone_the_chosen_sample_stands_above_the_list(board: str, visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{board}/samples?run=aur-ret-7f3a&sample=7")
    settled(page)
    question = page.get_by_test_id("stCode").first
    expect(question).to_be_visible()
    listed = page.get_by_test_id("stDataFrame").first.bounding_box()
    shown = question.bounding_box()
    assert shown is not None
    assert listed is None or shown["y"] < listed["y"]
    assert shown["y"] < 844, "in view without scrolling"


def test_on_a_phone_the_filters_of_the_samples_fold(board: str, visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{board}/samples?run=aur-ret-7f3a")
    settled(page)
    status, text = page.get_by_text("Status", exact=True), page.get_by_label("Text")
    expect(page.get_by_text("Filters and order")).to_be_visible()
    expect(status).to_be_hidden()
    expect(text).to_be_hidden()
    page.get_by_text("Filters and order").click()
    expect(status).to_be_visible()
    expect(text).to_be_visible()
    page.goto(f"{board}/samples?run=aur-ret-7f3a&text=dose")  # a filter in use is in view
    settled(page)
    expect(text).to_have_value("dose")
    expect(text).to_be_visible()


def test_chosen_runs_are_ranked_in_place_of_the_newest(board: str, visit: Visit) -> None:
    page = visit.page
    page.goto(f"{board}/runs?runs_text=cirrus+retrieved")
    settled(page)
    expect(page.get_by_text("1 of 14 runs.")).to_be_visible()
    click_row(page, 1)
    page.get_by_role("button", name="Rank these runs").click()
    page.wait_for_url("**runs=cir-ret-7f3a*")
    expect(page.get_by_text("1 chosen runs stand in place")).to_be_visible()
    page.get_by_role("button", name="Rank the newest runs").click()
    expect(page.get_by_text("chosen runs stand in place")).to_have_count(0)
