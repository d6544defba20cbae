"""What is remembered over a restart besides calls: written into the ledger now and then, read at the start.

| kind | what |
| --- | --- |
| allowance | by key, what is used of each of its allowances |
| warning | which shares of them have been told |
| key, client | how far limits of an hour and a day are used, by key and by digest of an address |
| open | the calls under way, of which nothing else would be left after a kill |
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from chatgpt_platform.accounts import booking
from chatgpt_platform.accounts.account import NO_HOLD, Account
from chatgpt_platform.accounts.booking import Row
from chatgpt_platform.accounts.used import State
from chatgpt_platform.accounts.warnings import Warnings
from chatgpt_platform.limits.kept import OVERFLOW
from chatgpt_platform.limits.store import Store

if TYPE_CHECKING:
    from chatgpt_platform.ledger.ledger import Ledger

JOURNAL_EVERY: Final = 0.5
"""Seconds between two notes of the calls under way, and of how far the limits of keys are used."""

BUCKETS_EVERY: Final = 5.0
"""The same of the limits of addresses, of which there may be very many."""

ALLOWANCES: Final = "allowance"
_WARNINGS: Final = "warning"
_CLIENTS: Final = "client"
_KEYS: Final = "key"
_OPEN: Final = "open"

_state_decoder: Final = msgspec.json.Decoder(State)
_rows_decoder: Final = msgspec.json.Decoder(list[Row])


class Memory:
    """What one ledger remembers of accounts, of their warnings and of the limiter of addresses."""

    def __init__(self, ledger: Ledger, accounts: dict[str, Account]) -> None:
        """``accounts``: by name; others may join."""
        self._ledger: Final = ledger
        self._accounts: Final = accounts
        self._allowances: Final = ledger.states(ALLOWANCES)
        """Of accounts that have not been met yet."""
        self._limits: Final = ledger.states(_KEYS)
        self._limiter: Store | None = None
        self._journal: Callable[[], Sequence[Row]] = tuple
        self._next_journal = self._next_buckets = 0.0
        self._notes_calls = True
        """There may be notes of calls, of which some are over."""
        self._renewed = 0

    def meet(self, account: Account, wall: float, clock: int) -> None:
        """Let an account go on where it stood, the first time that it is met."""
        allowances, limits = self._allowances.pop(account.name, ""), self._limits.pop(account.name, "")
        if allowances:
            account.restore(read_state(allowances), wall, clock)
        if limits:
            account.restore_limiter(limits, clock, time.time_ns())

    def restore_warnings(self, warnings: Warnings) -> None:
        """Let it know what was told before the start."""
        warnings.restore(self._ledger.states(_WARNINGS))

    def keep(self, limiter: Store) -> None:
        """Let the limiter of addresses go on where it stood, and remember it."""
        self._limiter = limiter
        limiter.restore(self._ledger.states(_CLIENTS), time.monotonic_ns(), time.time_ns())

    def note_calls_by(self, journal: Callable[[], Sequence[Row]]) -> None:
        """``journal`` tells of the calls under way, as rows, what is to be remembered if this is the end."""
        self._journal = journal

    def charge_lost_calls(self) -> None:
        """Give the calls that were under way when the gateway was killed their rows, and charge their accounts."""
        ledger, wall, clock = self._ledger, time.time(), time.monotonic_ns()
        rows = _rows(ledger.states(_OPEN).get(_OPEN, "[]"))
        # Those that ended after they had been noted have their rows, and are charged.
        ended = ledger.recorded([booking.id_of(row) for row in rows]) if rows else frozenset()
        for row in rows:
            if booking.id_of(row) not in ended:
                ledger.add(row)
                account = self._accounts.get(booking.key_of(row))
                if account is not None:
                    account.settle(NO_HOLD, *booking.used_by(row), wall, clock)

    def save(self, touched: Iterable[Account], warnings: Warnings) -> None:
        """Write down what has changed, all in one piece with the rows before it."""
        if self._look_after(warnings):
            touched = self._accounts.values()
        ledger, wall, clock = self._ledger, time.time(), time.monotonic_ns()
        allowances = {each.name: msgspec.json.encode(each.state(wall, clock)).decode() for each in touched}
        if allowances:
            ledger.save(ALLOWANCES, allowances)
        told = warnings.changes()
        if told:
            ledger.save(_WARNINGS, told)
        now = time.monotonic()
        if now >= self._next_journal:
            self._next_journal = now + JOURNAL_EVERY
            self._note_calls()
            self._save_limits_of_keys()
        if now >= self._next_buckets:
            self._save_limits_of_addresses()
            more = self._limiter is not None and self._limiter.unsaved
            self._next_buckets = now if more else now + BUCKETS_EVERY  # so many in one go hold up nobody

    def save_rest(self) -> None:
        """Before the last ``save``: let nothing wait for its time."""
        self._next_journal = self._next_buckets = 0.0
        while self._limiter is not None and self._limiter.unsaved:
            self._save_limits_of_addresses()

    def _note_calls(self) -> None:
        """Write down the calls under way, in place of those of the last time."""
        rows = self._journal()
        if rows or self._notes_calls:
            self._notes_calls = bool(rows)
            self._ledger.replace(_OPEN, {_OPEN: msgspec.json.encode(rows).decode()} if rows else {})

    def _save_limits_of_addresses(self) -> None:
        if self._limiter is not None:
            self._ledger.save(_CLIENTS, self._limiter.changes(time.monotonic_ns(), time.time_ns()))

    def _save_limits_of_keys(self) -> None:
        clock, wall = time.monotonic_ns(), time.time_ns()
        texts: dict[str, str] = {}
        for account in self._accounts.values():
            if account.limiter is not None:
                for name, text in account.limiter.changes(clock, wall).items():
                    if name != OVERFLOW:
                        texts[account.name] = text
        if texts:
            self._ledger.save(_KEYS, texts)

    def _look_after(self, warnings: Warnings) -> bool:
        """Go on from what a ledger knows that could not be read at the start. Whether all that is known is to be
        written down: because of that, or since another file has taken its place."""
        ledger = self._ledger
        if ledger.take_late():
            wall, clock = time.time(), time.monotonic_ns()
            self._allowances.update(ledger.states(ALLOWANCES))
            for account in self._accounts.values():
                if account.name in self._allowances:
                    account.add(read_state(self._allowances.pop(account.name)), wall, clock)
            self.restore_warnings(warnings)
            self.charge_lost_calls()
        elif ledger.renewed == self._renewed:
            return False
        self._renewed = ledger.renewed
        ledger.save(_WARNINGS, warnings.state())
        return True


def read_state(text: str) -> State:
    """What was saved of an account's allowances. What cannot be read is nothing: another version may have written
    it."""
    try:
        return _state_decoder.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}


def _rows(text: str) -> list[Row]:
    try:
        return _rows_decoder.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return []
