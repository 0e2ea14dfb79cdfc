"""The hooks that run where a test is measured; a session without one never registers them."""

from collections.abc import Generator
from typing import Any

import pytest

from pytest_agentperf.report.record import PerfRecord
from pytest_agentperf.session import PerfSession, junit_properties

__all__ = ["BEGUN", "RECORD", "Runtime"]

RECORD = "_agentperf"
"""The attribute of a test report that carries the record, as builtin types."""


BEGUN = "_agentperf_begun"
"""The attribute of a report that says that the call phase of a measured test follows."""


class Runtime:
    """Measures the call phase of measured tests and attaches what came of it to the report."""

    def __init__(self, session: PerfSession) -> None:
        self._session = session
        self._records: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Measure the call phase; fail it where a budget is exceeded."""
        _forget(item)
        self._session.begin(item)
        try:
            result = yield
        except BaseException as error:
            record = self._session.end(raised=error)[0]
            self._keep(item, record)
            if isinstance(error, KeyboardInterrupt) and record is not None:
                self._session.interrupted.append(record)
            raise
        record, message = self._session.end(raised=None)
        self._keep(item, record)
        if message:
            pytest.fail(message, pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        """Watch the setup of async fixtures where a budget asks for that."""
        with self._session.setting_up(fixturedef, request):
            return (yield)

    def _keep(self, item: pytest.Item, record: PerfRecord | None) -> None:
        """Keep *record* for the report of *item*."""
        if record is None:
            return
        self._records[item.nodeid] = record.to_builtin()
        if self._session.settings.junit:
            item.user_properties += junit_properties(record)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach the record to the report of the call phase; subtests have reports of their own."""
        report = yield
        if type(report) is not pytest.TestReport or not self._session.is_measured(item.nodeid):
            return report
        if call.when == "setup" and report.passed:
            setattr(report, BEGUN, True)
        record = self._records.pop(item.nodeid, None) if call.when == "call" else None
        if record is not None:
            setattr(report, RECORD, record)
        return report


def _forget(item: pytest.Item) -> None:
    """Take back the properties that an earlier attempt of *item* left."""
    others = [pair for pair in item.user_properties if not pair[0].startswith("agentperf.")]
    item.user_properties[:] = others
