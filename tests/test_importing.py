"""Tests of how the package is imported: past the loader of pytest, and uncollected."""

import gc
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import SourceFileLoader

import pytest

import pytest_agentperf
from pytest_agentperf.importing import Unrewritten, come_first, uncollected


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Leave the collector as it was."""
    was_enabled = gc.isenabled()
    yield
    (gc.enable if was_enabled else gc.disable)()


@pytest.mark.parametrize("is_enabled", [False, True])
def test_collector_rests_meanwhile_and_is_as_it_was(is_enabled: bool) -> None:
    (gc.enable if is_enabled else gc.disable)()
    with suppress(ImportError), uncollected():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled() is is_enabled


def test_modules_of_the_package_alone_are_found() -> None:
    spec = Unrewritten.find_spec("pytest_agentperf.session", pytest_agentperf.__path__)
    assert spec is not None
    assert type(spec.loader) is SourceFileLoader
    assert Unrewritten.find_spec("pytest_agentperf") is None
    assert Unrewritten.find_spec("json") is None


def test_finder_comes_first_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [finder for finder in sys.meta_path if finder is not Unrewritten]
    monkeypatch.setattr(sys, "meta_path", [*others, Unrewritten])
    for _ in range(2):
        come_first()
        assert sys.meta_path == [Unrewritten, *others]
