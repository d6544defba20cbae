"""One upstream: what it is sent, what it remembers of calls, and what it says of them: once, and no key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.settings.secret import Secret
from chatgpt_platform.upstream.breaker import FAILURES, FIRST
from chatgpt_platform.upstream.keys import ASIDE, REST, State
from chatgpt_platform.upstream.upstream import Upstream
from support.inside import inside
from support.scripted import Peer, RawServer
from support.upstreams import upstream

DOWN = Problem(Kind.BAD_UPSTREAM, "upstream_unreachable", detail="127.0.0.1:9 refused the connection")
APART = logging.Logger("apart")
"""Below no other, so that what is said on purpose is heard here only."""


class Lines(logging.Handler):
    """What was said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.levelno == logging.WARNING
        self.lines.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines that the upstreams of a test write, kept from everybody else."""
    handler = Lines()
    APART.addHandler(handler)
    yield handler.lines
    APART.removeHandler(handler)


def of(keys: int = 1) -> Upstream:
    return Upstream(upstream("a", keys=keys), APART)


def fail(it: Upstream, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        it.failed(object(), DOWN, now)


async def answered(it: Upstream, number: int = 1) -> None:
    """The loop's time tells whether a key still rests."""
    it.answered(it.keys.keys[number - 1])


# What it says.


def test_that_it_is_down_and_that_it_answers_again_are_said_once(said: list[str]) -> None:
    it = of()
    fail(it, FAILURES + 3)
    assert said == [f"a: is taken to be down, and left alone for 0.5 s: {DOWN}"]
    assert "127.0.0.1:9 refused the connection" in said[0]
    assert it.last_problem is DOWN
    for _ in range(3):
        asyncio.run(answered(it))
    assert said[1:] == ["a: answers again"]


def test_a_connection_is_all_that_was_wanting_where_none_came_about(said: list[str]) -> None:
    it = of()
    unreachable = Problem(Kind.BAD_UPSTREAM, "upstream_unreachable", safe=True)
    for _ in range(FAILURES):
        it.failed(object(), unreachable, 0.0)
    it.reached()
    it.reached()
    assert said[1:] == ["a: can be reached again"]
    assert it.admits(0.0)


def test_a_connection_says_nothing_of_one_that_answers_badly(said: list[str]) -> None:
    it = of()
    fail(it, FAILURES)
    it.reached()
    assert len(said) == 1
    assert not it.admits(0.0)


def test_that_a_try_has_failed_is_not_said(said: list[str]) -> None:
    it = of()
    fail(it, FAILURES)
    call = object()
    it.breaker.began(call, FIRST)
    it.failed(call, DOWN, FIRST)
    assert len(said) == 1
    assert it.breaker.opens_in(FIRST) == 2 * FIRST


def test_fewer_failures_say_nothing(said: list[str]) -> None:
    it = of()
    fail(it, FAILURES - 1)
    asyncio.run(answered(it))
    fail(it, FAILURES - 1)
    assert said == []
    assert it.admits(0.0)


def test_a_key_that_does_not_work_is_told_by_its_number_and_once(said: list[str]) -> None:
    it = of(keys=3)
    for number in (0.0, 0.1, 0.2):
        it.refused(it.keys.keys[1], number, "401, it was refused")
    assert said == ["a: key 2 does not work (401, it was refused): it is set aside"]
    asyncio.run(answered(it, number=2))
    asyncio.run(answered(it, number=2))
    assert said[1:] == ["a: key 2 works again"]
    it.refused(it.keys.keys[1], 0.0, "402, no credit left")
    assert said[2:] == ["a: key 2 does not work (402, no credit left): it is set aside"]


def test_the_only_key_is_used_all_the_same_and_that_is_said(said: list[str]) -> None:
    it = of()
    for number in range(5):
        it.refused(it.keys.keys[0], float(number), "401, it was refused")
        assert it.keys.pick(float(number)) is it.keys.keys[0]
    assert said == ["a: key 1 does not work (401, it was refused): it is the only one, and used all the same"]


def test_a_busy_key_rests_and_nothing_is_said(said: list[str]) -> None:
    it = of(keys=2)
    it.busy(it.keys.keys[0], 0.0, 7.0)
    it.busy(it.keys.keys[1], 0.0, None)
    assert [it.keys.rests_for(0.0), it.keys.keys[0].ready_at] == [REST, 7.0]
    assert said == []
    assert it.breaker.failures == 0, "it has answered"


