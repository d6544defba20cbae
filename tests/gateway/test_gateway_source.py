"""Events that differ in their text only are passed on at a glance, and counted like all others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.gateway.source import EventSource, Pattern
from chatgpt_platform.gateway.usage import Ending, Tokens
from chatgpt_platform.upstream.client import Client, Response, Timeouts
from chatgpt_platform.upstream.connection import Connection, Request
from chatgpt_platform.wire import framing


def event(text: str | None, **members: object) -> bytes:
    delta = {} if text is None else {"content": text}
    choices = [{"index": 0, "delta": delta, "finish_reason": None}]
    body = {"id": "c-1", "choices": choices} | members
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


USAGE = event(None, choices=[], usage={"prompt_tokens": 3, "completion_tokens": 5})
DONE = b"data: [DONE]\n\n"


def pattern() -> Pattern:
    found = Pattern.of(event("a"))
    assert found is not None
    return found


@given(st.text(max_size=5), st.sampled_from([framing.chunk, lambda data: b"1" + framing.chunk(data)]))
def test_an_event_is_seen_in_its_chunk(text: str, frame: Callable[[bytes], bytes]) -> None:
    start = pattern().begins_in(frame(event(text)))
    assert (start > 0) is (frame is framing.chunk and pattern().fits(event(text)))
    assert not start or frame(event(text))[start:] == event(text) + b"\r\n"


@pytest.mark.parametrize(
    "chunk",
    [
        framing.chunk(event("b", id="c-2")),
        framing.chunk(event("b")) + framing.chunk(event("b")),
        framing.chunk(event("b") + event("c")),
        framing.chunk(event("b"))[:-1],
        framing.chunk(event("b")).replace(b"\r\n", b";x\r\n", 1),
        framing.chunk(event("b")).upper(),
        framing.chunk(event("b" * 1000)),
        event("b"),
        b"",
    ],
)
def test_what_is_not_one_chunk_with_such_an_event(chunk: bytes) -> None:
    assert pattern().begins_in(chunk) == 0


@given(st.text(max_size=5))
def test_text_that_needs_no_escape_fits(text: str) -> None:
    plain = text != "" and json.dumps(text) == f'"{text}"'
    assert pattern().fits(event(text)) is plain


@pytest.mark.parametrize(
    "other",
    [
        event("b", id="c-2"),
        event("b", usage={"prompt_tokens": 1}),
        event("b") + event("c"),
        event("b")[:-1],
        event("b") + b"\n",
        event(None),
        event("b").replace(b'"b"', b'"b","error":{"message":"no"},"x":"y"'),
        b": comment\n\n",
        DONE,
        b"",
        *(event("ab")[:at] for at in range(len(event("ab")))),
    ],
)
def test_another_event_does_not_fit(other: bytes) -> None:
    assert not pattern().fits(other)


@pytest.mark.parametrize(
    "block",
    [
        event("a", usage={"prompt_tokens": 1}),
        event("a", error={"message": "no"}),
        event("a", note="[DONE]"),
        event("a", **{"\x00": 1}),
        event(""),
        event('"'),
        event(None),
        event("a") + event("b"),
        b"event: error\n" + event("a"),
        b": comment\n\n" + event("a"),
        event("a").replace(b"\n\n", b"\r\n\r\n"),
    ],
)
def test_no_pattern_is_made_of_what_may_tell_more(block: bytes) -> None:
    assert Pattern.of(block) is None


def test_a_usage_of_null_tells_nothing() -> None:
    found = Pattern.of(event("a", usage=None))
    assert found is not None
    assert found.fits(event("b", usage=None))


class Line(asyncio.Transport):
    """The way to an upstream that only listens."""

    def __init__(self) -> None:
        super().__init__({"socket": self})
        self.asked = asyncio.Event()

    def fileno(self) -> int:
        return -1

    def write(self, data: object) -> None:
        self.asked.set()

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Scripted:
    """An answer whose body comes in these pieces, each a chunk of its own."""

    @classmethod
    async def begin(cls) -> Scripted:
        """Its head has come."""
        made, line, loop = cls(), Line(), asyncio.get_running_loop()
        client = Client("http://127.0.0.1:9", Timeouts(60, 60, 60, 60))
        made.connection = Connection(client.where, Timeouts(60, 60, 60, 60), client)
        made.connection.connection_made(line)
        request = Request(b"GET / HTTP/1.1\r\n\r\n", b"", False, loop.time() + 60)
        made.connection.send(request, loop.time())
        await line.asked.wait()
        made.connection.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        made.response = Response(client, request, made.connection)
        assert made.response.take_head()
        return made

    def __init__(self) -> None:
        self.connection: Connection
        self.response: Response

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.data_received(framing.chunk(piece))

    def end(self) -> None:
        self.connection.data_received(b"0\r\n\r\n")


def pumped(
    pieces: list[bytes], takes: Iterator[bool] | None = None, *, without_extra: bool = False
) -> tuple[bytes, list[bytes], EventSource]:
    """All that came, what of it came as plain events, and the source afterwards.

    ``takes``: each piece comes as a chunk of its own; whether the client takes the next one that could go as such.
    """
    blocks: list[bytes] = []
    plain: list[bytes] = []

    def take_plain(block: bytes) -> None:
        plain.append(block)
        blocks.append(block)

    def pass_chunk(chunk: bytes, size: int) -> bool:
        if takes is None or not next(takes):
            return False
        block = chunk[-size - 2 : -2]
        assert chunk == framing.chunk(block)
        take_plain(block)
        return True

    async def pump() -> EventSource:
        upstream, loop = await Scripted.begin(), asyncio.get_running_loop()
        source = EventSource(upstream.response, release_long=True, without_extra=without_extra)
        for piece in pieces:
            loop.call_soon(upstream.send, piece)
        loop.call_soon(upstream.end)
        await source.pump(blocks.append, take_plain, None if takes is None else pass_chunk)
        source.close()
        return source

    source = asyncio.run(pump())
    return b"".join(blocks), plain, source


BYTES = {"é": 3}
"""An escape of six characters is taken for three bytes."""

texts = st.lists(
    st.sampled_from(["a", "b", "", "\n", '"', "\\", "é", "error", "[DONE]", "two words"]), max_size=12
)


@settings(deadline=None)
@given(texts, st.data())
def test_however_it_is_cut_nothing_is_lost_and_every_text_counts(said: list[str], data: st.DataObject) -> None:
    members = data.draw(st.sampled_from([{}, {"usage": None}]))
    events = [event(text, **members) for text in said]
    whole = b"".join([*events, USAGE, DONE])
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=6)))
    borders = data.draw(st.booleans())
    if borders:  # as services send them
        pieces = [*events, USAGE, DONE]
    else:
        pieces = [whole[left:right] for left, right in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    takes = data.draw(st.none() | st.lists(st.booleans(), min_size=1).map(cycle))
    without_extra = data.draw(st.booleans())
    came, plain, source = pumped(pieces, takes, without_extra=without_extra)
    assert came == (whole.replace(USAGE, b"") if without_extra else whole)
    assert source.done
    assert source.pieces == len([text for text in said if text])
    assert source.text_bytes == sum(BYTES.get(text, len(text)) for text in said)
    assert source.told_at == source.pieces
    assert source.events == len(said) + 2 - without_extra
    assert source.ending() == Ending(complete=True, tokens=Tokens(3, 5))
    assert all(json.loads(block[6:])["choices"][0]["delta"]["content"] for block in plain)


@pytest.mark.parametrize(
    ("block", "events"),
    [
        (event("a"), 1),
        (event("a") + event("b"), 2),
        (event("a").replace(b"\n", b"\r\n") + event("b").replace(b"\n", b"\r"), 2),
        (b": comment\n\n", 0),
        (b": comment\n" + event("a"), 1),
        (b": comment\n\n" + event("a"), 1),
        (b'event: response.output_text.delta\ndata: {"delta":"a","text":"a"}\n\n', 1),
        (b"retry: 1\n\n" + event(None) + DONE, 2),
    ],
)
def test_events_are_counted_whatever_they_are(block: bytes, events: int) -> None:
    _, _, source = pumped([event("x"), block])
    assert source.events == events + 1


def test_the_like_of_the_one_before_is_plain() -> None:
    _, plain, _ = pumped([event(text) for text in ("", "a", "b", "\n", "c", "d", "\n", "\n", "e")] + [DONE])
    assert plain == [event(text) for text in ("b", "c", "d", "e")]


def test_a_few_others_now_and_then_do_not_end_it() -> None:
    said = ["a", *(["b", "\n"] * 9), "c", "d"]
    events = [event(text) for text in said]
    for takes in (None, cycle([True])):
        _, plain, source = pumped([*events, DONE], takes)
        assert plain[-1] == event("d")
        assert len(plain) >= 9
        assert source.pieces == len(said)


def test_events_that_are_never_alike_are_tried_no_more() -> None:
    events = [event("a", padding="x" * number) for number in range(20)]
    _, plain, source = pumped([*events, event("b", padding="x" * 19), DONE])
    assert plain == []
    assert source.pieces == 21


def test_the_rest_of_a_long_event_is_not_taken_for_an_event() -> None:
    long = b'data: {"x":"' + b"y" * (1024 * 1024 + 1)
    came, plain, source = pumped([event("a"), event("b"), long, event("c"), event("d"), DONE])
    assert came == b"".join([event("a"), event("b"), long, event("c"), event("d"), DONE])
    assert plain == [event("b"), event("d")]
    assert not source.in_event


def test_a_usage_that_comes_with_other_events_counts() -> None:
    """As where the last piece, which says that it has none, and the usage come at once."""
    last = event("b", usage=None) + USAGE
    _, _, source = pumped([event("a", usage=None), last, DONE])
    assert source.ending() == Ending(complete=True, tokens=Tokens(3, 5))


def test_the_usage_is_known_though_its_event_is_taken_out() -> None:
    came, _, source = pumped([event("a"), USAGE + DONE], without_extra=True)
    assert came == event("a") + DONE
    assert source.ending() == Ending(complete=True, tokens=Tokens(3, 5))


def test_a_stream_may_begin_with_the_event_that_is_taken_out() -> None:
    async def first() -> bytes:
        upstream = await Scripted.begin()
        source = EventSource(upstream.response, release_long=True, without_extra=True)
        asyncio.get_running_loop().call_soon(upstream.send, USAGE, event("a"))
        return await source.first()

    assert asyncio.run(first()) == event("a")


def test_a_null_usage_with_a_space_is_plain_too() -> None:
    spaced = event("a", usage=None).replace(b'"usage":null', b'"usage": null')
    found = Pattern.of(spaced)
    assert found is not None
    assert found.frame == len(spaced) - 1


def test_what_came_counts_though_nobody_was_there_to_take_it() -> None:
    async def left() -> EventSource:
        upstream = await Scripted.begin()
        source = EventSource(upstream.response, release_long=False)
        upstream.send(event("a"))
        assert await source.first() == event("a")
        upstream.send(event("b"), event("c"), event("half")[:20])
        source.count_rest()
        return source

    source = asyncio.run(left())
    assert (source.pieces, source.text_bytes) == (3, 3)
