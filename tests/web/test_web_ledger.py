"""The ledger against what callers saw and what upstreams generated: to the last token, call by call."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chatgpt_platform.simulator.server import Behaviour
from support import mixed_run, truth
from support.accounts import Planned, alike, make
from support.fleet import fleet, up
from support.gateway import gateway, wait_until
from support.ways import WAYS as ALL_WAYS

WAYS = ALL_WAYS[:1]


def test_three_accounts_of_a_mixed_run(tmp_path: Path, way: object) -> None:
    run = mixed_run.run(1000, 7, tmp_path)
    assert not run.compared.faults, run.compared.shown()
    groups = {(usage, outcome) for usage, outcome, _ in run.compared.groups}
    assert groups >= {
        ("reported", "complete"), ("estimated", "complete"), ("estimated", "client_left"),
        ("estimated", "upstream_failed"), ("none", "upstream_failed"), ("none", "denied"),
    }, "the run was not mixed enough"  # fmt: skip
    reported = [group for (usage, _, _), group in run.compared.groups.items() if usage == "reported"]
    assert sum(group.calls for group in reported) > 300
    assert all(group.ledger == group.generated for group in reported)


@pytest.mark.every_way
def test_a_caller_that_leaves_a_stream_is_charged_for_what_came_until_then(tmp_path: Path, way: object) -> None:
    holder = mixed_run.key_of("alice")
    # The next token is far off: that of each call which came is the last that was generated.
    plan = [
        Planned(number, "alice", holder, kind, "gpt-4o-mini", stream=True, most=50, leaves=1 + LEADS[kind])
        for number, kind in enumerate(["chat", "completions", "responses", "platform"] * 3)
    ]
    slow = up("slow", Behaviour(interval=0.8, tokens=50))
    with fleet(slow, **mixed_run.settings(tmp_path)) as running:
        seen = asyncio.run(make(running.port, plan, at_once=len(plan)))
        wait_until(lambda: running.simulators["slow"].stats.cancelled == len(plan))
    compared = truth.compare(seen, truth.rows_of(tmp_path), running.simulators)
    assert not compared.faults, compared.shown()
    ((kind, group),) = compared.groups.items()
    assert kind == ("estimated", "client_left", "stream")
    assert group.ledger == group.generated == group.callers > 0
    assert compared.unread == 0


LEADS = {"chat": 1, "completions": 0, "responses": 4, "platform": 0}
"""Events of a stream before the first with a piece of text."""


@pytest.mark.parametrize("fault", ["reset-mid", "cut-mid", "cut-event", "error-later", "no-done"])
def test_an_upstream_that_breaks_off_is_counted_to_its_last_event(fault: str, tmp_path: Path, way: object) -> None:
    plan = alike(8, "alice", mixed_run.key_of("alice"), stream=True, most=50)
    with fleet(up("faulty", fail=fault), **mixed_run.settings(tmp_path)) as running:
        running.expected += ["faulty"]
        seen = asyncio.run(make(running.port, plan, at_once=1))
    compared = truth.compare(seen, truth.rows_of(tmp_path), running.simulators)
    assert not compared.faults, compared.shown()
    ((kind, group), *others) = sorted(compared.groups.items(), key=lambda each: -each[1].ledger)
    assert kind[:2] == ("estimated", "upstream_failed")
    assert all(outcome == "denied" for (_, outcome, _), _ in others), "while it rests"
    assert group.generated == group.ledger + (group.calls if fault == "cut-event" else 0)
    assert group.ledger > 0


def test_reports_and_budgets_are_the_sum_of_the_rows(tmp_path: Path, way: object) -> None:
    plan = alike(20, "alice", mixed_run.key_of("alice"), most=30)
    with gateway(mixed_run.settings(tmp_path), Behaviour(tokens=11)) as running:
        asyncio.run(make(running.port, plan, at_once=5))
    rows, faults = truth.rows_of(tmp_path), list[str]()
    truth.check_reports(tmp_path, rows, faults)
    truth.check_budgets(tmp_path, rows, faults)
    assert faults == []
    wrong = [{**rows[0], "completion_tokens": 12}, *rows[1:]]
    truth.check_reports(tmp_path, wrong, faults)
    truth.check_budgets(tmp_path, wrong, faults)
    assert len(faults) == 5, "four reports and a budget that do not match"