def test_a_callers_own_key_is_nobody_elses_affair(said: list[str]) -> None:
    it = of()
    own = it.own_key("sk-of-the-caller")
    it.refused(own, 0.0, "401, it was refused")
    it.busy(own, 0.0, 100.0)
    it.answered(own)  # needs no loop
    assert said == []
    assert own.state(0.0) is State.WORKS
    assert it.keys.calm


def test_no_line_and_no_repr_holds_a_key(said: list[str]) -> None:
    it = Upstream(upstream("a", keys=2, headers={"x-secret": Secret("sk-header")}, proxy=Secret("")), APART)
    for each in it.keys.keys:
        it.refused(each, 0.0, "401, it was refused")
    asyncio.run(answered(it))
    fail(it, FAILURES)
    text = "".join([*said, repr(it), inside(it), repr(it.keys.keys), repr(it.own_key("sk-own"))])
    assert "sk-" not in text
    assert len(said) == 4
    assert repr(it) == "<Upstream a>"


def test_lines_go_to_the_logger_of_the_moment(said: list[str]) -> None:
    """A reload brings another one, and the upstream stays."""
    it = Upstream(upstream("a"), logging.getLogger("another"))
    it.logger = APART
    fail(it, FAILURES)
    assert len(said) == 1


# What it takes.


def test_a_cap_on_its_calls() -> None:
    it = Upstream(upstream("a", concurrency=2), APART)
    for it.under_way, full in ((0, False), (1, False), (2, True), (3, True)):
        assert it.full is full
        assert it.admits(0.0) is not full
    it = of()
    it.under_way = 10**6
    assert not it.full


def test_an_open_breaker_admits_none(said: list[str]) -> None:
    it = of()
    fail(it, FAILURES)
    assert not it.admits(FIRST / 2)
    assert it.admits(FIRST)


@pytest.mark.parametrize(("number", "waits"), [(1, ASIDE), (2, 0.0)])
def test_a_refused_key_alone_waits(number: int, waits: float, said: list[str]) -> None:
    it = of(keys=2)
    it.refused(it.keys.keys[0], 0.0, "401, it was refused")
    assert it.keys.keys[number - 1].ready_at == waits


# What it is sent.


async def answers(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await peer.gone()


async def sent(settings: dict[str, Any]) -> list[bytes]:
    """The lines of a call to it."""
    async with RawServer(answers) as server:
        it = Upstream(upstream("a", base_url=server.url + "/v1", **settings), APART)
        response = it.begin(
            b"POST",
            it.dialect.path(b"/chat/completions", "gpt"),
            it.keys.keys[0],
            b"accept: x\r\n",
            b"{}",
            b"traceparent: t\r\n",
            0.0,
        )
        assert it.under_way == 1
        await response.head()
        response.close()
        await it.client.close()
        return server.peers[0].requests[0].split(b"\r\n")


@pytest.mark.gen_test
async def test_a_call_brings_key_own_headers_and_trace() -> None:
    lines = await sent({"headers": {"X-Team": Secret("blue")}})
    assert lines[0] == b"POST /v1/chat/completions HTTP/1.1"
    for line in (b"Authorization: Bearer sk-a-1", b"X-Team: blue", b"accept: x", b"traceparent: t"):
        assert lines.count(line) == 1


@pytest.mark.gen_test
async def test_azure_is_asked_at_the_deployments_path_with_its_own_header() -> None:
    lines = await sent({"api": "azure", "api_version": "2024-10-21"})
    assert lines[0] == b"POST /v1/openai/deployments/gpt/chat/completions?api-version=2024-10-21 HTTP/1.1"
    assert b"api-key: sk-a-1" in lines
    assert not any(line.lower().startswith(b"authorization") for line in lines)


@pytest.mark.gen_test
async def test_a_call_that_cannot_be_written_is_not_under_way() -> None:
    """A fault of ours, of which nothing may be left over."""
    it = of()
    with pytest.raises(ValueError, match="framing"):
        it.begin(b"POST", b"/bad path", it.keys.keys[0], b"", b"{}", b"", 0.0)
    assert it.under_way == 0


@pytest.mark.gen_test
async def test_the_one_that_tries_is_the_call_that_was_sent(said: list[str]) -> None:
    async with RawServer(answers) as server:
        it = Upstream(upstream("a", base_url=server.url), APART)
        fail(it, FAILURES)
        assert it.admits(FIRST)
        response = it.begin(b"GET", b"/", it.keys.keys[0], b"", b"", b"", 0.0)
        assert not it.admits(FIRST)
        it.breaker.ended(object())
        assert not it.admits(FIRST)
        it.breaker.ended(response)
        assert it.admits(FIRST)
        await response.head()
        response.close()
        await it.client.close()
