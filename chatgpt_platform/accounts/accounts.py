"""All accounts of a running gateway, with what is remembered of them over a restart, and the ledger.

Belongs to one event loop. What touches a disk is done in threads, but for the opening at the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from chatgpt_platform.accounts import booking
from chatgpt_platform.accounts.account import Account, Hold, Item
from chatgpt_platform.accounts.prices import Price, PriceTable
from chatgpt_platform.accounts.ring import KeyRing
from chatgpt_platform.accounts.warnings import Warnings
from chatgpt_platform.accounts.webhook import Webhook
from chatgpt_platform.errors import ConfigurationError, Kind, Problem
from chatgpt_platform.observe.access import Record
from chatgpt_platform.settings.schema import Settings
from chatgpt_platform.settings.sharing import VirtualKey

if TYPE_CHECKING:
    from chatgpt_platform.accounts.keystore import KeyStore, StoredKey
    from chatgpt_platform.ledger.ledger import Ledger

WATCH_EVERY: Final = 0.4
"""Seconds between two looks at the key store: a revoked key stops within a second."""

_AT_ONCE: Final = 64
"""Records that become rows together, as in the access log."""


class Accounts:
    """Outlives a configuration; ``configure`` puts another in place."""

    def __init__(self, settings: Settings, logger: logging.Logger) -> None:
        """Opens the key store and the ledger, where there is a ``state.directory``. Raises ConfigurationError."""
        self.ring: Final = KeyRing(logger.warning)
        self.anonymous: Final = Account("")
        self.ledger: Ledger | None = None
        self.zone: tzinfo | None = None
        self._log: Final = logger
        self._store: KeyStore | None = None
        self._stored: Sequence[tuple[StoredKey, VirtualKey]] = ()
        self._records: list[tuple[Record, str]] = []
        self._truncated = False
        self._prices: PriceTable | None = None
        self._day = _today()
        self._webhook: Webhook | None = None
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._settings: Settings | None = None
        if settings.state.directory:
            self._open(settings)
        self.configure(settings)
        self._restore()

    @property
    def on(self) -> bool:
        """Whether there is anything to account for."""
        return self.ledger is not None or bool(self.ring)

    def configure(self, settings: Settings) -> None:
        """Go on under these settings; what was used stays used."""
        former, self._settings = self._settings, settings
        budgets = settings.budgets
        self.zone = budgets.zone
        self._truncated = settings.ledger.addresses == "truncated"
        if former is None or former.budgets != budgets:
            self._set_warnings(settings)
        if former is None or former.prices != settings.prices:
            self._set_prices(settings)
        self._take_keys()

    def price(self, model: str) -> Price | None:
        """What a model costs today."""
        return self._prices.find(model, self._day) if self._prices is not None else None

    def settle(self, account: Account, hold: Hold, tokens: int, money: int) -> None:
        """A call is over that has used so much."""
        wall = time.time()
        account.settle(hold, tokens, money, wall, time.monotonic_ns())
        for item in account.items:
            if item.allowance.spent >= item.loud_at:
                self._note(account, item, refused=False)

    def refused(self, account: Account, item: Item) -> None:
        """There was no room for a call."""
        self._note(account, item, refused=True)

    def book(self, record: Record, endpoint: str) -> None:
        """Give a call that is over its row in the ledger."""
        if self.ledger is None:
            return
        self._records.append((record, endpoint))
        if len(self._records) >= _AT_ONCE:
            self._write_rows()
