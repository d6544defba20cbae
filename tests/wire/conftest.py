"""For the tests of the wire: coroutine tests run on each event loop, and nothing may be left or said behind.

An ``async def test_...`` runs once on the stock asyncio loop and once on uvloop, where there is one. It fails
if the loop's exception handler is called, if a warning or an error is logged that it has not announced
(``expected_log``), or if tasks, sockets or transports are left.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.applications import SERVERS, Serve
from support.attacked import Target, attacked
from support.collection import quick_collection as quick_collection
from support.loops import LOOPS, LoopFactory

PATIENCE = 30.0  # seconds: a guard against hanging


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if inspect.iscoroutinefunction(metafunc.function):
        metafunc.fixturenames.append("loop_factory")
        metafunc.parametrize("loop_factory", LOOPS.values(), ids=LOOPS)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    loop_factory: Any = pyfuncitem.callspec.params["loop_factory"]
    _run(loop_factory, lambda: pyfuncitem.obj(**arguments))
    return True


def _run(loop_factory: LoopFactory, test: Callable[[], Any]) -> None:
    said: list[str] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(str(context)))
        async with asyncio.timeout(PATIENCE):
            await test()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:  # those that are just ending may end
            _, lost = await asyncio.wait(others, timeout=2.0)
            assert not lost, f"tasks left running: {sorted(task.get_name() for task in lost)}"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert said == [], "the loop had to handle an exception"


@pytest.fixture(params=list(SERVERS.values()), ids=list(SERVERS))
def serve(request: pytest.FixtureRequest) -> Serve:
    """For a Tornado application: on the wire, and on Tornado's own server."""
    given: Serve = request.param
    return given


@pytest.fixture
def expected_log() -> list[str]:
    """Parts of the warnings and errors that a test provokes on purpose, in their order: it appends them."""
    return []


@pytest.fixture(autouse=True)
def silence(
    quick_collection: None,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    expected_log: list[str],
) -> Iterator[None]:
    """Tasks and sockets that were lost speak up when they are collected; logs say nothing unannounced."""
    yield
    if inspect.iscoroutinefunction(request.function):
        gc.collect()
    loud = [record.getMessage() for record in caplog.get_records("call") if record.levelno > logging.INFO]
    assert len(loud) == len(expected_log), loud
    for line, part in zip(loud, expected_log, strict=True):
        assert part in line


@pytest.fixture(scope="module")
def module_target() -> Iterator[Target]:
    """A gateway for the attacks of one module."""
    with attacked({"CHATGPT_SERVER__MAX_BODY": "16KiB"}) as target:
        yield target
