"""Callers, ledger and upstreams, three accounts of the same calls: do they agree to the last token?

    python3 scripts/truth.py                           10,000 calls, a random seed
    python3 scripts/truth.py --calls 10000 --seed 7    the same plan again
    python3 scripts/truth.py --kills 100               the real program, killed a hundred times at random moments
    python3 scripts/truth.py --native                  either of them with native modules (scripts/native.py)

The calls are streams and JSON on both APIs, with virtual keys of which one has a limit, one too small a budget and
one few calls at a time; some callers leave; the upstreams are simulators, sound, odd, slow and faulty. Each call
must have exactly one row in the ledger, with the outcome that its caller saw. Where the upstream reported usage,
callers, ledger and upstream must agree; streams that broke off must be counted to their last event; what nobody
could know is `estimated`, and the table puts it beside what was generated.

After each kill the database must be sound, hold each call that had ended a second before, and budgets must be the
sum of its rows; after the next start the calls that were under way must be there as `cut`.

Exit 1 and the differences where there are any. tests/support has what does it: mixed_run, truth, killed.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

import native
import processes
import programs

SHOWN = 40
"""Differences."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    environment.enter("dev")
    processes.stop_on_signals()
    processes.allow_many_files()
    seed = SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    what = f"{options.kills} kills" if options.kills else f"{options.calls:,} calls"
    print(f"seed {seed}: {what}", flush=True)
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="chatgpt-platform-truth-") as name:
            report, faults = run(options, seed, Path(name))
    except native.NativeError as error:
        print(f"The run failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 1
    print(f"{report}\n{time.monotonic() - began:.0f} s")
    if not faults:
        return 0
    print(*faults[:SHOWN], f"FAILED with seed {seed}: {len(faults)} differences", sep="\n", file=sys.stderr)
    return 1


def run(options: argparse.Namespace, seed: int, folder: Path) -> tuple[str, list[str]]:
    """The figures, and what does not agree."""
    program = programs.chosen(interpreted=not options.native, executable=None)
    sys.path[:0] = [str(program.path), str(environment.ROOT / "tests")]
    from support import killed, mixed_run  # noqa: PLC0415 - they need what environment.enter provides

    if options.kills:
        with killed.Killed(folder, seed) as kills:
            kills.rounds(options.kills)
        return kills.report(), kills.faults
    found = mixed_run.run(options.calls, seed, folder)
    return found.report(), found.compared.faults


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Three accounts of the same calls.")
    parser.add_argument("--calls", type=positive, default=10_000, metavar="N", help="calls of a mixed run; 10,000")
    parser.add_argument("--kills", type=positive, default=0, metavar="N", help="kill the program so often instead")
    parser.add_argument("--native", action="store_true", help="compile the inner packages, and run them")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="plans the same again; else any")
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    if (number := int(text)) <= 0:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
