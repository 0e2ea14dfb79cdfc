"""The keywords of a load: what the author of a test asks for, checked before the first call."""

from collections.abc import Mapping
from typing import Any, Final

from pytest_agentperf.core.errors import LoadError, LoadTypeError, UnknownNameError
from pytest_agentperf.core.units import Unit, format_quantity, parse_quantity
from pytest_agentperf.measure.load.plan import ARM_AFTER, GRACE, MAX_IN_FLIGHT, LoadPlan
from pytest_agentperf.measure.load.shape import Shape
from pytest_agentperf.measure.load.stages import Stage, parse_stages

__all__ = ["KEYWORDS", "read_plan"]

KEYWORDS: Final = (
    *("users", "rate", "stages", "duration", "requests", "ramp_up", "think_time", "arrivals"),
    *("max_in_flight", "deadline", "grace", "warmup", "goodput", "arm_after", "abort_on_fail"),
    "seed",
)
"""The keywords that `read_plan` knows."""

MOST_USERS: Final = 100_000
MOST_RATE: Final = 1_000_000.0
MOST_SECONDS: Final = 7 * 86_400.0
MAX_TIME: Final = 600.0
"""Seconds after which a load ends that states nothing but its requests."""

_LIMITS: Final = ("latency", "ttft", "itl")


def read_plan(stated: Mapping[str, Any]) -> LoadPlan:
    """Return the plan that the keywords *stated* describe; a None says nothing.

    Raises:
        LoadError: A value is out of its range, or two exclude each other.
        LoadTypeError: A value is of the wrong kind.
        UnitError: A text is no quantity of its kind.
        UnknownNameError: There is no such keyword, arrival or limit.
    """
    known = {name: value for name, value in stated.items() if value is not None}
    if unknown := set(known) - set(KEYWORDS):
        raise UnknownNameError("keyword of perf_load", min(unknown), KEYWORDS)
    shape = _read_shape(known)
    requests = _whole(known, "requests", 1_000_000_000)
    _refuse_misplaced(known, is_open=shape.is_open)
    warmup = _time(known, "warmup", 0.0)
    if warmup >= shape.seconds:
        raise LoadError(
            f"warmup={known['warmup']!r}: the load takes"
            f" {format_quantity(shape.seconds, Unit.SECONDS)}; expected less"
        )
    ramp = shape.stages[0].seconds if len(shape.stages) > 1 else 0.0
    return LoadPlan(
        shape=shape,
        requests=requests,
        think_time=_read_think_time(known.get("think_time", 0)),
        max_in_flight=_whole(known, "max_in_flight", MOST_USERS) or MAX_IN_FLIGHT,
        is_poisson=_read_arrivals(known.get("arrivals", "constant")),
        deadline=_time(known, "deadline", None, least=1e-3),
        grace=_time(known, "grace", GRACE),
        warmup=warmup,
        goodput=_read_goodput(known.get("goodput", {})),
        arm_after=_time(known, "arm_after", max(ARM_AFTER, warmup + ramp)),
        is_abortable=_flag(known, "abort_on_fail"),
        seed=_whole(known, "seed", 2**63, least=0) or 0,
    )


