"""Tests of the page in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from pytest_agentperf.report.html import html_page
from tests.report.browser import Page, find_browser, open_browser
from tests.report.pages import full_run, hostile_run

BROWSER: Final = find_browser()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium")
TROUBLE: Final = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with pages."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "full.html").write_text(html_page(full_run()), encoding="utf-8")
    (folder / "hostile.html").write_text(html_page(hostile_run()), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert BROWSER is not None
    with open_browser(BROWSER, tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(browser: Page, files: Path) -> Page:
    """Return the full page, light and wide."""
    browser.prefer("light")
    browser.resize(1300, 900)
    browser.go(files / "full.html")
    return browser


def test_page_requests_nothing_and_nothing_goes_wrong(page: Page, files: Path) -> None:
    page.run("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.screenshot()
    requests = [told["request"]["url"] for told in page.told("Network.requestWillBeSent")]
    assert requests == [(files / "full.html").as_uri()]
    assert page.told(*TROUBLE) == []


def test_browser_tells_what_would_go_wrong(browser: Page, tmp_path: Path) -> None:
    text = html_page(full_run()).replace("<main>", "<main><img src=x><script>boom()</script>")
    (tmp_path / "bad.html").write_text(text, encoding="utf-8")
    browser.go(tmp_path / "bad.html")
    assert len(browser.told("Log.entryAdded")) == 2  # the policy keeps both away


def test_drawings_have_a_size_and_words_for_those_who_do_not_see_them(page: Page) -> None:
    drawn = page.run(
        "[...document.querySelectorAll('details[open] figure svg')].map((each) => ["
        "each.getBoundingClientRect().width > 50, each.getAttribute('aria-label')"
        " ?? each.getAttribute('aria-hidden')])"
    )
    assert len(drawn) > 20
    assert all(is_visible and words for is_visible, words in drawn)


def test_table_is_sorted_by_a_click_and_back_by_another(page: Page) -> None:
    values = (
        "[...document.querySelectorAll('.sortable tbody tr')]"
        ".map((row) => Number(row.cells[3].dataset.v))"
    )
    before = page.run(values)
    click = "document.querySelector('.sortable thead th:nth-child(4) button').click()"
    page.run(click)
    assert page.run(values) == sorted(before) != before
    page.run(click)
    assert page.run(values) == sorted(before, reverse=True)
    assert page.run("document.querySelector('th[aria-sort]').textContent") == "Value"


def test_table_is_sorted_by_words_and_what_is_unknown_comes_last(page: Page) -> None:
    page.run("document.querySelector('.sortable thead th:nth-child(3) button').click()")
    names = page.run(
        "[...document.querySelectorAll('.sortable tbody tr')].map((r) => r.cells[2].textContent)"
    )
    assert names == sorted(names)
    for _ in range(2):
        page.run("document.querySelector('.sortable thead th:nth-child(5) button').click()")
        rows = "[...document.querySelectorAll('.sortable tbody tr')]"
        known = page.run(f"{rows}.map((row) => 'v' in row.cells[4].dataset)")
        assert known == sorted(known, reverse=True)


def test_table_is_sorted_by_the_keyboard(page: Page) -> None:
    page.run("document.querySelector('.sortable thead th:nth-child(4) button').focus()")
    page.press("Enter")
    assert page.run("document.querySelector('th[aria-sort]').textContent") == "Value"


def test_everything_is_reached_by_the_keyboard(page: Page) -> None:
    page.run("document.body.focus()")
    reached = set()
    for _ in range(40):
        page.press("Tab")
        reached.add(page.run("document.activeElement.tagName"))
    assert {"BUTTON", "A", "SUMMARY"} <= reached


def test_link_of_the_table_opens_its_section(browser: Page, files: Path) -> None:
    browser.go(files / "full.html", "#t2")
    page = browser
    page.run("document.querySelectorAll('.test').forEach((each) => (each.open = false))")
    page.run("document.querySelector('.sortable a[href=\"#t1\"]').click()")
    page.call("Runtime.evaluate", expression="new Promise(setTimeout)", awaitPromise=True)
    assert page.run("document.querySelector('#t1').open") is True
    assert page.run("document.querySelector('#t2').open") is False


def test_dark_colours_differ_and_can_be_read(page: Page) -> None:
    light = page.screenshot()
    assert worst_contrast(page) >= 4.5
    page.prefer("dark")
    assert page.screenshot() != light
    assert page.run("getComputedStyle(document.body).colorScheme") == "light dark"
    assert worst_contrast(page) >= 4.5


def worst_contrast(page: Page) -> float:
    """Return the lowest contrast of a text with what is behind it, as WCAG 2 defines it."""
    pairs = page.run("""
        [...document.querySelectorAll('h1, .by, td, .s, small, .where, .label, .sentences li')]
        .map((each) => {
            let behind = each;
            while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)')
                behind = behind.parentElement;
            return [getComputedStyle(each).color, getComputedStyle(behind).backgroundColor];
        })
    """)
    assert len(pairs) > 50
    return min(contrast(*pair) for pair in map(tuple, pairs))


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    red, green, blue = (float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3])
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.01)


def test_narrow_screen_needs_no_scrolling_sideways(page: Page) -> None:
    page.resize(360, 800)
    assert page.run("document.documentElement.scrollWidth") <= 360


def test_page_is_read_without_its_script(browser: Page, files: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.go(files / "full.html")
        assert browser.told(*TROUBLE) == []
        root = browser.call("DOM.getDocument", depth=-1)["root"]["nodeId"]
        heads = browser.call("DOM.querySelectorAll", nodeId=root, selector="thead button")
        cells = browser.call("DOM.querySelectorAll", nodeId=root, selector=".sortable td")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert heads["nodeIds"] == []
    assert len(cells["nodeIds"]) > 50


def test_hostile_text_stays_text(browser: Page, files: Path) -> None:
    browser.go(files / "hostile.html")
    assert browser.told(*TROUBLE) == []
    assert browser.run("typeof hacked") == "undefined"
    assert browser.run("document.querySelectorAll('script, img, iframe, style').length") == 2
    assert "<script>hacked" in browser.run("document.body.textContent")
