"""The run: all that one session of pytest measured, as every report reads it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pytest_agentperf.core.errors import FileFormatError
from pytest_agentperf.core.metrics import find_metric
from pytest_agentperf.report.escape import valid_text
from pytest_agentperf.report.fields import read_fields
from pytest_agentperf.report.record import (
    ComparisonRecord,
    MeasurementRecord,
    PerfRecord,
    VerdictRecord,
)

__all__ = ["STATUSES", "Row", "Run", "rows_of", "totals_of"]

STATUSES: Final = ("failed", "undecided", "warned", "passed", "measured")
"""What a measurement comes to, worst first; `measured` is one without a budget."""


class Row(NamedTuple):
    """One measurement of one test and what it came to: a row of a table.

    Attributes:
        nodeid: The test.
        label: The measurement's label, or None.
        status: The worst of its verdicts, one of `STATUSES`.
        verdicts: On this measurement, worst first.
        measurement: What was measured; None where limits had nothing to judge.
        comparison: What the regression gate said about it, or None.
    """

    nodeid: str
    label: str | None
    status: str
    verdicts: Sequence[VerdictRecord]
    measurement: MeasurementRecord | None
    comparison: ComparisonRecord | None = None

    @property
    def name(self) -> str:
        """The test, with `#label` where there is one; untrusted text, as in all fields."""
        return _name(self.nodeid, self.label)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Values by the metric's name, in base units."""
        return self.measurement.metrics if self.measurement else {}


class Run(NamedTuple):
    """All that one session measured.

    Attributes:
        records: One per measured test, in order of the run.
        created: When it ended, as ISO 8601 with its offset; empty where unknown.
        environment: Where it ran, in words: processor, system, Python, event loop, workers.
        versions: Of the packages that measured, by name.
        exit_status: That of pytest, 0 or 1.
        places: Where tests are defined, as `file:line`, by node id.
        lost: Node ids of tests whose process ended before they could report.
        notes: Sentences that concern the whole run.
        regressions: What a regression does to its test, `fail` or `warn`.
    """

    records: Sequence[PerfRecord]
    created: str = ""
    environment: str = ""
    versions: Mapping[str, str] = {}
    exit_status: int = 0
    places: Mapping[str, str] = {}
    lost: Sequence[str] = []
    notes: Sequence[str] = []
    regressions: str = "fail"

    @property
    def rows(self) -> list[Row]:
        """One for each measurement, worst first and then in order of the run."""
        return rows_of(self.records)

    @property
    def totals(self) -> dict[str, int]:
        """How many measurements came to what, worst first, without zeros."""
        return totals_of(self.rows)

    def to_builtin(self) -> dict[str, Any]:
        """Return it as dicts, lists, strings and numbers of exactly those types."""
        return {
            "created": valid_text(self.created),
            "environment": valid_text(self.environment),
            "versions": _valid_items(self.versions),
            "exit_status": int(self.exit_status),
            "places": _valid_items(self.places),
            "lost": [valid_text(nodeid) for nodeid in self.lost],
            "notes": [valid_text(note) for note in self.notes],
            "regressions": valid_text(self.regressions),
            "tests": [record.to_builtin() for record in self.records],
        }

    @classmethod
    def from_builtin(cls, content: Mapping[str, Any]) -> "Run":
        """Return the run that `to_builtin` made *content* from.

        Raises:
            FileFormatError: *content* is nothing of the kind.
        """
        if not isinstance(content.get("tests"), list):
            raise FileFormatError("expected a list under 'tests'")
        records = [PerfRecord.from_builtin(test) for test in content["tests"]]
        for record in records:
            _check_names(record)
        return cls(**{**read_fields(cls, {**content, "records": []}), "records": records})


def rows_of(records: Sequence[PerfRecord]) -> list[Row]:
    """Return a row per measurement, and one per label whose limits had nothing to judge.

    Worst first, and then in order of the run.
    """
    rows = [row for record in records for row in _rows(record)]
    return sorted(rows, key=lambda row: STATUSES.index(row.status))


def totals_of(rows: Iterable[Row]) -> dict[str, int]:
    """Return how many of *rows* came to what, worst first, without zeros."""
    counted = Counter(row.status for row in rows)
    return {status: counted[status] for status in STATUSES if counted[status]}


def _rows(record: PerfRecord) -> Iterator[Row]:
    measured = {measurement.label: measurement for measurement in record.measurements}
    compared = {one.name: one for one in record.comparisons}
    for label in dict.fromkeys((*measured, *(verdict.label for verdict in record.verdicts))):
        verdicts = [verdict for verdict in record.verdicts if verdict.label == label]
        status = min((v.status for v in verdicts), key=STATUSES.index, default="measured")
        comparison = compared.get(_name(record.nodeid, label))
        yield Row(record.nodeid, label, status, verdicts, measured.get(label), comparison)


def _name(nodeid: str, label: str | None) -> str:
    return f"{nodeid}#{label}" if label else nodeid


def _check_names(record: PerfRecord) -> None:
    """Refuse verdicts and metrics that there are not, on which a report could only stumble."""
    for verdict in record.verdicts:
        if verdict.status not in STATUSES[:-1]:
            known = ", ".join(STATUSES[:-1])
            raise FileFormatError(f"verdict {verdict.status!r}; expected {known}")
    named = [name for measurement in record.measurements for name in measurement.metrics]
    try:
        for name in (*named, *(verdict.metric for verdict in record.verdicts)):
            find_metric(name)
    except ValueError as error:
        raise FileFormatError(str(error)) from error


def _valid_items(texts: Mapping[str, str]) -> dict[str, str]:
    return {valid_text(name): valid_text(text) for name, text in texts.items()}