def _read_shape(known: Mapping[str, Any]) -> Shape:
    kinds = [name for name in ("users", "rate", "stages") if name in known]
    if len(kinds) != 1:
        found = " and ".join(f"{name}={known[name]!r:.60}" for name in kinds) or "none of them"
        raise LoadError(f"{found}: expected one of users=, rate= and stages=")
    if kinds == ["stages"]:
        for name in ("duration", "ramp_up"):
            if name in known:
                raise LoadError(f"{name}={known[name]!r} beside stages=, which say it; drop it")
        stages, is_open = parse_stages(known["stages"])
        shape = Shape(is_open, stages)
        _check_most(shape.most, MOST_RATE if is_open else MOST_USERS, f"stages={known['stages']!r}")
        if shape.seconds > MOST_SECONDS:
            raise LoadError(f"stages={known['stages']!r}: expected 7 days at most, all together")
        return shape
    if "duration" not in known and "requests" not in known:
        raise LoadError(
            f"{kinds[0]}={known[kinds[0]]!r} without an end; add duration= or requests="
        )
    is_open = kinds == ["rate"]
    target = (
        _read_rate(known["rate"]) if is_open else float(_whole(known, "users", MOST_USERS) or 0)
    )
    seconds = _time(known, "duration", MAX_TIME, least=1e-3)
    ramp = _time(known, "ramp_up", 0.0)
    if ramp > seconds:
        raise LoadError(
            f"ramp_up={known['ramp_up']!r}: longer than the whole load of"
            f" {format_quantity(seconds, Unit.SECONDS)}; expected less"
        )
    held = (Stage(seconds - ramp, target),) if seconds > ramp else ()
    return Shape(is_open, (Stage(ramp, target), *held))


def _read_rate(value: object) -> float:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise LoadTypeError(f"rate={value!r:.60}: expected calls a second, as in '50/s' or 50")
    rate = parse_quantity(value, Unit.RATE)
    _check_most(rate, MOST_RATE, f"rate={value!r}")
    return rate


def _check_most(number: float, most: float, what: str) -> None:
    if not 0 < number <= most:
        raise LoadError(f"{what}: expected more than 0 and at most {most:,.0f}")


def _refuse_misplaced(known: Mapping[str, Any], *, is_open: bool) -> None:
    """Refuse what the other kind of load has."""
    kind, others = (
        ("a rate", ("think_time",)) if is_open else ("users", ("max_in_flight", "arrivals"))
    )
    for name in others:
        if name in known:
            raise LoadError(f"{name}={known[name]!r:.60}: a load of {kind} has none; drop it")


def _whole(known: Mapping[str, Any], name: str, most: int, *, least: int = 1) -> int | None:
    """Return the whole number *name*, or None."""
    value = known.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise LoadTypeError(f"{name}={value!r:.60}: expected a whole number of {least} or more")
    if not least <= value <= most:
        raise LoadError(f"{name}={value!r}: expected a whole number from {least} to {most:,}")
    return value


def _flag(known: Mapping[str, Any], name: str) -> bool:
    value = known.get(name, False)
    if not isinstance(value, bool):
        raise LoadTypeError(f"{name}={value!r:.60}: expected True or False")
    return value


def _time(known: Mapping[str, Any], name: str, default: Any, *, least: float = 0.0) -> Any:
    """Return the seconds that *name* states, or *default*."""
    return _seconds(name, known[name], least) if name in known else default


def _seconds(name: str, value: object, least: float = 0.0) -> float:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise LoadTypeError(f"{name}={value!r:.60}: expected a time, as in '30s' or 30")
    seconds = parse_quantity(value, Unit.SECONDS)
    if not least <= seconds <= MOST_SECONDS:
        shown = format_quantity(least, Unit.SECONDS)
        raise LoadError(f"{name}={value!r}: expected a time from {shown} to 7 days")
    return seconds


def _read_think_time(value: object) -> tuple[float, float]:
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2:  # noqa: PLR2004 -- from, to
        raise LoadError(f"think_time={value!r:.60}: expected a time, or the least and the most one")
    low, high = (_seconds("think_time", each) for each in pair)
    if low > high:
        raise LoadError(f"think_time={value!r}: expected the least time first")
    return low, high


def _read_arrivals(value: object) -> bool:
    if value not in ("constant", "poisson"):
        raise UnknownNameError("arrivals", value, ("constant", "poisson"))
    return value == "poisson"


def _read_goodput(value: object) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, Mapping):
        raise LoadTypeError(f"goodput={value!r:.60}: expected limits, as in {{'ttft': '200ms'}}")
    for name in value:
        if name not in _LIMITS:
            raise UnknownNameError("limit of goodput", name, _LIMITS)
    return tuple((name, _seconds(f"goodput {name}", limit)) for name, limit in value.items())
