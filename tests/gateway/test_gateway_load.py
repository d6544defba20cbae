"""Places for calls: never too many, none is lost, and those that wait go on in their order."""

from __future__ import annotations

import asyncio
import gc
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway.load import Load
from chatgpt_platform.observe.metrics import Metrics
from chatgpt_platform.settings import schema
from chatgpt_platform.web.course import Course
from support.clock import FakeTimeLoop


class Caller:
    """A call as the gateway has it: what it took it gives back at its end, however that comes."""

    def __init__(self, load: Load, client: str, *, breaks: bool = False) -> None:
        self.load = load
        self.client = client
        self.placed = False
        self.breaks = breaks
        """Its attempt raises from the second time on."""
        self.attempts = 0
        self.end = "waits"
        self._leave = asyncio.get_running_loop().create_future()

    def attempt(self) -> bool:
        self.attempts += 1
        if self.breaks and self.attempts > 1:
            raise RuntimeError("the attempt failed")
        self.placed = self.load.enter(self.client)
        return self.placed

    async def run(self) -> None:
        try:
            await self.load.wait(self.client, self.attempt)
            self.end = "in"
            await self._leave
            self.end = "left"
        except Problem as problem:
            self.end = f"{problem.kind.status}: {problem.detail}"
        except RuntimeError:
            self.end = "broken"
        except asyncio.CancelledError:
            self.end = "cancelled"
        finally:
            if self.placed:
                self.placed = False
                self.load.leave(self.client)
            self.load.wake()

    def leave(self) -> None:
        self._leave.set_result(None)


class Door:
    """A Load on a loop whose time stands still, and the callers that came."""

    def __init__(self, loop: FakeTimeLoop, **settings: Any) -> None:
        self.loop = loop
        self.metrics = Metrics()
        self.load = Load(schema.Load(**settings), self.metrics)
        self.tasks: dict[Caller, asyncio.Task[None]] = {}

    def come(self, client: str = "c", *, breaks: bool = False) -> Caller:
        async def begin() -> Caller:
            caller = Caller(self.load, client, breaks=breaks)
            self.tasks[caller] = asyncio.create_task(caller.run(), name="caller")
            return caller

        caller = self.loop.run_until_complete(begin())
        self.loop.settle()
        return caller

    def leave(self, caller: Caller) -> None:
        caller.leave()
        self.loop.settle()

    def cancel(self, caller: Caller) -> None:
        self.tasks[caller].cancel()
        self.loop.settle()

    def empty(self) -> None:
        """All go, and nothing is left."""
        for caller, task in self.tasks.items():
            if caller.end == "in":
                caller.leave()
            task.cancel()
        self.loop.settle()
        assert all(task.done() for task in self.tasks.values())
        assert (self.load.under_way, self.load.queue, self.load._of_client) == (0, [], {})


@pytest.fixture
def loop() -> Iterator[FakeTimeLoop]:
    with FakeTimeLoop() as loop:
        yield loop
        gc.collect()


def ends(*callers: Caller) -> list[str]:
    return [caller.end for caller in callers]


# Places.


def test_no_more_than_there_are_places(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls=2)
    callers = [door.come() for _ in range(4)]
    assert ends(*callers) == ["in", "in", "waits", "waits"]
    door.leave(callers[0])
    assert ends(*callers) == ["left", "in", "in", "waits"]
    assert door.load.entered == 3
    door.empty()


def test_zero_is_no_cap(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls=0, calls_per_client=0)
    assert set(ends(*(door.come() for _ in range(50)))) == {"in"}
    door.empty()


def test_no_more_than_each_client_may_have(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls_per_client=1)
    first, second, other = door.come("a"), door.come("a"), door.come("b")
    assert ends(first, second, other) == ["in", "waits", "in"], "who waits is in nobody else's way"
    door.leave(other)
    assert second.end == "waits"
    door.leave(first)
    assert second.end == "in"
    door.empty()


# The queue.


def test_those_that_wait_go_on_in_the_order_in_which_they_came(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls=1)
    callers = [door.come(str(number)) for number in range(5)]
    for number in range(4):
        door.leave(callers[number])
        assert ends(*callers) == ["left"] * (number + 1) + ["in"] + ["waits"] * (3 - number)
    door.empty()


def test_a_full_queue_turns_the_next_away(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls=1, queue=4, wait=2.0)
    callers = [door.come(str(number)) for number in range(6)]
    assert ends(*callers) == ["in", *["waits"] * 4, "503: too many calls wait already"]
    assert door.metrics.refusals == {"queue": 1}
    door.empty()


def test_a_queue_of_none(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls=1, queue=0)
    assert ends(door.come(), door.come()) == ["in", "503: too many calls wait already"]
    door.empty()


