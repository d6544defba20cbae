"""One holder's account: hold, settle, refund, other settings and restarts in any order, against plain sums."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from chatgpt_platform.accounts import used
from chatgpt_platform.accounts.account import NO_HOLD, Account, Hold
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.limits.bucket import SECOND
from chatgpt_platform.settings.sharing import VirtualKey
from chatgpt_platform.settings.virtual_keys import key_from

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
DAY = 86400
DOLLAR = 10**12


def key(**options: Any) -> VirtualKey:
    return key_from(options, "test", name="alice")


def made(**options: Any) -> Account:
    account = Account("alice")
    account.configure(key(**options), UTC, 80, b"", NOON, 0)
    return account


OPTIONS: list[dict[str, list[str]]] = [
    {},
    {"tokens": ["1000/day"]},
    {"tokens": ["700/day", "3000/total"], "budget": ["5/day"]},
    {"tokens": ["5k/total"], "budget": ["2/day", "20/total"]},
    {"budget": ["3/day"]},
]


@dataclass(eq=False)
class Sum:
    """What is known of one allowance. ``day``: the number of the one that ``spent`` is of; None: of all."""

    amount: int
    day: int | None
    spent: int = 0
    held: int = 0


@dataclass(eq=False)
class Begun:
    """A call under way, and of which sums it holds something."""

    hold: Hold
    sums: list[Sum]


class Machine(RuleBasedStateMachine):
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.account = Account("alice")
        self.wall = NOON
        self.clock = 0
        self.sums: dict[str, Sum] = {}
        self.begun: list[Begun] = []

    @initialize(options=st.sampled_from(OPTIONS))
    def configured(self, options: dict[str, list[str]]) -> None:
        self.other_settings(options)

    @rule(options=st.sampled_from(OPTIONS))
    def other_settings(self, options: dict[str, list[str]]) -> None:
        self.account.configure(key(**options), UTC, 80, b"", self.wall, self.clock)
        former, self.sums = self.sums, {}
        for item in self.account.items:
            day = int(self.wall // DAY) if item.period[0] == "day" else None
            total = former.get(item.name) or Sum(0, day)
            total.amount = item.allowance.amount
            self.sums[item.name] = total

    @rule(seconds=st.sampled_from([0, 1, 3600, DAY // 2, DAY, 3 * DAY]))
    def wait(self, seconds: int) -> None:
        self.wall += seconds
        self.clock += seconds * SECOND
        for total in self.sums.values():
            if total.day is not None and total.day != self.wall // DAY:
                total.day, total.spent = int(self.wall // DAY), 0

    @rule(
        target=calls, tokens=st.integers(0, 1500), money=st.integers(0, 4 * DOLLAR), share=st.sampled_from([1, 4])
    )
    def begin(self, tokens: int, money: int, share: int) -> Begun | None:
        """``share``: of what it may use it is likely to use this part."""
        account = self.account
        missing = self.missing(tokens, money)
        assert account.begin(tokens, money, self.wall, self.clock) == (not missing)
        if missing:
            likely, cost = tokens // share, money // share
            lack = account.lack(likely, cost, self.wall, self.clock)
            missing = self.missing(likely, cost, wanted_only=True)
            if lack is not None:
                assert lack.item.name == missing[0]
                total = self.sums[missing[0]]
                wanted = cost if lack.item.in_money else likely
                assert lack.passing == (total.amount - total.spent >= wanted)
                assert (lack.wait > 0) or lack.passing
                return None
            assert not missing
            account.hold(tokens, money)
        begun = Begun(Hold(account.items, tokens, money), list(self.sums.values()))
        for item in account.items:
            self.sums[item.name].held += money if item.in_money else tokens
        self.begun.append(begun)
        return begun

    @rule(call=consumes(calls), share=st.sampled_from([0, 0.3, 1, 2]))
    def settle(self, call: Begun | None, share: float) -> None:
        if call is None or call not in self.begun:
            return
        tokens, money = int(call.hold.tokens * share), int(call.hold.money * share)
        self.account.settle(call.hold, tokens, money, self.wall, self.clock)
        self.given_back(call)
        for item in self.account.items:
            self.sums[item.name].spent += money if item.in_money else tokens

    @rule(call=consumes(calls))
    def release(self, call: Begun | None) -> None:
        if call is None or call not in self.begun:
            return
        self.account.release(call.hold)
        self.given_back(call)

    @rule(tokens=st.integers(0, 500), money=st.integers(0, DOLLAR))
    def charge(self, tokens: int, money: int) -> None:
        """As a call that was under way when the gateway was killed."""
        self.account.settle(NO_HOLD, tokens, money, self.wall, self.clock)
        for item in self.account.items:
            self.sums[item.name].spent += money if item.in_money else tokens

    @rule()
    def restart(self) -> None:
        text = msgspec.json.encode(self.account.state(self.wall, self.clock))
        former, self.account = self.account, Account("alice")
        assert former.key is not None
        self.account.configure(former.key, UTC, 80, b"", self.wall, self.clock)
        self.account.restore(msgspec.json.decode(text, type=used.State), self.wall, self.clock)
        self.begun.clear()
        for total in self.sums.values():
            total.held = 0

    @invariant()
    def it_is_as_the_sums_are(self) -> None:
        for item in self.account.items:
            item.allowance.turn(self.wall, self.clock)
        found = {item.name: (item.allowance.spent, item.allowance.held) for item in self.account.items}
        assert found == {name: (total.spent, total.held) for name, total in self.sums.items()}

    def missing(self, tokens: int, money: int, *, wanted_only: bool = False) -> list[str]:
        """The names of those that have no room for so much."""
        found = []
        for item in self.account.items:
            total = self.sums[item.name]
            wanted = money if item.in_money else tokens
            if total.amount - total.spent - total.held < wanted and (wanted or not wanted_only):
                found.append(item.name)
        return found

    def given_back(self, call: Begun) -> None:
        self.begun.remove(call)
        for item in call.hold.items:
            total = self.sums.get(item.name)
            if total is not None and any(total is each for each in call.sums):
                total.held -= call.hold.money if item.in_money else call.hold.tokens


TestAccount = Machine.TestCase


def test_its_options_hold_from_then_on() -> None:
    account = made(models=["gpt-4o*"], concurrency=3, addresses=["192.0.2.0/24"], prompts=True, limits={"day": 2})
    assert (account.concurrency, account.keeps_prompts) == (3, True)
    assert account.addresses is not None
    assert account.addresses.client("192.0.2.1", "").allowed
    assert not account.addresses.client("192.0.3.1", "").allowed
    assert account.key is not None
    assert account.key.addresses == (ip_network("192.0.2.0/24"),)
    assert account.limiter is not None
    assert [account.limiter.take("alice", 0).admitted for _ in range(3)] == [True, True, False]
    account.configure(key(limits={"day": 3}), UTC, 80, b"", NOON, 0)
    assert [account.limiter.take("alice", 0).admitted for _ in range(2)] == [True, False], "used stays used"
    account.configure(key(), UTC, 80, b"", NOON, 0)
    assert (account.concurrency, account.keeps_prompts) == (float("inf"), False)
    after: tuple[object, object] = (account.addresses, account.limiter)
    assert after == (None, None)


def test_a_model_counts_by_either_of_its_names() -> None:
    account = made(models=["gpt-4o*", "smart"])
    for asked, real in (("gpt-4o", "gpt-4o"), ("smart", "o3"), ("cheap", "gpt-4o-mini")):
        account.check_model(asked, real)
    with pytest.raises(Problem) as raised:
        account.check_model("best", "o3")
    assert (raised.value.kind, raised.value.values) == (Kind.FORBIDDEN, {"model": "best"})
    made().check_model("anything", "")


def test_what_cannot_be_read_of_a_state_is_left_out() -> None:
    account = made(tokens=["1000/day", "9000/total"])
    account.settle(NO_HOLD, 7, 0, NOON, 0)
    state = account.state(NOON, 0)
    state["tokens/total"].state = ["much"]
    state["tokens/week"] = state["tokens/day"]
    again = made(tokens=["1000/day", "9000/total"])
    again.restore(state, NOON, 0)
    assert [item.allowance.spent for item in again.items] == [7, 0]
    again.restore({}, NOON, 0)


def test_those_who_wait_go_on_in_their_order_as_far_as_there_is_room() -> None:
    async def run() -> None:
        account, loop = Account("alice"), asyncio.get_running_loop()
        tried: list[str] = []

        def entry(name: str, outcome: bool | Exception) -> asyncio.Future[bool]:
            def attempt() -> bool:
                tried.append(name)
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome

            turn: asyncio.Future[bool] = loop.create_future()
            account.waiting.append((attempt, turn))
            return turn

        gone, broken = entry("gone", True), entry("broken", ValueError("its own"))
        good, late, behind = entry("good", True), entry("late", False), entry("behind", True)
        gone.set_result(False)
        account.wake()
        assert tried == ["broken", "good", "late"]
        assert good.result() is True
        assert isinstance(broken.exception(), ValueError)
        assert not late.done()
        assert not behind.done()
        assert len(account.waiting) == 2

    asyncio.run(run())


def test_few_of_many_models_are_remembered() -> None:
    account = made()
    first = account.meter("m0", lambda _: None)
    assert account.meter("m0", lambda _: None) is first
    for number in range(1, 70):
        account.meter(f"m{number}", lambda _: None)
    assert account.meter("m0", lambda _: None) is not first
