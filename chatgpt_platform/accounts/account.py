"""One virtual key's holder: what it may do, what it has used, what it has under way."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final, NamedTuple

from chatgpt_platform.access.address import AddressBook
from chatgpt_platform.accounts.meter import Meter
from chatgpt_platform.accounts.prices import Price
from chatgpt_platform.accounts.used import State, Used
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.limits.allowance import Allowance, Calendar, Rate, Rolling
from chatgpt_platform.limits.bucket import windows_of
from chatgpt_platform.limits.store import Store
from chatgpt_platform.settings import allowances
from chatgpt_platform.settings.outbound import matches
from chatgpt_platform.settings.sharing import VirtualKey

_MODELS_KNOWN: Final = 64
"""Of whose calls an account remembers how they went."""


_ALL: Final = ("*",)


@dataclass(frozen=True, slots=True)
class Item:
    """An allowance with what it is about. ``unit``: tokens or dollars (``in_money``). ``text``: as the owner wrote
    it. ``loud_at``: from how much on, once it is spent, the owner may be told."""

    allowance: Allowance
    unit: str
    text: str
    period: tuple[str, int]
    loud_at: float
    in_money: bool

    @property
    def is_rate(self) -> bool:
        """Whether it is a matter of a moment, not of a budget."""
        return isinstance(self.allowance, Rate)

    @property
    def rolling(self) -> int:
        """The seconds of a period that rolls on; else 0."""
        kind, seconds = self.period
        return seconds if kind == allowances.ROLLING else 0

    @property
    def name(self) -> str:
        """What tells it from the account's others, also over a restart."""
        return _name(self.unit, *self.period)


class Hold:
    """What a call may use of its account's allowances, until it is settled."""

    def __init__(self, items: tuple[Item, ...], tokens: int, money: int) -> None:
        self.items: Final = items
        self.tokens: Final = tokens
        self.money: Final = money


NO_HOLD: Final = Hold((), 0, 0)
"""Of a call that held nothing."""


class Lack(NamedTuple):
    """Which allowance has no room for a call. ``wait``: seconds until it does; infinite: never. ``passing``: there
    would be room, were it not for what calls under way hold."""

    item: Item
    wait: float
    passing: bool


