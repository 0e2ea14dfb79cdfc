"""Tests of cells that add up."""

from array import array

from pytest_agentperf.core.sample import EXACT_VALUES, Sample
from pytest_agentperf.measure.load.tally import Cell, LoadTally
from pytest_agentperf.measure.stream import ItemClock


def cell(*latencies: float, errors: int = 0) -> Cell:
    made = Cell()
    for latency in latencies:
        made.latency.add(latency)
    for _ in range(errors):
        made.fail(0.5, "ValueError")
    return made


def test_cell_counts_calls_that_ended_failed_ones_too() -> None:
    assert cell(1, 2, errors=3).calls == 5


def test_cells_are_merged_value_by_value() -> None:
    first, second = cell(1, 2, errors=1), cell(3, errors=2)
    second.fail(0.1, "KeyError")
    second.good = 4
    first.merge(second)
    assert sorted(first.latency) == [1, 2, 3]
    assert first.errors == {"ValueError": 3, "KeyError": 1}
    assert first.failed.count == 4
    assert first.good == 4


def test_cell_takes_the_first_item_and_the_gaps_of_a_stream() -> None:
    moments = iter([11.0, 13.0, 16.0])
    items = ItemClock(10.0, lambda: next(moments))
    for item in "abc":
        items.item(item)
    made = Cell()
    made.stream(items)
    made.stream(ItemClock(10.0, lambda: 0.0))
    assert list(made.ttft) == [1]
    assert list(made.itl) == [2, 3]


def test_total_is_that_of_the_wanted_scenarios_and_windows() -> None:
    tally = LoadTally()
    for scenario in range(2):
        for window in range(3):
            tally.cell(scenario, window).latency.add(10 * scenario + window)
    assert sorted(tally.total(windows=range(3)).latency) == [0, 1, 2, 10, 11, 12]
    assert sorted(tally.total([1], [0, 2]).latency) == [10, 12]


def test_shares_of_a_load_are_merged() -> None:
    first, second = LoadTally(), LoadTally()
    first.cell(0, 0).latency.add(1)
    second.cell(0, 0).latency.add(3)
    second.cell(1, 2).fail(1, "ValueError")
    first.seconds, second.seconds = 5.0, 7.0
    first.in_flight_max, second.in_flight_max = 3, 4
    second.first_error, second.is_partial, second.unsent = "ValueError: x", True, 2
    second.lag.add(0.1)
    first.merge(second)
    assert list(first.cells[0, 0].latency) == [1, 3]
    assert first.cells[1, 2].errors == {"ValueError": 1}
    assert (first.seconds, first.in_flight_max, first.unsent) == (7.0, 7, 2)
    assert first.first_error == "ValueError: x"
    assert first.is_partial
    assert first.lag.count == 1


def test_tally_that_is_small_is_kept_exactly() -> None:
    tally = LoadTally()
    tally.cell(0, 0).latency.merge(Sample(array("d", bytes(8 * (EXACT_VALUES - 1)))))
    assert list(tally.trim()) == []
    tally.cell(0, 1).latency.add(0)
    assert list(tally.trim())
    assert tally.total(windows=[0, 1]).latency.count == EXACT_VALUES


def test_what_is_recorded_during_a_trim_stays() -> None:
    tally = LoadTally()
    latency = tally.cell(0, 0).latency
    latency.merge(Sample(array("d", [1.0] * (EXACT_VALUES - 1))))
    latency.append(1.0)
    append = latency.append
    for _ in tally.trim():
        append(2.0)
    recent = latency.since(EXACT_VALUES)
    assert recent
    assert set(recent) == {2.0}
