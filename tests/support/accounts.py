"""Many calls of many kinds against a running gateway, and what their callers saw: the callers' own account.

    plan = mixed(10_000, {"alice": key, "bob": another}, Random(7), leaving=0.1)
    seen = asyncio.run(make(running.port, plan, at_once=200))
    totals(seen)["alice"].completion        # tokens, as the answers reported them
    statuses(seen)[429]

The kinds: JSON and streams, with usage and without, on both APIs; some callers leave at a point that the plan
names. ``burst`` is for calls that shall all be there at once. Faults are the upstreams' affair
(``simulator.Behaviour``); to have several side by side, give ``mixed`` a model for each (``support.fleet``). Where
a 429 or failures in a row are among them, the gateway rests the key or the upstream, and few calls get there.
A prompt names its call and its key, so that the simulators' ``seen`` can be put beside it: ``number_of``.

It is cheap: one loop, raw connections that are kept, about a tenth of a millisecond a call.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, cast

import httptools
import msgspec

PATIENCE: Final = 60.0
"""Seconds after which a call that has no end fails the run."""

PATHS: Final[Mapping[str, str]] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "platform": "/chatgpt",
}
_CALL: Final = re.compile(rb"call-(\d{7}) of ")
_BORDER: Final = re.compile(rb"(?:\r\n|\n|\r){2}")
_LINE: Final = re.compile(rb"\r\n|\n|\r")
_ENDS: Final = ("response.completed", "response.incomplete")


@dataclass(frozen=True, slots=True)
class Planned:
    """A call as it is meant to be.

    ``holder``: the key's name. ``kind``: of ``PATHS``. ``usage``: a stream is asked for it. ``most``: the cap on
    tokens; 0: none. ``leaves``: the caller does, after so many events of the answer, 0: after none; None: it
    stays. ``moment``: seconds that it waits before it does. ``addressed``: see ``says_address``.
    """

    number: int
    holder: str = ""
    key: str = field(default="", repr=False)
    kind: str = "chat"
    model: str = "gpt-4o-mini"
    stream: bool = False
    usage: bool = False
    most: int = 0
    words: int = 0
    leaves: int | None = None
    moment: float = 0.0
    addressed: bool = False

    @property
    def says_address(self) -> bool:
        """Whether it goes out with ``address_of`` its number, because it may never learn its request id."""
        return self.addressed or self.leaves is not None


@dataclass(slots=True)
class Seen:
    """What a caller got. ``status``: 0 where no answer began.

    ``prompt``, ``cached``, ``completion``: tokens as the answer reported them, None where it did not. ``pieces``:
    events that brought text; the simulator sends one for each token. ``whole``: it came to its end, as an answer
    and as HTTP. ``left``: by the caller itself. ``failure``: the code or the words of an error. ``began``,
    ``ended``: epoch seconds; 0 where it did not.
    """

    planned: Planned
    status: int = 0
    request_id: str = ""
    prompt: int | None = None
    cached: int | None = None
    completion: int | None = None
    pieces: int = 0
    whole: bool = False
    left: bool = False
    failure: str = ""
    began: float = 0.0
    ended: float = 0.0


@dataclass(slots=True)
class Totals:
    """Of the calls of one key. ``reported``: answers with usage; the tokens are theirs."""

    calls: int = 0
    whole: int = 0
    left: int = 0
    failed: int = 0
    reported: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    pieces: int = 0


def mixed(
    count: int, keys: Mapping[str, str], random: Random, *,
    models: Sequence[str] = ("gpt-4o-mini",), most: tuple[int, int] = (1, 40), leaving: float = 0.0,
    moment: float = 0.05,
) -> list[Planned]:  # fmt: skip
    """A plan; the same for the same ``random``. ``keys``: by their names.

    ``most``: the caps on tokens lie between these. ``leaving``: the share of callers that do; those of streams
    after some events, or after none, those of JSON within ``moment`` seconds.
    """
    return [_mixed(number, keys, random, models, most, leaving, moment) for number in range(count)]


def _mixed(
    number: int, keys: Mapping[str, str], random: Random, models: Sequence[str], most: tuple[int, int],
    leaving: float, moment: float,
) -> Planned:  # fmt: skip
    holder = random.choice(sorted(keys))
    kind, stream = random.choice(sorted(PATHS)), random.random() < 0.5
    leaves = random.choice((0, 1, 2, 3, 5, 8)) if random.random() < leaving else None
    return Planned(
        number, holder, keys[holder], kind, random.choice(models), stream,
        usage=stream and random.random() < 0.5,
        most=random.randint(*most),
        words=random.randrange(30),
        leaves=leaves if stream or leaves is None else 0,
        moment=random.uniform(0.0, moment) if leaves is not None else 0.0,
    )  # fmt: skip


def alike(count: int, holder: str, key: str, **more: Any) -> list[Planned]:
    """The same call so many times. ``more``: as ``Planned`` has it."""
    one = Planned(0, holder, key, **more)
    return [replace(one, number=number) for number in range(count)]


async def burst(port: int, plan: Sequence[Planned]) -> list[Seen]:
    """All of them at once, each on a connection of its own that is open before the first call."""
    return await make(port, plan, at_once=len(plan))


async def make(
    port: int, plan: Sequence[Planned], at_once: int = 100, seen: list[Seen] | None = None
) -> list[Seen]:
    """Make the calls, so many at a time, in their order. What became of each, in the same order.

    ``seen``: a list that has it while they are made. Raises TimeoutError where one has no end, OSError where
    nobody listens; several of them as a group.
    """
    seen = [] if seen is None else seen
    seen += [Seen(planned) for planned in plan]
    waiting = deque(seen)
    connections = [await _connect(port) for _ in range(min(at_once, len(plan)))]
    async with asyncio.TaskGroup() as group:
        for number, connection in enumerate(connections):
            group.create_task(_work(port, connection, waiting), name=f"caller {number}")
    return seen


def totals(seen: Sequence[Seen]) -> dict[str, Totals]:
    """What the callers saw, by the names of their keys."""
    found: dict[str, Totals] = {}
    for one in seen:
        total = found.setdefault(one.planned.holder, Totals())
        total.calls += 1
        total.whole += one.whole
        total.left += one.left
        total.failed += bool(one.failure)
        total.reported += one.completion is not None
        total.prompt += one.prompt or 0
        total.cached += one.cached or 0
        total.completion += one.completion or 0
        total.pieces += one.pieces
    return found


def statuses(seen: Sequence[Seen]) -> Counter[int]:
    """How often each came."""
    return Counter(one.status for one in seen)


def number_of(body: bytes) -> int | None:
    """Which call this is the body of, as an upstream got it."""
    found = _CALL.search(body)
    return int(found[1]) if found else None


def address_of(number: int) -> str:
    """Where a call that may leave says it comes from: a gateway that trusts 127.0.0.0/8 has it in its records."""
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def request(planned: Planned) -> bytes:
    """The call as it goes over the wire."""
    body = json.dumps(_members(planned)).encode()
    key = f"Authorization: Bearer {planned.key}\r\n" if planned.key else ""
    if planned.says_address:
        key += f"X-Forwarded-For: {address_of(planned.number)}\r\n"
    return (
        f"POST {PATHS[planned.kind]} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n{key}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _members(planned: Planned) -> dict[str, Any]:
    words = f"call-{planned.number:07d} of {planned.holder}:{' word' * planned.words}"
    members: dict[str, Any] = {"model": planned.model, "stream": planned.stream}
    match planned.kind:
        case "platform":
            members |= {"prompt": words} | ({"api_key": planned.key} if planned.key else {})
        case "chat":
            members["messages"] = [{"role": "user", "content": words}]
        case "completions":
            members["prompt"] = words
        case "responses":
            members["input"] = words
    if planned.most:
        members["max_output_tokens" if planned.kind == "responses" else "max_tokens"] = planned.most
    if planned.usage and planned.kind in ("chat", "completions"):
        members["stream_options"] = {"include_usage": True}
    return members


async def _connect(port: int) -> _Connection:
    made = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", port)
    return made[1]


async def _work(port: int, connection: _Connection, waiting: deque[Seen]) -> None:
    try:
        while waiting:
            seen = waiting.popleft()
            if not connection.is_open:
                connection = await _connect(port)
            await connection.call(seen)
    finally:
        connection.close()


class _Connection(asyncio.Protocol):
    """One connection, a call at a time on it. The methods that begin with ``on_`` are the parser's."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        self._transport: asyncio.Transport
        self._parser: Any = None
        self._seen: Seen
        self._body = bytearray()
        self._events = 0
        self._streamed = False
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's only behaves like one of asyncio's
        self._lost = self._loop.create_future()
        self.is_open = True

    async def call(self, seen: Seen) -> None:
        """Make it and wait until it is over, in whatever way."""
        self._seen, self._body, self._events, self._streamed = seen, bytearray(), 0, False
        self._parser = httptools.HttpResponseParser(self)
        self._over = self._loop.create_future()
        seen.began = time.time()
        self._transport.write(request(seen.planned))
        self._leave_perhaps()
        async with asyncio.timeout(PATIENCE):
            await self._over
        seen.ended = time.time()
        if seen.left or not self._parser.should_keep_alive():
            self.close()
        _read(seen, bytes(self._body), streamed=self._streamed)
        if not self.is_open:
            await self._lost

    def close(self) -> None:
        self.is_open = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._over.done():
            self.close()  # more than one answer
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._seen.failure = f"no HTTP: {error}"
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._finish()
        self._lost.set_result(None)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-request-id":
            self._seen.request_id = value.decode("ascii")
        elif name.lower() == b"content-type":
            self._streamed = value.startswith(b"text/event-stream")

    def on_headers_complete(self) -> None:
        self._seen.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._events += (bytes(self._body[-4:]) + data).count(b"data:")
        self._body += data
        self._leave_perhaps()

    def on_message_complete(self) -> None:
        self._seen.whole = True
        self._finish()

    def _leave_perhaps(self) -> None:
        leaves = self._seen.planned.leaves
        if leaves is not None and self._events >= leaves and not self._over.done():
            self._loop.call_later(self._seen.planned.moment, self._leave, self._seen)

    def _leave(self, seen: Seen) -> None:
        if seen is self._seen and not self._over.done():
            seen.left = True
            self._finish()

    def _finish(self) -> None:
        if not self._over.done():
            self._over.set_result(None)


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None


