"""One request from its head to its access line, whichever server brings it."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import heads
from chatgpt_platform.gateway.call import Call, PassChunk, Reply, Stream
from chatgpt_platform.web.course import Course
from chatgpt_platform.web.pulse import Pulse
from chatgpt_platform.web.reception import Reception, unreadable
from chatgpt_platform.wire.head import BadRequest

HEARTBEAT: Final = b": still here\n\n"
"""A comment of server-sent events: readers drop it."""

CLIENT_LEFT: Final = 499
"""The access log's status of a call whose caller left before its answer was out (nginx's convention)."""


class Outlet(Protocol):
    """The way to the client: ``wire.exchange.Exchange`` has it, and Tornado's handlers are given it."""

    @property
    def cut_off(self) -> bool: ...

    @property
    def sent(self) -> int: ...

    def answer(self, status: int, head: bytes, body: bytes) -> None: ...

    def start(self, status: int, head: bytes, length: int | None = None) -> None: ...

    def write(self, data: bytes) -> asyncio.Future[None] | None: ...

    @property
    def pass_chunk(self) -> PassChunk | None: ...

    def finish(self) -> None: ...

    def abort(self) -> None: ...


class Transaction:
    """Receives a request's body, answers it, and tells the access log how it ended: once, whatever happens."""

    __slots__ = ("_asked", "_begun", "_bytes_out", "_concluded", "_course", "_end", "_out", "_pulse", "_reception",
                 "_refused", "_rest", "_revoked", "_size", "call")  # fmt: skip

    def __init__(self, reception: Reception, out: Outlet, call: Call) -> None:
        self.call: Final = call
        self._reception: Final = reception
        self._out: Final = out
        self._rest: list[bytes] = []
        """The pieces of its body behind the first."""
        self._size = 0
        self._bytes_out = 0
        self._refused = False
        self._concluded = False
        self._begun = False
        """The answer is under way."""
        self._asked = False
        """The upstream was asked, and nobody waits for it but ``_on_head``."""
        self._course: Course | None = None
        """What goes on with an answer that has to be waited for."""
        self._end: asyncio.Future[None] | None = None
        self._pulse: Pulse | None = None
        self._revoked = False
        """It is being ended, although its client is still there."""

    def begin(self) -> None:
        """The head has come: refuse the call, or let its body come."""
        try:
            self._reception.screen(self.call)
        except Problem as problem:
            self._refuse(problem)

    def received(self, data: bytes) -> None:
        """A piece of the body."""
        if self._refused:
            return
        self._size += len(data)
        gateway = self._reception.gateway
        if self._size > gateway.max_body:
            self._refuse(gateway.counted(self.call, heads.too_large(gateway.max_body)))
        elif not self.call.body:
            self.call.body = data  # as a rule the only piece
        else:
            self._rest.append(data)

    def complete(self) -> None:
        """The request is whole: answer it."""
        if self._refused:
            return
        if self._rest:
            self.call.body = b"".join((self.call.body, *self._rest))
            self._rest = []
        self._reception.service.whole_requests.add(self._start)

    async def concluded(self) -> None:
        """Until the answer is out, or nobody is left to be answered."""
        if not self._concluded:
            self._end = self._reception.service.loop.create_future()
            await self._end

    def failed(self, bad: BadRequest) -> None:
        """The rest of the request cannot be read."""
        if not self._refused:
            self._refuse(self._reception.gateway.counted(self.call, unreadable(bad.status)))

    def left(self) -> None:
        """The client has left before its answer was out."""
        if self._course is not None:
            self._course.cancel()
        elif self._asked:
            self._let_go()
        elif not self._begun:
            if not self._refused:
                self._reception.gateway.abandon(self.call)
            self._conclude(CLIENT_LEFT)

    def revoke(self) -> None:
        """End it, whatever has become of it so far: its key does not count any more."""
        if self._concluded:
            return
        self._revoked = True
        self.call.record.outcome = "cut"
        if self._course is not None:
            self._course.cancel()
        else:
            self._let_go()

    def fail(self, problem: Problem) -> None:
        """Answer with a failure that the server met."""
        if not self._refused and not self._begun:
            self._refuse(problem)

    def _start(self) -> None:
        """Answer, unless the client has left."""
        if self._concluded:
            return
        self._begun = True
        try:
            reply = self._reception.answer(self.call)
            if reply is not None:
                self._send(reply)
                return
            if self.call.credential is not None:
                self.call.credential.lasting[self.call] = self
            if self.call.record.stream:
                self._feel_pulse()
            response = self.call.response
            if response is not None and response.tell(self._on_head):
                self._asked = True
            else:
                self._wait()
        except Exception as error:  # noqa: BLE001 - it ends the call
            self._fault(error)

    def _on_head(self) -> None:
        self._reception.service.begun_answers.add(self._go_on)

    def _go_on(self) -> None:
        """The head of the upstream's answer has come, or will not."""
        self._asked = False
        if self._concluded:
            return
        try:
            reply = self._reception.gateway.reply_at_once(self.call)
            if reply is not None:
                self._send(reply)
            else:
                self._wait()
        except Exception as error:  # noqa: BLE001 - it ends the call
            self._fault(error)

    def _wait(self) -> None:
        """Answer as it comes."""
        self._course = Course()
        self._course.run(self._answer())

    async def _answer(self) -> None:
        try:
            reply = await self._reception.reply(self.call)
            if reply.stream is None or (self.call.committed and not reply.stream.events):
                self._send(reply)
            else:
                await self._stream(reply, reply.stream)
        except asyncio.CancelledError:
            self._let_go()
        except Exception as error:  # noqa: BLE001 - it ends the call
            self._fault(error)

    async def _stream(self, reply: Reply, stream: Stream) -> None:
        self.call.stream = stream
        try:
            if not self.call.committed:
                self.call.committed = True
                self._out.start(reply.status, self._reception.head(self.call, reply), reply.length)
            await stream.pump(self._out.write, self._out.pass_chunk)
        finally:
            stream.close()  # before the end is logged: it adds to the record
            self._bytes_out = self._out.sent
        if stream.broken:
            self._out.abort()
        else:
            self._reception.gateway.streamed(self.call)
            self._out.finish()
        self._conclude(reply.status)

    def _feel_pulse(self) -> None:
        """Keep a caller that has asked for a stream from thinking that nobody is there."""
        every = self._reception.gateway.heartbeat
        if every and self.call.endpoint.token_members:
            self._pulse = Pulse(self._reception.service.loop, every, lambda: self._out.sent, self._beat)

    def _beat(self) -> None:
        """Send a comment, between events; before the first one the head goes with it, and is the call's status."""
        if self.call.stream is not None and not self.call.stream.between_events:
            return
        if not self.call.committed:
            self.call.committed = True
            reply = self._reception.gateway.begun_stream()
            self._out.start(reply.status, self._reception.head(self.call, reply))
        self._out.write(HEARTBEAT)

    def _send_late(self, reply: Reply) -> None:
        """A whole answer, or a failure, for a caller that has had a stream's head: as its last event."""
        last, broken = self._reception.gateway.last_event(self.call, reply)
        self._out.write(last)
        self._bytes_out = self._out.sent
        if broken:
            self._out.abort()
        else:
            self._out.finish()
        self._conclude(200)

    def _let_go(self) -> None:
        """The client has left while its answer was under way, or its key was revoked."""
        if not self._revoked:
            self._break_off(CLIENT_LEFT)  # as a rule nobody is left to see it
            return
        if self.call.stream is not None and not self.call.stream.events:
            self._break_off(200)  # into a body of another kind no error can be written
            return
        self._reception.gateway.broken_off(self.call)
        if self.call.response is not None:
            self.call.response.close()
        if self.call.stream is not None and not self.call.stream.between_events:
            self._out.write(b"\n\n")
        self._send(self._reception.refuse(self.call, Problem(Kind.KEY_REFUSED, "key_revoked")))

    def _fault(self, error: Exception) -> None:
        """A fault of ours: an end in good order would make half an answer look whole."""
        self._reception.service.logs.logger.error(
            "%s: a fault of this gateway", self.call.record.request_id, exc_info=error
        )
        self.call.record.outcome = "cut"
        self._break_off(500)

    def _break_off(self, status: int) -> None:
        self._reception.gateway.broken_off(self.call)
        if self.call.response is not None:
            self.call.response.close()
        self._out.abort()
        self._conclude(status)

    def _refuse(self, problem: Problem) -> None:
        self._refused = True
        self.call.body, self._rest = b"", []
        self._send(self._reception.refuse(self.call, problem))

    def _send(self, reply: Reply) -> None:
        if self.call.committed:
            self._send_late(reply)
            return
        self._bytes_out = len(reply.body)
        self._out.answer(reply.status, self._reception.head(self.call, reply), reply.body)
        self._conclude(reply.status)

    def _conclude(self, status: int) -> None:
        if not self._concluded:
            self._concluded = True
            if self._pulse is not None:
                self._pulse.stop()
            service = self._reception.service
            if status == CLIENT_LEFT and service.cutting:
                self.call.record.error = "cut off: the gateway stopped"
                self.call.record.outcome = "cut"
            elif status == CLIENT_LEFT and self._out.cut_off:
                self.call.record.error = "cut off: nothing of the answer was taken for too long"
            if self.call.credential is not None:
                self.call.credential.lasting.pop(self.call, None)
            service.finish(self.call, status, self._bytes_out)
            # What may be large is not kept until the garbage collector looks: these two make circles, and so does
            # an exception that ended the call.
            self._pulse = self.call.stream = None
            self.call.body = b""
            if self._end is not None and not self._end.done():
                self._end.set_result(None)
