"""Tests of the rule that tells a leak from a function that warms up, on readings made by hand."""

import random
from collections.abc import Callable, Mapping

import pytest

from pytest_agentperf.measure.memory.staged import (
    BLOCKS,
    LIMITS,
    STAGES,
    Ruling,
    Stage,
    calls_needed,
    decide,
    stage_calls,
)

Growth = Callable[[int], float]


def stages_of(growth: Growth, count: int = STAGES, what: str = "traced") -> list[Stage]:
    """Return the stages of a function whose call number n leaves `growth(n)`."""
    stages, call = [], 0
    for number in range(count):
        calls = stage_calls(number)
        blocks = []
        for _ in range(BLOCKS):
            blocks.append(round(sum(growth(call + at) for at in range(calls))))
            call += calls
        stages.append(Stage(calls, {what: tuple(blocks)}))
    return stages


def ruling_of(growth: Growth, what: str = "traced", limits: Mapping[str, float] = LIMITS) -> Ruling:
    """Return the ruling when it is made, as a run would."""
    stages = stages_of(growth, what=what)
    rulings = (decide(stages[: end + 1], limits) for end in range(STAGES))
    return next(ruling for ruling in rulings if ruling is not None)


def test_stages_double_from_60_calls() -> None:
    assert [stage_calls(number) * BLOCKS for number in range(4)] == [60, 120, 240, 480]
    assert calls_needed(STAGES) == 900


def test_function_that_keeps_nothing_is_clean_after_one_stage() -> None:
    assert decide(stages_of(lambda _: 0, 1), LIMITS) == Ruling("clean")


def test_growth_at_the_limit_is_suspect_and_below_it_is_not() -> None:
    assert decide(stages_of(lambda _: 256, 1), LIMITS) is None
    assert decide(stages_of(lambda _: 255, 1), LIMITS) == Ruling("clean", rate=255, first_rate=255)


@pytest.mark.parametrize("stages", range(1, STAGES))
def test_growth_is_no_leak_before_the_last_stage(stages: int) -> None:
    assert decide(stages_of(lambda _: 10_000, stages), LIMITS) is None


def test_growth_that_lasts_is_a_leak() -> None:
    assert ruling_of(lambda _: 1000) == Ruling("leak", "traced", 1000, 1000, is_over=False)


def test_cache_that_is_full_has_warmed_up() -> None:
    ruling = ruling_of(lambda call: 1000 if call < 128 else 0)
    assert ruling == Ruling("warming up", "traced", 0, 1000)


def test_cache_that_fills_in_the_last_stage_is_no_leak() -> None:
    assert ruling_of(lambda call: 1000 if call < 800 else 0).verdict == "warming up"
    assert ruling_of(lambda call: 1000 if call < 830 else 0).verdict == "leak"  # of 900: too late


def test_growth_that_falls_to_the_end_is_warming_up() -> None:
    ruling = ruling_of(lambda call: 1000 * 0.999**call)
    assert ruling.verdict == "warming up"
    assert not ruling.is_over
    assert ruling.rate == pytest.approx(1000 * 0.999**660, rel=0.1)  # the middle of the last stage


def test_leak_whose_rate_scatters_is_a_leak() -> None:
    rng = random.Random(1)
    assert all(ruling_of(lambda _: rng.expovariate(1 / 1000)).verdict == "leak" for _ in range(100))


def test_leak_beside_one_large_table_is_a_leak() -> None:
    for moment in (0, 30, 100, 400):
        growth = lambda call: 1000 + 50_000 * (call == moment)  # noqa: B023, E731
        assert ruling_of(growth).verdict == "leak", moment


def test_small_fall_is_not_enough() -> None:
    assert ruling_of(lambda call: 1000 - 0.1 * call).verdict == "leak"  # by 9 %
    assert ruling_of(lambda call: 1000 - 0.2 * call).verdict == "warming up"  # by 18 %


def test_one_jump_is_cleared_by_the_second_stage() -> None:
    stages = stages_of(lambda call: 1_000_000 * (call == 5), 2)
    assert decide(stages[:1], LIMITS) is None
    ruling = decide(stages, LIMITS)
    assert ruling is not None
    assert ruling.verdict == "warming up"


def test_buffer_that_is_emptied_now_and_then_is_cleared() -> None:
    def growth(call: int) -> float:
        return 1000 if (call + 1) % 64 else -63_000

    assert ruling_of(growth).verdict == "warming up"


def test_last_stage_needs_growth_in_all_blocks() -> None:
    stages = stages_of(lambda _: 1000)
    flat = Stage(80, {"traced": (0, *stages[-1].growth["traced"][1:])})
    ruling = decide([*stages[:-1], flat], LIMITS)
    assert ruling is not None
    assert ruling.verdict == "warming up"


@pytest.mark.parametrize("what", ["tasks", "threads", "file descriptors"])
def test_one_thing_a_call_that_does_not_end_is_a_leak(what: str) -> None:
    assert ruling_of(lambda _: 1, what) == Ruling("leak", what, 1, 1, is_over=False)


@pytest.mark.parametrize("what", ["native", "resident"])
def test_bytes_that_python_knows_nothing_of_are_native_growth(what: str) -> None:
    assert ruling_of(lambda _: 4096, what).verdict == "native growth"
    assert ruling_of(lambda _: 4095, what).verdict == "clean"


def test_leak_of_python_explains_native_growth_beside_it() -> None:
    python, native = (stages_of(lambda _: 10_000, what=what) for what in ("traced", "native"))
    stages = [
        Stage(left.calls, {**left.growth, **right.growth})
        for left, right in zip(python, native, strict=True)
    ]
    ruling = decide(stages, LIMITS)
    assert ruling is not None
    assert (ruling.verdict, ruling.what) == ("leak", "traced")


def test_stated_limit_counts() -> None:
    limits = {**LIMITS, "traced": 2000.0}
    assert ruling_of(lambda _: 1999, limits=limits).verdict == "clean"
    assert ruling_of(lambda _: 2000, limits=limits).verdict == "leak"


def test_more_stages_let_a_longer_cache_fill() -> None:
    stages = stages_of(lambda call: 1000 if call < 1500 else 0, 5)
    assert decide(stages[:4], LIMITS, last=5) is None
    ruling = decide(stages, LIMITS, last=5)
    assert ruling is not None
    assert ruling.verdict == "warming up"


def test_what_cannot_be_counted_clears_nothing_else() -> None:
    stages = [Stage(stage.calls, stage.growth) for stage in stages_of(lambda _: 1000)]
    assert all("tasks" not in stage.growth for stage in stages)
    ruling = decide(stages, LIMITS)
    assert ruling is not None
    assert ruling.verdict == "leak"
