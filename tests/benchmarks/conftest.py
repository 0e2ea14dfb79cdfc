"""Collects the ratios of a benchmark run and prints them; nothing here passes or fails by time."""

import statistics
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from tabulate import tabulate

RATIOS: pytest.StashKey[dict[tuple[str, str], list[float]]] = pytest.StashKey()


@pytest.fixture(scope="session")
def record_ratio(pytestconfig: pytest.Config) -> Callable[[str, str, float], None]:
    """Return a function that records one ratio: what was compared, what it must be, the number."""
    ratios = pytestconfig.stash.setdefault(RATIOS, defaultdict(list))

    def record(what: str, must_be: str, ratio: float) -> None:
        ratios[what, must_be].append(ratio)

    return record


def pytest_terminal_summary(terminalreporter: Any) -> None:
    ratios = terminalreporter.config.stash.get(RATIOS, {})
    if not ratios:
        return
    rows = [
        (
            what,
            must_be,
            f"{statistics.median(found):.3f}",
            f"{min(found):.3f}–{max(found):.3f}",
            len(found),
        )
        for (what, must_be), found in ratios.items()
    ]
    headers = ("what", "must be", "median", "range", "n")
    terminalreporter.section("benchmarks")
    terminalreporter.write_line(tabulate(rows, headers, disable_numparse=True))
