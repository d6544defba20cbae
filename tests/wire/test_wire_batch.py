from __future__ import annotations

import asyncio

from chatgpt_platform.wire.batch import Batch


async def test_what_one_turn_adds_is_done_together_and_in_order() -> None:
    loop = asyncio.get_running_loop()
    done: list[str] = []
    batch = Batch(loop, done.append)
    for item in "abc":
        batch.add(item)
    loop.call_soon(done.append, "next in the turn")
    assert done == []
    await asyncio.sleep(0)
    assert done == ["a", "b", "c", "next in the turn"]
    batch.add("d")
    await asyncio.sleep(0)
    assert done[-1] == "d"


async def test_what_a_step_adds_has_the_next_turn() -> None:
    done: list[int] = []

    def step(item: int) -> None:
        done.append(item)
        if item < 3:
            batch.add(item + 1)

    batch = Batch(asyncio.get_running_loop(), step)
    batch.add(1)
    await asyncio.sleep(0)
    assert done == [1]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == [1, 2, 3]


async def test_one_that_fails_does_not_stop_the_others() -> None:
    loop = asyncio.get_running_loop()
    said: list[object] = []
    loop.set_exception_handler(lambda _, context: said.append(context["exception"]))
    done: list[int] = []
    failure = ValueError("no")

    def step(item: int) -> None:
        if item == 2:
            raise failure
        done.append(item)

    batch = Batch(loop, step)
    for item in (1, 2, 3):
        batch.add(item)
    await asyncio.sleep(0)
    assert (done, said) == ([1, 3], [failure])
