"""What a call costs: the gateway beside nginx's `proxy_pass`, in one run, on this machine's loopback.

    python3 scripts/bench.py                          3 rounds of 5 seconds for each
    python3 scripts/bench.py --rounds 5 --seconds 10

Both stand before the same upstream, an nginx that answers at once, and get the same load from `wrk`: small
chat completions over 32 connections that stay open. The gateway does all it does in earnest: limits for
every window, an allow list, the configured key, the access log. Rounds alternate, so that a busy moment of
the machine meets both; the table shows medians. CPU time is that of a candidate's whole process tree, taken
from /proc before and after each round, over the calls that completed in it. A single answer other than 2xx
fails the run.

How it is built: a `Rig` is a running candidate, a `Load` is what wrk sends, `measure` puts one on the other
for some seconds and gives a `Round`. Another mode is another Load, or another loop over `measure`.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import argparse
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import bench_rigs
import proc_usage
import processes
from bench_rigs import Rig

INSTALL = {
    "nginx": "apt install nginx-light (Debian, Ubuntu), dnf install nginx, or apk add nginx",
    "wrk": "apt install wrk (Debian, Ubuntu) or apk add wrk; its source: github.com/wg/wrk",
}

# Prints the round's figures as one line of JSON, after wrk's own report. Latencies come in microseconds.
_WRK_SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer caller-placeholder"
wrk.body = [==[%s]==]

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '{"calls": %%d, "duration": %%d, "p50": %%d, "p99": %%d, "refused": %%d, "broken": %%d}\\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.status, e.connect + e.read + e.write + e.timeout))
end
"""


class BenchError(Exception):
    """The run gave no valid figures; the text is one line for the user."""


@dataclass(frozen=True)
class Load:
    """What wrk sends, over how many connections."""

    path: str
    body: str
    connections: int = 32
    threads: int = 2


@dataclass(frozen=True)
class Round:
    """One candidate under load for some seconds. Latencies in milliseconds, CPU in microseconds a call."""

    calls_per_second: float
    p50: float
    p99: float
    cpu_per_call: float
    resident: int


CHAT = Load(
    "/v1/chat/completions",
    json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What does a gateway do?"}]}),
)


def find_program(name: str) -> str | None:
    """Where a program is; servers also lie where an ordinary user's PATH does not lead."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def what_to_install(find: Callable[[str], str | None]) -> str:
    """One line for each program that `find` does not find; empty when all are there."""
    return "\n".join(f"bench.py needs {name}: {how}" for name, how in INSTALL.items() if not find(name))


def measure(rig: Rig, load: Load, seconds: int, folder: Path) -> Round:
    """Loads one candidate for some seconds. Raises BenchError unless every answer is 2xx."""
    check_answer(rig, load)
    script = folder / "load.lua"
    script.write_text(_WRK_SCRIPT % load.body, "utf-8")
    command = [
        find_program("wrk") or "wrk",
        f"-t{load.threads}",
        f"-c{load.connections}",
        f"-d{seconds}s",
        "-s",
        str(script),
    ]
    before = proc_usage.cpu_seconds(rig.process.pid)
    done = subprocess.run(
        [*command, f"http://{processes.LOOPBACK}:{rig.port}{load.path}"],
        capture_output=True,
        text=True,
        check=False,
    )
    cpu = proc_usage.cpu_seconds(rig.process.pid) - before
    if done.returncode != 0:
        raise BenchError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    return to_round(rig.name, done.stdout, cpu, proc_usage.resident_bytes(rig.process.pid))


def check_answer(rig: Rig, load: Load) -> None:
    """One call with the answer looked at: wrk counts only statuses from 400 on as wrong."""
    connection = http.client.HTTPConnection(processes.LOOPBACK, rig.port, timeout=30)
    try:
        connection.request("POST", load.path, load.body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{rig.name} does not answer: {error!r}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK or body != bench_rigs.ANSWER:
        raise BenchError(f"{rig.name} answered {answer.status} and not the upstream's body: {body[:200]}")


def to_round(name: str, output: str, cpu: float, resident: int) -> Round:
    """The figures of one round from wrk's output, CPU seconds and bytes. Raises BenchError for a failed one."""
    figures = json.loads(output.strip().splitlines()[-1])
    if figures["refused"] or figures["broken"]:
        raise BenchError(
            f"{name}: {figures['refused']} answers were not 2xx and {figures['broken']} connections failed"
        )
    if not figures["calls"]:
        raise BenchError(f"{name}: no call completed")
    return Round(
        calls_per_second=figures["calls"] / figures["duration"] * 1e6,
        p50=figures["p50"] / 1000,
        p99=figures["p99"] / 1000,
        cpu_per_call=cpu / figures["calls"] * 1e6,
        resident=resident,
    )


def median(rounds: Sequence[Round]) -> Round:
    """The median of each figure by itself."""
    return Round(
        calls_per_second=statistics.median(one.calls_per_second for one in rounds),
        p50=statistics.median(one.p50 for one in rounds),
        p99=statistics.median(one.p99 for one in rounds),
        cpu_per_call=statistics.median(one.cpu_per_call for one in rounds),
        resident=round(statistics.median(one.resident for one in rounds)),
    )


def table(results: dict[str, Round]) -> str:
    """The results as text, a line for each; the first one's CPU a call is the measure of the others."""
    head = ("gateway", "requests/s", "p50 ms", "p99 ms", "CPU us/call", "x nginx", "resident MB")
    yardstick = next(iter(results.values())).cpu_per_call
    lines = [head] + [
        (
            name,
            f"{one.calls_per_second:,.0f}",
            f"{one.p50:.2f}",
            f"{one.p99:.2f}",
            f"{one.cpu_per_call:.1f}",
            f"{one.cpu_per_call / yardstick:.2f}" if yardstick else "-",
            f"{one.resident / 1e6:.1f}",
        )
        for name, one in results.items()
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines
    )


def run(rounds: int, seconds: int, nginx: str) -> dict[str, Round]:
    """Starts everything, measures in turn, stops everything; medians by name, nginx first."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatgpt-platform-bench-")))
        upstream = stack.enter_context(bench_rigs.upstream(nginx, folder))
        rigs = [
            stack.enter_context(bench_rigs.nginx_proxy(nginx, folder, upstream.port)),
            stack.enter_context(bench_rigs.gateway(folder, upstream.port)),
        ]
        for rig in rigs:
            measure(rig, CHAT, 1, folder)  # to warm up
        measured: dict[str, list[Round]] = {rig.name: [] for rig in rigs}
        for number in range(1, rounds + 1):
            for rig in rigs:
                one = measure(rig, CHAT, seconds, folder)
                measured[rig.name].append(one)
                print(f"round {number}: {rig.name}, {one.cpu_per_call:.1f} CPU us/call", flush=True)
        return {name: median(taken) for name, taken in measured.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What a call costs: the gateway beside nginx proxy_pass.")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds for each (default: 3)")
    parser.add_argument("--seconds", type=positive, default=5, help="seconds a round (default: 5)")
    options = parser.parse_args(arguments)
    if not proc_usage.PROC.is_dir():
        print("bench.py reads CPU times from /proc, so it runs on Linux only.", file=sys.stderr)
        return 1
    missing = what_to_install(find_program)
    nginx = find_program("nginx")
    if missing or nginx is None:
        print(missing, file=sys.stderr)
        return 1
    environment.enter("run")
    processes.stop_on_signals()
    try:
        print("\n" + table(run(options.rounds, options.seconds, nginx)))
    except (BenchError, processes.ProcessError) as error:
        print(f"The run failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 1
    return 0


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
