"""Tests of how the package is imported: past the loader of pytest, and uncollected."""

import gc
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from types import ModuleType

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


def generation_of(obj: object) -> int | None:
    """Return the generation of the collector that *obj* is in; None where it was set aside."""
    each = ((number, gc.get_objects(generation=number)) for number in range(3))
    return next((number for number, found in each if any(obj is one for one in found)), None)


@pytest.mark.usefixtures("whole_heap")
@pytest.mark.parametrize("imports", [False, True])
def test_what_is_imported_is_old_at_once_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, *, imports: bool
) -> None:
    gc.collect()
    gc.enable()
    with uncollected():
        if imports:
            monkeypatch.setitem(sys.modules, "made_by_a_test", ModuleType("made_by_a_test"))
        made = [object()]
    assert generation_of(made) == (2 if imports else 0)
    assert not gc.get_freeze_count()


def test_what_somebody_has_set_aside_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = [object()]
    gc.freeze()
    with uncollected():
        monkeypatch.setitem(sys.modules, "made_by_a_test", ModuleType("made_by_a_test"))
    assert generation_of(mine) is None


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
