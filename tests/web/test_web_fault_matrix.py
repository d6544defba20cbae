"""Every fault that the simulator knows, asked in each shape on each API, with another upstream ready to take over.

What the caller gets, how often each upstream is asked, and what the logs say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import pytest

from chatgpt_platform.simulator.faults import FAULTS
from chatgpt_platform.simulator.server import Behaviour
from support.fleet import PATHS, SHAPES, Outcome, ask, calls, fleet, scripted, up
from support.gateway import Running, wait_until
from support.scripted import Peer
from support.ways import WAYS

WAYS = WAYS[:1]  # what differs from way to way is in test_web_fallback and test_web_faults

SAFE: Final = "taken over"
GOOD: Final = "good"
BROKEN: Final = "broken off"  # a stream that ends with an error event and without its proper end
Row = Mapping[tuple[str, bool], int | str]


def all_get(json: int | str, stream: int | str | None = None) -> Row:
    """On both APIs."""
    return {shape: stream if shape[1] and stream is not None else json for shape in SHAPES}


def each_gets(platform: int | str, openai: int | str) -> Row:
    """Streamed or not."""
    return {shape: platform if shape[0] == "platform" else openai for shape in SHAPES}


def cells(platform: tuple[int | str, int | str], openai: tuple[int | str, int | str]) -> Row:
    """JSON and stream of each."""
    return dict(zip(SHAPES, (*platform, *openai), strict=True))


MATRIX: Final[Mapping[str, Row]] = {
    **dict.fromkeys(
        ("401", "429", "429-bare", "429-soon", "429-ms", "429-long", "429-junk", "quota", "503", "503-bare",
         "503-soon", "refuse", "busy-first", "overloaded-first"),
        all_get(SAFE),
    ),
    **dict.fromkeys(
        ("close-after", "dribble", "silent-start", "pauses", "extra-bytes", "extra-answer", "early-hints",
         "http10", "null-content", "no-usage", "silence-after-done", "split-utf8", "u2028", "comments", "crlf",
         "cr", "no-space", "two-lines", "fields", "bom", "filters", "reasoning", "tool-calls", "length",
         "no-stream-usage", "usage-each", "cached"),
        all_get(GOOD),
    ),
    **dict.fromkeys(
        ("502", "502-wait", "redirect", "html", "html-error", "reset", "close", "half-close", "bad-head",
         "long-head", "empty", "no-content", "wrong-type", "gzip-bomb"),
        all_get(502),
    ),
    **dict.fromkeys(("reset-mid", "cut-mid", "cut-event", "bad-chunk", "length-short"), all_get(502, BROKEN)),
    "403": all_get(403),
    "404": each_gets(400, 404),
    "408": each_gets(504, 408),
    "500": each_gets(502, 500),
    "500-wait": each_gets(502, 500),
    "504": each_gets(502, 504),
    "504-wait": each_gets(502, 504),
    "529": each_gets(502, 529),
    "early-answer": each_gets(400, 413),
    "no-answer": all_get(504),
    "stall": all_get(504, BROKEN),
    "no-border": all_get(GOOD, 502),
    "no-done": all_get(GOOD, BROKEN),
    "echo-key": all_get(400),
    # Bodies that the OpenAI API passes on as they are.
    "only-done": cells((502, BROKEN), (502, 200)),
    "bad-json": cells((502, BROKEN), (502, 200)),
    "bad-utf8": cells((502, BROKEN), (200, 200)),
    "late-events": cells((GOOD, GOOD), (GOOD, 200)),
    "empty-choices": cells((502, BROKEN), (200, 200)),
    "error-first": cells((502, 502), (200, 500)),
    "error-later": cells((502, BROKEN), (200, 200)),
    "named-error": cells((502, BROKEN), (529, 200)),
    "flat-error": cells((502, BROKEN), (500, 200)),
}  # fmt: skip

ELSEWHERE: Final = {"tls-wrong", "tls-stall", "long-line", "no-stream-options"}
"""The first two below; the next, with its hundred megabytes, in test_web_faults; the last in test_web_usage."""

TOLD_IN_JSON: Final = [(fault, ("openai", False)) for fault in ("error-first", "error-later")]
"""Error objects with status 200, which pass as they are."""

TOLD_IN_STREAMS: Final = ("error-later", "named-error", "flat-error")
"""On the OpenAI API these are the upstream's own error events, and the log's error tells of them."""

SILENT: Final = ("no-answer", "stall")
ASIDE: Final = {"401": "401, it was refused", "quota": "429, no credit left"}


def test_it_is_every_fault() -> None:
    assert set(MATRIX) | ELSEWHERE == set(FAULTS)


@pytest.mark.parametrize("fault", MATRIX)
def test_fault(fault: str) -> None:
    quick: dict[str, Any] = {"timeouts": {"first_byte": "250ms", "idle": "250ms"}} if fault in SILENT else {}
    first = up("first", Behaviour(fail=fault, tokens=6, silence=0.02), **quick)
    with fleet(first, up("spare", priority=1)) as running:
        outcomes = {(api, stream): ask(running, api, stream=stream) for api, stream in SHAPES}
        wait_until(lambda: len(running.records()) == len(SHAPES))
        running.expected = [f"first: key 1 does not work ({ASIDE[fault]})"] if fault in ASIDE else []
        for (shape, outcome), record in zip(outcomes.items(), running.records(), strict=True):
            expected = MATRIX[fault][shape]
            check_answer(shape[0], outcome, expected)
            check_record(fault, shape, record, expected)
            check_loudness(running, record, outcome, expected)
        check_calls(running, fault)


def check_answer(api: str, outcome: Outcome, expected: int | str) -> None:
    """What the caller got. The figure is that of the answer; 200 for what is passed on as it is."""
    if expected in (SAFE, GOOD):
        assert outcome.good, outcome
    elif expected == BROKEN:
        assert (outcome.status, outcome.whole) == (200, False)
        assert outcome.failure in ((502, 504) if api == "platform" else (0,))
        assert outcome.reason
        assert "[DONE]" not in outcome.body
    else:
        assert (outcome.status, outcome.whole) == (expected, True)
        if expected != 200:
            assert outcome.failure == expected
            assert outcome.reason
            assert outcome.headers["content-type"].startswith("application/json")
    assert "first-1" not in outcome.body + str(outcome.headers)
    assert "Traceback" not in outcome.body


def check_record(fault: str, shape: tuple[str, bool], record: Mapping[str, Any], expected: int | str) -> None:
    """What the access log says."""
    assert record["status"] == (expected if isinstance(expected, int) else 200)
    assert record["path"] == PATHS[shape[0]]
    assert record["stream"] is shape[1]
    assert record["upstream"] == ("spare" if expected == SAFE else "first")
    if expected == SAFE:
        assert (record["attempts"], record["reason"] is None) in ((2, False), (1, True))
        assert (record["reason"] or "first: ").startswith("first: ")
    else:
        assert (record["attempts"], record["reason"]) == (1, None)
    told = expected in (SAFE, GOOD) or (expected == 200 and not (fault in TOLD_IN_STREAMS and shape[1]))
    told = told and (fault, shape) not in TOLD_IN_JSON
    assert (record["error"] is None) is told, record["error"]
    if expected in (GOOD, SAFE):
        assert record["completion_tokens"] is not None
        told = fault not in ("no-usage", "no-stream-usage") or (fault == "no-stream-usage" and not shape[1])
        assert record.get("usage") == (None if told else "estimated")


def check_loudness(running: Running, record: Mapping[str, Any], outcome: Outcome, expected: int | str) -> None:
    """A fault of the upstream is a warning in the application log, which names the call; a caller's is not."""
    about = [line for line in running.output().splitlines() if "WARNING" in line and record["request_id"] in line]
    assert bool(about) is (expected == BROKEN or outcome.status >= 500), about
    running.expected += about


