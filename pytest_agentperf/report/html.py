"""The HTML page: one file that needs no network and no script to be read.

What its policy allows is its own style sheet and its own few lines of script, each by its hash; so
no text from a test can become either, whatever it holds.
"""

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from pytest_agentperf.report.brief import headline
from pytest_agentperf.report.page.budgets import budgets_table
from pytest_agentperf.report.page.headline import header
from pytest_agentperf.report.page.markup import text
from pytest_agentperf.report.page.sections import section
from pytest_agentperf.report.run import Row, Run

__all__ = ["html_page"]

_ALL_OPEN: Final = 25
_MOST_OPEN: Final = 50
_FOLDER: Final = Path(__file__).parent / "page"


def html_page(run: Run) -> str:
    """Return *run* as one self-contained page."""
    return "\n".join(_parts(run)) + "\n"


def _parts(run: Run) -> Iterator[str]:
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'"
    )
    yield '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f"<title>{text(headline(run))} · agentperf</title><style>{style}</style></head><body>"
    yield from header(run)
    rows = run.rows
    yield "<main>"
    if rows:
        yield from budgets_table(rows)
        yield '<section aria-labelledby="tests"><h2 id="tests">Measurements</h2>'
        for place, row in enumerate(rows):
            yield from section(place, row, is_open=_is_open(place, row, len(rows)))
        yield "</section>"
    yield f"</main><script>{script}</script></body></html>"


def _is_open(place: int, row: Row, count: int) -> bool:
    """Return whether the section of *row* is open: all of a few, else what did not pass."""
    is_news = row.status not in {"passed", "measured"}
    return count <= _ALL_OPEN or (is_news and place < _MOST_OPEN)


@cache
def _asset(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8").strip()


def _hash(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"'sha256-{digest}'"
