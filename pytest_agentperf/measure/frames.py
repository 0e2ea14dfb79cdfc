"""Stack frames: which of them matter, whose code they are, and how a line is shown."""

import functools
import inspect
import linecache
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Final, TypeAlias

from pytest_agentperf.core.finding import Place

__all__ = [
    "OURS",
    "Site",
    "culprit",
    "is_plumbing",
    "is_standard",
    "owner_of",
    "place_of",
    "shown_path",
    "shown_stack",
    "stack_of",
]

Site: TypeAlias = tuple[CodeType, int]
"""A line that ran: cheap to take, and unlike a frame it keeps nothing of the user's alive."""

STANDARD_LIBRARY: Final = "the standard library"

_STDLIB: Final = os.path.realpath(os.path.dirname(os.__file__)) + os.sep  # noqa: PTH120
_SITE: Final = ("site-packages", "dist-packages")
OURS: Final = str(Path(__file__).parents[1]) + os.sep
"""The folder of this package."""

_REFERENCE: Final = f"{OURS}reference{os.sep}"
_RUNNER_PATHS: Final = tuple(
    _STDLIB + name
    for name in (
        f"asyncio{os.sep}",
        f"concurrent{os.sep}",
        f"unittest{os.sep}",
        "contextlib.py",
        "functools.py",
        "runpy.py",
        "selectors.py",
        "threading.py",
    )
)
# What runs tests and tasks; its frames stand below and between those of the code under test.
_RUNNERS: Final = frozenset(
    {"_pytest", "anyio", "hypothesis", "pluggy", "pytest", "pytest_asyncio", "uvloop", "xdist"}
)


def stack_of(frame: FrameType | None, *, until: FrameType | None = None) -> list[Site]:
    """Return the lines at which *frame* and its callers stand, outermost first.

    Args:
        frame: The innermost frame; None for an empty stack.
        until: The caller at which to end, itself left out; None for all of them.
    """
    sites = []
    while frame is not None and frame is not until:
        sites.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    sites.reverse()
    return sites


def culprit(sites: Sequence[Site]) -> Site | None:
    """Return the line of *sites*, a stack with the outermost first, that a reader should look at.

    The innermost async function (else the outermost function of the stack) chose to call something
    that is not async; what counts is the innermost line of code of the same owner from there on.
    """
    relevant = [site for site in sites if not is_plumbing(site[0].co_filename)]
    own = [site for site in relevant if not is_standard(site[0].co_filename)]
    if not own:
        return relevant[-1] if relevant else None
    start = next((at for at in reversed(range(len(own))) if _is_async(own[at][0])), 0)
    package = _installed_package(own[start][0].co_filename)
    return next(
        site for site in reversed(own) if _installed_package(site[0].co_filename) == package
    )


def shown_stack(sites: Iterable[Site]) -> tuple[str, ...]:
    """Return the lines of *sites* that are the user's or a library's, as text, in their order."""
    shown = [site for site in sites if not is_plumbing(site[0].co_filename)]
    own = [site for site in shown if not is_standard(site[0].co_filename)]
    return tuple(str(place_of(site)) for site in own or shown)


@functools.lru_cache(maxsize=4096)
def place_of(site: Site) -> Place:
    """Return the line as a reader knows it."""
    code, line = site
    source = linecache.getline(code.co_filename, line).strip()
    name = code.co_qualname.rpartition("<locals>.")[2]
    return Place(shown_path(code.co_filename), line, name, source, owner_of(code.co_filename))


@functools.lru_cache(maxsize=4096)
def owner_of(filename: str) -> str:
    """Return the distribution whose code *filename* is; empty for the user's own."""
    if is_standard(filename):
        return STANDARD_LIBRARY
    package = _installed_package(filename)
    return _distributions().get(package, package) if package else ""


@functools.lru_cache(maxsize=4096)
def is_standard(filename: str) -> bool:
    """Return whether *filename* is the standard library's; unlike `owner_of` it is cheap."""
    if filename.startswith("<"):
        return filename.startswith("<frozen")
    return not _installed_package(filename) and os.path.realpath(filename).startswith(_STDLIB)


@functools.lru_cache(maxsize=4096)
def is_plumbing(filename: str) -> bool:
    """Return whether *filename* runs tests, tasks or threads and is never what a test is about."""
    if filename.startswith("<frozen"):
        return True
    if filename.startswith(OURS) and not filename.startswith(_REFERENCE):
        return True
    if _installed_package(filename) in _RUNNERS:
        return True
    path = os.path.realpath(filename)
    return path.startswith(_RUNNER_PATHS)


@functools.lru_cache(maxsize=4096)
def _installed_package(filename: str) -> str:
    """Return the top-level package of a file below site-packages; empty for others."""
    parts = Path(filename).parts
    for at in reversed(range(len(parts) - 1)):
        if parts[at] in _SITE:
            return parts[at + 1].removesuffix(".py")
    return ""


@functools.cache
def _distributions() -> dict[str, str]:
    from importlib.metadata import packages_distributions  # costly, and findings are rare

    return {package: names[0] for package, names in packages_distributions().items()}


def _is_async(code: CodeType) -> bool:
    asynchronous = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
    return bool(code.co_flags & asynchronous)


def shown_path(filename: str) -> str:
    """Return the path of *filename*, relative to the working directory where it lies below it."""
    try:
        return str(Path(filename).relative_to(Path.cwd()))
    except ValueError:
        return filename