@pytest.mark.parametrize("queue", [1, 2, 3, 4, 5, 8, 9, 100])
def test_no_client_fills_the_queue_by_itself(loop: FakeTimeLoop, queue: int) -> None:
    door = Door(loop, calls=1, queue=queue)
    door.come("first")
    callers = [door.come("greedy") for _ in range(queue + 2)]
    waiting = [caller for caller in callers if caller.end == "waits"]
    assert len(waiting) == math.ceil(queue / 4)
    assert door.metrics.refusals["queue" if queue == 1 else "client"] == len(callers) - len(waiting)
    if queue > 1:
        assert door.come("modest").end == "waits"
    door.empty()


def test_who_has_waited_for_too_long_is_turned_away(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls=1, wait=2.5)
    first, second = door.come(), door.come()
    loop.advance(2.25)
    assert second.end == "waits"
    loop.advance(0.25)
    assert ends(first, second) == ["in", "503: no place was free within 2.5 s"]
    assert door.load.queue == []
    assert door.metrics.refusals == {"wait": 1}
    door.empty()


def test_a_refusal_says_when_to_come_again(loop: FakeTimeLoop) -> None:
    load = Load(schema.Load(calls=1, queue=0, wait=2.5), Metrics())
    load.enter("a")
    with pytest.raises(Problem) as caught:
        loop.run_until_complete(load.wait("b", lambda: load.enter("b")))
    problem = caught.value
    assert (problem.kind, problem.text, problem.retry_after) == (Kind.UNAVAILABLE, "overloaded", 3)
    assert problem.values == {"seconds": 3}


def test_a_place_and_the_end_of_the_wait_at_once(loop: FakeTimeLoop) -> None:
    """Whichever comes first counts, and nothing is lost: the timer is due, and a place becomes free."""
    door = Door(loop, calls=1, wait=1.0)
    first, second = door.come(), door.come()
    loop.now += 1.0
    first.leave()
    loop.settle()
    assert second.end in ("in", "503: no place was free within 1 s")
    assert door.load.under_way == (second.end == "in")
    door.empty()


# Ends.


def test_a_call_that_leaves_while_it_waits_takes_nothing(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls=1)
    first, second, third = (door.come() for _ in range(3))
    door.cancel(second)
    assert (second.end, len(door.load.queue)) == ("cancelled", 1)
    door.leave(first)
    assert third.end == "in"
    door.empty()


def test_a_call_cancelled_as_it_gets_its_place_gives_it_back(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls=1)
    first, second, third = (door.come() for _ in range(3))

    async def both() -> None:
        door.load.leave(first.client)
        first.placed = False
        door.load.wake()
        assert second.placed, "it has its place"
        door.tasks[second].cancel()  # and does not know yet

    loop.run_until_complete(both())
    loop.settle()
    assert ends(second, third) == ["cancelled", "in"]
    assert door.load.under_way == 1
    door.empty()


def test_an_attempt_that_fails_is_that_calls_affair(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls=1)
    first, bad, third = door.come(), door.come(breaks=True), door.come()
    door.leave(first)
    assert ends(first, bad, third) == ["left", "broken", "in"]
    door.empty()


def test_an_attempt_that_fails_at_once_raises_and_waits_for_nothing(loop: FakeTimeLoop) -> None:
    load = Load(schema.Load(), Metrics())

    def attempt() -> bool:
        raise RuntimeError("the attempt failed")

    with pytest.raises(RuntimeError):
        loop.run_until_complete(load.wait("a", attempt))
    assert load.queue == []


def test_an_attempt_that_fails_for_a_call_whose_caller_leaves_just_then_is_nobodys_affair(
    loop: FakeTimeLoop,
) -> None:
    """Nor does asyncio complain of it, although nobody looks at the exception."""
    load = Load(schema.Load(calls=1), Metrics())

    async def story() -> None:
        load.enter("first")
        bad = Caller(load, "c", breaks=True)
        course = Course()
        course.run(bad.run())
        load.wake()
        course.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert bad.end == "cancelled"

    loop.run_until_complete(story())
    gc.collect()
    assert loop.complaints == []


# Another configuration.


def test_more_places_are_taken_at_once(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls=1, calls_per_client=1)
    callers = [door.come("a"), door.come("a"), door.come("b")]
    door.load.reconfigure(schema.Load(calls=2, calls_per_client=1))
    loop.settle()
    assert ends(*callers) == ["in", "waits", "in"]
    door.load.reconfigure(schema.Load(calls=3, calls_per_client=2))
    loop.settle()
    assert ends(*callers) == ["in", "in", "in"]
    door.empty()


