"""Windows' kind of event loop on this platform: asyncio's own proactor transports over a stand-in for the
completion port. As there, no descriptor can be watched and no signal be given a handler of the loop's."""

from __future__ import annotations

import asyncio
import selectors
import socket
from asyncio import proactor_events
from collections.abc import Callable
from typing import Any


class Operation(asyncio.Future[Any]):
    """What was asked of the completion port; cancelled, it lets the socket go at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, forget: Callable[[], None]) -> None:
        super().__init__(loop=loop)
        self._forget = forget

    def cancel(self, msg: Any = None) -> bool:
        if not self.done():
            self._forget()
        return super().cancel(msg)


class CompletionPort:
    """Does what is asked for as soon as the socket lets it, and completes a future with it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._loop: asyncio.AbstractEventLoop

    def set_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def recv(self, connection: socket.socket, size: int, flags: int = 0) -> asyncio.Future[bytes]:
        return self._do(connection, selectors.EVENT_READ, lambda: connection.recv(size, flags))

    def recv_into(self, connection: socket.socket, buffer: bytearray, flags: int = 0) -> asyncio.Future[int]:
        return self._do(connection, selectors.EVENT_READ, lambda: connection.recv_into(buffer, 0, flags))

    def send(self, connection: socket.socket, data: bytes, flags: int = 0) -> asyncio.Future[int]:
        """Done when all has been taken, as an overlapped send is."""
        rest = memoryview(data)

        def attempt() -> int:
            nonlocal rest
            while rest:
                rest = rest[connection.send(rest, flags) :]
            return len(data)

        return self._do(connection, selectors.EVENT_WRITE, attempt)

    def connect(self, connection: socket.socket, address: Any) -> asyncio.Future[None]:
        begun = False

        def attempt() -> None:
            nonlocal begun
            if not begun:
                begun = True
                connection.connect(address)
            elif code := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, "the connection was not established")

        return self._do(connection, selectors.EVENT_WRITE, attempt)

    def accept(self, listening: socket.socket) -> asyncio.Future[Any]:
        def attempt() -> tuple[socket.socket, Any]:
            connection, address = listening.accept()
            connection.setblocking(False)
            return connection, address

        return self._do(listening, selectors.EVENT_READ, attempt)

    def _stop_serving(self, listening: socket.socket) -> None:
        listening.close()

    def select(self, timeout: float | None) -> list[object]:
        for key, events in self._selector.select(timeout):
            for event, (operation, attempt) in list(key.data.items()):
                if event & events:
                    self._forget(key.fd, event)
                    self._attempt(key.fd, event, operation, attempt)
        return []

    def close(self) -> None:
        self._selector.close()

    def _do(self, connection: socket.socket, event: int, attempt: Callable[[], Any]) -> asyncio.Future[Any]:
        descriptor = connection.fileno()
        operation = Operation(self._loop, lambda: self._forget(descriptor, event))
        self._attempt(descriptor, event, operation, attempt)
        return operation

    def _attempt(
        self, descriptor: int, event: int, operation: asyncio.Future[Any], attempt: Callable[[], Any]
    ) -> None:
        try:
            operation.set_result(attempt())
        except BlockingIOError:
            known = self._selector.get_map().get(descriptor)
            waiting = {**(known.data if known else {}), event: (operation, attempt)}
            (self._selector.modify if known else self._selector.register)(descriptor, sum(waiting), waiting)
        except OSError as error:
            operation.set_exception(error)

    def _forget(self, descriptor: int, event: int) -> None:
        known = self._selector.get_map().get(descriptor)
        if known is None or event not in known.data:
            return
        rest = {other: what for other, what in known.data.items() if other != event}
        if rest:
            self._selector.modify(descriptor, sum(rest), rest)
        else:
            self._selector.unregister(descriptor)


class ProactorLoop(proactor_events.BaseProactorEventLoop):
    """What ``asyncio.new_event_loop`` gives on Windows."""

    def __init__(self) -> None:
        super().__init__(CompletionPort())

    def run_forever(self) -> None:
        self.call_soon(self._loop_self_reading)  # type: ignore[attr-defined]
        try:
            super().run_forever()
        finally:
            reading = vars(self).pop("_self_reading_future")
            vars(self)["_self_reading_future"] = None
            if reading is not None:
                reading.cancel()
