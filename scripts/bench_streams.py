"""The mode `streams` of scripts/bench.py: what a streamed event costs, and how long its first byte takes.

Each stream is a connection of its own, as that of a program that asks once; to the upstream, connections are
kept open. nginx passes on at once (`proxy_buffering off`), as the gateway does.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import bench_load
import bench_report
import bench_rigs
import proc_usage
import processes
from bench_rigs import BenchError, Callers, Candidates, Rig

_SAMPLE_EVERY = 0.25
_BUSY = 0.8  # of a core: from here on the measuring programs may be what is measured
_HEAD = (
    "gateway",
    "events/s",
    "lost",
    "broken",
    "CPU us/event",
    "x nginx",
    "1st byte p50 ms",
    "p99 ms",
    "beyond nginx p50",
    "p99",
    "resident MB",
)


@dataclass(frozen=True)
class Streams:
    """So many at a time, each of so many tokens at so many a second, from so many addresses (0: none named)."""

    count: int = 500
    tokens: int = 100
    rate: int = 50
    addresses: int = 10_000


class Round(NamedTuple):
    """One candidate under load. Times to the first byte in milliseconds, CPU in microseconds an event."""

    events_per_second: float
    cpu_per_event: float
    first_byte_p50: float
    first_byte_p99: float
    resident: float  # the most while it ran
    streams: float
    load_cores: float  # what the load program took of one core


def run(candidates: Candidates, streams: Streams, rounds: int, seconds: int) -> str:
    """Starts everything, measures in turn, stops everything; the table of medians."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatgpt-platform-bench-")))
        upstream = stack.enter_context(bench_rigs.streaming_upstream(folder, streams.tokens, streams.rate))
        rigs = rigs_before(stack, candidates, folder, upstream, callers(streams, rounds * seconds + 1))
        for rig in rigs:
            measure(rig, streams, 1, folder)  # to warm up
        measured: dict[str, list[Round]] = {rig.name: [] for rig in rigs}
        for number in range(1, rounds + 1):
            for rig in rigs:
                before = proc_usage.cpu_seconds(upstream.process.pid)
                began = time.monotonic()
                one = measure(rig, streams, seconds, folder)
                upstream_cores = (proc_usage.cpu_seconds(upstream.process.pid) - before) / (
                    time.monotonic() - began
                )
                measured[rig.name].append(one)
                print(progress(number, rig.name, one, upstream_cores), flush=True)
        return table({name: bench_report.median(taken) for name, taken in measured.items()})


def callers(streams: Streams, seconds: int) -> Callers:
    """Who calls, and at most how often."""
    lifetime = max(0.01, streams.tokens / streams.rate)
    return Callers(streams.addresses, round(streams.count * (seconds / lifetime + 2)))


def rigs_before(
    stack: ExitStack, candidates: Candidates, folder: Path, upstream: Rig, callers: Callers
) -> list[Rig]:
    """nginx and the gateway, running until the stack ends."""
    return [
        stack.enter_context(bench_rigs.nginx_proxy(candidates.nginx, folder, upstream.port, buffering=False)),
        stack.enter_context(bench_rigs.gateway(candidates.gateway, folder, upstream.port, callers)),
    ]


def measure(rig: Rig, streams: Streams, seconds: int, folder: Path) -> Round:
    """Loads one candidate for some seconds. Raises BenchError unless every stream came whole."""
    before = proc_usage.cpu_seconds(rig.process.pid)
    figures, resident = run_load(rig, streams, folder, seconds)
    cpu = proc_usage.cpu_seconds(rig.process.pid) - before
    return to_round(rig.name, figures, cpu, resident)


def run_load(
    rig: Rig, streams: Streams, folder: Path, seconds: float, total: int = 0
) -> tuple[dict[str, Any], int]:
    """Runs bench_load.py to its end: its figures, and the most resident bytes of the rig meanwhile."""
    with start_load(rig, streams, folder, seconds, total) as load:
        resident = 0
        while load.is_running():
            resident = max(resident, proc_usage.resident_bytes(rig.process.pid))
            time.sleep(_SAMPLE_EVERY)
    return load_figures(rig.name, folder), resident


def start_load(rig: Rig, streams: Streams, folder: Path, seconds: float, total: int = 0) -> processes.Process:
    """bench_load.py, to be entered; it ends by itself."""
    program = Path(__file__).with_name("bench_load.py")
    options = {
        "port": rig.port,
        "streams": streams.count,
        "tokens": streams.tokens,
        "seconds": seconds,
        "total": total,
        "addresses": streams.addresses,
        "patience": bench_load.PATIENCE + 2 * streams.tokens / streams.rate,
    }
    command = [sys.executable, str(program)] + [f"--{name}={value}" for name, value in options.items()]
    _output(folder).unlink(missing_ok=True)
    return processes.Process(command, folder, _output(folder), processes.clean_environment())


def load_figures(name: str, folder: Path) -> dict[str, Any]:
    """What bench_load.py printed at last. Raises BenchError for a failed run."""
    told = _output(folder).read_text("utf-8", "replace").strip().splitlines() or [""]
    try:
        figures: dict[str, Any] = json.loads(told[-1])
    except ValueError:
        raise BenchError(f"{name}: the load program failed: {told[-1]}") from None
    if figures["lost"] or figures["broken"]:
        why = f"; the first reason: {told[0][:300]}" if len(told) > 1 else ""
        raise BenchError(
            f"{name}: {figures['lost']} events were lost and {figures['broken']} streams broke off{why}"
        )
    if not figures["events"]:
        raise BenchError(f"{name}: no stream came to its end")
    return figures


def to_round(name: str, figures: Mapping[str, Any], cpu: float, resident: int) -> Round:
    """The figures of one round from the load program's, CPU seconds and bytes."""
    return Round(
        events_per_second=figures["events_per_second"],
        cpu_per_event=cpu / figures["events"] * 1e6,
        first_byte_p50=figures["first_byte_p50"],
        first_byte_p99=figures["first_byte_p99"],
        resident=resident,
        streams=figures["streams"],
        load_cores=figures["cpu"] / figures["seconds"],
    )


def progress(number: int, name: str, one: Round, upstream_cores: float) -> str:
    """One line on a round; it tells when the measuring programs themselves were near their limit."""
    line = (
        f"round {number}: {name}, {one.streams:,.0f} streams, {one.cpu_per_event:.1f} CPU us/event "
        f"(load {one.load_cores:.0%}, upstream {upstream_cores:.0%} of a core)"
    )
    if max(one.load_cores, upstream_cores) > _BUSY:
        line += "; too much: the times to the first byte are theirs as well"
    return line


def table(results: Mapping[str, Round]) -> str:
    """The results as text, a line for each; the first one is the measure of the others."""
    nginx = next(iter(results.values()))
    rows = [
        (
            name,
            f"{one.events_per_second:,.0f}",
            "0",  # or the run would have failed
            "0",
            f"{one.cpu_per_event:.1f}",
            bench_report.times(one.cpu_per_event, nginx.cpu_per_event),
            f"{one.first_byte_p50:.1f}",
            f"{one.first_byte_p99:.1f}",
            f"{one.first_byte_p50 - nginx.first_byte_p50:+.1f}",
            f"{one.first_byte_p99 - nginx.first_byte_p99:+.1f}",
            bench_report.megabytes(one.resident),
        )
        for name, one in results.items()
    ]
    return bench_report.text_table(_HEAD, rows)


def _output(folder: Path) -> Path:
    return folder / "load.json"
