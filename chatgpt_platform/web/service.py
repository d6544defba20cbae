"""What outlives a request: the gateway of the moment, the limiter, the upstreams, the access log."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from operator import call as step
from typing import Final

from chatgpt_platform.access.address import AddressBook
from chatgpt_platform.accounts.accounts import Accounts
from chatgpt_platform.gateway.call import Call
from chatgpt_platform.gateway.gateway import Gateway
from chatgpt_platform.gateway.load import Load
from chatgpt_platform.limits.bucket import Windows, windows_of
from chatgpt_platform.limits.store import Store
from chatgpt_platform.observe.logs import Logs
from chatgpt_platform.observe.metrics import Metrics, Snapshot
from chatgpt_platform.settings.schema import Settings
from chatgpt_platform.upstream.fleet import Fleet
from chatgpt_platform.web import snapshot
from chatgpt_platform.web.forms import read_multipart
from chatgpt_platform.web.inquiries import Inquiries
from chatgpt_platform.web.reports import Refusals, Reports
from chatgpt_platform.web.scraping import Scraping
from chatgpt_platform.wire.batch import Batch

_KEPT_CLIENTS: Final = 16_384
"""Callers that the limiter remembers although it need not: eight megabytes at most."""

_LAST_DIGITS: Final = tuple([f"{number:02x}" for number in range(256)])
"""Of requests' ids: to look them up costs a tenth of writing them."""


class Service:
    """The running gateway. Lives on one event loop; ``apply`` puts another configuration in place."""

    def __init__(self, settings: Settings, logs: Logs) -> None:
        limits = settings.limits
        self.logs = logs
        self.loop: Final = asyncio.get_running_loop()
        self.draining = False
        self.cutting = False
        """The connections are being closed by us, not by their clients."""
        self.whole_requests: Final[Batch[Callable[[], None]]] = Batch(self.loop, step)
        """What is to be done for each call whose request became whole in this turn of the loop."""
        self.begun_answers: Final[Batch[Callable[[], None]]] = Batch(self.loop, step)
        """The same where the upstream's answer began, or failed to."""
        self.metrics: Final = Metrics()
        self.fleet = Fleet(settings.upstreams, logs.logger)
        self.load: Final = Load(settings.load, self.metrics)
        self.accounts: Final = Accounts(settings, logs.logger)
        self._limiter: Final = self.accounts.limiter(
            lambda secret: Store(
                _windows(settings), limits.max_clients, self._say_overflow, keep=_KEPT_CLIENTS, secret=secret
            )
        )
        self.scraping: Final = Scraping(self.metrics, self._snapshot)
        self._inquiries: Final = Inquiries()
        self._refusals: Final = Refusals()
        self.fronts: Final[list[Callable[[], int]]] = []
        """Each server that brings calls: how many connections it has open."""
        self._begun = 0
        self._lost_lines = 0
        """Of former logs."""
        self._install(settings)
        self._closing: Final[set[asyncio.Task[None]]] = set()
        self._id_prefix: Final = f"req_{secrets.token_hex(8)}"
        self._id_start = f"{self._id_prefix}{0:06x}"
        """Of those that come next, all but the last digits."""

    def apply(self, settings: Settings, logs: Logs) -> None:
        """Take over another configuration; calls under way end under the one they began with."""
        former, gateway = self.fleet, self.gateway
        self.fleet = Fleet(settings.upstreams, logs.logger, former)
        if logs is not self.logs:
            self._lost_lines += self.logs.lost
        self.logs = logs
        self.load.reconfigure(settings.load)
        self.accounts.configure(settings, logs.logger)
        self._install(settings)
        limits = settings.limits
        self._limiter.reconfigure(_windows(settings), limits.max_clients, time.monotonic_ns())
        for closing in (former.close(but=self.fleet), gateway.close()):
            task = asyncio.create_task(closing, name="close the former upstreams")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def next_id(self) -> str:
        """The id of a request that begins."""
        self._begun += 1
        low = self._begun & 0xFF
        if not low:
            self._id_start = f"{self._id_prefix}{self._begun >> 8:06x}"
        return self._id_start + _LAST_DIGITS[low]

    def finish(self, call: Call, status: int, bytes_out: int) -> None:
        """Note a call that ended, however it did: one access line."""
        self.gateway.settle(call)
        record = call.record
        if call.own_key is not None:
            record.hide(call.own_key.value)
        record.status, record.bytes_out = status, bytes_out
        record.duration_ms = (time.monotonic() - call.started) * 1000
        self.gateway.account(call, status)
        if self.scraping.wanted:
            self.metrics.call(record, call.endpoint)
        self.logs.access(record)

    async def settle_in(self) -> None:
        """Load what will be wanted soon and would only have delayed the start."""
        self.accounts.settle_in()
        if self.scraping.wanted:
            with contextlib.suppress(ImportError):  # which the first scrape will tell
                await self.scraping.load()  # so that it need not wait for it

    def flush(self) -> None:
        """Put on their way to the disk what the ledger and the logs have been given; for the owner's timer."""
        try:
            self.accounts.flush()
        except Exception as error:
            self.logs.logger.error("the accounts met a fault of this gateway", exc_info=error)
        self.logs.flush()

    async def close(self) -> None:
        """Let the upstream connections go, and what is stored."""
        await self.scraping.close()
        await self._inquiries.close()
        await self.accounts.close()
        await asyncio.gather(self.fleet.close(), self.gateway.close(), *self._closing)

    def _install(self, settings: Settings) -> None:
        self.settings = settings
        access = settings.access
        self.addresses = AddressBook(settings.server.trusted_proxies, access.allow, access.deny)
        self.gateway = Gateway(
            settings, self._limiter, self.fleet, self.load, self.accounts, self.metrics, read_multipart,
            self.logs.logger,
        )  # fmt: skip
        self.accounts.note_calls_by(self.gateway.calls_so_far)
        self.reports = Reports(settings, self.accounts, self._refusals, self._inquiries, self.logs.logger)
        self.scrapers = AddressBook((), settings.metrics.allow, ())
        """Who may read /metrics, by the addresses of clients; where it is served at all."""
        self.scraping.switch(on=bool(settings.metrics.allow or settings.metrics.port))

    def _snapshot(self) -> Snapshot:
        limiter = self._limiter
        return Snapshot(
            upstreams=snapshot.of_upstreams(self.fleet.upstreams, self.loop.time()),
            under_way=self.load.under_way,
            waiting=len(self.load.queue),
            clients=len(limiter),
            admitted=limiter.admitted,
            denied=limiter.denied,
            connections=sum(count() for count in self.fronts),
            lost_lines=self._lost_lines + self.logs.lost,
            lost_rows=0 if self.accounts.ledger is None else self.accounts.ledger.lost,
        )

    def _say_overflow(self, newcomers: int) -> None:
        self.logs.logger.warning(
            "limits.max_clients is reached and every remembered client has used its limits: "
            "%d newcomers share one set of limits; raise limits.max_clients or deny the addresses at fault",
            newcomers,
        )


def _windows(settings: Settings) -> Windows:
    limits = settings.limits
    return windows_of(limits.second, limits.minute, limits.hour, limits.day)
