"""A model service for benchmarks, started by scripts/bench.py: streams at a steady rate, everything else at once.

    python3 scripts/bench_upstream.py --port 9000 --tokens 100 --rate 50

A request that asks for a stream gets so many tokens at so many a second, each as a chunk and a write of its
own. All streams hang on one wheel with a slot for each millisecond between two tokens; one tick serves the
streams of a slot, and new streams spread evenly over the slots. So the load is the same whoever relays it,
however quickly it starts the streams. Any other request is read to its end and gets bench_rigs.ANSWER.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import argparse
import asyncio
import contextlib
from typing import cast

import bench_events
import bench_rigs
import processes

ANSWER = (
    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(bench_rigs.ANSWER)}\r\n\r\n"
    f"{bench_rigs.ANSWER}"
).encode()
NO_LENGTH = b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
BACKLOG = 4096


class Wheel:
    """Gives each stream its turn once in `interval` milliseconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: int) -> None:
        self._loop = loop
        self._slots: list[list[Service]] = [[] for _ in range(interval)]
        self._next = 0
        self._began = loop.time()
        self._ticks = 0
        self.turn()

    def add(self, stream: "Service") -> None:
        """Takes a stream in, until its `step` says that it has ended."""
        self._slots[self._next].append(stream)
        self._next = (self._next + 1) % len(self._slots)

    def turn(self) -> None:
        """Serves the slots that are due; more than one when the process was held up."""
        # uvloop's clock goes by milliseconds; to cut off instead of to round would make it spin.
        due = round((self._loop.time() - self._began) * 1000)
        while self._ticks < due:
            self._ticks += 1
            at = self._ticks % len(self._slots)
            if self._slots[at]:
                self._slots[at] = [stream for stream in self._slots[at] if stream.step()]
        self._loop.call_at(self._began + (self._ticks + 1) / 1000, self.turn)


class Service(asyncio.Protocol):
    """One connection of a client; one request at a time."""

    def __init__(self, wheel: Wheel, tokens: list[bytes], ending: list[bytes]) -> None:
        self._wheel = wheel
        self._tokens = tokens
        self._ending = ending
        self._received = bytearray()
        self._needed = 0  # bytes of the request that is coming in; 0: its head is not there yet
        self._sent = 0
        self._streaming = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport only behaves like one of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._streaming = False

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._answer_next()

    def step(self) -> bool:
        """Sends the next token. Says whether there is more to come."""
        if not self._streaming:
            return False
        self._transport.write(self._tokens[self._sent])
        self._sent += 1
        if self._sent < len(self._tokens):
            return True
        for piece in self._ending:
            self._transport.write(piece)
        self._streaming = False
        # Not at once: the wheel must not get a stream while it serves a slot.
        self._loop.call_soon(self._answer_next)
        return False

    def _answer_next(self) -> None:
        while not self._streaming and (request := self._request()):
            if b'"stream":true' in request or b'"stream": true' in request:
                self._sent = 0
                self._streaming = True
                self._transport.write(bench_events.HEAD)
                self._transport.write(bench_events.opening())
                self._wheel.add(self)
            else:
                self._transport.write(ANSWER)

    def _request(self) -> bytes:
        """The next complete request, taken out of what was received; empty when there is none yet."""
        if not self._needed:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return b""
            head = self._received[:end].lower()
            if b"\r\ntransfer-encoding:" in head:
                self._transport.write(NO_LENGTH)
                self._transport.close()
                return b""
            self._needed = end + 4 + _content_length(bytes(head))
        if len(self._received) < self._needed:
            return b""
        request = bytes(self._received[: self._needed])
        del self._received[: self._needed]
        self._needed = 0
        return request


def _content_length(head: bytes) -> int:
    _, _, after = head.partition(b"\r\ncontent-length:")
    return int(after.partition(b"\r\n")[0] or 0)


async def serve(port: int, tokens: int, rate: int) -> None:
    """Answers on the port until the process is ended."""
    loop = asyncio.get_running_loop()
    wheel = Wheel(loop, max(1, round(1000 / rate)))
    chunks = [bench_events.token(number) for number in range(tokens)]
    ending = bench_events.ending(tokens)
    server = await loop.create_server(
        lambda: Service(wheel, chunks, ending), processes.LOOPBACK, port, backlog=BACKLOG
    )
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="A model service for benchmarks.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True, help="tokens in a stream")
    parser.add_argument("--rate", type=int, required=True, help="tokens a second in a stream")
    options = parser.parse_args()
    environment.enter("run")
    with contextlib.suppress(KeyboardInterrupt):
        bench_events.run(lambda: serve(options.port, options.tokens, options.rate))


if __name__ == "__main__":
    main()
