"""The mode `soak` of scripts/bench.py: whether the gateway's memory grows, and what idle connections take.

A long run of calls and streams in four quarters; memory is read after each, when all is quiet again. Then,
each against a gateway just started, connections that have had one answer, and connections that never sent
a byte: what one of them adds to its memory.
"""

import contextlib
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import bench_rigs
import bench_streams
import bench_wrk
import proc_usage
import processes
from bench_report import megabytes
from bench_rigs import BenchError, Callers, Rig
from bench_streams import Streams
from programs import Program

MOST_RESIDENT = 60e6
GROWTH_BYTES, GROWTH_SHARE = 1e6, 0.02  # what counts as no growth: the larger of the two
MOST_IDLE = 20e3

_SETTLE = 1.0  # seconds for buffers to be written and timers to have passed
_WARM = 200  # calls on connections of their own, so that what only the first ones need is there
_HEALTH = f"GET /healthz HTTP/1.1\r\nHost: {processes.LOOPBACK}\r\n\r\n".encode()


@dataclass(frozen=True)
class Soak:
    """So many calls and streams in all, from so many addresses; then so many idle connections."""

    calls: int
    streams: int
    addresses: int
    idle: int


def run(program: Program, soak: Soak) -> bool:
    """Does it all and prints it as it goes; whether everything was within its limit."""
    with tempfile.TemporaryDirectory(prefix="chatgpt-platform-bench-") as name:
        folder = Path(name)
        passed = [verdict("memory", *long_run(program, soak, folder))]
        for kind, first in (("idle after one answer", _HEALTH), ("silent from the start", b"")):
            each = idle_connections(program, soak.idle, first, folder)
            problems = [f"more than {MOST_IDLE / 1000:.0f} KB"] if each > MOST_IDLE else []
            passed.append(verdict(f"{soak.idle:,} connections", f"{each / 1000:.1f} KB each, {kind}", problems))
    return all(passed)


def verdict(about: str, figures: str, problems: Sequence[str]) -> bool:
    """Prints the outcome of one part; whether it passed."""
    print(f"{'FAIL' if problems else 'pass'}  {about}: {figures}", *problems, sep="; ", flush=True)
    return not problems


def long_run(program: Program, soak: Soak, folder: Path) -> tuple[str, list[str]]:
    """The calls and streams; what memory was in the end, and what is wrong with it."""
    # So few calls that not every address is known after the first quarter would look like growth.
    addresses = max(1, min(soak.addresses, soak.calls // 8))
    streams = Streams(count=100, tokens=50, rate=50, addresses=addresses)
    with ExitStack() as stack:
        upstream = stack.enter_context(bench_rigs.streaming_upstream(folder, streams.tokens, streams.rate))
        callers = Callers(addresses, soak.calls + soak.streams)
        rig = stack.enter_context(bench_rigs.gateway(program, folder, upstream.port, callers))
        print(f"start: {megabytes(settled(rig))} MB resident", flush=True)
        quarters = []
        for number in range(1, 5):
            told = quarter(rig, soak.calls // 4, streams, max(1, soak.streams // 4), folder)
            quarters.append(settled(rig))
            print(f"quarter {number}: {told}; {megabytes(quarters[-1])} MB resident", flush=True)
        peak = proc_usage.peak_bytes(rig.process.pid)
    growth = quarters[-1] - quarters[0]
    figures = f"{megabytes(peak)} MB at most, {growth / 1e6:+.1f} MB from the first quarter to the last"
    return figures, memory_problems(quarters, peak)


def memory_problems(quarters: Sequence[float], peak: float) -> list[str]:
    """What is wrong with resident memory after each quarter and at its peak."""
    problems = []
    if peak > MOST_RESIDENT:
        problems.append(f"more than {MOST_RESIDENT / 1e6:.0f} MB")
    tolerated = max(GROWTH_BYTES, GROWTH_SHARE * quarters[0])
    if quarters[-1] - quarters[0] > tolerated:
        problems.append(f"it grew by more than {tolerated / 1e6:.1f} MB")
    return problems


def quarter(rig: Rig, calls: int, streams: Streams, total: int, folder: Path) -> str:
    """Calls and streams at the same time; how many of them there were."""
    # The streams end by their number; the seconds are only a bound.
    bound = 60 + 10 * total * streams.tokens / streams.rate / streams.count
    load = bench_wrk.Load(bench_wrk.chat(), streams.addresses)
    began = time.monotonic()
    with bench_streams.start_load(rig, streams, folder, bound, total) as streaming:
        done = bench_wrk.call_until(rig, load, calls, folder)
        while streaming.is_running():
            time.sleep(0.2)
    figures = bench_streams.load_figures(rig.name, folder)
    return f"{done:,} calls, {figures['streams']:,} streams in {time.monotonic() - began:.0f} s"


def settled(rig: Rig) -> int:
    """Resident bytes when it is quiet."""
    time.sleep(_SETTLE)
    return proc_usage.resident_bytes(rig.process.pid)


def idle_connections(program: Program, count: int, first: bytes, folder: Path) -> float:
    """Bytes that a fresh gateway needs for each of `count` connections that sent `first` and no more."""
    with ExitStack() as stack:
        upstream = stack.enter_context(bench_rigs.streaming_upstream(folder, tokens=1, rate=1))
        rig = stack.enter_context(bench_rigs.gateway(program, folder, upstream.port, Callers(0, 0)))
        for _ in range(_WARM):
            connect(rig.port, _HEALTH).close()
        bench_wrk.check_answer(rig, bench_wrk.Load(bench_wrk.chat()))
        before = settled(rig)
        connections = [stack.enter_context(connect(rig.port, first)) for _ in range(count)]
        # Connections are accepted in their order: when this one has its answer, all others were.
        connect(rig.port, _HEALTH).close()
        after = settled(rig)
        closed = sum(not is_open(one) for one in connections)
    if closed:
        raise BenchError(f"{closed} of {count} idle connections were closed before they were counted")
    return (after - before) / count


def connect(port: int, first: bytes) -> socket.socket:
    """A connection that has sent `first` and read the answer to it, if it sent anything."""
    connection = socket.create_connection((processes.LOOPBACK, port), timeout=30)
    if first:
        connection.sendall(first)
        answer = b""
        while not answer.endswith(b"}"):  # {"status":"ok"}
            piece = connection.recv(4096)
            if not piece:
                raise BenchError(f"/healthz answered {answer!r}")
            answer += piece
    return connection


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has kept the connection, and sent nothing."""
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        connection.recv(1)
        return False
    return True
