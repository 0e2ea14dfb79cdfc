"""Announcements: what the user should see at once, in the middle of a test."""

from contextlib import nullcontext

import pytest

__all__ = ["announce"]


def announce(config: pytest.Config, sentence: str) -> None:
    """Write *sentence* to the terminal, past the capture of the running test.

    A worker of xdist has no terminal; what it would say stands in the record of the test too.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    capture = config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        reporter.ensure_newline()
        reporter.write_line(f"agentperf: {sentence}", yellow=True)
