"""What came while the program stood still is read before anybody is told to have been too slow."""

from __future__ import annotations

import asyncio
import time

import pytest

from chatgpt_platform.wire import deadline
from chatgpt_platform.wire.deadline import Deadline

pytestmark = pytest.mark.interpreted("replaces constants, which are compiled in")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "STANDSTILL", 0.1)
    monkeypatch.setattr(deadline, "GRACE", 0.2)


def stand_still() -> None:
    time.sleep(0.3)


async def test_progress_that_is_seen_late_counts() -> None:
    expired = asyncio.get_running_loop().create_future()
    phases = Deadline(asyncio.get_running_loop(), expired.set_result)
    phases.expect(0.05, "read")
    stand_still()
    # The timer comes first, as with uvloop after SIGCONT.
    asyncio.get_running_loop().call_later(0.01, phases.expect, 20, "read")
    await asyncio.wait((expired,), timeout=0.4)
    assert not expired.done()
    phases.close()


async def test_silence_counts_as_before() -> None:
    expired = asyncio.get_running_loop().create_future()
    phases = Deadline(asyncio.get_running_loop(), expired.set_result)
    phases.expect(0.05, "read")
    stand_still()
    assert await asyncio.wait_for(expired, 20) == "read"


async def test_time_is_given_once() -> None:
    """Else a program that is always late would never end anything."""
    expired = asyncio.get_running_loop().create_future()
    phases = Deadline(asyncio.get_running_loop(), expired.set_result)
    phases.expect(0.05, "read")
    stand_still()
    await asyncio.sleep(0.05)
    assert not expired.done()
    time.sleep(0.4)  # noqa: ASYNC251 - late again
    assert await asyncio.wait_for(expired, 20) == "read"
