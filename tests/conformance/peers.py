"""How components that nobody here wrote are put to the test.

They run in an environment of their own (`tox -e peers`), which has their releases pinned.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

S = TypeVar("S", bound=type)
SWITCH = "AGENTPERF_PEERS"

if os.environ.get(SWITCH):
    # They are imported when first used: too late where peers have left garbage whose finalizers
    # print tracebacks, which breaks the parser if that happens within it (python/cpython#106905).
    for suite in ("balancer", "batcher", "breaker", "cache", "pool"):
        importlib.import_module(f"pytest_agentperf.conformance.{suite}_machine")


def why_not(package: str, module: str, *programs: tuple[str, str | None]) -> str | None:
    """Return why *package* cannot be tested here; *programs* are pairs of package and path."""
    if not os.environ.get(SWITCH):
        return f"{SWITCH} is not set: tox -e peers runs this with pinned releases"
    if importlib.util.find_spec(module) is None:
        return f"{package} is not installed"
    missing = [name for name, path in programs if path is None]
    return f"{', '.join(missing)} (a Debian package) is not installed" if missing else None


def peer(
    package: str, module: str | None = None, *programs: tuple[str, str | None]
) -> Callable[[S], S]:
    """Let a suite test *package*, or be one skipped test that says why it does not."""

    def decide(suite: S) -> S:
        reason = why_not(package, module or package.replace("-", "_"), *programs)
        decided: Any = suite if reason is None else _skipped(suite, reason)
        decided.package = package
        return decided  # type: ignore[no-any-return]

    return decide


def _skipped(suite: Any, reason: str) -> Any:
    @pytest.mark.skip(reason=reason)
    def test_suite(self: object) -> None:
        """Stand for all tests of the suite."""

    return type(suite.__name__, (), {"test_suite": test_suite, "__module__": suite.__module__})


def known(reason: str, *tests: str, condition: bool = True) -> Callable[[S], S]:
    """Expect *tests* to fail for *reason*, strictly: once it is mended they fail."""

    def mark(suite: S) -> S:
        for name in tests:
            inherited = getattr(suite, name)

            def test(self: Any, inherited: Any = inherited) -> None:
                inherited(self)

            xfail = pytest.mark.xfail(condition, reason=reason, strict=True)
            setattr(suite, name, xfail(test))
        return suite

    return mark
