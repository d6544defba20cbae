"""Says, once a period, that a chosen share of a budget has been used: in the log, and to the owner's webhook.

    warnings = Warnings((80, 100), logger, webhook.send, zone)
    warnings.restore(ledger.states("warnings"))
    warnings.note("alice", "5.00/month", spent, amount, "dollars", resets_at)
    ledger.save("warnings", warnings.changes())

Which share is new is decided by ``newly``, which is pure. Where one call passes several, only the highest is told.
Where there are shares at all, 100 % is one of them, with an event of its own.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Final, NamedTuple

from chatgpt_platform.accounts.money import dollars

FULL: Final = 100

NEARLY: Final = 90
"""Percent. A budget of which so much is used, and whose rest is too little for a call, is used up."""


_ZONES: Final = 26 * 3600.0
"""Seconds between the same midnight in the first and in the last time zone."""


class Told(NamedTuple):
    """What has been told of one budget. ``share``: the highest, in percent; 0: none.

    ``until``: when the period ends in which it was told, in seconds since the epoch; infinite: never. ``at``: when
    it was told.
    """

    share: int
    until: float
    at: float


Send = Callable[[Mapping[str, object]], None]
"""Takes an event, as ``Webhook.send`` does."""

NOTHING: Final = Told(0, math.inf, 0.0)


class Budget(NamedTuple):
    """A key's allowance. ``text``: as the owner wrote it. ``unit``: dollars or tokens."""

    key: str
    unit: str
    text: str


class Warnings:
    """What the owner has been told. Belongs to one thread."""

    def __init__(
        self, shares: tuple[int, ...], logger: logging.Logger, send: Send | None, zone: tzinfo | None = None,
        *, wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """``shares``: percent; none: nothing is ever told. ``send``: the webhook's. ``zone``: of the times that
        are told, None is the machine's own. ``wall``: seconds since the epoch."""
        self._shares: Final = tuple(sorted({*shares, FULL})) if shares else ()
        self._lowest: Final = self._shares[0] if shares else math.inf
        self._logger: Final = logger
        self._send: Final = send
        self._zone: Final = zone
        self._wall: Final = wall
        self._told: Final[dict[Budget, Told]] = {}
        self._changed: Final[set[Budget]] = set()

    def note(
        self, key_name: str, allowance_text: str, spent: int, amount: int, unit: str,
        resets_at: float = math.inf, *, rolling: int = 0, refused: bool = False,
    ) -> None:  # fmt: skip
        """Look at a budget after it has changed: not for each call, where a timer can do it for many.

        ``unit``: tokens, or dollars, of which ``spent`` and ``amount`` are pico. ``resets_at``: when its period
        ends, in seconds since the epoch; infinite: never. ``rolling``: the seconds of a period that rolls on,
        which has no such end; else 0. ``refused``: there was no room for a call, and none under way will leave it.
        """
        budget = Budget(key_name, unit, allowance_text)
        told = self._told.get(budget)
        percent = spent * 100 // amount if amount else FULL
        if refused and percent >= NEARLY:
            percent = max(percent, FULL)
        if told is None:
            if percent < self._lowest:
                return
            told = NOTHING
        told, share = newly(self._shares, percent, told, resets_at, rolling, self._wall())
        if self._told.get(budget, NOTHING) != told:
            self._told[budget] = told
            self._changed.add(budget)
        if share:
            self._tell(budget, share, spent, amount, math.inf if rolling else resets_at, rolling)

    def changes(self) -> dict[str, str]:
        """What is to be remembered over a restart, and has changed since this was last asked."""
        changed = {_name(each): _text(self._told[each]) for each in self._changed}
        self._changed.clear()
        return changed

    def state(self) -> dict[str, str]:
        """All of it, but what has ended."""
        now = self._wall()
        return {_name(budget): _text(told) for budget, told in self._told.items() if told.until > now}

    def restore(self, state: Mapping[str, str]) -> None:
        """Go on from a ``state``, or from all ``changes`` over one another. What cannot be read is left out."""
        now = self._wall()
        for name, text in state.items():
            try:
                budget, told = Budget(*json.loads(name)), _read(text)
                if told.until > now:
                    self._told[budget] = told
            except (ValueError, TypeError, OverflowError, RecursionError):
                continue

    def _tell(self, budget: Budget, share: int, spent: int, amount: int, resets_at: float, rolling: int) -> None:
        key, unit, text = budget
        what = "budget" if unit == "dollars" else "allowance"
        used = "used up" if share >= FULL else f"used {share} % of"
        begins = (
            None if resets_at == math.inf else datetime.fromtimestamp(resets_at, self._zone).astimezone(self._zone)
        )
        told = (_figure(spent, unit), _figure(amount, unit), unit)
        self._logger.warning(
            "key %s has %s its %s %s: %s of %s %s; %s", key, used, what, text, *told, _outlook(begins, rolling)
        )
        if self._send is None:
            return
        data = {
            "key": key, "allowance": text, "share": share, "spent": told[0], "amount": told[1], "unit": unit,
            "resets_at": begins and begins.isoformat(timespec="seconds"),
        }  # fmt: skip
        now = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        kind = "budget.exhausted" if share >= FULL else "budget.share"
        self._send({"type": kind, "timestamp": now, "data": data})


def newly(
    shares: tuple[int, ...], percent: int, told: Told, until: float, rolling: int, now: float
) -> tuple[Told, int]:
    """What has been told from now on, and the share that is to be told; 0: none. Pure.

    ``shares``: ascending. ``percent``: of the budget that is used. ``until``, ``rolling``: as for ``note``.

    In a period of the calendar a share is told once. One that rolls on has no beginning: there a share is told
    again when what was used was found below it a whole period, or more, after it was told.
    """
    reached = max((share for share in shares if share <= percent), default=0)
    before = told.share
    if rolling:
        until = math.inf
        if reached < before and now - told.at >= rolling:
            before = reached
    elif before and _is_another(told.until, until, now):
        before = 0
    if reached > before:
        return Told(reached, until, now), reached
    return (Told(before, until, told.at) if before else NOTHING), 0


def _is_another(told: float, until: float, now: float) -> bool:
    """Whether the period that ended at ``told`` is another than the one that ends at ``until``."""
    # Not where the owner's time zone is another one now; but where the clock had been far ahead.
    return told != until and (now >= told or abs(told - until) > _ZONES)


def _outlook(begins: datetime | None, rolling: int) -> str:
    if rolling:
        return "what it used is free again when it is older than the period"
    return f"it starts anew at {begins.isoformat(timespec='seconds')}" if begins else "it never starts anew"


def _figure(number: int, unit: str) -> str:
    return dollars(number) if unit == "dollars" else str(number)


def _name(budget: Budget) -> str:
    return json.dumps(budget)


def _text(told: Told) -> str:
    return json.dumps([told.share, None if told.until == math.inf else told.until, told.at])


def _read(text: str) -> Told:
    """Raises ValueError, TypeError and OverflowError."""
    share, until, at = json.loads(text)
    return Told(int(share), math.inf if until is None else float(until), float(at))
