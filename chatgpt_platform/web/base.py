"""The one handler of the Tornado application: it brings a transaction its bytes, and takes away the answer's."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

from tornado import web

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.web.reception import PUBLIC as PUBLIC
from chatgpt_platform.web.reception import Reception
from chatgpt_platform.web.transaction import Transaction
from chatgpt_platform.wire.head import BadRequest

LINGER: Final = 2.0
"""Seconds for which the rest of a refused body is read and dropped, so that its sender sees the answer."""


@web.stream_request_body
class Handler(web.RequestHandler):
    """Answers through the gateway. The body is read only once the call was screened."""

    def initialize(self, reception: Reception) -> None:
        request = self.request
        fields = {
            name.lower().encode("latin-1"): ", ".join(request.headers.get_list(name)).encode("latin-1")
            for name in request.headers
        }
        call = reception.begin(request.method or "", request.path, request.query, fields, request.remote_ip or "")
        self._auto_finish = False
        self._reception = reception
        self.outlet = HandlerOutlet(self, closing=reception.service.draining)
        self.transaction = Transaction(reception, self.outlet, call)

    # Tornado calls these, in this order.

    def prepare(self) -> None:
        self.transaction.begin()

    def data_received(self, chunk: bytes) -> None:
        self.transaction.received(chunk)

    async def get(self) -> None:
        if self.outlet.lingering:
            self.outlet.end()
            return
        self.transaction.complete()
        await self.transaction.concluded()

    # Which methods there are was decided in ``prepare``.
    head = post = put = patch = delete = options = get

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.outlet.close()
        bad = getattr(self.request.connection, "bad", None)
        if isinstance(bad, BadRequest):  # on the wire: it has not left, but what it sends cannot be read
            self.transaction.failed(bad)
        else:
            self.transaction.left()

    # Tornado's own ideas, replaced.

    def set_default_headers(self) -> None:
        for name in ("Server", "Date", "Content-Type"):
            self.clear_header(name)

    def compute_etag(self) -> None:
        """No answer here is one to be cached."""
        return

    def log_exception(self, *_: object) -> None:
        """``write_error`` says it, in our own log."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tornado failed the request: a method it does not know, or a fault of ours outside the gateway."""
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.transaction.begin()  # Tornado was quicker; address and path still come first
            return
        call = self.transaction.call
        self._reception.service.logs.logger.error(
            "%s: a fault of this gateway", call.record.request_id, exc_info=kwargs.get("exc_info")
        )
        self.transaction.fail(Problem(Kind.FAULT))


class HandlerOutlet:
    """The way to the client through a handler, on any server of Tornado's kind."""

    def __init__(self, handler: Handler, *, closing: bool) -> None:
        """``closing``: the connection shall close after the answer."""
        self._handler: Final = handler
        self._closing: Final = closing
        self._timer: asyncio.TimerHandle | None = None
        self.sent = 0

    cut_off: Final = False
    """Which a handler does not get to know."""

    pass_chunk: Final = None
    """Tornado frames the answer."""

    @property
    def lingering(self) -> bool:
        """Whether the answer is out and the rest of the request is being dropped."""
        return self._timer is not None

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        handler = self._handler
        self._write_head(status, head)
        if body:
            handler.write(body)
        whole: asyncio.Future[None] | None = getattr(handler.request, "_body_future", None)
        lingers = getattr(handler.request.connection, "lingers", False)
        if lingers or not self._body_is_coming() or (whole is not None and whole.done()):
            handler.finish()
            return
        handler.set_header("Connection", "close")
        if handler.request.headers.get("Expect", "").lower() == "100-continue":
            handler.finish()
            return
        # Closing now would reset the connection under a client that is still sending, and it would
        # never see why: so the answer goes out, and the rest of the body is dropped for a while.
        handler.set_header("Content-Length", str(len(body)))
        handler.flush()
        self._timer = asyncio.get_running_loop().call_later(LINGER, self.end)

    def start(self, status: int, head: bytes, length: int | None = None) -> None:
        self._write_head(status, head)
        if length is not None:
            self._handler.set_header("Content-Length", str(length))
        self._handler.flush()

    def write(self, data: bytes) -> asyncio.Future[None] | None:
        self.sent += len(data)
        self._handler.write(data)
        flush = self._handler.flush()
        if flush.done():
            flush.exception()  # a client that has left: on_connection_close tells of it
            return None
        flushed = asyncio.get_running_loop().create_future()

        def on_flushed(future: asyncio.Future[None]) -> None:
            if not future.cancelled():
                future.exception()  # as above
            if not flushed.done():
                flushed.set_result(None)

        flush.add_done_callback(on_flushed)
        return flushed

    def finish(self) -> None:
        self._handler.finish()

    def abort(self) -> None:
        """Close without the final chunk, which tells the client that the answer is not whole."""
        connection: Any = self._handler.request.connection  # the class has no ``close``, each that serves has
        connection.close()

    def end(self) -> None:
        """Enough of a refused body was dropped."""
        self.close()
        self._handler.finish()

    def close(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write_head(self, status: int, head: bytes) -> None:
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = "Unknown"
        self._handler.clear()
        self._handler.set_status(status, reason)
        for line in head.decode("latin-1").split("\r\n")[:-1]:
            name, _, value = line.partition(": ")
            self._handler.add_header(name, value)
        if self._closing:
            self._handler.set_header("Connection", "close")

    def _body_is_coming(self) -> bool:
        headers = self._handler.request.headers
        return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers
