"""The page in a real browser: it is clicked, typed into, and told wrong things, and asks nobody outside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("gradio", reason="gradio is not installed: pip install '.[demo]'")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")

ROOT = Path(__file__).resolve().parent.parent.parent
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-u",
        "-c",
        "from nlpkit.cli import main; main()",
        "demo",
        "--no-browser",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        assert found
        yield found[0]
        server.terminate()  # processes of a shell's background do not hear SIGINT


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser, address: str) -> Iterator[Page]:  # type: ignore[no-untyped-def]
    page = browser.new_page()
    page.set_default_timeout(120_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    page.close()
    elsewhere = [url for url in asked if not url.startswith((address, "data:", "blob:", "about:"))]
    assert elsewhere == [], "the page works without a network"


def ask(page: Page, tab: str, text: str, button: str) -> None:
    page.get_by_role("tab", name=tab).click()
    page.locator("textarea:visible, input[type=text]:visible").first.fill(text)
    page.get_by_role("button", name=button, exact=True).click()


def test_words_are_counted(page: Page) -> None:
    ask(page, "Words", "酒店的服务态度很好", "Cut")
    page.get_by_text("6 words").wait_for()
    page.get_by_text("9 characters").wait_for()


def test_gaps_are_filled(page: Page) -> None:
    ask(page, "Gaps", "酒店的服务态度很__。", "Fill")
    page.get_by_text("不错").locator("visible=true").first.wait_for()


def test_labels_go_by_the_words_that_are_typed(page: Page) -> None:
    ask(page, "Labels", "空调坏了没人修，一夜没睡好。", "Label")
    page.get_by_role("heading", name="bad").wait_for()


def test_a_tree_is_drawn_and_lights_up_under_the_pointer(page: Page) -> None:
    ask(page, "Trees", "老师给学生讲历史故事", "Parse")
    drawing = page.frame_locator("iframe[title=drawing]")
    drawing.locator("svg").first.wait_for()
    before = drawing.locator(".says").inner_text()
    drawing.locator("[data-unit='3']").first.hover()
    assert drawing.locator(".says").inner_text() != before


@pytest.mark.parametrize(
    ("tab", "text", "button", "message"),
    [
        ("Words", "天" * 401, "Cut", "This text has 401 characters; the page takes 400."),
        ("Gaps", "没有空", "Fill", "where a word is to be found"),
        ("Entities", "北京", "Find", "No model of entities comes along"),
    ],
)
def test_what_is_wrong_is_said(page: Page, tab: str, text: str, button: str, message: str) -> None:
    ask(page, tab, text, button)
    page.get_by_text(message).first.wait_for()


def test_programs_ask_by_name(address: str) -> None:
    from gradio_client import Client

    client = Client(address, verbose=False)
    names = set(client.view_api(return_format="dict", print_info=False)["named_endpoints"])
    assert names >= {"/tokenize", "/fill", "/classify", "/parse", "/entities", "/title"}
    assert not [name for name in names if "answer" in name or "lambda" in name]
    assert "酒店" in client.predict("酒店很好", api_name="/tokenize")
