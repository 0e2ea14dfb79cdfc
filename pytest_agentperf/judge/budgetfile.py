"""The budget file as it was read: layers of limits out, the later winning."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pytest_agentperf.core.usage import Price
from pytest_agentperf.judge.acceptance import Acceptance
from pytest_agentperf.judge.limits import Layer
from pytest_agentperf.judge.node_ids import NodePattern

__all__ = ["BudgetFile", "Tables"]


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables that say what holds where: those of the top level or of an environment.

    Attributes:
        defaults: For every measured test.
        markers: For the tests with a marker, in order of the file.
        tests: For the tests that a pattern matches, less specific ones first.
        scale: Factors for the limits of all tables before these.
        prices: Prices by model.
        regression: Tolerance (a share) and noise floor (seconds) of the regression gate.
        accept: Findings that are known and accepted.
    """

    defaults: Layer
    markers: Mapping[str, Layer]
    tests: tuple[tuple[NodePattern, Layer], ...]
    scale: Mapping[str, float]
    prices: Mapping[str, Price]
    regression: Mapping[str, float]
    accept: tuple[Acceptance, ...]

    def layers(self, nodeid: str, has_marker: Callable[[str], bool]) -> Iterator[Layer]:
        """Return what holds for the test *nodeid*, the later winning, exact node ids left out."""
        yield Layer(scale=self.scale)
        yield self.defaults
        yield from (layer for name, layer in self.markers.items() if has_marker(name))
        yield from (
            layer
            for pattern, layer in self.tests
            if not pattern.is_exact and pattern.matches(nodeid)
        )

    def exact_layers(self, nodeid: str) -> Iterator[Layer]:
        """Return what is stated for exactly the test *nodeid*."""
        yield from (
            layer for pattern, layer in self.tests if pattern.is_exact and pattern.ids == nodeid
        )


@dataclass(frozen=True, slots=True)
class BudgetFile:
    """A checked budget file.

    Attributes:
        name: What messages call it.
        tables: The tables of the top level.
        environments: Further tables, by the environment's name.
    """

    name: str
    tables: Tables
    environments: Mapping[str, Tables]

    def layers(
        self,
        nodeid: str,
        has_marker: Callable[[str], bool],
        markers: Iterable[Layer],
        environment: str | None,
    ) -> Iterator[Layer]:
        """Return everything that holds for a test, in order: the later wins.

        Args:
            nodeid: The test.
            has_marker: Whether it carries a marker.
            markers: What its own budget markers state.
            environment: Where it runs, or None.
        """
        yield from self.tables.layers(nodeid, has_marker)
        yield from markers
        yield from self.tables.exact_layers(nodeid)
        if environment is not None:
            tables = self.environments[environment]
            layers = (*tables.layers(nodeid, has_marker), *tables.exact_layers(nodeid))
            yield from (layer._replace(is_over_all=True) for layer in layers)

    def patterns(self, environment: str | None) -> list[NodePattern]:
        """Return the patterns that are meant to match a test in *environment*."""
        return [pattern for tables in self._in_force(environment) for pattern, _ in tables.tests]

    def prices(self, environment: str | None) -> dict[str, Price]:
        """Return the prices by model that hold in *environment*."""
        prices: dict[str, Price] = {}
        for tables in self._in_force(environment):
            prices.update(tables.prices)
        return prices

    def accepted(self, environment: str | None) -> list[Acceptance]:
        """Return the findings that are accepted in *environment*."""
        return [stated for tables in self._in_force(environment) for stated in tables.accept]

    def regression(self, environment: str | None) -> dict[str, float]:
        """Return tolerance and noise floor of the regression gate, as far as they are stated."""
        stated: dict[str, float] = {}
        for tables in self._in_force(environment):
            stated.update(tables.regression)
        return stated

    def _in_force(self, environment: str | None) -> list[Tables]:
        named = [] if environment is None else [self.environments[environment]]
        return [self.tables, *named]
