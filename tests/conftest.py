"""For all tests: asserts in the helpers explain themselves as those in the tests do."""

import asyncio
import importlib
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
    """``--packaging``: the tests of what is built, and only these. ``--no-skips``: all of them. ``--native``: what
    is tested is compiled; ``scripts/test.py`` sees to it."""
    parser.addoption("--packaging", action="store_true", help="test the built executable, image and unit")
    parser.addoption("--no-skips", action="store_true", help="a test that is skipped fails")
    parser.addoption("--native", action="store_true", help="test the native modules: through scripts/test.py")


def pytest_configure(config: pytest.Config) -> None:
    """Green tests of the wrong modules would tell nothing."""
    if config.getoption("--native"):
        file = str(importlib.import_module("chatgpt_platform.gateway.gateway").__file__)
        if file.endswith(".py"):
            raise pytest.UsageError(f"--native: {file} is not native; run scripts/test.py --native")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--native``, skip what is marked as ``interpreted``; the mark may say why."""
    if config.getoption("--native"):
        for item in items:
            if mark := item.get_closest_marker("interpreted"):
                why = mark.args[0] if mark.args else "replaces what native modules do not let be replaced"
                item.add_marker(pytest.mark.skip(reason=f"interpreted: {why}"))


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
