"""All accounts of a running gateway, with what is remembered of them over a restart, and the ledger.

Belongs to one event loop. What touches a disk is done in threads, but for the opening at the start.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chatgpt_platform.accounts import booking, told
from chatgpt_platform.accounts.account import NO_HOLD, Account, Item, State
from chatgpt_platform.accounts.booking import Row
from chatgpt_platform.accounts.prices import Price, PriceTable, price_table
from chatgpt_platform.accounts.ring import KeyRing
from chatgpt_platform.accounts.warnings import Warnings
from chatgpt_platform.errors import ConfigurationError, StartError
from chatgpt_platform.limits.kept import OVERFLOW
from chatgpt_platform.limits.store import Store
from chatgpt_platform.observe.access import Record
from chatgpt_platform.settings.dates import zone_of
from chatgpt_platform.settings.schema import Settings
from chatgpt_platform.settings.sharing import VirtualKey
from chatgpt_platform.settings.virtual_keys import key_from

if TYPE_CHECKING:
    from chatgpt_platform.accounts.keystore import KeyStore, StoredKey
    from chatgpt_platform.accounts.webhook import Webhook
    from chatgpt_platform.ledger.ledger import Ledger

WATCH_EVERY: Final = 0.4
"""Seconds between two looks at the key store: a revoked key stops within a second."""

_state_decoder: Final = msgspec.json.Decoder(State)
_rows_decoder: Final = msgspec.json.Decoder(list[Row])
_ALLOWANCES: Final = "allowance"
_WARNINGS: Final = "warning"
_CLIENTS: Final = "client"
_KEYS: Final = "key"
_OPEN: Final = "open"
"""Kinds of what the ledger remembers besides calls."""

JOURNAL_EVERY: Final = 0.5
"""Seconds between two notes of the calls under way, of which nothing else would be left after a kill."""

BUCKETS_EVERY: Final = 1.0
"""The same of how far callers have used their limits of an hour and a day."""

ROWS_AT_ONCE: Final = 64
"""Records that become rows together, as in the access log."""


class Accounts:
    """Outlives a configuration; ``configure`` puts another in place."""

    def __init__(self, settings: Settings, logger: logging.Logger) -> None:
        """Opens the key store and the ledger, where there is a ``state.directory``. Raises ConfigurationError, and
        StartError where the directory is another gateway's or a newer program's."""
        self.ring: Final = KeyRing(logger.warning)
        self.anonymous: Final = Account("")
        self.zone: Final = zone_of(settings.budgets.time_zone)
        self._settings = settings
        self._log = logger
        self._store: Final[KeyStore | None] = self._open_store(settings.state.directory)
        self._secret: Final = bytes.fromhex(self._store.digest(_CLIENTS)) if self._store is not None else b""
        """For the digests of addresses that are kept."""
        self._stored: Sequence[tuple[StoredKey, VirtualKey]] = self._keys_at_start()
        self.ledger: Final[Ledger | None] = self._open_ledger(settings)
        self.records: Final[list[Record]] = []
        """Of calls that are over, and have no rows yet."""
        self._models: Final = booking.Models()
        self._day = self._today()
        self._prices: PriceTable | None = None
        """Read when one is first wanted."""
        self._webhook = _webhook(settings, logger)
        self._warnings = self._new_warnings()
        self._limiter: Store | None = None
        self._journal: Callable[[], Sequence[Row]] = tuple
        self._next_journal = self._next_buckets = 0.0
        self._open_calls = False
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._remembered: Final = self._states(_ALLOWANCES)
        """What accounts had used before the start, until they are met; and of their calls' limits."""
        self._remembered_calls: Final = self._states(_KEYS)
        self._warnings.restore(self._states(_WARNINGS))
        self._take_keys()
        self._charge_lost_calls()
        if self._store is not None:
            self._watching = asyncio.create_task(self._watch(self._store), name="watch the key store")

    @property
    def on(self) -> bool:
        """Whether there is anything to account for."""
        return self.ledger is not None or bool(self.ring)

    def limiter(self, make: Callable[[bytes], Store]) -> Store:
        """The limiter of addresses, which goes on where it stood at the last end. ``make``: see ``limits.store``
        for the secret; empty: nothing is kept."""
        self._limiter = limiter = make(self._secret)
        if self.ledger is not None:
            limiter.restore(self._states(_CLIENTS), time.monotonic_ns(), time.time_ns())
        return limiter

    def note_calls_by(self, journal: Callable[[], Sequence[Row]]) -> None:
        """``journal`` tells of the calls under way, as rows, what is to be remembered of them if this is the
        end."""
        self._journal = journal

    def configure(self, settings: Settings, logger: logging.Logger) -> None:
        """Go on under these settings; what was used stays used."""
        former, self._settings, self._log = self._settings, settings, logger
        if former.budgets.webhook != settings.budgets.webhook:
            if self._webhook is not None:
                self._in_background(self._webhook.close(), "close the former webhook")
            self._webhook = _webhook(settings, logger)
        if self.ledger is not None:
            self.ledger.retain(settings.ledger.keep, settings.ledger.size)
        told = self._warnings.state()
        self._warnings = self._new_warnings()
        self._warnings.restore(told)
        if former.prices != settings.prices:
            self._prices = None
            self._renew_prices()
        self._take_keys()

    def price(self, model: str) -> Price | None:
        """What a model costs today, if that is known."""
        if self._prices is None:
            self._prices = self._read_prices()
        return self._prices.find(model, self._day)

    def told(self) -> list[dict[str, Any]]:
        """All keys, those of the configuration first, for the owner: see ``shapes.KEY``."""
        wall, clock = time.time(), time.monotonic_ns()
        configured = {key.name for key in self._settings.keys}
        keys: list[tuple[VirtualKey, StoredKey | None]] = [(key, None) for key in self._settings.keys]
        keys += [(key, stored) for stored, key in self._stored if key.name not in configured]
        accounts = self.ring.accounts
        return [
            told.key(key, stored, accounts[key.name].items if key.name in accounts else (), self.zone, wall, clock)
            for key, stored in keys
        ]

    def settle_in(self) -> None:
        """Read what will be wanted soon and would only have delayed the start."""
        if self.on and self._prices is None:
            self._prices = self._read_prices()

    def refused(self, account: Account, item: Item) -> None:
        """There was no room for a call."""
        if not item.is_rate:
            self._note(account, item, refused=True)

    def row(self, record: Record) -> Row:
        """What the ledger is told of a call."""
        return booking.row(record, self._models, truncated=self._settings.ledger.addresses == "truncated")

    def write_rows(self) -> None:
        """Give the calls that are over their rows in the ledger."""
        ledger, records = self.ledger, self.records
        if ledger is not None:
            truncated = self._settings.ledger.addresses == "truncated"
            for record in records:
                ledger.add(booking.row(record, self._models, truncated=truncated))
        records.clear()

    def say(self, record: Record) -> None:
        """Keep what was said in a call."""
        if self.ledger is not None:
            prompt, answer = record.prompt or "", record.answer or ""
            client = record.client
            if self._settings.ledger.addresses == "truncated":
                client = booking.truncate(client)
            self.ledger.say(record.request_id, record.key, client, prompt, answer)

    def flush(self) -> None:
        """Hand what happened since the last time to the ledger, all in one piece; for the owner's timer."""
        if self._day != self._today():
            self._day = self._today()
            self._models.clear()
            self._renew_prices()
        self.write_rows()
        wall, clock = time.time(), time.monotonic_ns()
        touched = [account for account in self.ring.accounts.values() if account.touched]
        for account in touched:
            account.touched = False
            for item in account.items:
                if item.allowance.spent >= item.loud_at:
                    self._note(account, item, refused=False)
        ledger = self.ledger
        if ledger is None:
            return
        if touched:
            ledger.save(_ALLOWANCES, {each.name: _text(each.state(wall, clock)) for each in touched})
        told = self._warnings.changes()
        if told:
            ledger.save(_WARNINGS, told)
        now = time.monotonic()
        if now >= self._next_journal:
            self._next_journal = now + JOURNAL_EVERY
            self._note_calls(ledger)
        if now >= self._next_buckets:
            self._save_buckets(ledger)
            more = self._limiter is not None and self._limiter.unsaved
            self._next_buckets = now if more else now + BUCKETS_EVERY  # so many in one go hold up nobody
        ledger.flush()

    async def close(self) -> None:
        """Write what is left, and let go of the files."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))
        if self._webhook is not None:
            await self._webhook.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._next_journal = self._next_buckets = 0.0
        while self._limiter is not None and self._limiter.unsaved and self.ledger is not None:
            self._save_buckets(self.ledger)
        self.flush()
        if self._store is not None:
            self._store.close()
        if self.ledger is not None:
            await asyncio.to_thread(self.ledger.close)

    # Inside.

    def _open_store(self, directory: str) -> KeyStore | None:
        if not directory:
            return None
        # SQLite is a twentieth of a start: only those who keep something pay for it.
        from chatgpt_platform.accounts.keystore import KeyStore  # noqa: PLC0415

        return KeyStore(Path(directory))

    def _keys_at_start(self) -> Sequence[tuple[StoredKey, VirtualKey]]:
        if self._store is None:
            return ()
        from chatgpt_platform.accounts.keystore import StoreError  # noqa: PLC0415 - as above

        try:
            return self._read_keys(self._store)
        except StoreError as error:
            raise StartError(str(error)) from None

    def _open_ledger(self, settings: Settings) -> Ledger | None:
        if not settings.state.directory:
            return None
        from chatgpt_platform.ledger.ledger import Ledger  # noqa: PLC0415 - as above
        from chatgpt_platform.ledger.trouble import LedgerError  # noqa: PLC0415

        keep, size = settings.ledger.keep, settings.ledger.size
        ledger = Ledger(Path(settings.state.directory), keep, size, self._shift(), self._log)
        try:
            ledger.open()
        except LedgerError as error:
            raise StartError(str(error)) from None
        return ledger

    def _states(self, kind: str) -> dict[str, str]:
        """What the ledger was told to remember before the start."""
        return self.ledger.states(kind) if self.ledger is not None else {}

    def _read_keys(self, store: KeyStore) -> Sequence[tuple[StoredKey, VirtualKey]]:
        found = []
        for each in store.all():
            try:
                options = json.loads(each.options)
                found.append((each, key_from(options, f"key {each.name}", name=each.name)))
            except (ConfigurationError, ValueError, RecursionError) as error:
                self._log.error("the key %s does not count: %s", each.name, error)
        return found

    def _take_keys(self) -> None:
        """Let the keys of the settings and of the store be in force."""
        digest = self._store.digest if self._store is not None else None
        wall, clock = time.time(), time.monotonic_ns()
        share = min(self._settings.budgets.warn, default=0)

        def set_up(account: Account, key: VirtualKey) -> None:
            account.configure(key, self.zone, share, self._secret, wall, clock)
            if account.name in self._remembered:
                account.restore(_read(self._remembered.pop(account.name)), wall, clock)
            if account.name in self._remembered_calls:
                account.restore_limiter(self._remembered_calls.pop(account.name), clock, time.time_ns())

        self.ring.configure(self._settings.keys, self._stored, digest, self.zone, set_up)
        for account in self.ring.accounts.values():
            account.wake()  # there may be more room now

    async def _watch(self, store: KeyStore) -> None:
        from chatgpt_platform.accounts.keystore import StoreError  # noqa: PLC0415 - as in ``_open``

        troubled = False
        while True:
            await asyncio.sleep(WATCH_EVERY)
            try:
                if await asyncio.to_thread(store.changed):
                    self._stored = await asyncio.to_thread(self._read_keys, store)
                    self._take_keys()
                troubled = False
            except (ConfigurationError, StoreError) as error:
                if not troubled:
                    self._log.error("the keys that are known stay in force: %s", error)
                troubled = True

    def _note_calls(self, ledger: Ledger) -> None:
        """Write down the calls under way, in place of those of the last time."""
        rows = self._journal()
        if rows or self._open_calls:
            self._open_calls = bool(rows)
            ledger.replace(_OPEN, {_OPEN: msgspec.json.encode(rows).decode()} if rows else {})

    def _charge_lost_calls(self) -> None:
        """Give the calls that were under way when the gateway was killed their rows, and charge their accounts."""
        ledger = self.ledger
        if ledger is None:
            return
        wall, clock = time.time(), time.monotonic_ns()
        rows = _rows(ledger.states(_OPEN).get(_OPEN, "[]"))
        # Those that ended after they had been noted have their rows, and are charged.
        ended = ledger.recorded([booking.id_of(row) for row in rows]) if rows else frozenset()
        for row in rows:
            if booking.id_of(row) in ended:
                continue
            ledger.add(row)
            account = self.ring.accounts.get(booking.key_of(row))
            if account is not None:
                account.settle(NO_HOLD, *booking.used_by(row), wall, clock)
        self._open_calls = True  # they are to be forgotten

    def _save_buckets(self, ledger: Ledger) -> None:
        clock, wall = time.monotonic_ns(), time.time_ns()
        if self._limiter is not None:
            ledger.save(_CLIENTS, self._limiter.changes(clock, wall))
        texts: dict[str, str] = {}
        for account in self.ring.accounts.values():
            if account.limiter is not None:
                for name, text in account.limiter.changes(clock, wall).items():
                    if name != OVERFLOW:
                        texts[account.name] = text
        if texts:
            ledger.save(_KEYS, texts)

    def _note(self, account: Account, item: Item, *, refused: bool) -> None:
        allowance = item.allowance
        self._warnings.note(
            account.name, item.text, allowance.spent, allowance.amount, item.unit, allowance.ends,
            rolling=item.rolling, refused=refused,
        )  # fmt: skip

    def _new_warnings(self) -> Warnings:
        return Warnings(self._settings.budgets.warn, self._log, self._webhook, self.zone)

    def _read_prices(self) -> PriceTable:
        try:
            return price_table(self._settings.prices)
        except (OSError, ValueError) as error:  # as told by ``shipped_prices``
            self._log.error("of prices only those of the settings count: %s", error)
            return PriceTable(self._settings.prices, ())

    def _renew_prices(self) -> None:
        for account in (self.anonymous, *self.ring.accounts.values()):
            account.renew_prices(self.price)

    def _today(self) -> date:
        return datetime.fromtimestamp(time.time(), self.zone).date()

    def _shift(self) -> int:
        """By how many seconds the owner's hours begin after those of UTC."""
        offset = datetime.fromtimestamp(time.time(), self.zone).astimezone(self.zone).utcoffset() or timedelta()
        return int(offset.total_seconds()) % 3600

    def _in_background(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _webhook(settings: Settings, logger: logging.Logger) -> Webhook | None:
    webhook = settings.budgets.webhook
    if not webhook.url:
        return None
    from chatgpt_platform.accounts.webhook import Webhook  # noqa: PLC0415 - few have one

    return Webhook(webhook.url, webhook.secret.reveal(), logger)


def _text(state: State) -> str:
    return msgspec.json.encode(state).decode()


def _read(text: str) -> State:
    """What cannot be read is nothing: another version may have written it."""
    try:
        return _state_decoder.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}


def _rows(text: str) -> list[Row]:
    try:
        return _rows_decoder.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return []
