"""Markup: untrusted text as HTML, and numbers as people read them."""

from html import escape
from typing import Final
from urllib.parse import quote

from pytest_agentperf.core.metrics import Direction, Metric, find_metric
from pytest_agentperf.core.units import Unit, format_quantity
from pytest_agentperf.report.escape import plain_line
from pytest_agentperf.report.run import STATUSES

__all__ = [
    "badge",
    "figure",
    "file_link",
    "is_upper",
    "known_status",
    "number",
    "quantity",
    "short",
    "text",
    "title_of",
    "unit_of",
]

_STATUSES: Final = frozenset({"regressed", *STATUSES})
_LONGEST: Final = 4000


def text(value: str, most: int = _LONGEST) -> str:
    """Return *value* as HTML text, also for quoted attributes: one line, controls spelled out."""
    return escape(plain_line(_cut(value, most)))


def short(value: str, most: int) -> str:
    """Return *value* as HTML text of *most* characters at most, cut in the middle."""
    if len(value) <= most:
        return text(value)
    head = (most - 1) // 2
    return text(f"{value[:head]}…{value[head + 1 - most :]}")


def _cut(value: str, most: int) -> str:
    return value if len(value) <= most else f"{value[:most]}… ({len(value)} characters)"


def known_status(status: str) -> str:
    """Return *status* as a class of the style sheet."""
    return status if status in _STATUSES else "measured"


def badge(status: str) -> str:
    """Return *status*; the style sheet puts a sign before it, so that it is more than a colour."""
    known = known_status(status)
    word = "no budget" if status == "measured" else text(status, 40)
    return f'<span class="s {known}">{word}</span>'


def _known(metric: str) -> Metric | None:
    """Return *metric*; None for one of a release that knows more of them."""
    try:
        return find_metric(metric)
    except ValueError:
        return None


def unit_of(metric: str) -> Unit:
    """Return what *metric* counts; plain numbers where it is not known."""
    known = _known(metric)
    return Unit.COUNT if known is None else known.unit


def title_of(metric: str) -> str:
    """Return the words for *metric*, as untrusted text."""
    known = _known(metric)
    return metric if known is None else known.title


def is_upper(metric: str) -> bool:
    """Return whether less of *metric* is better."""
    known = _known(metric)
    return known is None or known.quantity.direction is Direction.UPPER


def number(metric: str, value: float | None) -> str:
    """Return *value* with the unit of *metric*."""
    return "–" if value is None else quantity(value, unit_of(metric))


def quantity(value: float, unit: Unit) -> str:
    """Return *value* with its unit, as text and as HTML alike."""
    return format_quantity(value, unit).replace(" us", " µs")


def file_link(path: str) -> str:
    """Return the address of a file, from its *path*: no scheme can hide in it."""
    address = quote(path.replace("\\", "/"), errors="replace")
    return f"file://{address}" if address.startswith("/") else address


def figure(title: str, note: str, body: str, kind: str = "") -> str:
    """Return a figure with a caption; *body* is HTML, the others are text."""
    small = f" <small>{text(note)}</small>" if note else ""
    classes = f' class="{kind}"' if kind else ""
    return f"<figure{classes}><figcaption>{text(title)}{small}</figcaption>{body}</figure>"
