"""Answers what the gateway tells of its accounts: the usage of a key to its holder, all of it to the owner.

Who asks is known before the body is read (``screen``): the owner by the admin token and one of the addresses of
admin.allow, a holder by its key. Refusals count: an address gets a few a minute, and each takes from its limits.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import msgspec

from chatgpt_platform.access.address import AddressBook
from chatgpt_platform.access.keys import bearer_token, usable
from chatgpt_platform.accounts import inquiry
from chatgpt_platform.accounts.accounts import Accounts
from chatgpt_platform.accounts.inquiry import By, Span
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway.call import Call, Reply
from chatgpt_platform.gateway.endpoints import Endpoint
from chatgpt_platform.gateway.identity import Identity
from chatgpt_platform.gateway.render import JSON
from chatgpt_platform.limits.bucket import windows_of
from chatgpt_platform.limits.store import Store
from chatgpt_platform.settings.schema import Settings
from chatgpt_platform.settings.secret import digest_of
from chatgpt_platform.web import openapi, operations
from chatgpt_platform.web.inquiries import Inquiries
from chatgpt_platform.web.operations import Operation

if TYPE_CHECKING:
    from sqlite3 import Connection

NO_STORE: Final = (b"cache-control", b"no-store")
MOST_ROWS: Final = 10_000
"""Rows of one answer; the total has the others too."""

REFUSALS_A_MINUTE: Final = 10
"""For one address, and then it is not even looked at what it sends."""
_MOST_ADDRESSES: Final = 10_000

_CSV: Final = (b"content-type", b"text/csv; charset=utf-8; header=present")


class Refusals:
    """How often each address was refused."""

    def __init__(self) -> None:
        self._store: Final = Store(
            windows_of(second=0, minute=REFUSALS_A_MINUTE, hour=0, day=0), _MOST_ADDRESSES, lambda _: None
        )

    def check(self, client: str) -> None:
        """Raises Problem for one that has to wait."""
        decision = self._store.look(client, time.monotonic_ns())
        if not decision.admitted:
            wait = decision.retry_after
            raise Problem(Kind.TOO_MANY_REQUESTS, "too_many_refusals", retry_after=wait, seconds=wait)

    def add(self, client: str) -> None:
        self._store.take(client, time.monotonic_ns())


class Reports:
    """The operations under one configuration; a reload makes a new one."""

    def __init__(
        self, settings: Settings, accounts: Accounts, refusals: Refusals, inquiries: Inquiries,
        logger: logging.Logger,
    ) -> None:  # fmt: skip
        self._owners: Final = AddressBook((), settings.admin.allow, ())
        self._nobody: Final = not settings.admin.allow
        self._token: Final = (
            bytes.fromhex(digest_of(settings.admin.token)) if settings.admin.token.reveal() else b""
        )
        self._accounts: Final = accounts
        self._identity: Final = Identity(accounts, require_key=True)
        self._refusals: Final = refusals
        self._inquiries: Final = inquiries
        self._log: Final = logger
        self._directory: Final = Path(accounts.directory) if accounts.directory else None
        self._zone: Final = inquiry.owners_zone(accounts.time_zone)
        self._zone_name: Final = accounts.time_zone or time.strftime("%Z")
        self.operations: Final[Mapping[Endpoint, Operation]] = {
            each.endpoint: each for each in operations.OPERATIONS if self._token or not each.for_owner
        }
        """Those that are there."""

    def lets(self, call: Call) -> bool:
        """Whether its address may ask."""
        if self.operations[call.endpoint].for_owner:
            return not self._nobody and self._owners.client(call.client.address, "").allowed
        return call.client.allowed

    def screen(self, call: Call, count: Callable[[Call], None]) -> None:
        """Who asks. ``count`` takes from the limits of an address that is refused. Raises Problem."""
        client = call.client
        operation = self.operations[call.endpoint]
        self._refusals.check(client.key)
        try:
            self._check_who(operation, call)
        except Problem:
            self._refusals.add(client.key)
            count(call)
            raise

    async def answer(self, call: Call) -> Reply:
        """The Reply to a screened call. Raises Problem."""
        operation = self.operations[call.endpoint]
        given = operations.read(operation, call.query)
        if operation is operations.ADMIN_OPENAPI:
            return _reply(openapi.document())
        if operation is operations.ADMIN_KEYS:
            return _reply({"object": "list", "data": self._accounts.told()})
        if operation is operations.USAGE:
            assert call.account is not None
            given["key"] = call.account.name
        return await self._usage(call, given)

    async def _usage(self, call: Call, given: dict[str, str]) -> Reply:
        if self._directory is None:
            raise Problem(Kind.NOT_FOUND, "no_ledger")
        span = inquiry.span(given.pop("since"), given.pop("until", ""), time.time(), self._zone)
        if "client" in given:
            given["client"] = inquiry.address(given["client"])
        as_csv = given.pop("format", "json") == "csv"
        asked = _Asked(span, cast(By, given.pop("by")), given, self._zone, self._zone_name, as_csv)
        try:
            body = await self._inquiries.run(self._directory, asked.write)
        except Problem as problem:
            if problem.detail:
                self._log.warning("%s: no report: %s", call.record.request_id, problem.detail)
            raise
        return Reply(200, [_CSV if as_csv else JSON, NO_STORE], body)

    def _check_who(self, operation: Operation, call: Call) -> None:
        if not operation.for_owner:
            self._find_holder(call)
            return
        token = bearer_token(call.header(b"authorization") or "")
        if token is None:
            raise Problem(Kind.MISSING_KEY, "missing_token")
        if not hmac.compare_digest(sha256(token.encode("latin-1")).digest(), self._token):
            raise Problem(Kind.KEY_REFUSED, "token_refused")

    def _find_holder(self, call: Call) -> None:
        keys = (call.header(b"apikey"), bearer_token(call.header(b"authorization") or ""))
        given = [key for key in keys if key]
        if not given:
            raise Problem(Kind.MISSING_KEY, "missing_bearer")
        if not any(usable(key) and self._identity.find(call, key) for key in given):
            raise Problem(Kind.KEY_REFUSED)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A report that is wanted."""

    span: Span
    by: By
    filters: dict[str, str]
    zone: tzinfo
    zone_name: str
    as_csv: bool

    def write(self, connection: Connection) -> bytes:
        """In a thread, where it may take its time."""
        # Imported here: few gateways are asked, and none while it starts.
        from chatgpt_platform.accounts import reporting  # noqa: PLC0415
        from chatgpt_platform.ledger.reports import Query, figures  # noqa: PLC0415

        found = figures(connection, Query(self.span.since, self.span.until, self.by, **self.filters), self.zone)
        told = reporting.report(found, self.span, self.zone, self.zone_name, self.by, self.filters, MOST_ROWS)
        if self.as_csv:
            return reporting.as_csv(told).encode()
        return msgspec.json.encode(reporting.as_object(told))


def _reply(content: object) -> Reply:
    return Reply(200, [JSON, NO_STORE], msgspec.json.encode(content))
