"""Tests of the regression gate as a whole."""

import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentperf.judge.compare import compare_duet, compare_history, history_priors
from pytest_agentperf.judge.comparison import Comparison, Outcome, Rule, SuiteComparison
from pytest_agentperf.judge.runs import Count, Run
from pytest_agentperf.judge.shrinkage import digamma

# Deviations of five pairs that add up to nothing; their own deviation is 1.
DEVIATIONS = [d / math.sqrt(2.5) for d in (-2.0, -1.0, 0.0, 1.0, 2.0)]


def runs(
    seconds: float = 0.01, noise: float = 0.0, count: int = 5, body: str = "", env: str = ""
) -> list[Run]:
    """Return runs whose medians are *seconds* in the mean, with *noise* between them."""
    deviations = [DEVIATIONS[i % 5] for i in range(count)]
    return [Run(seconds * math.exp(noise * d), 20, body=body, environment=env) for d in deviations]


def duet(base: list[Run], head: list[Run], rule: Rule | None = None, looks: int = 1) -> Comparison:
    return compare_duet({"t": base}, {"t": head}, rule or Rule(), looks=looks).tests[0]


def history(known: list[Run], head: Run, tests: int = 1) -> Comparison:
    return compare_history({"t": known}, {"t": [head]}, tests=tests).tests[0]


def steady(ratio: float, t: float, base: float = 0.01) -> tuple[list[Run], list[Run]]:
    """Return five pairs whose medians differ by *ratio*, *t* standard errors."""
    noise = abs(math.log(ratio)) / t * math.sqrt(5)
    return runs(base), runs(base * ratio, noise)


def outcome(pairs: tuple[list[Run], list[Run]], rule: Rule | None = None) -> Outcome:
    return duet(*pairs, rule).outcome


# ---------------------------------------------------------------- what makes a regression


def test_change_fails_from_the_level_of_a_single_test_on() -> None:
    # t(4) = 4.604 at 0.5 %
    assert outcome(steady(1.2, 4.61)) is Outcome.REGRESSED
    assert outcome(steady(1.2, 4.60)) is Outcome.UNDECIDED


def test_change_fails_beyond_the_tolerance_alone() -> None:
    assert outcome(steady(1.0501, 40)) is Outcome.REGRESSED
    assert outcome(steady(1.0499, 40)) is Outcome.UNCHANGED
    assert outcome(steady(1.15, 40), Rule(tolerance=0.2)) is Outcome.UNCHANGED


def test_change_below_the_noise_floor_fails_only_as_a_large_ratio() -> None:
    # 20 us: +10 % of 190 us is 19 us.
    assert outcome(steady(1.1, 40, base=190e-6)) is Outcome.UNCHANGED
    assert outcome(steady(1.1, 40, base=210e-6)) is Outcome.REGRESSED
    assert outcome(steady(1.49, 40, base=10e-6)) is Outcome.UNCHANGED
    assert outcome(steady(1.51, 40, base=10e-6)) is Outcome.REGRESSED


def test_faster_is_told_and_is_no_failure() -> None:
    assert outcome(steady(1 / 1.2, 10)) is Outcome.FASTER
    assert outcome(steady(1 / 1.04, 10)) is Outcome.UNCHANGED
    assert outcome(steady(1 / 1.2, 4)) is Outcome.UNCHANGED


@pytest.mark.parametrize(("others", "expected"), [(4, Outcome.REGRESSED), (16, Outcome.UNDECIDED)])
def test_level_of_the_suite_is_shared_by_medians_and_tails_of_all_tests(
    others: int, expected: Outcome
) -> None:
    # All are equally noisy, 4 degrees of freedom each: P(T > 2.95) = .0040 of 20 and .0022 of 68,
    # which must be below 5 % over 2 x 5 tests and over 2 x 17. The moments of log variance take
    # five equal variances for 1.31 times as large, exp(log 2 - digamma(2)).
    t = 2.95 * math.sqrt(math.exp(math.log(2) - digamma(2)))
    base, head = ({"t": side} for side in steady(1.2, t))
    noise = math.log(1.2) / t * math.sqrt(5) / 2
    for i in range(others):
        base[f"t{i}"], head[f"t{i}"] = runs(noise=noise), runs(noise=noise)[::-1]
    found = compare_duet(base, head).tests[0]
    assert found.latency is not None
    assert found.latency.p < 0.005
    assert found.latency.adjusted == pytest.approx(2 * (others + 1) * found.latency.p)
    assert found.outcome is expected


