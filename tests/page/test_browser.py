"""The page in a real browser: the journeys, at both widths, by keyboard, on paper, and what a machine finds of
accessibility.

Needs Debian's chromium and Playwright's Python package; axe-core's file is named by EHRDB_TEST_AXE (npm's axe-core,
axe.min.js).
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from ehrdb.config import Settings
from ehrdb.database import Database
from ehrdb.page.app import make_app
from ehrdb.page.doors import KeyDoor
from tests.conftest import created_database
from tests.page.conftest import ALICE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright's Python package")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)"),
    pytest.mark.slow,
]
PATHS = (
    "/",
    "/find",
    "/cohort",
    "/models",
    "/models/sepsis",
    "/patients/1",
    "/patients/1?as_of=2020-01-22",
    "/patients/1/and/2",
    "/patients/404",
)


@pytest.fixture(scope="module")
def shown(server_url: str, owner_url: str, template: str) -> Iterator[Database]:
    """One hospital for all of them: they only look."""
    with created_database(server_url, owner_url, f"ehrdb_shown_{os.getpid()}", template) as database:
        yield database


@pytest.fixture(scope="module")
def address(shown: Database) -> Iterator[tuple[str, str]]:
    """A running page, and the key to it."""
    door = KeyDoor(ALICE)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = make_app(shown, Settings(), door, hosts=["127.0.0.1"])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", door.key
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


def signed_in(browser: Browser, address: tuple[str, str], width: int, **how: Any) -> Page:
    """A window of that width, signed in with the keyboard alone."""
    page = browser.new_context(viewport={"width": width, "height": 900}, **how).new_page()
    page.goto(address[0] + "/")
    page.get_by_label("Key").focus()
    page.keyboard.type(address[1])
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Home").wait_for()
    return page


def opened(page: Page, address: tuple[str, str]) -> Iterator[str]:
    """Every kind of page, one after the other."""
    for path in PATHS:
        page.goto(address[0] + path)
        yield path
    for view in ("Members by risk", "Balance", "Map"):
        page.goto(address[0] + "/cohort")
        page.get_by_label("Risk of").select_option("sepsis")
        page.get_by_role("button", name=view, exact=True).click()
        page.get_by_role("heading", name="10 patients").wait_for()
        yield view
    page.goto(address[0] + "/find")
    page.get_by_label("A concept's words, or its code").fill("LOINC/718-7")
    page.get_by_role("button", name="Find concepts").click()
    page.get_by_role("heading", name="Concepts").wait_for()
    yield "concepts"
    page.goto(address[0] + "/patients/1?as_of=2020-02-28")
    page.get_by_label("A task or a code").fill("sepsis")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("heading", name="What happened to patients like 1").wait_for()
    yield "outcomes"


@pytest.mark.parametrize("width", [400, 1400])
def test_no_page_is_wider_than_the_window_and_axe_finds_nothing_serious(
    browser: Browser, address: tuple[str, str], width: int
) -> None:
    page = signed_in(browser, address, width, bypass_csp=True)
    for where in opened(page, address):
        assert_accessible(page, where)


def assert_accessible(page: Page, where: str) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
    if axe := os.environ.get("EHRDB_TEST_AXE"):
        page.evaluate(Path(axe).read_text(encoding="utf-8"))
        found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.id, v.impact]))")
        assert [what for what in found if what[1] in ("serious", "critical")] == [], where


def test_what_a_record_holds_is_never_run(browser: Browser, address: tuple[str, str]) -> None:
    page = signed_in(browser, address, 1400)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail("a record opened a dialog"))
    page.goto(address[0] + "/patients/1")
    assert "Patient 1" in page.title()
    assert all(url.startswith(address[0]) for url in asked)
    assert page.evaluate("document.scripts.length") == 0


def test_from_an_id_to_the_record_then_back_in_time_and_to_a_neighbour(
    browser: Browser, address: tuple[str, str]
) -> None:
    page = signed_in(browser, address, 1400)
    page.get_by_role("link", name="Find", exact=True).click()
    page.get_by_label("A patient's id").fill("1")
    page.get_by_role("button", name="Open").click()
    page.get_by_role("heading", name="Patient 1").wait_for()
    page.get_by_label("As of", exact=True).fill("2020-01-22")
    page.get_by_role("button", name="Go", exact=True).click()
    page.get_by_role("status").wait_for()
    assert "2020-01-23" not in page.content()
    page.get_by_role("link", name="Today").click()
    page.get_by_role("link", name="Compare with patient").first.click()
    page.get_by_role("heading", name="Both have").wait_for()


def test_a_bar_of_the_record_goes_back_to_its_end(browser: Browser, address: tuple[str, str]) -> None:
    page = signed_in(browser, address, 400)
    page.goto(address[0] + "/patients/1")
    page.get_by_role("navigation", name="Go back along the record").get_by_role("link").nth(12).focus()
    page.keyboard.press("Enter")
    page.get_by_role("status").wait_for()
    assert "as_of=2020-01-" in page.url
    assert "SITE/note" not in page.content()


def test_the_map_comes_nearer_and_a_dot_opens_its_patient(browser: Browser, address: tuple[str, str]) -> None:
    page = signed_in(browser, address, 1400)
    page.get_by_role("link", name="Cohort", exact=True).click()
    page.get_by_role("button", name="Map", exact=True).click()
    dots = page.locator("svg.map a")
    assert dots.count() == 10
    page.get_by_role("button", name="Nearer").click()
    page.wait_for_load_state()
    assert dots.count() < 10
    page.get_by_role("button", name="Farther").click()
    page.wait_for_load_state()
    name = dots.first.get_attribute("aria-label") or ""
    dots.first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=name.split(",")[0]).wait_for()


def test_the_first_stop_of_the_keyboard_skips_to_the_content(browser: Browser, address: tuple[str, str]) -> None:
    page = signed_in(browser, address, 400)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'main'")


def test_a_screen_reader_finds_headings_in_order_landmarks_and_names_of_tables_and_charts(
    browser: Browser, address: tuple[str, str]
) -> None:
    page = signed_in(browser, address, 1400)
    for where in opened(page, address):
        tree = page.locator("body").aria_snapshot()
        levels = [int(level) for level in re.findall(r"- heading .*\[level=(\d)\]", tree)]
        assert levels.index(1) == 0, where
        assert levels.count(1) == 1, where
        assert all(after <= before + 1 for before, after in pairwise(levels)), (where, levels)
        for landmark in ("banner", "main", "contentinfo", 'navigation "Pages"'):
            assert len(re.findall(rf"^ *- {landmark}", tree, re.M)) == 1, (where, landmark)
        for role in ("table", "img", "region", "textbox", "combobox", "button", "link", "progressbar", "navigation"):
            assert not re.findall(rf"^ *- {role}:?$", tree, re.M), (where, role)
        headers = page.locator("th")
        assert headers.count() == page.locator("th[scope=col], th[scope=row]").count(), where
        assert page.locator("table").count() == page.locator("table > caption").count(), where
        assert page.locator("tbody tr:not(:has(> th, > td[colspan]))").count() == 0, where


def test_a_printed_page_is_what_was_shown_without_what_leads_elsewhere(
    browser: Browser, address: tuple[str, str]
) -> None:
    page = signed_in(browser, address, 1400, color_scheme="dark")
    for where in opened(page, address):
        page.emulate_media(media="print", color_scheme="dark")
        page.set_viewport_size({"width": 700, "height": 900})  # what A4 holds beside its margins
        for what in ("nav", "button", ".skip"):
            assert page.locator(what).and_(page.locator(":visible")).count() == 0, (where, what)
        assert page.locator("footer").inner_text().startswith("Not a medical device."), where
        assert page.locator("footer").is_visible(), where
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
        cut = (
            "[...document.querySelectorAll('.scroll, pre, td, th, li')].filter(e => e.scrollWidth > e.clientWidth + 1)"
        )
        assert page.evaluate(f"{cut}.filter(e => getComputedStyle(e).overflowX != 'visible').length") == 0, where
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", where
        assert page.pdf(format="A4").startswith(b"%PDF"), where
        page.emulate_media(media="screen")
        page.set_viewport_size({"width": 1400, "height": 900})


def test_a_journey_needs_the_keyboard_alone(browser: Browser, address: tuple[str, str]) -> None:
    page = signed_in(browser, address, 400)
    tab_to(page, "Find")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Find", exact=True).wait_for()
    tab_to(page, "A patient's id")
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Patient 1", exact=True).wait_for()
    tab_to(page, "As of")
    page.keyboard.type("02282020")
    page.keyboard.press("Enter")
    page.get_by_role("status").wait_for()
    tab_to(page, "A task or a code")
    page.keyboard.type("sepsis")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="What happened to patients like 1").wait_for()
    tab_to(page, "Cohort")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Cohort", exact=True).wait_for()
    tab_to(page, "Only these ids")
    page.keyboard.type("1 2 3")
    tab_to(page, "Balance")
    page.keyboard.press("Enter")
    page.get_by_role("table", name="Balance").wait_for()


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus begins with that name, and is seen to have it."""
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = "document.activeElement"
        if page.evaluate(f"({focused}.labels?.[0] ?? {focused}).textContent").strip().startswith(name):
            assert page.evaluate(f"getComputedStyle({focused}).outlineStyle") == "solid", name
            return
    pytest.fail(f"the keyboard does not reach {name}")
