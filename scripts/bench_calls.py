"""The mode `calls` of scripts/bench.py: what a call costs."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import bench_report
import bench_rigs
import bench_wrk
from bench_rigs import Callers, Candidates
from bench_wrk import Load, Round

# nginx as the upstream answers before a longer body has come, as no model service does.
NGINX_READS_AT_MOST = 8 * 1024
CALLS_A_SECOND = 150_000  # more than any candidate manages
_HEAD = ("gateway", "requests/s", "p50 ms", "p99 ms", "CPU us/call", "x nginx", "resident MB")


def run(candidates: Candidates, load: Load, rounds: int, seconds: int) -> str:
    """Starts everything, measures in turn, stops everything; the table of medians."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatgpt-platform-bench-")))
        if len(load.body) <= NGINX_READS_AT_MOST:
            upstream = stack.enter_context(bench_rigs.upstream(candidates.nginx, folder))
        else:
            upstream = stack.enter_context(bench_rigs.streaming_upstream(folder, tokens=1, rate=1))
        callers = Callers(load.addresses, CALLS_A_SECOND * (rounds * seconds + 1), load.accounted)
        rigs = [
            stack.enter_context(bench_rigs.nginx_proxy(candidates.nginx, folder, upstream.port)),
            stack.enter_context(bench_rigs.gateway(candidates.gateway, folder, upstream.port, callers)),
        ]
        for rig in rigs:
            bench_wrk.measure(rig, load, 1, folder)  # to warm up
        measured: dict[str, list[Round]] = {rig.name: [] for rig in rigs}
        for number in range(1, rounds + 1):
            for rig in rigs:
                one = bench_wrk.measure(rig, load, seconds, folder)
                measured[rig.name].append(one)
                print(f"round {number}: {rig.name}, {one.cpu_per_call:.1f} CPU us/call", flush=True)
        return table({name: bench_report.median(taken) for name, taken in measured.items()})


def table(results: Mapping[str, Round]) -> str:
    """The results as text, a line for each; the first one's CPU a call is the measure of the others."""
    yardstick = next(iter(results.values())).cpu_per_call
    rows = [
        (
            name,
            f"{one.calls_per_second:,.0f}",
            f"{one.p50:.2f}",
            f"{one.p99:.2f}",
            f"{one.cpu_per_call:.1f}",
            bench_report.times(one.cpu_per_call, yardstick),
            bench_report.megabytes(one.resident),
        )
        for name, one in results.items()
    ]
    return bench_report.text_table(_HEAD, rows)