def check_calls(running: Running, fault: str) -> None:
    """What the upstreams saw."""
    row = MATRIX[fault]
    seen = calls(running)
    safe = list(row.values()).count(SAFE)
    assert seen["spare"] == safe
    if FAULTS[fault].instead is not None or fault == "refuse":
        assert seen["first"] == 0
    elif safe:
        assert seen["first"] == (4 if fault in ("503-bare", "overloaded-first") else seen["first"])
        assert 1 <= seen["first"] <= 4
    else:
        assert seen["first"] == len(SHAPES)
    first = running.simulators["first"]
    wait_until(lambda: first.stats.under_way == 0)
    if fault in SILENT:
        assert first.stats.cancelled == len(SHAPES)


@pytest.mark.parametrize("how", ["wrong", "stall", "plain"])
def test_tls_that_does_not_come_about_is_safe(how: str) -> None:
    async def script(peer: Peer) -> None:
        assert (await peer.read(1)) == b"\x16", "never plain text instead"
        if how == "wrong":
            await peer.send(b"\x15\x03\x03\x00\x02\x02\x28")
        elif how == "plain":
            await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        if how == "stall":
            await peer.gone()
        else:
            await asyncio.sleep(0.05)
            peer.end()

    with scripted(script) as server:
        url = server.url.replace("http://", "https://")
        ups = (up("first", url=url, timeouts={"connect": "150ms"}), up("spare", priority=1))
        with fleet(*ups) as running:
            for api, stream in SHAPES:
                assert ask(running, api, stream=stream).good
            wait_until(lambda: len(running.records()) == len(SHAPES))
            for record in running.records():
                assert (record["attempts"], record["upstream"], record["error"]) == (2, "spare", None)
                assert record["reason"] == f"first: upstream_{'timeout' if how == 'stall' else 'unreachable'}"
            assert calls(running) == {"spare": 4}


def test_a_name_that_cannot_be_resolved_is_safe() -> None:
    ups = (up("first", url="http://no-such-host.invalid/v1"), up("spare", priority=1))
    with fleet(*ups) as running:
        for api, stream in SHAPES:
            assert ask(running, api, stream=stream).good
        wait_until(lambda: len(running.records()) == len(SHAPES))
        reasons = {(record["attempts"], record["reason"]) for record in running.records()}
        assert reasons == {(2, "first: upstream_unreachable")}
