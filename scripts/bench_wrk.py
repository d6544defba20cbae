"""Loads a rig with small or large calls by `wrk`: the script it runs, its report, and what the rig used.

`measure` puts a `Load` on a rig for some seconds and gives a `Round`. One thread of wrk is enough for every
rig here, and keeps the callers' addresses in one order. Requests are built once, but where that would take
too much memory: then wrk joins three strings for each.
"""

import http.client
import json
import math
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import bench_rigs
import proc_usage
import processes
from bench_rigs import BenchError, Rig

PATH = "/v1/chat/completions"
QUESTION = "What does a gateway do?"
BUILT_AT_MOST = 32 * 2**20  # bytes of requests that wrk holds ready
_LONGEST_RUN = 30  # seconds

_STATIC = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
wrk.body = {body}
"""

# The address of a number is as in bench_rigs.address.
_ADDRESSED = """\
local head, tail, count, number, step = {head}, {tail}, {count}, {first}, {step}
local floor = math.floor

local function build(i)
    local low = floor(i / 256) % 256 .. "." .. i % 256
    local address = count <= 65536 and "198.18." .. low or "10." .. floor(i / 65536) .. "." .. low
    return head .. address .. tail
end

local built = {{}}
if {ready} then
    for i = 0, count - 1 do built[i] = build(i) end
end

function request()
    number = (number + step) % count
    return built[number] or build(number)
end
"""

# Prints the round's figures as one line of JSON, after wrk's own report. Latencies come in microseconds.
_DONE = """
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '{"calls": %d, "duration": %d, "p50": %d, "p99": %d, "refused": %d, "broken": %d}\\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.status, e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What wrk sends, from how many addresses (0: none is named), over how many connections."""

    body: str
    addresses: int = 0
    connections: int = 32
    step: int = 1  # from one caller's address to the next one's
    accounted: bool = True  # with virtual keys, budgets and the ledger


class Round(NamedTuple):
    """One candidate under load for some seconds. Latencies in milliseconds, CPU in microseconds a call."""

    calls_per_second: float
    p50: float
    p99: float
    cpu_per_call: float
    resident: float
    calls: float


def chat(size: int = 0) -> str:
    """The body of a chat completion, of exactly `size` bytes unless even a short question takes more."""

    def body(question: str) -> str:
        return json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]})

    missing = size - len(body(QUESTION))
    return body(QUESTION + (" And why does it do so?" * (missing // 23 + 1))[: max(0, missing)])


def script(load: Load, first: int = 0) -> str:
    """wrk's Lua script; `first` is the number of the address that calls first, nearly: wrk tries one out."""
    if not load.addresses:
        return _STATIC.format(body=_lua_string(load.body), key=bench_rigs.CALLER_KEY) + _DONE
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {processes.LOOPBACK}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {bench_rigs.CALLER_KEY}\r\nContent-Length: {len(load.body)}\r\nX-Forwarded-For: "
    )
    tail = f"\r\n\r\n{load.body}"
    ready = load.addresses * (len(head) + len(tail)) <= BUILT_AT_MOST
    return (
        _ADDRESSED.format(
            head=_lua_string(head),
            tail=_lua_string(tail),
            count=load.addresses,
            first=first % load.addresses,
            step=load.step,
            ready=str(ready).lower(),
        )
        + _DONE
    )


def measure(rig: Rig, load: Load, seconds: int, folder: Path, first: int = 0) -> Round:
    """Loads one candidate for some seconds. Raises BenchError unless every answer is 2xx."""
    check_answer(rig, load)
    file = folder / "load.lua"
    file.write_text(script(load, first), "utf-8")
    # The timeout is longer than any wait of a thousand connections that a slow candidate serves in turn.
    options = ["-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(file)]
    command = [bench_rigs.find_program("wrk") or "wrk", *options]
    before = proc_usage.cpu_seconds(rig.process.pid)
    done = subprocess.run(
        [*command, f"http://{processes.LOOPBACK}:{rig.port}{PATH}"],
        capture_output=True,
        text=True,
        check=False,
    )
    cpu = proc_usage.cpu_seconds(rig.process.pid) - before
    if done.returncode != 0:
        raise BenchError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    return to_round(rig.name, done.stdout, cpu, proc_usage.resident_bytes(rig.process.pid))


def call_until(rig: Rig, load: Load, calls: int, folder: Path, seconds: float = math.inf) -> int:
    """Loads a rig until at least so many calls were made, each from the next address, or until time is up.

    wrk knows seconds only, so it runs again and again; each run begins a little before where the one before
    ended, as calls under way then got no answer. Gives the number of calls made.
    """
    overlap = load.connections + 2
    deadline = time.monotonic() + seconds
    done, at_a_time = 0, 2
    while done < calls and time.monotonic() < deadline:
        at_a_time = max(1, math.ceil(min(at_a_time, deadline - time.monotonic())))
        one = measure(rig, load, at_a_time, folder, first=done - overlap)
        done += max(1, int(one.calls) - overlap)
        # Not all that is missing in one go: should the rig get quicker, that would be far too many.
        at_a_time = min(_LONGEST_RUN, math.ceil(0.7 * (calls - done) / one.calls_per_second))
    return done


def check_answer(rig: Rig, load: Load) -> None:
    """One call with the answer looked at: wrk counts only statuses from 400 on as wrong."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bench_rigs.CALLER_KEY}"}
    if load.addresses:
        headers["X-Forwarded-For"] = bench_rigs.address(0, load.addresses)
    connection = http.client.HTTPConnection(processes.LOOPBACK, rig.port, timeout=30)
    try:
        connection.request("POST", PATH, load.body, headers)
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
    figures = _figures(name, output)
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
        calls=figures["calls"],
    )


def _figures(name: str, output: str) -> Any:
    try:
        return json.loads(output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise BenchError(f"{name}: wrk reported no figures: {output.strip()[-200:]}") from None


def _lua_string(text: str) -> str:
    """A Lua literal: JSON writes ASCII without control characters other than \\r and \\n as Lua reads it."""
    return json.dumps(text)
