"""A run of many calls of many kinds with virtual keys, and its three accounts; see ``support.truth``.

compared = run(10_000, seed=7, directory=tmp_path)
compared.faults, compared.report()

Sound, slow and faulty upstreams; callers of whom some leave; keys of which one has a limit of calls, one too small
a budget and one a place for only a few calls at a time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from chatgpt_platform.simulator.server import Behaviour
from support import truth
from support.accounts import make, mixed, statuses
from support.fleet import Up, fleet, up
from support.gateway import wait_until

FAULTS: Final = (
    "500,502,503-bare,429-soon,reset,close,reset-mid,cut-mid,cut-event,error-first,error-later,named-error,no-usage,"
    "no-stream-usage,no-done,bad-json,empty,html"
)
ODD: Final = "cached,usage-each,comments,crlf,no-space,bom,filters,close-after,http10"
"""What is valid, and must be counted all the same."""

_EVER: Final = {"tokens": ["1000M/total"], "budget": ["1000000/total"]}
KEYS: Final[dict[str, dict[str, Any]]] = {
    "alice": _EVER,
    "bob": {**_EVER, "limits": {"minute": 60}},
    "carol": {"tokens": ["8k/total"]},
    "dave": {**_EVER, "concurrency": 3},
}
PRICES: Final = [{"model": "*", "input": 0.15, "cached_input": 0.075, "output": 0.6}]
LEAVING: Final = 0.15


@dataclass
class Run:
    """``compared``: its accounts. ``statuses``: how often each was seen."""

    compared: truth.Compared
    statuses: Counter[int]
    seconds: float

    def report(self) -> str:
        """For people."""
        seen = ", ".join(f"{status or 'none'}: {count:,}" for status, count in sorted(self.statuses.items()))
        return f"{self.compared.report()}\nstatuses that callers saw: {seen}"


def settings(directory: Path) -> dict[str, str]:
    """Of a gateway with a state directory, virtual keys and prices."""
    keys = [{"name": name, "key": key_of(name), **options} for name, options in KEYS.items()]
    return {
        "CHATGPT_STATE__DIRECTORY": str(directory),
        "CHATGPT_KEYS": json.dumps(keys),
        "CHATGPT_PRICES": json.dumps(PRICES),
        "CHATGPT_SERVER__TRUSTED_PROXIES": "127.0.0.0/8",
    }


def key_of(name: str) -> str:
    """The text of a key."""
    return f"the-virtual-key-of-{name}"


def upstreams(seed: int) -> list[Up]:
    """One for each model, and a spare one for that which fails."""
    return [
        up("sound", Behaviour(fail=ODD, share=0.5), models=["sound"]),
        up("old", Behaviour(fail="no-stream-options"), models=["old"]),
        up("slow", Behaviour(interval=0.002), models=["slow"]),
        up("faulty", Behaviour(fail=FAULTS, share=0.4), models=["faulty"], api_keys=["f-1", "f-2", "f-3"]),
        up("spare", Behaviour(), models=["faulty"], priority=1),
    ]


def run(count: int, seed: int, directory: Path, at_once: int = 100) -> Run:
    """Make so many calls and compare the accounts of them."""
    holders = {"": "", **{name: key_of(name) for name in KEYS}}
    plan = mixed(count, holders, Random(seed), models=["sound", "old", "slow", "faulty"], leaving=LEAVING)
    with fleet(*upstreams(seed), **settings(directory)) as running:
        running.expected += ["faulty", "carol", "old: does not take stream_options"]
        began = time.monotonic()
        seen = asyncio.run(make(running.port, plan, at_once))
        seconds = time.monotonic() - began
        wait_until(lambda: not running.held() and not _under_way(running.simulators.values()), 30)
    rows = truth.rows_of(directory)
    compared = truth.compare(seen, rows, running.simulators)
    truth.check_sums(compared, running.simulators)
    truth.check_reports(directory, rows, compared.faults)
    truth.check_budgets(directory, rows, compared.faults)
    return Run(compared, statuses(seen), seconds)


def _under_way(simulators: Any) -> int:
    return sum(each.stats.under_way for each in simulators)
