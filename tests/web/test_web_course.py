"""A coroutine that is driven without a task behaves as it would in one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from chatgpt_platform.web.course import Course
from support.loops import LOOPS, LoopFactory


class Driven:
    """A course and its coroutine, which says how it ended."""

    def __init__(self, work: Callable[[Driven], Coroutine[Any, Any, None]]) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.steps: list[str] = []
        self._work = work
        self._course = Course()
        self.cancel = self._course.cancel

    def start(self) -> None:
        self._course.run(self._whole())

    async def _whole(self) -> None:
        try:
            await self._work(self)
        except asyncio.CancelledError:
            self.ended.set_result("cancelled")
        else:
            self.ended.set_result("whole")


@pytest.fixture(params=LOOPS.values(), ids=list(LOOPS))
def on_loop(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    factory: LoopFactory = request.param

    def run(test: Any) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(test, 30))

    return run


OnLoop = Callable[[Awaitable[None]], None]


def test_it_runs_at_once_up_to_what_it_waits_for(on_loop: OnLoop) -> None:
    async def test() -> None:
        gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def work(course: Driven) -> None:
            course.steps.append("begun")
            course.steps.append(await gate)
            await asyncio.sleep(0)
            course.steps.append("after a turn")
            await asyncio.sleep(0.001)
            task = asyncio.create_task(asyncio.sleep(0, "from a task"))
            course.steps.append(await task)

        course = Driven(work)
        course.start()
        assert course.steps == ["begun"]
        gate.set_result("through")
        assert course.steps == ["begun"]
        assert await course.ended == "whole"
        assert course.steps == ["begun", "through", "after a turn", "from a task"]

    on_loop(test())


def test_an_error_of_what_it_waits_for_is_raised_where_it_waits(on_loop: OnLoop) -> None:
    async def test() -> None:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work(course: Driven) -> None:
            with pytest.raises(ValueError, match="no"):
                await gate
            course.steps.append("went on")

        course = Driven(work)
        course.start()
        gate.set_exception(ValueError("no"))
        assert await course.ended == "whole"
        assert course.steps == ["went on"]

    on_loop(test())


def test_cancelled_while_it_waits(on_loop: OnLoop) -> None:
    async def test() -> None:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work(_: Driven) -> None:
            await gate

        course = Driven(work)
        course.start()
        course.cancel()
        assert await course.ended == "cancelled"
        assert gate.cancelled()
        course.cancel()  # over: nothing happens
        await asyncio.sleep(0)

    on_loop(test())


def test_cancelled_once_what_it_waits_for_is_there(on_loop: OnLoop) -> None:
    async def test() -> None:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work(course: Driven) -> None:
            await gate
            course.steps.append("too far")

        course = Driven(work)
        course.start()
        gate.set_result(None)
        course.cancel()
        assert await course.ended == "cancelled"
        assert course.steps == []

    on_loop(test())


def test_cancelled_by_itself(on_loop: OnLoop) -> None:
    async def test() -> None:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work(course: Driven) -> None:
            course.cancel()
            course.steps.append("up to here")
            await gate
            course.steps.append("too far")

        course = Driven(work)
        course.start()
        assert await course.ended == "cancelled"
        assert course.steps == ["up to here"]

    on_loop(test())


def test_a_cancellation_may_be_swallowed(on_loop: OnLoop) -> None:
    async def test() -> None:
        gates: list[asyncio.Future[None]] = [asyncio.get_running_loop().create_future() for _ in range(2)]

        async def work(course: Driven) -> None:
            try:
                await gates[0]
            except asyncio.CancelledError:
                course.steps.append("cleaning up")
            await gates[1]
            course.steps.append("cleaned up")

        course = Driven(work)
        course.start()
        course.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gates[1].set_result(None)
        assert await course.ended == "whole"
        assert course.steps == ["cleaning up", "cleaned up"]

    on_loop(test())


def test_what_is_done_about_a_cancellation_may_wait(on_loop: OnLoop) -> None:
    async def test() -> None:
        gates: list[asyncio.Future[None]] = [asyncio.get_running_loop().create_future() for _ in range(2)]

        async def work(course: Driven) -> None:
            try:
                await gates[0]
            finally:
                await gates[1]
                course.steps.append("cleaned up")

        course = Driven(work)
        course.start()
        gates[0].set_result(None)
        course.cancel()  # too late for what it waited for, so it is told when it goes on
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gates[1].set_result(None)
        assert await course.ended == "cancelled"
        assert course.steps == ["cleaned up"]

    on_loop(test())
