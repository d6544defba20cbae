"""What the gateway costs, beside nginx's `proxy_pass`, in one run, on this machine's loopback.

    python3 scripts/bench.py                          calls: 3 rounds of 5 seconds for each
    python3 scripts/bench.py calls --connections 1 --body 10000 --addresses 0
    python3 scripts/bench.py streams                  500 streams of 50 tokens a second
    python3 scripts/bench.py soak                     a million calls and 10,000 streams: does memory grow?
    python3 scripts/bench.py growth                   how cost grows: connections, bodies, addresses, streams
    python3 scripts/bench.py ledger                   ten million rows written, rolled up and reported
    python3 scripts/bench.py calls --interpreted      the gateway in plain Python, not with native modules
    python3 scripts/bench.py calls --program dist/chatgpt-platform

Both candidates stand before the same upstream, which answers at once, and get the same load. The gateway
does all it does in earnest: limits for every window, for each of 10,000 callers' addresses that a trusted
proxy names, allow and deny lists, a virtual key with limits and budgets, the ledger, the configured key,
request ids, the access log in a file. It has the native modules that the executable has (scripts/native.py
compiles them first) unless an option names another one, and the report says which it was. Rounds
alternate, so that a busy moment of the machine meets both; tables show medians. CPU time is that of a
candidate's whole process tree, taken from the system before and after each round, over the calls or token
events that completed in it. A single answer other than 2xx, a lost event or a broken stream fails the run.

Each mode is a module, bench_MODE.py. A `Rig` (bench_rigs) is a running candidate; bench_wrk and bench_load
put a load on it.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import bench_calls
import bench_growth
import bench_rigs
import bench_soak
import bench_streams
import bench_wrk
import native
import proc_usage
import processes
import programs
from bench_rigs import BenchError, Candidates

INSTALL = {
    "nginx": "apt install nginx-light (Debian, Ubuntu), dnf install nginx, or apk add nginx",
    "wrk": "apt install wrk (Debian, Ubuntu) or apk add wrk; its source: github.com/wg/wrk",
}
MODES = ("calls", "streams", "soak", "growth", "ledger")


def what_to_install(find: Callable[[str], str | None]) -> str:
    """One line for each program that `find` does not find; empty when all are there."""
    return "\n".join(f"bench.py needs {name}: {how}" for name, how in INSTALL.items() if not find(name))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    if options.mode == "ledger":  # nothing stands beside it
        environment.enter("run")
        import bench_ledger  # noqa: PLC0415 - it needs the package that environment.enter provides

        bench_ledger.run(options.rows)
        return 0
    if not proc_usage.PROC.is_dir():
        print("bench.py reads CPU times from /proc, so it runs on Linux only.", file=sys.stderr)
        return 1
    missing = what_to_install(bench_rigs.find_program)
    nginx = bench_rigs.find_program("nginx")
    if missing or nginx is None:
        print(missing, file=sys.stderr)
        return 1
    which = {"interpreted": options.interpreted, "executable": options.program}
    environment.enter(programs.lock(**which))
    processes.stop_on_signals()
    processes.allow_many_files()
    try:
        return run(options, Candidates(nginx, programs.chosen(**which)))
    except (BenchError, native.NativeError, processes.ProcessError) as error:
        print(f"The run failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 1


def run(options: argparse.Namespace, candidates: Candidates) -> int:
    """Runs a mode, prints its report and gives the exit code."""
    which = f"The gateway: {candidates.gateway.about}."
    if options.mode == "calls":
        load = bench_wrk.Load(
            bench_wrk.chat(options.body), options.addresses, options.connections, accounted=not options.plain
        )
        print(f"\n{which}\n" + bench_calls.run(candidates, load, options.rounds, options.seconds))
    elif options.mode == "streams":
        streams = bench_streams.Streams(options.streams, options.tokens, options.rate, options.addresses)
        print(f"\n{which}\n" + bench_streams.run(candidates, streams, options.rounds, options.seconds))
    elif options.mode == "soak":
        print(which, flush=True)
        soak = bench_soak.Soak(options.calls, options.streams, options.addresses, options.idle)
        return 0 if bench_soak.run(candidates.gateway, soak) else 1
    else:
        print(f"\n{which}\n" + bench_growth.run(candidates, options.seconds, options.fill_seconds))
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; without a mode it is that of `calls`."""
    if not arguments or arguments[0] not in {*MODES, "-h", "--help"}:
        arguments = ["calls", *arguments]
    parser = argparse.ArgumentParser(description="What the gateway costs, beside nginx proxy_pass.")
    modes = parser.add_subparsers(dest="mode", metavar="MODE", required=True)

    calls = modes.add_parser("calls", help="what a call costs; the mode when none is named")
    _rounds(calls)
    _number(calls, "--connections", 32, "connections that stay open")
    _number(calls, "--body", 0, "bytes of a call's body, 0: a short question", zero=True)
    _number(calls, "--addresses", 10_000, "addresses that call, 0: this machine's own", zero=True)
    calls.add_argument("--plain", action="store_true", help="without virtual keys, budgets and the ledger")

    streams = modes.add_parser("streams", help="what a streamed event costs")
    _rounds(streams)
    _number(streams, "--streams", 500, "streams at a time")
    _number(streams, "--tokens", 100, "tokens in a stream")
    _number(streams, "--rate", 50, "tokens a second in a stream")
    _number(streams, "--addresses", 10_000, "addresses that call, 0: this machine's own", zero=True)

    soak = modes.add_parser("soak", help="whether memory grows, and what idle connections take")
    _number(soak, "--calls", 1_000_000, "calls in all")
    _number(soak, "--streams", 10_000, "streams in all")
    _number(soak, "--addresses", 10_000, "addresses that call")
    _number(soak, "--idle", 2_000, "idle connections")

    growth = modes.add_parser("growth", help="how cost grows, as tables in Markdown")
    _number(growth, "--seconds", 3, "seconds for each measurement")
    _number(growth, "--fill-seconds", 120, "seconds at most to make a number of addresses known")

    for mode in (calls, streams, soak, growth):
        _gateway(mode)

    ledger = modes.add_parser("ledger", help="what the ledger's rows cost, and how long its reports take")
    _number(ledger, "--rows", 10_000_000, "rows, over 90 days")
    return parser.parse_args(arguments)


def _gateway(parser: argparse.ArgumentParser) -> None:
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--interpreted", action="store_true", help="measure the checkout in plain Python")
    one.add_argument("--program", type=program, metavar="PATH", help="measure this executable")


def program(text: str) -> Path:
    """A program's path, for argparse."""
    if not (Path(text).is_file() and os.access(text, os.X_OK)):
        raise argparse.ArgumentTypeError(f"{text} is no program: scripts/build.py makes dist/chatgpt-platform")
    return Path(text)


def _rounds(parser: argparse.ArgumentParser) -> None:
    _number(parser, "--rounds", 3, "rounds for each")
    _number(parser, "--seconds", 5, "seconds a round")


def _number(parser: argparse.ArgumentParser, flag: str, default: int, about: str, *, zero: bool = False) -> None:
    kind = whole if zero else positive
    parser.add_argument(flag, type=kind, default=default, metavar="N", help=f"{about} (default: {default})")


def whole(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    if (number := int(text)) < 0:
        raise ValueError(text)
    return number


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