class _Response(msgspec.Struct):
    usage: _Usage | None = None


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None


class _Document(msgspec.Struct):
    usage: _Usage | None = None
    response: _Response | None = None
    choices: list[_Choice] = []
    delta: str | None = None
    type: str = ""
    error: Any = None
    code: int | None = None
    msg: str = ""
    data: Any = None


_decoder: Final = msgspec.json.Decoder(_Document)


def _read(seen: Seen, body: bytes, *, streamed: bool) -> None:
    """Put into ``seen`` what the body says; whatever it is, it may be cut."""
    ended = not streamed
    for data in _data(body) if streamed else [body]:
        if data == b"[DONE]":
            ended = True
            continue
        try:
            document = _decoder.decode(data)
        except msgspec.DecodeError:
            if not seen.left:
                seen.failure = seen.failure or "no JSON"
            continue
        ended = ended or document.type in _ENDS
        _take(seen, document, streamed=streamed)
    seen.whole = seen.whole and ended and not seen.failure


def _take(seen: Seen, document: _Document, *, streamed: bool) -> None:
    usage = document.usage or (document.response.usage if document.response else None)
    if usage is not None:
        details = usage.prompt_tokens_details or usage.input_tokens_details
        seen.prompt = usage.input_tokens if usage.prompt_tokens is None else usage.prompt_tokens
        seen.completion = usage.output_tokens if usage.completion_tokens is None else usage.completion_tokens
        seen.cached = details.cached_tokens if details else None
    if streamed:
        texts = [choice.delta.content if choice.delta else choice.text for choice in document.choices]
        seen.pieces += sum(bool(text) for text in [*texts, document.delta])
    if document.error is not None:
        error = document.error
        seen.failure = str(error.get("code") or error.get("message")) if isinstance(error, dict) else str(error)
    elif document.msg == "failed":
        seen.failure = str(document.data["response"])
    elif document.type in ("error", "response.failed"):
        seen.failure = document.type


def _data(body: bytes) -> Iterator[bytes]:
    """The data of each event."""
    for block in _BORDER.split(body):
        lines = [line[5:].removeprefix(b" ") for line in _LINE.split(block) if line.startswith(b"data:")]
        if lines:
            yield b"\n".join(lines)
