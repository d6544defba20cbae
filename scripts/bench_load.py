"""A load of streams, started by scripts/bench.py: reads many at once and prints one line of JSON.

    python3 scripts/bench_load.py --port 5000 --streams 500 --tokens 100 --seconds 10

All streams start at once; one that ends is followed by a new one, until the seconds are over or so many
were started in all (`--total`). Each is a connection of its own, as that of a program that asks once, and
comes from the next of the callers' addresses. Every stream is read to its end, and its tokens are counted:
`lost` are those that finished streams had too few or too many, `broken` are streams without a proper end.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import bench_events
import bench_report
import bench_rigs
import bench_wrk
import processes

PATIENCE = 60.0  # seconds after which what has still not ended counts as broken
BODY = json.dumps(
    {
        "model": "gpt-4o-mini",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "Tell me a story about a gateway."}],
    }
)


class Body:
    """Takes a chunked answer in pieces, cut wherever the network cut them, and counts its tokens."""

    def __init__(self) -> None:
        self.tokens = 0
        self.is_good = False
        """Whether it came to its proper end."""
        self._rest = b""
        self._tail = b""
        self._in_body = False

    def feed(self, data: bytes) -> bool:
        """Takes the next bytes; says whether the answer has ended. Raises ValueError for a wrong answer."""
        if self._rest:
            data = self._rest + data
        at = 0
        if not self._in_body:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                self._rest = data
                return False
            _check_head(data[:at].lower())
            self._in_body = True
        return self._take_chunks(data, at)

    def _take_chunks(self, data: bytes, at: int) -> bool:
        """Takes the complete chunks from `at` on and keeps what follows them."""
        while (end := data.find(b"\r\n", at)) >= 0:
            size = int(data[at:end], 16)
            after = end + 2 + size + 2
            if len(data) < after:
                break
            if not size:
                self.is_good = self._tail.endswith(bench_events.DONE)
                return True
            self._count(data[end + 2 : after - 2])
            at = after
        self._rest = data[at:]
        return False

    def _count(self, text: bytes) -> None:
        # What is kept of the text before is too short to hold a whole mark: none counts twice.
        text = self._tail + text
        self.tokens += text.count(bench_events.TOKEN)
        self._tail = text[1 - len(bench_events.TOKEN) :]


def _check_head(head: bytes) -> None:
    status, _, fields = head.partition(b"\r\n")
    if not status.startswith(b"http/1.1 200 ") or b"transfer-encoding: chunked\r\n" not in fields:
        raise ValueError(f"not a stream: {head[:200]!r}")


class Reader(asyncio.Protocol):
    """One stream on a connection of its own."""

    def __init__(self, request: bytes, began: float, ended: "Callable[[Reader], None]") -> None:
        self.body = Body()
        self.began = began
        self.first_byte = 0.0
        self._request = request
        self._ended = ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport only behaves like one of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.first_byte:
            self.first_byte = time.perf_counter()
        try:
            if self.body.feed(data):
                self._transport.close()
        except ValueError as error:
            sys.stderr.write(f"{error}\n")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(self)


class StreamLoad:
    """Keeps `streams` streams going for so many seconds, or until `total` were started (0: no such end)."""

    def __init__(self, port: int, streams: int, tokens: int, seconds: float, total: int, addresses: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._port = port
        self._streams = streams
        self._tokens = tokens
        self._began = time.perf_counter()
        self._deadline = self._began + seconds
        self._total = total
        self._addresses = addresses
        self._started = self._live = 0
        self._open: set[Reader] = set()
        self._good = self._broken = self._lost = self._events = 0
        self._first_bytes: list[float] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    async def run(self, patience: float) -> dict[str, Any]:
        """Does it all and gives the figures. Times in milliseconds, but `seconds`."""
        for _ in range(min(self._streams, self._total) if self._total else self._streams):
            self._start()
        await self._wait_until_over(self._deadline - time.perf_counter())
        # Before the last ones end one by one and are not followed by others.
        in_full = sum((stream.body.tokens for stream in self._open), start=self._events)
        seconds_in_full = time.perf_counter() - self._began
        await self._wait_until_over(patience)
        first_bytes = sorted(self._first_bytes)
        return {
            "streams": self._good,
            "events": self._events,
            "lost": self._lost,
            "broken": self._broken + self._live,
            "events_per_second": in_full / seconds_in_full,
            "seconds": time.perf_counter() - self._began,
            "first_byte_p50": bench_report.percentile(first_bytes, 50) * 1000,
            "first_byte_p99": bench_report.percentile(first_bytes, 99) * 1000,
            "cpu": time.process_time(),
        }

    async def _wait_until_over(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    def _start(self) -> None:
        request = request_from(self._started, self._addresses)
        self._started += 1
        self._live += 1
        task = self._loop.create_task(self._connect(request), name="connect a stream")
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, request: bytes) -> None:
        reader = Reader(request, time.perf_counter(), self._end)
        self._open.add(reader)
        try:
            await self._loop.create_connection(lambda: reader, processes.LOOPBACK, self._port)
        except OSError as error:
            sys.stderr.write(f"no connection: {error}\n")
            self._end(reader)

    def _end(self, stream: Reader) -> None:
        self._open.discard(stream)
        self._events += stream.body.tokens
        if stream.body.is_good:
            self._good += 1
            self._lost += abs(self._tokens - stream.body.tokens)
            self._first_bytes.append(stream.first_byte - stream.began)
        else:
            self._broken += 1
        self._leave()

    def _leave(self) -> None:
        self._live -= 1
        # After a failure no more are started: the run has failed, and a port that refuses is not to be flooded.
        if not self._broken and time.perf_counter() < self._deadline and self._started != self._total:
            self._start()
        elif not self._live:
            self._over.set()


def request_from(number: int, addresses: int) -> bytes:
    """The request of stream `number`, which names its caller's address unless `addresses` is 0."""
    caller = f"X-Forwarded-For: {bench_rigs.address(number % addresses, addresses)}\r\n" if addresses else ""
    return (
        f"POST {bench_wrk.PATH} HTTP/1.1\r\nHost: {processes.LOOPBACK}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer caller-placeholder\r\nContent-Length: {len(BODY)}\r\n{caller}\r\n{BODY}"
    ).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description="A load of streams; prints one line of JSON.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True, help="streams at a time")
    parser.add_argument("--tokens", type=int, required=True, help="tokens that each stream must have")
    parser.add_argument("--seconds", type=float, required=True, help="no stream is started later")
    parser.add_argument("--total", type=int, default=0, help="streams in all; 0: as many as the time allows")
    parser.add_argument("--addresses", type=int, default=0, help="callers' addresses; 0: none is named")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds that the last streams get")
    options = parser.parse_args()
    environment.enter("run")

    async def load() -> None:
        streams = StreamLoad(
            options.port,
            options.streams,
            options.tokens,
            options.seconds,
            options.total,
            options.addresses,
        )
        figures = await streams.run(options.patience)
        print(json.dumps(figures), flush=True)

    bench_events.run(load)


if __name__ == "__main__":
    main()
