"""The real program, killed again and again in the middle of its work, and what its ledger says afterwards.

    with Killed(tmp_path, seed=7) as killed:
        killed.rounds(8)
    killed.faults, killed.report()

The upstream is a simulator of this process, so it lives on and knows what it generated. After each kill a copy of
the state directory is looked at, before the gateway opens the directory again: the database must be sound, and
hold each call that had ended a second before, to the last token, and budgets must be the sum of its rows. After
the start that follows, the calls that were under way must be there as ``cut``.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import threading
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from chatgpt_platform.simulator.request import Generated
from chatgpt_platform.simulator.server import Behaviour, Simulator
from support import mixed_run, truth
from support.accounts import Planned, Seen, address_of, make, mixed
from support.background import Background
from support.gateway import listening
from support.program import serving

MAY_LOSE: Final = 1.0
"""Seconds that a kill may take."""
AT_ONCE: Final = 48
_INTERVAL: Final = 0.02
_EACH: Final = 10_000
"""Numbers of calls from one round to the next."""
_DAY: Final = 1_000_000
_KEYS: Final[dict[str, dict[str, Any]]] = {
    "alice": {"tokens": ["1000M/total"], "budget": ["1000000/total"], "limits": {"day": _DAY}},
    "bob": {"tokens": ["1000M/total"]},
}


@dataclass
class Round:
    """One life of the gateway. ``killed``: epoch seconds. ``rows``: what its ledger had just after."""

    number: int
    seen: list[Seen] = field(default_factory=list)
    killed: float = 0.0
    rows: list[truth.Row] = field(default_factory=list)

    def ended(self, before: float) -> list[Seen]:
        """Calls that were over so many seconds before the kill, as their callers saw it."""
        return [one for one in self.seen if one.ended and one.ended < self.killed - before]

    def cut(self, after: float) -> list[Seen]:
        """Calls that had been under way for so long when the kill came."""
        return [
            one
            for one in self.seen
            if one.began and one.began < self.killed - after and not (one.ended and one.ended < self.killed)
        ]


class Killed:
    """``faults``: what is not as it should be; empty when all is well."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._directory: Final = directory
        self._state: Final = directory / "state"
        self._random: Final = Random(seed)
        self._simulator: Final = Simulator(Behaviour(interval=_INTERVAL), remember=None)
        self._stack: Final = ExitStack()
        self.faults: list[str] = []
        self.kills = self.calls = self.exact = self.cuts = self.tokens = self.late = 0

    def __enter__(self) -> Self:
        background = self._stack.enter_context(Background())
        url = listening(self._simulator, background, self._stack)
        (self._directory / "chatgpt.yaml").write_text(json.dumps(_settings(self._state, url)), "utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def rounds(self, count: int, least: float = 1.2, most: float = 3.0) -> None:
        """Kill it so often, each time that many seconds after its start; and start it once more."""
        former: Round | None = None
        for number in range(count):
            current = self._live(number, self._random.uniform(least, most))
            self._look(current)
            if former is not None:
                self._look_back(former, current.rows)
            former = current
        assert former is not None
        with self._serving() as program:
            program.process.terminate()
            program.end()
        self._look_back(former, truth.rows_of(self._state))
        self._look_at_the_end()

    def report(self) -> str:
        """The figures."""
        return (
            f"{self.kills} kills, {self.calls:,} calls; {self.exact:,} had ended a second before one, "
            f"and are exact ({self.tokens:,} tokens); {self.cuts:,} were under way for a second and are there as "
            f"cut; {self.late:,} ended or began in the last second; faults: {len(self.faults)}"
        )

    def _serving(self) -> Any:
        return serving("--config", "chatgpt.yaml", directory=self._directory)

    def _live(self, number: int, seconds: float) -> Round:
        current = Round(number)
        with self._serving() as program:
            callers = threading.Thread(target=self._call, args=(program.port, current), daemon=True)
            callers.start()
            time.sleep(seconds)
            current.killed = time.time()
            program.process.kill()
            program.end()
            callers.join(30)
        self.kills += 1
        self.calls += sum(one.began > 0 for one in current.seen)
        return current

    def _call(self, port: int, current: Round) -> None:
        """Call until nobody listens any more."""
        holders = {"": "", **{name: mixed_run.key_of(name) for name in _KEYS}}
        plan = [
            _made_longer(replace(planned, number=planned.number + current.number * _EACH, addressed=True))
            for planned in mixed(3000, holders, self._random, leaving=0.05)
        ]
        with suppress(OSError, ExceptionGroup):
            asyncio.run(make(port, plan, AT_ONCE, current.seen))

    def _look(self, current: Round) -> None:
        """At what the kill left, in a copy: to open the files mends them."""
        copy = self._directory / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._state, copy)
        with closing(sqlite3.connect(copy / "ledger.db")) as connection:
            (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
        if sound != "ok":
            self._fault(current, f"integrity_check: {sound}")
        current.rows = truth.rows_of(copy)
        faults: list[str] = []
        truth.check_budgets(copy, current.rows, faults, held=True)
        truth.check_reports(copy, current.rows, faults)
        by_client = _by_client(current.rows)
        generated = truth.generated_by([self._simulator])
        for one in current.ended(MAY_LOSE):
            rows = by_client.get(address_of(one.planned.number), [])
            if len(rows) != 1:
                before = current.killed - one.ended
                faults.append(f"{truth.name(one)} ended {before:.2f} s before: {len(rows)} rows")
                continue
            compared = truth.Compared()
            truth.compare_call(compared, one, rows[0], *generated.get(one.planned.number, (Generated(), "")))
            faults += compared.faults
            self.exact += 1
            self.tokens += rows[0]["prompt_tokens"] + rows[0]["completion_tokens"]
        for fault in faults:
            self._fault(current, fault)

    def _look_back(self, former: Round, rows: list[truth.Row]) -> None:
        """At the calls that a kill ended, after the next start."""
        by_client = _by_client(rows)
        generated = truth.generated_by([self._simulator])
        surely = {one.planned.number for one in former.cut(MAY_LOSE)}
        for one in former.seen:
            number = one.planned.number
            mine = by_client.get(address_of(number), [])
            if len(mine) > 1:
                self._fault(former, f"{truth.name(one)} has {len(mine)} rows")
            if number not in surely or number not in generated:
                self.late += bool(one.began) and one.ended >= former.killed - MAY_LOSE
                continue
            self.cuts += 1
            what = _wrong_with_cut(mine, generated[number][0], stream=one.planned.stream)
            if what:
                lasted = former.killed - one.began
                self._fault(former, f"{truth.name(one)} was under way for {lasted:.2f} s: {what}")

    def _look_at_the_end(self) -> None:
        rows = truth.rows_of(self._state)
        truth.check_budgets(self._state, rows, self.faults)
        truth.check_reports(self._state, rows, self.faults)
        with closing(sqlite3.connect(self._state / "ledger.db")) as connection:
            ((text,),) = connection.execute("SELECT value FROM states WHERE kind = 'key' AND name = 'alice'")
        capacity, missing = json.loads(text)["day"] if text else (_DAY, 0)
        used = missing / (86_400 * 10**9)
        mine = sum(row["key"] == "alice" for row in rows)
        # Refilled meanwhile: a day's share of the capacity; and of each kill's last second nothing is known.
        refilled = capacity / 86_400 * (max(row["time"] for row in rows) - min(row["time"] for row in rows) + 60)
        if not mine - refilled - self.kills * AT_ONCE <= used <= mine + self.kills * AT_ONCE:
            self.faults.append(f"alice's day has {used:.0f} calls used of {capacity}, her rows are {mine}")

    def _fault(self, which: Round, what: str) -> None:
        self.faults.append(f"kill {which.number}: {what}")


def _settings(state: Path, url: str) -> dict[str, Any]:
    keys = [{"name": name, "key": mixed_run.key_of(name), **options} for name, options in _KEYS.items()]
    return {
        "upstreams": [{"name": "simulator", "base_url": url, "api_keys": ["simulator-1"]}],
        "state": {"directory": str(state)},
        "keys": keys,
        "prices": mixed_run.PRICES,
        "server": {"trusted_proxies": ["127.0.0.0/8"]},
        "budgets": {"warn": []},
    }


def _made_longer(planned: Planned) -> Planned:
    """Every third takes seconds, so that it is under way when the kill comes; it stays."""
    if planned.number % 3:
        return replace(planned, most=min(planned.most, 12))
    return replace(planned, most=[30, 60, 400][planned.number % 9 // 3], words=300, leaves=None)


def _by_client(rows: list[truth.Row]) -> dict[str, list[truth.Row]]:
    found: dict[str, list[truth.Row]] = {}
    for row in rows:
        found.setdefault(row["client"], []).append(row)
    return found


def _wrong_with_cut(rows: list[truth.Row], generated: Generated, *, stream: bool) -> str:
    """What is wrong with the rows of a call that was cut; empty: nothing."""
    if len(rows) != 1:
        return f"{len(rows)} rows"
    (row,) = rows
    if row["outcome"] == "client_left":
        return ""  # and the kill came before it could be seen to
    if (row["outcome"], row["usage"]) != ("cut", "estimated"):
        return f"{row['outcome']}, {row['usage']}"
    if not stream:
        return ""  # of which nobody can know how far it was
    told, most = row["completion_tokens"], generated.completion_tokens
    least = most - MAY_LOSE / _INTERVAL - 3
    return "" if least <= told <= most else f"{told} tokens charged, {most} generated"
