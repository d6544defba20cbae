"""Heartbeats come where nothing else does, in time and no more often than they must."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.web.pulse import Pulse
from support.clock import FakeTimeLoop

EVERY = 16.0
STEP = 0.25


class Reader:
    """One that is sent bytes, and heartbeats: when each came."""

    def __init__(self, loop: FakeTimeLoop, *, takes_beats: bool = True) -> None:
        self.loop = loop
        self.sent = 0
        self.times = [loop.now]
        self.beats: list[float] = []
        self._takes_beats = takes_beats
        self.pulse = Pulse(loop, EVERY, lambda: self.sent, self._beat)

    def send(self) -> None:
        self.sent += 1
        self.times.append(self.loop.now)

    def _beat(self) -> None:
        self.beats.append(self.loop.now)
        if self._takes_beats:
            self.send()


@pytest.fixture
def loop() -> Iterator[FakeTimeLoop]:
    with FakeTimeLoop() as loop:
        yield loop


def test_a_silent_stream_gets_a_beat_before_its_time_and_then_again(loop: FakeTimeLoop) -> None:
    reader = Reader(loop)
    loop.advance(4 * EVERY)
    gaps = [later - earlier for earlier, later in zip(reader.times, reader.times[1:], strict=False)]
    assert len(gaps) >= 4
    assert all(EVERY / 2 <= gap <= EVERY for gap in gaps)


def test_while_bytes_flow_there_is_none(loop: FakeTimeLoop) -> None:
    reader = Reader(loop)
    for _ in range(100):
        reader.send()
        loop.advance(EVERY / 2)
    assert reader.beats == []


def test_none_after_its_end(loop: FakeTimeLoop) -> None:
    reader = Reader(loop)
    loop.advance(EVERY)
    count = len(reader.beats)
    assert count == 1
    reader.pulse.stop()
    loop.advance(10 * EVERY)
    assert len(reader.beats) == count
    reader.pulse.stop()


def test_none_when_it_is_stopped_by_a_beat(loop: FakeTimeLoop) -> None:
    """As where what it sends finds that the client is gone."""
    beats: list[float] = []

    def beat() -> None:
        beats.append(loop.now)
        pulse.stop()

    pulse = Pulse(loop, EVERY, lambda: 0, beat)
    loop.advance(10 * EVERY)
    assert len(beats) == 1


def test_where_a_beat_cannot_be_sent_just_then_it_is_asked_for_again(loop: FakeTimeLoop) -> None:
    """In the midst of an event."""
    reader = Reader(loop, takes_beats=False)
    loop.advance(4 * EVERY)
    assert len(reader.beats) >= 4


def test_its_own_beats_do_not_count_as_life(loop: FakeTimeLoop) -> None:
    reader = Reader(loop)
    loop.advance(100 * EVERY)
    assert 100 <= len(reader.beats) <= 200


def test_two_streams_have_pulses_of_their_own(loop: FakeTimeLoop) -> None:
    silent, busy = Reader(loop), Reader(loop)
    for _ in range(10):
        busy.send()
        loop.advance(EVERY / 2)
    assert len(silent.beats) >= 5
    assert busy.beats == []


@given(st.lists(st.integers(1, 200), max_size=30))
def test_never_later_than_promised_and_never_needlessly(pauses: list[int]) -> None:
    """Whenever something is sent, no silence lasts for longer; and before each beat there was one."""
    with FakeTimeLoop() as loop:
        reader = Reader(loop)
        for pause in [*pauses, 100]:
            loop.advance(pause * STEP, STEP)
            reader.send()
        gaps = [later - earlier for earlier, later in zip(reader.times, reader.times[1:], strict=False)]
        assert max(gaps) <= EVERY
        for beat in reader.beats:
            before = max(time for time in reader.times if time < beat)
            assert beat - before >= EVERY / 2
        reader.pulse.stop()
