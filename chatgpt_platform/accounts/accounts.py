"""All accounts of a running gateway: their keys, their prices, their ledger.

Belongs to one event loop. What touches a disk is done in threads, but for the opening at the start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chatgpt_platform.accounts import booking, told
from chatgpt_platform.accounts.account import Account, Item
from chatgpt_platform.accounts.booking import Row
from chatgpt_platform.accounts.memory import Memory
from chatgpt_platform.accounts.prices import Price, PriceTable, price_table
from chatgpt_platform.accounts.ring import KeyRing
from chatgpt_platform.accounts.stored import StoredKeys
from chatgpt_platform.accounts.warnings import Warnings
from chatgpt_platform.errors import StartError
from chatgpt_platform.limits.store import Store
from chatgpt_platform.observe.access import Record
from chatgpt_platform.observe.redact import Redactor
from chatgpt_platform.settings.dates import hours_begin, zone_of
from chatgpt_platform.settings.hidden import secrets_of
from chatgpt_platform.settings.schema import Settings
from chatgpt_platform.settings.sharing import VirtualKey

if TYPE_CHECKING:
    from chatgpt_platform.accounts.keystore import StoredKey
    from chatgpt_platform.accounts.webhook import Webhook
    from chatgpt_platform.ledger.ledger import Ledger

_ADDRESSES: Final = "client"
"""What the secret for their digests is made of."""

ROWS_AT_ONCE: Final = 64
"""Records that become rows together, as in the access log."""


class Accounts:
    """Outlives a configuration; ``configure`` puts another in place."""

    def __init__(self, settings: Settings, logger: logging.Logger) -> None:
        """Opens the key store and the ledger, where there is a ``state.directory``. Raises ConfigurationError, and
        StartError where the directory is another gateway's or a newer program's."""
        self.ring: Final = KeyRing(logger.warning, self._look_for_keys)
        self.anonymous: Final = Account("")
        self.directory: Final = settings.state.directory
        self.time_zone: Final = settings.budgets.time_zone
        """As they are until the next start, whatever a reload says."""
        self.zone: Final = zone_of(self.time_zone)
        self._settings = settings
        self._log = logger
        directory = Path(settings.state.directory) if settings.state.directory else None
        self._stored: Final = StoredKeys(directory, logger) if directory else None
        self._secret: Final = bytes.fromhex(self._stored.digest(_ADDRESSES)) if self._stored else b""
        """For the digests of addresses that are kept."""
        self.ledger: Final[Ledger | None] = self._open_ledger(directory, settings) if directory else None
        self._memory: Final = Memory(self.ledger, self.ring.accounts) if self.ledger else None
        self.records: Final[list[Record]] = []
        """Of calls that are over, and have no rows yet."""
        self._redactor = Redactor(secrets_of(settings))
        self._models = booking.Models(self._redactor)
        self._day = self._today()
        self._prices: PriceTable | None = None
        """Read when one is first wanted."""
        self._webhook = _webhook(settings, logger)
        self._warnings = self._new_warnings()
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        if self._memory is not None:
            self._memory.restore_warnings(self._warnings)
        self._take_keys()
        if self._memory is not None:
            self._memory.charge_lost_calls()
        if self._stored is not None:
            self._stored.watch(self._take_keys)

    @property
    def on(self) -> bool:
        """Whether there is anything to account for."""
        return self.ledger is not None or bool(self.ring)

    def limiter(self, make: Callable[[bytes], Store]) -> Store:
        """The limiter of addresses, which goes on where it stood at the last end. ``make``: see ``limits.store``
        for the secret; empty: nothing is kept."""
        limiter = make(self._secret)
        if self._memory is not None:
            self._memory.keep(limiter)
        return limiter

    def note_calls_by(self, journal: Callable[[], Sequence[Row]]) -> None:
        """``journal`` tells of the calls under way, as rows, what is to be remembered of them if this is the
        end."""
        if self._memory is not None:
            self._memory.note_calls_by(journal)

    def configure(self, settings: Settings, logger: logging.Logger) -> None:
        """Go on under these settings; what was used stays used."""
        self.flush()  # of warnings what was told is remembered
        former, self._settings, self._log = self._settings, settings, logger
        self._redactor = Redactor(secrets_of(settings))
        self._models = booking.Models(self._redactor)
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
        keys += [(key, stored) for stored, key in self._stored_keys() if key.name not in configured]
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
        return booking.row(record, self._models, truncated=self._truncated)

    def write_rows(self) -> None:
        """Give the calls that are over their rows in the ledger."""
        ledger, records = self.ledger, self.records
        if ledger is not None:
            truncated = self._truncated
            for record in records:
                ledger.add(booking.row(record, self._models, truncated=truncated))
        records.clear()

    def say(self, record: Record) -> None:
        """Keep what was said in a call."""
        if self.ledger is not None:
            prompt, answer = record.prompt or "", record.answer or ""
            client = booking.truncate(record.client) if self._truncated else record.client
            clean = self._redactor.clean
            self.ledger.say(record.request_id, record.key, client, clean(prompt), clean(answer))

    def flush(self) -> None:
        """Hand what happened since the last time to the ledger, all in one piece; for the owner's timer."""
        if self._day != self._today():
            self._day = self._today()
            self._models.clear()
            self._renew_prices()
        self.write_rows()
        touched = [account for account in self.ring.accounts.values() if account.touched]
        for account in touched:
            account.touched = False
            for item in account.items:
                if item.allowance.spent >= item.loud_at:
                    self._note(account, item, refused=False)
        if self.ledger is not None and self._memory is not None:
            self._memory.save(touched, self._warnings)
            self.ledger.flush()

    async def close(self) -> None:
        """Write what is left, and let go of the files."""
        if self._webhook is not None:
            await self._webhook.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._stored is not None:
            await self._stored.close()
        if self._memory is not None:
            self._memory.save_rest()
        self.flush()
        if self.ledger is not None:
            await asyncio.to_thread(self.ledger.close)

    # Inside.

    @property
    def _truncated(self) -> bool:
        """Whether of addresses only their networks are kept."""
        return self._settings.ledger.addresses == "truncated"

    def _open_ledger(self, directory: Path, settings: Settings) -> Ledger:
        from chatgpt_platform.ledger.ledger import Ledger  # noqa: PLC0415 - as in ``stored``
        from chatgpt_platform.ledger.trouble import LedgerError  # noqa: PLC0415

        keep, size = settings.ledger.keep, settings.ledger.size
        ledger = Ledger(directory, keep, size, hours_begin(time.time(), self.zone), self._log)
        try:
            ledger.open()
        except LedgerError as error:
            raise StartError(str(error)) from None
        return ledger

    def _stored_keys(self) -> Sequence[tuple[StoredKey, VirtualKey]]:
        return self._stored.keys if self._stored is not None else ()

    def _look_for_keys(self) -> bool:
        return self._stored is not None and self._stored.look()

    def _take_keys(self) -> None:
        """Let the keys of the settings and of the store be in force."""
        digest = self._stored.digest if self._stored is not None else None
        wall, clock = time.time(), time.monotonic_ns()
        share = min(self._settings.budgets.warn, default=0)

        def set_up(account: Account, key: VirtualKey) -> None:
            account.configure(key, self.zone, share, self._secret, wall, clock)
            if self._memory is not None:
                self._memory.meet(account, wall, clock)

        self.ring.configure(self._settings.keys, self._stored_keys(), digest, self.zone, set_up)
        for account in self.ring.accounts.values():
            account.wake()  # there may be more room now

    def _note(self, account: Account, item: Item, *, refused: bool) -> None:
        allowance = item.allowance
        self._warnings.note(
            account.name, item.text, allowance.spent, allowance.amount, item.unit, allowance.ends,
            rolling=item.rolling, refused=refused,
        )  # fmt: skip

    def _new_warnings(self) -> Warnings:
        send = None if self._webhook is None else self._webhook.send
        return Warnings(self._settings.budgets.warn, self._log, send, self.zone)

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