def test_fewer_places_end_nobodys_call(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls=3)
    callers = [door.come() for _ in range(4)]
    door.load.reconfigure(schema.Load(calls=1))
    assert ends(*callers) == ["in", "in", "in", "waits"]
    for caller, under_way in zip(callers[:3], (2, 1, 1), strict=True):
        door.leave(caller)
        assert door.load.under_way == under_way
    assert callers[3].end == "in"
    door.empty()


def test_a_cap_for_each_client_that_comes_and_goes_leaves_no_count(loop: FakeTimeLoop) -> None:
    door = Door(loop, calls_per_client=0)
    callers = [door.come("a") for _ in range(3)]
    door.load.reconfigure(schema.Load(calls_per_client=2))
    callers += [door.come("a") for _ in range(2)]
    door.load.reconfigure(schema.Load(calls_per_client=0))
    callers += [door.come("a")]
    assert set(ends(*callers)) == {"in"}
    for caller in callers:
        door.leave(caller)
    assert (door.load.under_way, door.load._of_client) == (0, {})
    door.empty()


class Doors(RuleBasedStateMachine):
    """Calls come, leave, are cancelled, fail and wait too long, and the configuration changes, in any order."""

    @initialize(per_client=st.booleans(), data=st.data())
    def begin(self, per_client: bool, data: st.DataObject) -> None:
        self.per_client = per_client
        self.loop = FakeTimeLoop()
        self.door = Door(self.loop, **self.draw(data))

    def draw(self, data: st.DataObject) -> dict[str, Any]:
        self.settings = {
            "calls": data.draw(st.integers(0, 4)),
            "calls_per_client": data.draw(st.integers(1, 3)) if self.per_client else 0,
            "queue": data.draw(st.integers(0, 9)),
            "wait": 2.0,
        }
        self.most = self.settings["calls"] or math.inf
        self.most_of_client = self.settings["calls_per_client"] or math.inf
        return self.settings

    def callers(self, end: str) -> list[Caller]:
        return [caller for caller in self.door.tasks if caller.end == end]

    def could(self, client: str) -> bool:
        inside = Counter(caller.client for caller in self.callers("in"))
        return inside.total() < self.most and inside[client] < self.most_of_client

    @rule(client=st.sampled_from("abc"), breaks=st.booleans())
    def come(self, client: str, breaks: bool) -> None:
        could, queue = self.could(client), self.callers("waits")
        caller = self.door.come(client, breaks=breaks)
        of_client = sum(each.client == client for each in queue)
        if could:
            assert caller.end == "in"
        elif len(queue) >= self.settings["queue"]:
            assert caller.end == "503: too many calls wait already"
        elif 4 * of_client >= self.settings["queue"]:
            assert caller.end == "503: too many calls of this client wait already"
        else:
            assert caller.end == "waits"

    @precondition(lambda self: self.callers("in"))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiting = self.callers("waits")
        caller = data.draw(st.sampled_from(self.callers("in")))
        self.door.leave(caller)
        assert caller.end == "left"
        gone_on = [each for each in waiting if each.end != "waits"]
        for passed_over in (each for each in waiting if each.end == "waits"):
            behind = waiting[waiting.index(passed_over) :]
            assert not any(
                each.client == passed_over.client and not each.breaks for each in behind if each in gone_on
            )

    @precondition(lambda self: self.callers("waits") + self.callers("in"))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from(self.callers("waits") + self.callers("in")))
        self.door.cancel(caller)
        assert caller.end == "cancelled"

    @precondition(lambda self: self.callers("waits") and self.callers("in"))
    @rule(data=st.data())
    def leave_and_cancel_at_once(self, data: st.DataObject) -> None:
        leaving = data.draw(st.sampled_from(self.callers("in")))
        cancelled = data.draw(st.sampled_from(self.callers("waits")))
        leaving.leave()
        self.loop.call_soon(self.door.tasks[cancelled].cancel)
        self.loop.settle()
        assert leaving.end == "left"
        assert cancelled.end in ("cancelled", "broken")

    @rule(seconds=st.sampled_from([0.25, 1.0, 2.0]))
    def pass_time(self, seconds: float) -> None:
        self.loop.advance(seconds)

    @rule(data=st.data())
    def reconfigure(self, data: st.DataObject) -> None:
        self.door.load.reconfigure(schema.Load(**self.draw(data)))
        self.loop.settle()

    @invariant()
    def all_is_counted(self) -> None:
        load, inside, waiting = self.door.load, self.callers("in"), self.callers("waits")
        assert load.under_way == len(inside)
        assert [each.client for each in load.queue] == [each.client for each in waiting]
        assert load._of_client == (Counter(each.client for each in inside) if self.per_client else {})
        assert not any(self.could(each.client) for each in waiting), "a place is free, and it waits"
        assert self.loop.complaints == []

    def teardown(self) -> None:
        if hasattr(self, "door"):
            self.door.empty()
            self.loop.close()


TestDoors = Doors.TestCase
