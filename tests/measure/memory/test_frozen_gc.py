"""A program without its garbage collector: the state found is the state left."""

import gc
from collections.abc import Callable, Iterator

import pytest

from pytest_agentperf.measure.memory.frozen_gc import FrozenGc
from pytest_agentperf.measure.memory.pauses import PauseWatch

WITNESS: list[object] = []


@pytest.fixture(autouse=True)
def state_of_before(whole_heap: None) -> Iterator[None]:
    assert gc.isenabled()
    assert not is_frozen()
    yield
    gc.enable()
    gc.unfreeze()


def is_frozen() -> bool:
    """Return whether an object that a collection would see is out of its sight."""
    return not any(each is WITNESS for each in gc.get_objects())


def test_nothing_is_collected_inside() -> None:
    with FrozenGc():
        assert not gc.isenabled()
        assert is_frozen()
    assert gc.isenabled()
    assert not is_frozen()


def test_disabled_collector_stays_disabled() -> None:
    gc.disable()
    with FrozenGc():
        pass
    assert not gc.isenabled()


@pytest.mark.parametrize("was_enabled", [True, False])
@pytest.mark.parametrize("change", [gc.enable, gc.disable, gc.unfreeze, gc.freeze])
def test_state_changed_inside_is_restored(change: Callable[[], None], was_enabled: bool) -> None:
    if not was_enabled:
        gc.disable()
    with FrozenGc():
        change()
    assert gc.isenabled() is was_enabled
    assert not is_frozen()


def test_what_was_frozen_before_stays_frozen() -> None:
    gc.freeze()
    with FrozenGc():
        assert not gc.isenabled()
    assert is_frozen()


def test_contexts_nest() -> None:
    frozen_gc = FrozenGc()
    with frozen_gc:
        with frozen_gc:
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_contexts_overlap() -> None:
    frozen_gc = FrozenGc()
    frozen_gc.__enter__()
    frozen_gc.__enter__()
    frozen_gc.__exit__()
    assert not gc.isenabled()
    frozen_gc.__exit__()
    assert gc.isenabled()


def test_state_is_restored_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), FrozenGc():
        raise ZeroDivisionError
    assert gc.isenabled()
    assert not is_frozen()


def test_garbage_is_collected_first_and_is_no_pause() -> None:
    class Node:
        gone = False

        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            Node.gone = True

    gc.disable()
    Node()
    with PauseWatch() as watch, FrozenGc():
        assert Node.gone
    assert watch.result().all is not None
    assert str(watch.result()) == "no pause of the garbage collector"
