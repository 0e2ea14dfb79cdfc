"""What a page costs: its size, and the processor time to write it beside that of `json.dumps`."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from pytest_agentperf.report.html import html_page
from pytest_agentperf.report.run import Run
from tests.report.browser import find_browser, open_browser
from tests.report.pages import big_run

REPEATS: Final = 9
DUMPS: Final = 10
MEGABYTE: Final = 1e6


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of *work*."""
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.fixture(scope="module")
def twenty() -> Run:
    """Return a run of 20 tests of 1,000 calls, of which there is everything that a page draws."""
    return big_run(20)


@pytest.fixture(scope="module")
def five_hundred() -> Run:
    return big_run(500)


def bench_page_of_20_tests_beside_ten_dumps(
    twenty: Run, record_ratio: Callable[[str, str, float], None]
) -> None:
    content = twenty.to_builtin()
    for _ in range(REPEATS):
        page = seconds(lambda: html_page(twenty))
        dumps = seconds(lambda: [json.dumps(content) for _ in range(DUMPS)])
        record_ratio("page of 20 tests ÷ ten json.dumps, CPU", "<= 1", page / dumps)


def bench_size_of_the_page_of_20_tests(
    twenty: Run, record_ratio: Callable[[str, str, float], None]
) -> None:
    size = len(html_page(twenty).encode())
    record_ratio("size of 20 tests of 1,000 calls, MB", "<= 1", size / MEGABYTE)


def bench_size_of_the_page_of_500_tests(
    five_hundred: Run, record_ratio: Callable[[str, str, float], None]
) -> None:
    size = len(html_page(five_hundred).encode())
    record_ratio("size of 500 tests, MB", "<= 10", size / MEGABYTE)


def bench_page_of_500_tests_opens(
    five_hundred: Run, tmp_path: Path, record_ratio: Callable[[str, str, float], None]
) -> None:
    browser = find_browser()
    if browser is None:
        pytest.skip("no chromium: apt-get install chromium")
    path = tmp_path / "page.html"
    path.write_text(html_page(five_hundred), encoding="utf-8")
    with open_browser(browser, tmp_path / "profile") as page:
        for _ in range(3):
            began = time.monotonic()
            page.go(path)
            page.screenshot()
            record_ratio("page of 500 tests until it is seen, s", "quick", time.monotonic() - began)