class Account:
    """Outlives changes of its key's settings, and the loss of its key."""

    def __init__(self, name: str) -> None:
        """``name``: the key's; empty for all callers without one."""
        self.name: Final = name
        self.key: VirtualKey | None = None
        self.limiter: Store | None = None
        self.addresses: AddressBook | None = None
        self.concurrency: float = math.inf
        self.items: tuple[Item, ...] = ()
        self._tallies: tuple[tuple[Allowance, bool], ...] = ()
        """Of the items what each call needs."""
        self.under_way: Final[set[object]] = set()
        """Its calls that were admitted and are not settled."""
        self.waiting: Final[deque[tuple[Callable[[], bool], asyncio.Future[bool]]]] = deque()
        """Calls that wait for others to be settled: how to try one again, and its turn."""
        self.keeps_prompts = False
        """Whether what is said is kept for its owner."""
        self._models: tuple[str, ...] = _ALL
        self.touched = False
        """Its allowances have changed since they were last saved."""
        self._meters: Final[dict[str, Meter]] = {}

    def configure(
        self, key: VirtualKey, zone: tzinfo | None, share: int, secret: bytes, wall: float, clock: int
    ) -> None:
        """Go on under these settings: what was used of an allowance over the same period stays used.

        ``share``: percent of an allowance from which on its owner may be told; 0: never. ``secret``: for what
        ``limits.store`` is to remember; empty: nothing.
        """
        self.concurrency = key.concurrency or math.inf
        self.keeps_prompts = key.prompts
        self._models = _ALL if key.models == _ALL else key.models
        self.addresses = AddressBook((), key.addresses, ()) if key.addresses else None
        limits = key.limits
        windows = windows_of(limits.second, limits.minute, limits.hour, limits.day)
        if not windows:
            self.limiter = None
        elif self.limiter is not None:
            self.limiter.reconfigure(windows, 1, clock)
        else:
            self.limiter = Store(windows, 1, _nobody_else, secret=secret, prefix="key-")
        former = {item.name: item.allowance for item in self.items}
        given = (*(("tokens", one) for one in key.tokens), *(("dollars", one) for one in key.budget))
        self.items = tuple(
            Item(
                _allowance(each, former.get(_name(unit, each.period, each.seconds)), zone, wall, clock),
                unit, str(each), (each.period, each.seconds), _loud_at(each, share), unit == "dollars",
            )
            for unit, each in given
        )  # fmt: skip
        self._tallies = tuple((item.allowance, item.in_money) for item in self.items)
        self.key = key

    def may_use(self, model: str) -> bool:
        """Whether its key is for this model."""
        return self._models == _ALL or any(matches(pattern, model) for pattern in self._models)

    def check_model(self, asked: str, real: str) -> None:
        """Raise Problem for a model that its key is not for, be it by the name that the caller has asked for or by
        its real one."""
        if self._models is not _ALL and not (self.may_use(asked) or self.may_use(real)):
            raise Problem(Kind.FORBIDDEN, "model_not_allowed", param="model", model=asked)

    def meter(self, model: str, price_of: Callable[[str], Price | None]) -> Meter:
        """How its calls of a model went."""
        meter = self._meters.get(model)
        if meter is None:
            if len(self._meters) >= _MODELS_KNOWN:
                self._meters.clear()
            meter = self._meters[model] = Meter(price_of(model))
        return meter

    def renew_prices(self, price_of: Callable[[str], Price | None]) -> None:
        """They may have changed."""
        for model, meter in self._meters.items():
            meter.price = price_of(model)

    def begin(self, tokens: int, money: int, wall: float, clock: int) -> bool:
        """``hold``, if there is room for so much: in one go, for most calls."""
        for allowance, in_money in self._tallies:
            if wall >= allowance.turns_at:
                allowance.turn(wall, clock)
            wanted = money if in_money else tokens
            if allowance.amount - allowance.spent - allowance.held < wanted:
                break
            allowance.held += wanted
        else:
            return True
        full = allowance
        for allowance, in_money in self._tallies:
            if allowance is full:
                break
            allowance.held -= money if in_money else tokens
        return False

    def lack(self, tokens: int, money: int, wall: float, clock: int) -> Lack | None:
        """What stands in the way of a call that will likely use so much; None: it may begin."""
        for item in self.items:
            wanted = money if item.in_money else tokens
            room = item.allowance.room(wall, clock)
            if wanted and room < wanted:
                passing = room + item.allowance.held >= wanted
                return Lack(item, item.allowance.wait(wanted, wall, clock), passing)
        return None

    def hold(self, tokens: int, money: int) -> None:
        """A call begins that may use up to so much."""
        for allowance, in_money in self._tallies:
            allowance.held += money if in_money else tokens

    def release(self, hold: Hold) -> None:
        """What a call held is free again."""
        same = self.items is hold.items
        for allowance, in_money in self._tallies:
            # The settings may have changed since: what was not held cannot be given back.
            if same or any(allowance is each.allowance for each in hold.items):
                allowance.held -= hold.money if in_money else hold.tokens

    def settle(self, hold: Hold, tokens: int, money: int, wall: float, clock: int) -> None:
        """A call is over that has used so much."""
        self.touched = True
        same = self.items is hold.items
        if not same:
            self.release(hold)
        for allowance, in_money in self._tallies:
            if same:
                allowance.held -= hold.money if in_money else hold.tokens
            if wall >= allowance.turns_at:
                allowance.turn(wall, clock)
            allowance.spend(money if in_money else tokens, clock)

    def wake(self) -> None:
        """Something is free again: those who can go on do so, in the order in which they came."""
        waiting = self.waiting
        for _ in range(len(waiting)):
            attempt, turn = waiting[0]
            if not turn.done():
                try:
                    if not attempt():
                        return
                except Exception as error:  # noqa: BLE001 - it is that call's
                    turn.set_exception(error)
                else:
                    turn.set_result(True)
            waiting.popleft()

    def restore_limiter(self, text: str, clock: int, wall: int) -> None:
        """Go on from what ``limiter`` told to be remembered; ``wall``: nanoseconds since the epoch."""
        if self.limiter is not None:
            self.limiter.restore({self.limiter.digest(self.name): text}, clock, wall)

    def state(self, wall: float, clock: int) -> State:
        """What is used of each allowance, to be remembered over a restart."""
        return {item.name: _used(item.allowance, wall, clock) for item in self.items}

    def restore(self, state: State, wall: float, clock: int) -> None:
        """Go on from a ``state``; what cannot be read of it is left out."""
        for item in self.items:
            try:
                item.allowance.restore(state[item.name].state, wall, clock)
            except (LookupError, TypeError, ValueError):
                continue

    def add(self, state: State, wall: float, clock: int) -> None:
        """Go on from a ``state`` that could not be had at the start: what was used since comes on top."""
        since = {item.name: item.allowance.spent for item in self.items if not item.is_rate}
        current = {name: used for name, used in state.items() if used.resets is None or used.resets > wall}
        self.restore(current, wall, clock)
        for item in self.items:
            if item.name in current and since.get(item.name):
                item.allowance.settle(0, since[item.name], wall, clock)


def _used(allowance: Allowance, wall: float, clock: int) -> Used:
    state = allowance.state(wall, clock)
    ends = allowance.ends
    return Used(allowance.spent, allowance.held, None if math.isinf(ends) else ends, state)


def _loud_at(written: allowances.Allowance, share: int) -> float:
    """From how much on an owner may be told; of a bucket, which fills again in a moment, never."""
    bucket = written.seconds and written.period != allowances.ROLLING
    return math.inf if bucket or not share else written.amount * share // 100


def _name(unit: str, period: str, seconds: int) -> str:
    kind = "tokens" if unit == "tokens" else "budget"
    return f"{kind}/{f'{seconds}s' if period == allowances.ROLLING else period}"


def _allowance(
    written: allowances.Allowance, known: Allowance | None, zone: tzinfo | None, wall: float, clock: int
) -> Allowance:
    """``known``: over the same period, under the settings before."""
    if known is not None:
        known.resize(written.amount, clock)
        return known
    if written.period == allowances.ROLLING:
        return Rolling(written.amount, written.seconds, wall)
    if written.seconds:
        return Rate(written.amount, written.seconds)
    return Calendar(written.amount, written.period, zone, wall)


def _nobody_else(_: int) -> None:
    """A key's limiter has one client."""
