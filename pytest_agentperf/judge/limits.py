"""Limits: what a user states about a metric, and which of several statements holds."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from pytest_agentperf.core.effort import Effort
from pytest_agentperf.core.errors import BudgetError
from pytest_agentperf.core.metrics import Direction, Metric, find_metric
from pytest_agentperf.core.units import Unit, format_quantity, parse_quantity

__all__ = ["Layer", "Limit", "ResolvedLimits", "merge_layers", "parse_limit"]

_OFF: Final = "off"


class Limit(NamedTuple):
    """A limit on one metric.

    Attributes:
        metric: What is limited.
        fail: Beyond this the test fails, in the metric's unit; None: it only warns.
        warn: Beyond this the test warns; None: it does not.
        source: Where the user wrote it.
        is_stated: Whether it was written for this test, by a marker or a glob that matches it; a
            limit for every test does not apply where its metric was not recorded.
    """

    metric: Metric
    fail: float | None
    warn: float | None
    source: str
    is_stated: bool

    def scaled(self, factor: float) -> "Limit":
        """Return this limit times *factor*."""
        return self._replace(
            fail=None if self.fail is None else self.fail * factor,
            warn=None if self.warn is None else self.warn * factor,
            source=f"{self.source} × {factor:g}",
        )


class Layer(NamedTuple):
    """Statements of one place in the file, or of one marker.

    Attributes:
        limits: By the metric's name; None switches an earlier limit off.
        label: The measurement that they are for; None: all of the test.
        effort: How to measure.
        scale: Factors, by quantity, for every limit of the layers before this one.
        is_over_all: Whether its limits without a label also win over earlier ones with one, as
            those of an environment or of the command line do.
    """

    limits: Mapping[str, Limit | None] = {}
    label: str | None = None
    effort: Effort = Effort()
    scale: Mapping[str, float] = {}
    is_over_all: bool = False


class ResolvedLimits(NamedTuple):
    """What holds for one test after all layers are merged.

    Attributes:
        limits: Limits by label and then by the metric's name; label None is for every measurement.
        effort: How to measure.
    """

    limits: Mapping[str | None, Mapping[str, Limit | None]]
    effort: Effort

    def of(self, label: str | None) -> list[Limit]:
        """Return the limits that the measurement called *label* is held to.

        A limit with the label wins over one without, metric by metric.
        """
        merged = {**self.limits.get(None, {}), **(self.limits.get(label, {}) if label else {})}
        return [limit for limit in merged.values() if limit is not None]

    def items(self) -> list[tuple[str | None, Limit]]:
        """Return every limit with the label that it is for."""
        return [
            (label, limit)
            for label, limits in self.limits.items()
            for limit in limits.values()
            if limit is not None
        ]

    def keep(self, wanted: Callable[[Limit], bool]) -> "ResolvedLimits":
        """Return these limits without those that are not *wanted*."""
        kept = {
            label: {name: limit for name, limit in limits.items() if limit is None or wanted(limit)}
            for label, limits in self.limits.items()
        }
        return self._replace(limits=kept)


def merge_layers(layers: Iterable[Layer]) -> ResolvedLimits:
    """Return what holds when *layers* are read in order: the later wins, metric by metric."""
    limits: dict[str | None, dict[str, Limit | None]] = {}
    effort = Effort()
    for layer in layers:
        if layer.scale:
            limits = {label: _scaled(found, layer.scale) for label, found in limits.items()}
        if layer.is_over_all and layer.label is None:
            limits = {
                label: {name: limit for name, limit in found.items() if name not in layer.limits}
                for label, found in limits.items()
            }
        limits.setdefault(layer.label, {}).update(layer.limits)
        effort = effort.updated(layer.effort)
    return ResolvedLimits(limits, effort)


def _scaled(
    limits: Mapping[str, Limit | None], scale: Mapping[str, float]
) -> dict[str, Limit | None]:
    return {
        name: limit.scaled(scale[limit.metric.quantity.name])
        if limit is not None and limit.metric.quantity.name in scale
        else limit
        for name, limit in limits.items()
    }


def parse_limit(
    name: str, stated: object, source: str, *, is_stated: bool
) -> tuple[str, Limit | None]:
    """Return the canonical name of metric *name* and the limit that *stated* puts on it.

    Args:
        name: A metric as the user spells it.
        stated: A number, text with a unit, ``"off"``, or a table of `warn` and `fail`.
        source: Where it is written, for messages.
        is_stated: See `Limit`.

    Returns:
        The metric's name, and None where the limit is switched off.

    Raises:
        UnknownNameError: There is no such metric.
        BudgetError: The limit cannot be judged as it is written.
        UnitError: A value is no quantity of the metric's unit.
    """
    metric = find_metric(name)
    if stated == _OFF:
        return metric.name, None
    if isinstance(stated, Mapping):
        if not stated or not set(stated) <= {"warn", "fail"}:
            keys = ", ".join(map(repr, stated)) or "nothing"
            raise BudgetError(f"a table with {keys}; expected warn, fail, or both")
        warn, fail = (
            _parse_bound(name, metric, stated[key]) if key in stated else None
            for key in ("warn", "fail")
        )
        _check_order(metric, warn, fail)
    else:
        warn, fail = None, _parse_bound(name, metric, stated)
    return metric.name, Limit(metric, fail, warn, source, is_stated)


def _parse_bound(name: str, metric: Metric, value: object) -> float:
    """Return the number that *value* puts on *metric*."""
    if isinstance(value, str) and value.lstrip()[:1] in {"<", ">"}:
        value = _without_sign(metric, value.strip())
    if name == "memory_mb" and isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value} MB"
    bound = parse_quantity(value, metric.unit)
    if metric.unit is Unit.SHARE and metric.name != "cpu_percent" and bound > 1:
        raise BudgetError(f"{value!r}: {metric.name} is at most 100 %; write '5%' or 0.05")
    return bound


def _without_sign(metric: Metric, value: str) -> str:
    """Return *value* without its comparison sign, which may only repeat the direction."""
    is_upper = metric.quantity.direction is Direction.UPPER
    if value.startswith("<") is not is_upper:
        side, sign = ("an upper", "<=") if is_upper else ("a lower", ">=")
        raise BudgetError(
            f"{value!r}: {metric.name} takes {side} limit; write {sign} or no sign at all"
        )
    return value[1:].removeprefix("=")


def _check_order(metric: Metric, warn: float | None, fail: float | None) -> None:
    """Refuse a warning that comes only after the failure."""
    if warn is None or fail is None:
        return
    is_upper = metric.quantity.direction is Direction.UPPER
    if warn > fail if is_upper else warn < fail:
        shown = (format_quantity(warn, metric.unit, 6), format_quantity(fail, metric.unit, 6))
        raise BudgetError(f"warn {shown[0]} lies beyond fail {shown[1]}; a warning comes first")
