"""What holds for every test here: whatever happens on the wire, asyncio has nothing to say about it.

Coroutine tests run on each event loop of the platform.
"""

from __future__ import annotations

import gc
import inspect
import logging
from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop
from tornado.platform.asyncio import AsyncIOLoop

from support.collection import quick_collection as quick_collection
from support.loops import LOOPS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if inspect.iscoroutinefunction(metafunc.function):
        metafunc.parametrize("io_loop", LOOPS.values(), ids=LOOPS, indirect=True)


@pytest.fixture(autouse=True)
def io_loop(request: pytest.FixtureRequest) -> Iterator[IOLoop | None]:
    """In place of pytest-tornado's, which knows only the stock loop; None where a test asks for no loop."""
    if not hasattr(request, "param"):
        yield None
        return
    loop = AsyncIOLoop(asyncio_loop=request.param())  # which makes it the current one
    yield loop
    loop.close(all_fds=True)


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