def test_several_looks_share_the_level() -> None:
    # 0.5 % over four looks is 0.125 %: t(4) = 6.77
    pair = steady(1.2, 5)
    assert duet(*pair).outcome is Outcome.REGRESSED
    assert duet(*pair, looks=4).outcome is Outcome.UNDECIDED


def test_five_tests_share_their_variance_and_four_do_not() -> None:
    pair = steady(1.2, 4.0)
    calm = {f"calm{i}": runs(noise=0.01) for i in range(4)}
    still = {name: runs(noise=0.01)[::-1] for name in calm}
    with_three = compare_duet(
        {"t": pair[0], **dict(list(calm.items())[:3])},
        {"t": pair[1], **dict(list(still.items())[:3])},
    ).tests[0]
    with_four = compare_duet({"t": pair[0], **calm}, {"t": pair[1], **still}).tests[0]
    assert with_three.latency is not None
    assert with_four.latency is not None
    assert with_three.latency.shift.df == 4
    assert with_four.latency.shift.df > 4


def test_data_that_could_show_nothing_is_undecided() -> None:
    # Nothing changed, but the error of 10 % hides anything below exp(0.46 + 0.15) - 1 = 85 %.
    noisy = duet(runs(), runs(noise=0.1 * math.sqrt(5)))
    assert noisy.outcome is Outcome.UNDECIDED
    assert noisy.latency is not None
    assert noisy.latency.detectable == pytest.approx(math.exp(0.46041 + 0.15332) - 1, rel=1e-3)
    assert "undecided: more pairs" in noisy.sentence


def test_coarse_data_that_exclude_a_regression_are_no_doubt() -> None:
    # t(4) = 2.776 at 2.5 %: the interval ends where nothing changed, or 5 % above.
    assert outcome(steady(1 / 1.2, 2.8)) is Outcome.UNCHANGED
    assert outcome(steady(1 / 1.2, 2.1)) is Outcome.UNDECIDED


def test_coarseness_does_not_matter_below_the_noise_floor() -> None:
    # 85 % of 10 us is more than half again, 30 % is neither that nor 20 us.
    assert duet(runs(10e-6), runs(10e-6, 0.1 * math.sqrt(5))).outcome is Outcome.UNDECIDED
    assert duet(runs(10e-6), runs(10e-6, 0.045 * math.sqrt(5))).outcome is Outcome.UNCHANGED


def test_open_is_what_may_be_a_regression() -> None:
    # p = 20 % is t(4) = 0.941; a change of 3 %
    rule = Rule(coarsest=1)
    assert duet(*steady(1.035, 1.0), rule).is_open
    assert not duet(*steady(1.035, 0.9), rule).is_open
    assert not duet(*steady(1.025, 1.0), rule).is_open
    assert not duet(*steady(1.2, 10)).is_open, "what is red needs no more runs"


# ---------------------------------------------------------------- what cannot be compared


def test_tests_of_one_side_are_new_or_gone() -> None:
    suite = compare_duet({"old": runs(), "both": runs()}, {"both": runs(), "new": runs()})
    assert [(test.name, test.outcome) for test in suite.tests] == [
        ("both", Outcome.UNCHANGED),
        ("new", Outcome.NEW),
        ("old", Outcome.GONE),
    ]


def test_changed_body_is_not_comparable_however_slow() -> None:
    assert duet(runs(body="a"), runs(9, body="b")).outcome is Outcome.NOT_COMPARABLE


def test_other_environment_is_told_before_a_changed_body() -> None:
    found = duet(runs(env="a", body="a"), runs(env="b", body="b"))
    assert found.outcome is Outcome.OTHER_ENVIRONMENT
    assert found.latency is None


@pytest.mark.parametrize(("base", "head"), [(5, 4), (4, 5), (1, 1)])
def test_pairs_that_are_none_are_an_error(base: int, head: int) -> None:
    with pytest.raises(ValueError, match=rf"duet of t: got {base} runs .* {head} of the head"):
        duet(runs(count=base), runs(count=head))


