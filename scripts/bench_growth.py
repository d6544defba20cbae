"""The mode `growth` of scripts/bench.py: how cost grows with what there is more of, as tables in Markdown.

Of connections, of bytes in a body, of addresses that the limiter knows, of streams. Each line is one
measurement, nginx and the gateway one after the other.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import bench_calls
import bench_report
import bench_rigs
import bench_streams
import bench_wrk
from bench_report import megabytes, times
from bench_rigs import Callers, Candidates, Rig
from bench_streams import Streams
from bench_wrk import Load

CONNECTIONS = (1, 10, 100, 1000)
BODIES = (1_000, 10_000, 100_000, 1_000_000, 5_000_000)
BODY_CONNECTIONS = 8
ADDRESSES = (1, 1_000, 100_000, 1_000_000)
STREAMS = (1, 10, 100, 1000)
_JUMP = 7919  # a prime: the addresses measured lie all over the limiter's memory


@dataclass(frozen=True)
class Plan:
    """Where to work, and for how long."""

    candidates: Candidates
    folder: Path
    seconds: int
    fill_seconds: int

    def callers(self, addresses: int, measurements: int) -> Callers:
        """Who calls, and at most how often."""
        calls = bench_calls.CALLS_A_SECOND * (self.seconds + 2) * measurements
        return Callers(addresses, addresses + calls)


def run(candidates: Candidates, seconds: int, fill_seconds: int) -> str:
    """Measures everything in turn; the tables as one text."""
    with tempfile.TemporaryDirectory(prefix="chatgpt-platform-bench-") as name:
        plan = Plan(candidates, Path(name), seconds, fill_seconds)
        return "\n\n".join(part(plan) for part in (connections, bodies, addresses, streams))


def connections(plan: Plan) -> str:
    """By connections, each with a call under way all the time."""
    with ExitStack() as stack:
        upstream = stack.enter_context(bench_rigs.upstream(plan.candidates.nginx, plan.folder))
        callers = plan.callers(10_000, len(CONNECTIONS))
        rigs = bench_streams.rigs_before(stack, plan.candidates, plan.folder, upstream, callers)
        loads = [Load(bench_wrk.chat(), callers.addresses, count) for count in CONNECTIONS]
        return _calls_table("connections", CONNECTIONS, rigs, loads, plan)


def bodies(plan: Plan) -> str:
    """By bytes in a call's body; the upstream reads all of it before it answers."""
    with ExitStack() as stack:
        upstream = stack.enter_context(bench_rigs.streaming_upstream(plan.folder, tokens=1, rate=1))
        rigs = bench_streams.rigs_before(stack, plan.candidates, plan.folder, upstream, Callers(0, 0))
        loads = [Load(bench_wrk.chat(size), connections=BODY_CONNECTIONS) for size in BODIES]
        return _calls_table(f"bytes of body, {BODY_CONNECTIONS} connections", BODIES, rigs, loads, plan)


def addresses(plan: Plan) -> str:
    """By addresses that the limiter remembers: a gateway for each line, called from all of them first."""
    rows = []
    with ExitStack() as stack:
        upstream = stack.enter_context(bench_rigs.upstream(plan.candidates.nginx, plan.folder))
        for count in ADDRESSES:
            with bench_rigs.gateway(
                plan.candidates.gateway, plan.folder, upstream.port, plan.callers(count, 1)
            ) as rig:
                _tell(f"{count:,} addresses call")
                load = Load(bench_wrk.chat(), count)
                known = min(count, bench_wrk.call_until(rig, load, count, plan.folder, plan.fill_seconds))
                load = Load(bench_wrk.chat(), known, step=_JUMP)
                one = bench_wrk.measure(rig, load, plan.seconds, plan.folder)
            rows.append((f"{known:,}", f"{one.cpu_per_call:.1f}", megabytes(one.resident)))
            _tell(", ".join(rows[-1]))
    return bench_report.markdown_table(("addresses known", "CPU us/call", "resident MB"), rows)


def streams(plan: Plan) -> str:
    """By streams at a time."""
    with ExitStack() as stack:
        most = Streams(STREAMS[-1], tokens=50)
        upstream = stack.enter_context(bench_rigs.streaming_upstream(plan.folder, most.tokens, most.rate))
        callers = bench_streams.callers(most, (plan.seconds + 2) * len(STREAMS))
        rigs = bench_streams.rigs_before(stack, plan.candidates, plan.folder, upstream, callers)

        def cost(rig: Rig, count: int) -> tuple[float, float]:
            load = Streams(count, most.tokens, most.rate, most.addresses)
            one = bench_streams.measure(rig, load, plan.seconds, plan.folder)
            return one.cpu_per_event, one.resident

        for rig in rigs:
            cost(rig, STREAMS[1])  # to warm up
        return _table(f"streams of {most.rate} tokens/s", "event", STREAMS, rigs, cost)


def _calls_table(what: str, numbers: Sequence[int], rigs: Sequence[Rig], loads: Sequence[Load], plan: Plan) -> str:
    load_of = dict(zip(numbers, loads, strict=True))

    def cost(rig: Rig, number: int) -> tuple[float, float]:
        load = load_of[number]
        # Calls under way at the end have cost something and do not count: with many, that must be a small part.
        one = bench_wrk.measure(rig, load, plan.seconds + load.connections // 250, plan.folder)
        return one.cpu_per_call, one.resident

    for rig in rigs:
        bench_wrk.measure(rig, loads[0], 1, plan.folder)  # to warm up
    return _table(what, "call", numbers, rigs, cost)


def _table(
    what: str,
    unit: str,
    numbers: Sequence[int],
    rigs: Sequence[Rig],
    cost: Callable[[Rig, int], tuple[float, float]],
) -> str:
    """A line for each number; `cost` gives CPU and resident memory of a rig."""
    head = (what, f"nginx, CPU us/{unit}", f"gateway, CPU us/{unit}", "x nginx", "gateway, resident MB")
    rows = []
    for number in numbers:
        (nginx, _), (gateway, resident) = (cost(rig, number) for rig in rigs)
        rows.append((f"{number:,}", f"{nginx:.1f}", f"{gateway:.1f}", times(gateway, nginx), megabytes(resident)))
        _tell(f"{what}: {', '.join(rows[-1])}")
    return bench_report.markdown_table(head, rows)


def _tell(text: str) -> None:
    """Progress goes where it does not mix with the tables."""
    print(text, file=sys.stderr, flush=True)
