"""For all tests: asserts in the helpers explain themselves as those in the tests do."""

import asyncio
import os

import hypothesis
import pytest

# How long an example takes is the machine's affair; speed is measured elsewhere.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

# Tornado asks for the present loop when it makes its own; asyncio would make one that nobody closes.
asyncio.set_event_loop(None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say beside the summary what ``scripts/test.py`` found before: else green tests hide failed checks."""
    if os.environ.get("FAILED_CHECKS"):
        terminalreporter.write_line("Some checks FAILED: see the beginning of this output.", red=True)


pytest.register_assert_rewrite(
    "support.answers", "support.background", "support.gateway", "support.handlers", "support.parsed",
    "support.program", "support.recorder", "support.simulated",
)  # fmt: skip