@pytest.mark.parametrize(("known", "expected"), [(4, Outcome.NEW), (5, Outcome.REGRESSED)])
def test_history_judges_from_five_runs_on(known: int, expected: Outcome) -> None:
    assert history(runs(noise=0.01, count=known), Run(0.02, 20)).outcome is expected


def test_history_leaves_out_runs_of_elsewhere_and_of_other_bodies() -> None:
    known = [*runs(0.5, 0.01, body="old"), *runs(0.9, 0.01, env="there"), *runs(0.01, 0.01)]
    found = history(known, Run(0.0101, 20))
    assert found.outcome is Outcome.UNCHANGED
    assert found.latency is not None
    assert found.latency.runs == 5


def test_history_says_why_it_cannot_compare() -> None:
    other, edited = Run(9, 20, environment="x"), Run(9, 20, body="x")
    assert history(runs(), other).outcome is Outcome.OTHER_ENVIRONMENT
    assert history(runs(), edited).outcome is Outcome.NOT_COMPARABLE
    assert history([], other).outcome is Outcome.NEW
    gone = compare_history({"t": runs()}, {}).tests[0]
    assert gone.outcome is Outcome.GONE


def test_edited_test_is_new_until_it_has_runs_of_its_own() -> None:
    known = [*runs(), *runs(body="b", count=2)]
    found = history(known, Run(9, 20, body="b"))
    assert found.outcome is Outcome.NEW
    assert found.sentence == "new: 2 of 5 runs that it takes to compare"


# ---------------------------------------------------------------- history


def test_one_test_alone_is_judged_as_in_its_suite() -> None:
    random = Random(2)
    known = {
        f"t{i}": [Run(0.01 * math.exp(random.gauss(0, 0.02)), 20) for _ in range(10)]
        for i in range(8)
    }
    head = {name: [Run(0.0113, 20)] for name in known}
    together = compare_history(known, head)
    priors = history_priors(known)
    for name, test in zip(known, together.tests, strict=True):
        alone = compare_history({name: known[name]}, {name: head[name]}, tests=8, priors=priors)
        assert alone.tests == (test,)


def test_bonferroni_counts_the_tests_that_are_judged_elsewhere() -> None:
    known, head = runs(noise=0.02, count=10), Run(0.0113, 20)
    assert history(known, head).outcome is Outcome.REGRESSED
    assert history(known, head, tests=500).outcome is Outcome.UNDECIDED


def test_duet_of_a_suspicious_test_counts_the_tests_it_was_picked_from() -> None:
    # t(4) = 8.610 at .05 / 2 ways to be red / 50 tests
    for t, expected in ((8.62, Outcome.REGRESSED), (8.60, Outcome.UNDECIDED)):
        base, head = steady(1.2, t)
        assert compare_duet({"t": base}, {"t": head}, tests=50).tests[0].outcome is expected


def suspected(ratio: float, noise: float = 0.001) -> bool:
    return history(runs(noise=noise, count=10), Run(0.01 * ratio, 20)).is_suspicious(Rule())


def test_history_suspects_what_is_slower_by_three_percent_and_unlikely_by_chance() -> None:
    assert suspected(1.0301)
    assert not suspected(1.0299)
    # t(9) = 0.883 at 20 %, and the deviation of ten runs is noise * sqrt(8 / 9).
    error = 0.05 * math.sqrt(8 / 9) * math.sqrt(1 + 1 / 10)
    assert suspected(math.exp(0.89 * error), 0.05)
    assert not suspected(math.exp(0.88 * error), 0.05)


def test_history_suspects_what_regressed_or_is_new_and_nothing_else() -> None:
    assert suspected(2)
    assert not suspected(0.5)
    once = {"tool_calls": Count(1, 1, 1)}
    twice = {"tool_calls": Count(2, 2, 2)}
    known = [replace(run, counts=once) for run in runs(count=10)]
    assert history(known, replace(known[0], counts=twice)).is_suspicious(Rule())
    assert history(runs(count=4), Run(0.01, 20)).is_suspicious(Rule())
    assert not history(runs(body="a"), Run(0.02, 20, body="b")).is_suspicious(Rule())


