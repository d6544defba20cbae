"""A gateway before three upstreams that fail at random, and callers of whom some leave: does anybody get hurt?

    python3 scripts/chaos.py                                     60 seconds, 200 calls a second, a random seed
    python3 scripts/chaos.py --seconds 60 --rate 200 --seed 7    the same weather and the same calls each time
    python3 scripts/chaos.py --native                            native modules (scripts/native.py), as it ships
    python3 scripts/chaos.py --executable dist/chatgpt-platform  the built program instead of this checkout

The gateway is a real one, a process of its own, with short timeouts; the upstreams are simulators in this
process, one of them behind TLS, some of their keys refused, busy or out of credit. Their weather changes by
chance: sound, odd or slow, a share of the calls failing, nobody listening. Half of the calls want a stream, half
are for the platform API; some callers read slowly, some leave at once or later.

At the end each caller that stayed must have had exactly one well-formed outcome that what happened explains; no
call may have been sent again after an upstream may have acted on it; of the calls that met only safe faults while
a healthy upstream existed, 99.9 % must have succeeded (chaos_verdict says precisely what that is); and nothing
may be left: no call under way, no descriptor of the gateway's (Linux only), no record missing in its access log,
no traceback in its output, exit code 0. Exit 1 and the calls that show a fault otherwise. The seed is always
printed. The same seed gives the same plan, not the same run: who comes first is the machine's affair.

chaos_faults plans the weather, chaos_load the calls and makes them, chaos_rig runs gateway and upstreams,
chaos_answers reads what callers got, chaos_verdict judges.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random, SystemRandom

import bench_report
import chaos_load
import chaos_verdict
import native
import processes
import programs

_SHOWN = 20  # guilty calls


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    environment.enter("dev")
    processes.stop_on_signals()
    processes.allow_many_files()
    seed = SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}: {options.seconds:g} s, {options.rate:g} calls a second", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="chatgpt-platform-chaos-") as name:
            return asyncio.run(run(options, seed, Path(name)))
    except (native.NativeError, processes.ProcessError) as error:
        print(f"The run failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 1


async def run(options: argparse.Namespace, seed: int, folder: Path) -> int:
    """Runs it all, prints the report and gives the exit code."""
    import chaos_rig  # noqa: PLC0415 - it needs the packages that environment.enter provides

    program = programs.chosen(interpreted=not options.native, executable=options.executable)
    rig = chaos_rig.Rig(folder, Random(seed), program)
    planned = chaos_load.plans(options.seconds, options.rate, Random(seed + 1))
    told, left = await rig.run(planned, options.seconds)
    verdict = chaos_verdict.judge(told, rig.arrivals(), rig.weather)
    print(report(verdict, len(told), left))
    if verdict.is_good and not left:
        return 0
    for number in [*verdict.guilty, *verdict.failed][:_SHOWN]:
        print(chaos_rig.story(told[number], rig.arrivals().get(number, ()), verdict.guilty.get(number, ())))
    kept = rig.keep_logs()
    print(f"FAILED with seed {seed}; the gateway's logs are in {kept}", file=sys.stderr)
    return 1


def report(verdict: chaos_verdict.Verdict, calls: int, left: Sequence[str]) -> str:
    """The table of a run."""
    rows = [("calls", f"{calls:,}"), ("upstream calls", f"{verdict.arrivals:,}")]
    rows += [(f"outcome: {name}", f"{count:,}") for name, count in sorted(verdict.outcomes.items())]
    rows += [(f"met: {name}", f"{count:,}") for name, count in sorted(verdict.faults.items())]
    rows += [
        ("had to succeed", f"{verdict.demanded:,}"),
        ("did succeed", f"{verdict.share:.3%}"),
        ("of those before an upstream in fair weather", f"{verdict.fair:,}"),
        ("did not succeed", f"{len(verdict.fair_failed):,}"),
        ("show a fault", f"{len(verdict.guilty):,}"),
        ("left over", "; ".join(left) or "nothing"),
    ]
    return bench_report.text_table(("", "number"), rows)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="A gateway before upstreams that fail at random.")
    parser.add_argument("--seconds", type=positive, default=60.0, metavar="S", help="how long calls are made; 60")
    parser.add_argument("--rate", type=positive, default=200.0, metavar="N", help="calls a second; 200")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="plans the same again; else any")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--native", action="store_true", help="compile the inner packages, and test them")
    which.add_argument("--executable", type=Path, default=None, metavar="FILE", help="the built program to test")
    return parser.parse_args(arguments)


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    if not 0 < (number := float(text)) < float("inf"):
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
