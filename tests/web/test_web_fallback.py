"""Several upstreams: who is asked first, and who takes over, where and only where that is safe."""

from __future__ import annotations

import pytest

from support.fleet import SHAPE_NAMES, SHAPES, ask, calls, fleet, up
from support.gateway import wait_until

SAFE = {"503-bare": "503", "refuse": "upstream_unreachable", "401": "401", "quota": "429", "429": "429"}
"""Faults, and how the log's reason calls them."""
SHAPED = pytest.mark.parametrize(("api", "stream"), SHAPES, ids=SHAPE_NAMES)


def test_another_takes_over_where_that_is_safe() -> None:
    for fault in SAFE:
        with fleet(up("first", fail=fault), up("spare", priority=1)) as running:
            running.expected = ["first: key 1 does not work"] if fault in ("401", "quota") else []
            for api, stream in SHAPES:
                outcome = ask(running, api, stream=stream)
                assert outcome.good, (fault, api, stream)
                assert outcome.comments == 0
            assert calls(running)["spare"] == 4
            wait_until(lambda: len(running.records()) == 4)
            for record in running.records():
                assert (record["upstream"], record["status"], record["error"]) == ("spare", 200, None)
            first = running.records()[0]
            assert first["attempts"] == 2
            assert first["reason"] == f"first: {SAFE[fault]}"


def test_nobody_takes_over_where_it_may_have_been_acted_on() -> None:
    for fault, status in {"500": 502, "reset": 502, "html": 502}.items():
        with fleet(up("first", fail=fault), up("spare", priority=1)) as running:
            running.expected = ["first", "upstream_failed", "bad_upstream"]
            for api, stream in SHAPES:
                outcome = ask(running, api, stream=stream)
                assert outcome.status == (500 if (fault, api) == ("500", "openai") else status)
                assert outcome.whole
                assert outcome.failure == outcome.status
            assert calls(running) == {"first": 4, "spare": 0}
            wait_until(lambda: len(running.records()) == 4)
            for record in running.records():
                assert (record["upstream"], record["attempts"], record["reason"]) == ("first", 1, None)
                assert record["error"]


@SHAPED
def test_but_with_retry_unsafe(api: str, stream: bool) -> None:
    for fault in ("500", "reset", "html"):
        with fleet(up("first", fail=fault, retry_unsafe=True), up("spare", priority=1)) as running:
            assert ask(running, api, stream=stream).good
            assert calls(running) == {"first": 1, "spare": 1}
            assert running.record()["attempts"] == 2


@pytest.mark.parametrize("api", ["platform", "openai"])
def test_a_stream_that_has_begun_goes_nowhere_else(api: str) -> None:
    for unsafe in (False, True):
        with fleet(up("first", fail="cut-mid", retry_unsafe=unsafe), up("spare", priority=1)) as running:
            running.expected = ["first: upstream_broke_off"]
            outcome = ask(running, api, stream=True)
            assert (outcome.status, outcome.whole) == (200, False)
            assert outcome.failure == (502 if api == "platform" else 0)
            assert "[DONE]" not in outcome.body
            assert calls(running) == {"first": 1, "spare": 0}
            record = running.record()
            assert (record["attempts"], record["upstream"]) == (1, "first")
            assert "upstream_broke_off" in record["error"]
