"""What holds for every test here: whatever happens on the wire, asyncio has nothing to say about it."""

from __future__ import annotations

import gc
import inspect
import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package")
def quick_collection() -> Iterator[None]:
    """Collect only what the tests here leave: what was imported before stays anyway."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def silence(
    quick_collection: None, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """No log line, no task lost, no socket left open: the last two speak up when they are collected."""
    yield
    if inspect.iscoroutinefunction(request.function):
        gc.collect()
    loud = [record.getMessage() for record in caplog.get_records("call") if record.levelno > logging.INFO]
    assert not loud
