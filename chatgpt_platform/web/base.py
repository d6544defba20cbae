"""The base of all handlers: bytes in, Call out; Reply in, bytes out; one access line for each request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any, Final

from tornado import web
from tornado.iostream import StreamClosedError

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway.call import Call, Reply, Stream
from chatgpt_platform.gateway.endpoints import Endpoint
from chatgpt_platform.web import cors
from chatgpt_platform.web.service import Service

CLIENT_LEFT: Final = 499
"""The access log's status of a call whose caller left before its answer was out (nginx's convention)."""

PUBLIC: Final = frozenset({"/healthz", "/readyz"})
"""Paths that are open to every address, and while the gateway drains. All others ask for an allowed one."""

LINGER: Final = 2.0
"""Seconds for which the rest of a refused body is read and dropped, so that its sender sees the answer."""


@web.stream_request_body
class Handler(web.RequestHandler):
    """Answers through the gateway. The body is read only once the call was screened."""

    def initialize(self, service: Service, endpoint: Endpoint) -> None:
        self.service = service
        self.endpoint = endpoint
        self._gateway = service.gateway
        self._body: list[bytes] = []
        self._size = 0
        self._bytes_out = 0
        self._refused = self._concluded = self._left = False
        self._refusal: Reply | None = None
        self._task: asyncio.Task[Any] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self.call: Call = service.begin(self.request, endpoint, self.tail())

    def tail(self) -> str:
        """What follows the endpoint's path, for handlers that have such."""
        return ""

    # Tornado calls these, in this order.

    def prepare(self) -> None:
        try:
            self._screen()
        except Problem as problem:
            self._refuse(problem)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._refused:
            return None
        self._size += len(chunk)
        if self._size > self._gateway.max_body:
            self._refuse(self._gateway.overrun(self.call))
        else:
            self._body.append(chunk)
        return None

    async def get(self) -> None:
        await self._run()

    # Which methods there are was decided in ``prepare``.
    head = post = put = patch = delete = options = get

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._left = True
        if self._task is not None:
            self._task.cancel()
            return
        if not self._refused:
            self._gateway.abandon(self.call)
        self._stop_lingering()
        self._conclude(CLIENT_LEFT)

    def on_finish(self) -> None:
        self._stop_lingering()
        self._conclude(self.get_status())

    # The answer.

    async def answer(self) -> Reply:
        """The Reply to ``self.call``; its body has been read."""
        return await self._gateway.handle(self.call)

    async def _run(self) -> None:
        if self._refusal is not None:
            await self._send(self._refusal)
            return
        if self._refused:
            await self._end_refusal()
            return
        self.call.body = b"".join(self._body)
        self._body.clear()
        self._task = asyncio.current_task()
        try:
            await self._send(await self.answer())
        except StreamClosedError:
            self._conclude(CLIENT_LEFT)
        except asyncio.CancelledError:
            # Cancelled by on_connection_close: nobody is left to be answered.
            if not self._left or self._task is None:
                raise
            self._task.uncancel()
            self._conclude(CLIENT_LEFT)
        finally:
            self._task = None

    async def _send(self, reply: Reply) -> None:
        if reply.stream is None:
            self._write_head(reply)
            self._write(reply.body)
            self.finish()
            return
        try:
            await self._send_stream(reply, reply.stream)
        except StreamClosedError:
            raise
        except Exception:
            # A fault of ours: finish() would end the body properly, and the half would look like the whole.
            self.service.logs.logger.exception("%s: a fault of this gateway", self.call.record.request_id)
            self._abort()
        finally:
            reply.stream.close()

    async def _send_stream(self, reply: Reply, stream: Stream) -> None:
        piece = await stream.next()
        self._write_head(reply)
        first = True
        while piece is not None:
            if piece or first:
                self._write(piece)
                await self.flush()
                first = False
            if stream.broken:
                break
            piece = await stream.next()
        stream.close()  # before the end is logged: it adds to the record
        if stream.broken:
            self._abort()
        else:
            self.finish()

    def _abort(self) -> None:
        """Close without the final chunk, which tells the client that the answer is not whole."""
        self._auto_finish = False
        self._conclude(self.get_status())
        self.detach().close()

    def _write(self, data: bytes) -> None:
        self._bytes_out += len(data)
        if data:
            self.write(data)

    def _write_head(self, reply: Reply) -> None:
        try:
            reason = HTTPStatus(reply.status).phrase
        except ValueError:
            reason = "Unknown"
        self.set_status(reply.status, reason)
        for name, value in (*reply.headers, *self.call.quota):
            self.add_header(name.decode("latin-1"), value.decode("latin-1"))
        self.set_header("X-Request-Id", self.call.record.request_id)
        for header, text in cors.headers(self.service.settings.server.cors, self.request):
            self.set_header(header, text)
        if self.service.draining:
            self.set_header("Connection", "close")

    # Refusals before, and in the middle of, the body.

    def _screen(self) -> None:
        public = self.request.path in PUBLIC
        if not (public or self.call.client.allowed):
            raise Problem(Kind.ADDRESS_DENIED)
        if self.request.method not in self.endpoint.methods:
            self._gateway.count(self.call)
            raise Problem(Kind.METHOD_NOT_ALLOWED, method=self.request.method)
        if public:
            return
        if self.service.draining:
            raise Problem(Kind.UNAVAILABLE, "draining", retry_after=1)
        self._gateway.screen(self.call)

    def _refuse(self, problem: Problem) -> None:
        reply = self._gateway.refuse(self.call, problem)
        if problem.kind is Kind.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.endpoint.methods))
        self._refused = True
        if not self._body_is_coming():
            self._refusal = reply
            return
        self._write_head(reply)
        self.set_header("Connection", "close")
        if self._waits_for_invitation():
            self._write(reply.body)
            self.finish()
            return
        # Closing now would reset the connection under a client that is still sending, and it would
        # never see why: so the answer goes out, and the rest of the body is dropped for a while.
        self.set_header("Content-Length", str(len(reply.body)))
        self._write(reply.body)
        self.flush()
        self._conclude(reply.status)
        self._linger = asyncio.get_running_loop().call_later(LINGER, self.finish)

    async def _end_refusal(self) -> None:
        """The refused body has come to its end: close, as was announced."""
        with contextlib.suppress(StreamClosedError):
            await self.flush()
            self.finish()
            close_connection(self.request.connection)

    def _body_is_coming(self) -> bool:
        headers = self.request.headers
        return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers

    def _waits_for_invitation(self) -> bool:
        return not self._size and self.request.headers.get("Expect", "").lower() == "100-continue"

    def _stop_lingering(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def _conclude(self, status: int) -> None:
        if not self._concluded:
            self._concluded = True
            if status == CLIENT_LEFT and self.service.cutting:
                self.call.record.error = "cut off: the gateway stopped"
            self.service.finish(self.call, status, self._bytes_out)

    # Tornado's own ideas, replaced.

    def set_default_headers(self) -> None:
        self.set_header("Server", "chatgpt-platform")
        self.clear_header("Content-Type")

    def compute_etag(self) -> None:
        """No answer here is one to be cached."""
        return

    def log_exception(self, *_: object) -> None:
        """``write_error`` says it, in our own log."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tornado failed the request: a method it does not know, or a fault of ours outside the gateway."""
        problem = Problem(Kind.FAULT)
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.endpoint.methods))
            try:
                self._screen()  # Tornado was quicker; address and path still come first
            except Problem as found:
                problem = found
        else:
            self.service.logs.logger.error(
                "%s: a fault of this gateway", self.call.record.request_id, exc_info=kwargs.get("exc_info")
            )
        reply = self._gateway.refuse(self.call, problem)
        self._write_head(reply)
        self._write(reply.body)
        self.finish()


def close_connection(connection: object) -> None:
    """Close what Tornado calls an HTTPConnection: its abstract class has no ``close``, each that serves has."""
    close = getattr(connection, "close", None)
    if close is not None:
        close()
