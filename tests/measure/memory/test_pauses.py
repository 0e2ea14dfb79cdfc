"""Pauses of the garbage collector: exact by a clock that a test sets."""

import gc
from collections.abc import Iterator

import pytest

from pytest_agentperf.measure.memory.pauses import GcPauses, Pauses, PauseWatch, collect_unseen

from ..conftest import FakeClock  # noqa: TID252 -- the fixtures of the layer


@pytest.fixture(autouse=True)
def no_other_collections() -> Iterator[None]:
    before = gc.callbacks[:]
    gc.disable()
    yield
    gc.enable()
    assert gc.callbacks == before


class Pausing:
    """Collections that take as long as a test says, as the collector itself tells of them."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.watch = PauseWatch(clock)

    def pause(self, seconds: float, generation: int = 0) -> None:
        info = {"generation": generation, "collected": 0, "uncollectable": 0}
        for callback in gc.callbacks:
            callback("start", info)
        self.clock.advance(seconds)
        for callback in gc.callbacks:
            callback("stop", info)


@pytest.fixture
def pausing(clock: FakeClock) -> Pausing:
    return Pausing(clock)


def test_pauses_are_counted_by_generation(pausing: Pausing) -> None:
    with pausing.watch:
        pausing.pause(0.5)
        pausing.pause(0.25)
        pausing.pause(2.0, generation=2)
    assert pausing.watch.result() == GcPauses(
        Pauses(3, 2.75, 2.0), (Pauses(2, 0.75, 0.5), Pauses(), Pauses(1, 2.0, 2.0))
    )


def test_pauses_outside_the_watch_are_not_counted(pausing: Pausing) -> None:
    pausing.pause(0.5)
    with pausing.watch:
        pass
    pausing.pause(0.5)
    assert pausing.watch.result().all == Pauses()


def test_collections_of_this_python_are_seen() -> None:
    with PauseWatch() as watch:
        gc.collect(1)
        gc.collect()
    found = watch.result()
    assert [pauses.count for pauses in found.generations] == [0, 1, 1]
    assert found.all is not None
    assert found.all.longest > 0


def test_collection_that_began_before_the_watch_is_not_counted(pausing: Pausing) -> None:
    with pausing.watch:
        for callback in gc.callbacks:
            callback("stop", {"generation": 0})
    assert pausing.watch.result().all == Pauses()


def test_pauses_that_overlap_a_call_count_as_far_as_they_do(
    pausing: Pausing, clock: FakeClock
) -> None:
    with pausing.watch:
        began = clock()
        for _ in range(3):  # at 1 to 2, 3 to 4 and 5 to 6 seconds from then
            clock.advance(1)
            pausing.pause(1)
    overlapping = pausing.watch.overlapping
    assert overlapping(began, began + 6) == Pauses(3, 3.0, 1.0)
    assert overlapping(began + 1.5, began + 3.25) == Pauses(2, 0.75, 0.5)
    assert overlapping(began + 2, began + 3) == Pauses()  # they touch
    assert overlapping(began + 3.25, began + 3.75) == Pauses(1, 0.5, 0.5)
    assert overlapping(began + 6, began + 9) == Pauses()


@pytest.mark.parametrize(("calls", "is_partial"), [(4096, False), (4097, True)])
def test_call_with_more_pauses_than_are_remembered_says_so(
    pausing: Pausing, clock: FakeClock, calls: int, is_partial: bool
) -> None:
    began = clock()
    with pausing.watch:
        for _ in range(calls):
            pausing.pause(0.5)
    assert pausing.watch.overlapping(began, clock()) == Pauses(4096, 2048.0, 0.5, is_partial)
    assert pausing.watch.result().all == Pauses(calls, calls / 2, 0.5)


def test_late_call_is_complete_though_early_pauses_are_forgotten(
    pausing: Pausing, clock: FakeClock
) -> None:
    with pausing.watch:
        for _ in range(5000):
            pausing.pause(0.5)
    assert pausing.watch.overlapping(clock() - 1, clock()) == Pauses(2, 1.0, 0.5)


def test_two_watches_see_the_same(clock: FakeClock) -> None:
    outer, inner = Pausing(clock), PauseWatch(clock)
    with outer.watch:
        outer.pause(1)
        with inner:
            outer.pause(2)
    assert outer.watch.result().all == Pauses(2, 3.0, 2.0)
    assert inner.result().all == Pauses(1, 2.0, 2.0)


def test_collections_of_ours_are_no_pauses(pausing: Pausing) -> None:
    with pausing.watch:
        collect_unseen()
        assert pausing.watch.result().all == Pauses()
        pausing.pause(1)
    assert pausing.watch.result().all == Pauses(1, 1.0, 1.0)


def test_callbacks_of_others_stay_where_they_are_and_see_nothing() -> None:
    seen = []

    def note(phase: str, info: object) -> None:
        seen.append(phase)

    before = gc.callbacks[:]
    gc.callbacks[:0] = [note]
    try:
        collect_unseen()
        assert gc.callbacks == [note, *before]
    finally:
        gc.callbacks.remove(note)
    assert seen == []


def test_unseen_collection_collects() -> None:
    class Node:
        gone = False

        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            Node.gone = True

    Node()
    assert not Node.gone
    collect_unseen()
    assert Node.gone


def test_watch_that_was_removed_says_so(pausing: Pausing) -> None:
    others = gc.callbacks[:]
    with pausing.watch:
        pausing.pause(1)
        gc.callbacks[:] = others
    assert str(pausing.watch.result()) == (
        "n/a: the code under test took the watch out of gc.callbacks"
    )


def test_python_without_callbacks_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.delattr(gc, "callbacks")
        with PauseWatch() as watch:
            pass
        assert watch.result().reason == "this Python does not say when its garbage collector runs"
        collect_unseen()


def test_watch_is_removed_after_an_exception(pausing: Pausing) -> None:
    with pytest.raises(ZeroDivisionError), pausing.watch:
        raise ZeroDivisionError
    assert pausing.watch._note not in gc.callbacks


def test_results_are_sentences(pausing: Pausing) -> None:
    with pausing.watch:
        assert str(pausing.watch.result()) == "no pause of the garbage collector"
        pausing.pause(0.01, generation=2)
        assert str(pausing.watch.result()) == "1 pause of 10 ms (generation 2)"
        pausing.pause(0.002)
    assert str(pausing.watch.result()) == "2 pauses, 12 ms in all, the longest 10 ms (generation 2)"
    assert str(Pauses()) == "no pause"
