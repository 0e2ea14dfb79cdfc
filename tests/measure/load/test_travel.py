"""Tests of how functions get into other processes."""

import functools
import pickle
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_agentperf.core.errors import LoadError
from pytest_agentperf.measure.load.travel import pack, pack_by_value, told, unpack


@pytest.fixture
def _without_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a module that is imported here and cannot be imported elsewhere."""
    module = ModuleType("away_from_here")
    exec("FACTOR = 2\ndef half(x): return x / FACTOR\n", vars(module))  # noqa: S102
    monkeypatch.setitem(sys.modules, "away_from_here", module)
    return module


@pytest.mark.usefixtures("_without_cloudpickle")
def test_what_can_be_imported_travels_by_plain_pickle() -> None:
    job = functools.partial(time.sleep, 0.5)
    packed = pack(job, (job,))
    assert packed == pickle.dumps(job)
    assert unpack(packed).args == (0.5,)


@pytest.mark.usefixtures("_without_cloudpickle")
def test_what_needs_cloudpickle_says_how_to_get_it() -> None:
    with pytest.raises(LoadError) as raised:
        pack(lambda: 1, (test_what_needs_cloudpickle_says_how_to_get_it,))
    sentence = str(raised.value)
    assert sentence.startswith("test_what_needs_cloudpickle_says_how_to_get_it cannot be pickled (")
    assert sentence.endswith(
        "define it in a module that workers can import, or run pip install"
        " 'pytest-agentperf[dask]', whose cloudpickle sends functions by value"
    )


def test_a_local_function_travels_by_cloudpickle() -> None:
    pytest.importorskip("cloudpickle")
    factor = 3
    assert unpack(pack(lambda x: factor * x, (pack,)))(2) == 6


def test_a_module_that_is_nowhere_else_travels_with_its_function(away: ModuleType) -> None:
    pytest.importorskip("cloudpickle")
    packed = pack_by_value(away.half, (away.half,), "")
    del sys.modules["away_from_here"]
    assert unpack(packed)(5) == 2.5


def test_modules_travel_by_name_again_afterwards(away: ModuleType) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    pack_by_value(away.half, (away.half, away.half), "")
    assert not cloudpickle.list_registry_pickle_by_value()


@pytest.mark.parametrize("made", [lambda f: f, lambda f: functools.partial(f, 5)])
def test_the_module_of_a_partial_travels_too(away: ModuleType, made: Any) -> None:
    pytest.importorskip("cloudpickle")
    func = made(away.half)
    packed = pack_by_value(func, (func,), "")
    del sys.modules["away_from_here"]
    assert callable(unpack(packed))


def test_what_no_pickle_takes_is_refused() -> None:
    pytest.importorskip("cloudpickle")
    lock = threading.Lock()
    with pytest.raises(LoadError, match=r"not even by cloudpickle .*make what it holds inside"):
        pack(lambda: lock, (pack,))


def test_errors_are_told_in_words() -> None:
    assert told(ValueError("no")) == "ValueError: no"
    assert told(KeyboardInterrupt()) == "KeyboardInterrupt"
