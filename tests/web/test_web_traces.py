"""W3C Trace Context: a trace is handed on as it came and named in the log; what is not valid is none."""

from __future__ import annotations

import pytest

from support.fleet import SHAPE_NAMES, SHAPES, ask, fleet, up
from support.gateway import wait_until
from support.ways import WAYS

WAYS = WAYS[:1]  # but for those that are marked
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
STATE = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"


@pytest.mark.every_way
@pytest.mark.parametrize(("api", "stream"), SHAPES, ids=SHAPE_NAMES)
def test_a_trace_is_handed_on_and_logged(api: str, stream: bool) -> None:
    with fleet(up("first", fail="503-bare"), up("spare", priority=1)) as running:
        assert ask(running, api, stream=stream, headers={"traceparent": PARENT, "tracestate": STATE}).good
        for simulator in running.simulators.values():
            headers = simulator.seen[-1].headers
            assert (headers["traceparent"], headers["tracestate"]) == (PARENT, STATE)
        assert running.record()["trace_id"] == TRACE


def test_each_call_has_its_own() -> None:
    with fleet(up("only")) as running:
        for number in range(1, 4):
            trace = f"{number:032x}"
            assert ask(running, "openai", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-00"}).good
            assert running.simulator.seen[-1].headers["traceparent"] == f"00-{trace}-b7ad6b7169203331-00"
        assert ask(running, "openai").good
        assert "traceparent" not in running.simulator.seen[-1].headers
        wait_until(lambda: len(running.records()) == 4)
        assert [each.get("trace_id") for each in running.records()] == [f"{each:032x}" for each in (1, 2, 3)] + [
            None
        ]


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "hello",
        f"00-{TRACE}-b7ad6b7169203331",
        f"00-{TRACE}-b7ad6b7169203331-01-more",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-b7ad6b7169203331-01",
        f"00-{TRACE}-b7ad6b7169203331-0g",
        f"{PARENT}, {PARENT}",
    ],
)
def test_one_that_is_not_valid_is_dropped_with_its_state(parent: str) -> None:
    with fleet(up("only")) as running:
        for api in ("platform", "openai"):
            assert ask(running, api, headers={"traceparent": parent, "tracestate": STATE}).good
            headers = running.simulator.seen[-1].headers
            assert "traceparent" not in headers
            assert "tracestate" not in headers
        wait_until(lambda: len(running.records()) == 2)
        assert all("trace_id" not in record for record in running.records())


def test_a_later_version_is_handed_on_whole() -> None:
    later = f"cc-{TRACE}-b7ad6b7169203331-01-what-the-future-brings"
    with fleet(up("only")) as running:
        assert ask(running, "openai", headers={"traceparent": later}).good
        assert running.simulator.seen[-1].headers["traceparent"] == later
        assert running.record()["trace_id"] == TRACE


def test_a_state_alone_or_too_long_is_dropped() -> None:
    with fleet(up("only")) as running:
        assert ask(running, "openai", headers={"tracestate": STATE}).good
        assert "tracestate" not in running.simulator.seen[-1].headers
        assert ask(running, "openai", headers={"traceparent": PARENT, "tracestate": "a=" + "b" * 600}).good
        headers = running.simulator.seen[-1].headers
        assert headers["traceparent"] == PARENT
        assert "tracestate" not in headers