def test_slower_machine_is_taken_off_where_the_reference_says_so() -> None:
    random = Random(4)
    machine = [random.gauss(0, 0.06) for _ in range(12)]
    known = [Run(0.01 * math.exp(m), 20, reference=0.05 * math.exp(m)) for m in machine]
    slow = Run(0.0125, 20, reference=0.0625)
    found = history(known, slow)
    assert found.outcome is Outcome.UNCHANGED
    assert "beside the reference workload" in found.sentence
    assert history(known, replace(slow, reference=0.05)).outcome is Outcome.REGRESSED


def test_reference_is_left_out_where_a_run_lacks_it() -> None:
    known = [replace(run, reference=0.05) for run in runs(noise=0.01)]
    found = history(known, Run(0.02, 20))
    assert found.latency is not None
    assert not found.latency.is_beside_reference


# ---------------------------------------------------------------- the tail


def with_tail(random: Random, share: float, calls: int = 60) -> Run:
    values = sorted(
        0.01 * math.exp(random.gauss(0, 0.05)) * (3 if random.random() < share else 1)
        for _ in range(calls)
    )
    return Run(values[calls // 2], calls, tuple(values))


def test_tail_regresses_where_the_median_stays() -> None:
    random = Random(5)
    base = [with_tail(random, 0.0) for _ in range(10)]
    head = [with_tail(random, 0.2) for _ in range(10)]
    found = duet(base, head)
    assert found.outcome is Outcome.REGRESSED
    assert found.tail is not None
    assert found.tail.is_regressed
    assert found.tail.head > 0.15
    assert found.sentence.split("; ")[0].endswith("relative to their median (p = "
                                                  f"{found.tail.p:.0e})")  # fmt: skip
    assert duet(base, base).outcome is Outcome.UNCHANGED


def test_tail_is_not_judged_where_a_run_kept_no_latencies() -> None:
    random = Random(5)
    base = [with_tail(random, 0.0) for _ in range(5)]
    head = [*(with_tail(random, 0.0) for _ in range(4)), Run(0.01, 60)]
    assert duet(base, head).tail is None


def test_share_of_slow_calls_must_be_half_again_as_large() -> None:
    # Runs that do not vary but by chance's own: only the factor stands between them and red.
    calls = 2000

    def run(slow: int) -> Run:
        return Run(0.01, calls, (0.01,) * (calls - slow) + (0.05,) * slow)

    base = [Run(0.01, calls, tuple(0.01 + 1e-9 * i for i in range(calls)))] * 10
    assert duet(base, [run(140)] * 10).outcome is Outcome.UNCHANGED  # 7 % of 5 %
    assert duet(base, [run(160)] * 10).outcome is Outcome.REGRESSED  # 8 %


# ---------------------------------------------------------------- counts


def counted(count: Count, name: str = "tool_calls", number: int = 5) -> list[Run]:
    return [replace(run, counts={name: count}) for run in runs(count=number)]


def test_constant_count_is_compared_exactly() -> None:
    three, four = counted(Count(3, 3, 3)), counted(Count(4, 4, 4))
    red, green = duet(three, four), duet(four, three)
    assert red.outcome is Outcome.REGRESSED
    assert red.sentence.startswith("tool calls 3 → 4, +33 % (exact); latency median 10 ms")
    assert green.outcome is Outcome.UNCHANGED
    assert green.sentence.endswith("tool calls 4 → 3, -25 % (exact)")
    assert duet(three, three).outcome is Outcome.UNCHANGED


def test_count_from_zero_is_a_regression() -> None:
    found = duet(counted(Count(0, 0, 0), "retries"), counted(Count(1, 1, 1), "retries"))
    assert found.sentence.startswith("retries 0 → 1 (exact); ")


def test_tolerance_holds_for_counts_too() -> None:
    tokens = "tokens_per_call"
    base = counted(Count(1000, 1000, 1000), tokens)
    within, beyond = (counted(Count(n, n, n), tokens) for n in (1050, 1051))
    assert duet(base, within).outcome is Outcome.UNCHANGED
    assert duet(base, beyond).outcome is Outcome.REGRESSED


def test_count_of_which_less_is_worse_regresses_downwards() -> None:
    more, less = (
        counted(Count(0.9, 0.9, 0.9), "hit_rate"),
        counted(Count(0.5, 0.5, 0.5), "hit_rate"),
    )
    assert duet(more, less).outcome is Outcome.REGRESSED
    assert duet(less, more).outcome is Outcome.UNCHANGED


def test_count_that_varies_is_judged_run_by_run() -> None:
    def varying(means: tuple[float, ...]) -> list[Run]:
        return [
            replace(run, counts={"tokens_per_call": Count(mean - 50, mean, mean + 50)})
            for run, mean in zip(runs(), means, strict=True)
        ]

    base = varying((1000, 1010, 990, 1020, 980))
    sure = duet(base, varying((1200, 1215, 1190, 1210, 1185)))
    unsure = duet(base, varying((1000, 1400, 1000, 1400, 1200)))
    assert sure.outcome is Outcome.REGRESSED
    assert sure.counts[0].p is not None
    assert sure.sentence.startswith("tokens per call 1000 → 1200, +20 % (p = ")
    assert unsure.outcome is Outcome.UNCHANGED


def test_count_that_one_side_lacks_is_left_out() -> None:
    assert duet(runs(), counted(Count(3, 3, 3))).counts == ()


# ---------------------------------------------------------------- the suite


def suite_of(*ratios: float) -> SuiteComparison:
    names = [f"t{i}" for i in range(len(ratios))]
    base = {name: runs(noise=0.001) for name in names}
    head = {
        name: runs(0.01 * ratio, 0.001)[::-1] for name, ratio in zip(names, ratios, strict=True)
    }
    return compare_duet(base, head)


def test_common_shift_is_a_finding_of_its_own() -> None:
    found = suite_of(*[1.09] * 10).common
    assert found is not None
    assert found.sentence == "all 10 tests +9.0 %: machine or a shared dependency"
    nearly = suite_of(1.0, *[1.09] * 9).common
    assert nearly is not None
    assert (nearly.moved, nearly.tests) == (9, 10)


@pytest.mark.parametrize(
    "ratios",
    [
        (1.0, 1.0, *[1.09] * 8),  # 8 of 10
        (1.02,) * 10,  # a trifle
        (1.09,) * 4,  # too few to speak of
        (1.4, 1.01, 1.09, 1.3, 1.03, 1.2),  # not alike
    ],
)
def test_common_shift_is_not_made_up(ratios: tuple[float, ...]) -> None:
    assert suite_of(*ratios).common is None


def test_later_look_decides_what_was_open_and_nothing_else() -> None:
    red, open_, fine = (duet(*steady(ratio, t)) for ratio, t in ((1.2, 9), (1.2, 3), (1.01, 9)))
    first = SuiteComparison(
        (replace(red, name="a"), replace(open_, name="b"), replace(fine, name="c"))
    )
    later = SuiteComparison(tuple(replace(fine, name=name, sentence="later") for name in "abc"))
    assert first.open_tests == ("b",)
    joined = first.followed_by(later)
    assert [test.sentence == "later" for test in joined.tests] == [False, True, False]
    assert joined.having(Outcome.REGRESSED) == (first.tests[0],)


@given(st.integers(), st.integers(1, 8), st.integers(2, 12))
def test_gate_has_a_verdict_on_anything_that_was_measured(
    seed: int, tests: int, count: int
) -> None:
    random = Random(seed)

    def side() -> dict[str, list[Run]]:
        return {
            str(i): [with_tail(random, 0.1, calls=random.choice((1, 20))) for _ in range(count)]
            for i in range(tests)
        }

    for suite in (compare_duet(side(), side()), compare_history(side(), side())):
        assert [test.name for test in suite.tests] == [str(i) for i in range(tests)]
        assert all(test.sentence and "nan" not in test.sentence for test in suite.tests)


def test_gate_is_wrong_as_rarely_as_it_says() -> None:
    # 300 suites of 6 unchanged tests; red ones are at most 5 % + 3 sd = 8.8 %.
    random, red = Random(6), 0

    def side() -> dict[str, list[Run]]:
        return {
            str(i): [Run(0.01 * math.exp(random.gauss(0, 0.1)), 20) for _ in range(5)]
            for i in range(6)
        }

    for _ in range(300):
        red += bool(compare_duet(side(), side()).having(Outcome.REGRESSED))
    assert 2 <= red <= 26
