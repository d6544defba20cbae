"""For all tests: asserts in the helpers explain themselves as those in the tests do."""

import asyncio
import os
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

# How long an example takes is the machine's affair; speed is measured elsewhere.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

# Tornado asks for the present loop when it makes its own; asyncio would make one that nobody closes.
asyncio.set_event_loop(None)


PACKAGING = Path(__file__).parent / "packaging"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--packaging``: the tests of what is built, and only these. ``--no-skips``: all of them."""
    parser.addoption("--packaging", action="store_true", help="test the built executable, image and unit")
    parser.addoption("--no-skips", action="store_true", help="a test that is skipped fails")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """They take minutes, and things that a machine need not have."""
    if not config.getoption("--packaging"):
        return collection_path == PACKAGING or None
    return (collection_path.parent == PACKAGING.parent and collection_path != PACKAGING) or None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where none is expected; its reason is what is told."""
    report = yield
    if report.skipped and item.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = ": ".join(map(str, report.longrepr)) if isinstance(report.longrepr, tuple) else None
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say beside the summary what ``scripts/test.py`` found before: else green tests hide failed checks."""
    if os.environ.get("FAILED_CHECKS"):
        terminalreporter.write_line("Some checks FAILED: see the beginning of this output.", red=True)


pytest.register_assert_rewrite(
    "support.answers", "support.background", "support.compose", "support.fleet", "support.gateway",
    "support.handlers", "support.parsed", "support.program", "support.recorder", "support.simulated",
)  # fmt: skip
