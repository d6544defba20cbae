"""From the wire straight into the gateway, past Tornado's handlers, for the calls that go upstream.

The same transaction answers them that the handlers use; what differs is only who brings the bytes.
"""

from __future__ import annotations

from typing import Final

from tornado import web

from chatgpt_platform.web.reception import Errand, Reception, unreadable
from chatgpt_platform.web.transaction import Transaction
from chatgpt_platform.wire.bridge import TornadoApplication
from chatgpt_platform.wire.exchange import Exchange, Receiver
from chatgpt_platform.wire.head import BadRequest


class Shortcut:
    """A wire ``Application``. ``direct``: False leaves every endpoint to the handlers."""

    def __init__(self, reception: Reception, application: web.Application, *, direct: bool = True) -> None:
        self._reception: Final = reception
        self._direct: Final = direct
        self._handlers: Final = TornadoApplication(application, refuse=self.refuse)

    def begin(self, exchange: Exchange) -> Receiver:
        """Answer, or leave it to a handler."""
        if not self._direct:
            return self._handlers.begin(exchange)
        errand = exchange.head.memo
        if not isinstance(errand, Errand) or errand.reception is not self._reception:
            errand = self._errand(exchange)
        if not errand.endpoint.upstream_path:
            return self._handlers.begin(exchange)
        transaction = self._transaction(exchange, errand)
        transaction.begin()
        return transaction

    def refuse(self, exchange: Exchange, bad: BadRequest) -> None:
        """Answer what is no good HTTP like any other failure."""
        self._transaction(exchange, self._errand(exchange)).fail(unreadable(bad.status))

    def closed(self, connection: object) -> None:
        """Nothing here outlives a request."""
        self._handlers.closed(connection)

    def _errand(self, exchange: Exchange) -> Errand:
        head = exchange.head
        path, _, query = head.target.decode("latin-1").partition("?")
        head.memo = errand = self._reception.errand(head.method, path, query)
        return errand

    def _transaction(self, exchange: Exchange, errand: Errand) -> Transaction:
        call = self._reception.visit(
            errand, exchange.head.fields, exchange.connection.peer, arrived=exchange.arrived
        )
        return Transaction(self._reception, exchange, call)
