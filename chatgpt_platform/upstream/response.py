"""The answer to one request, from before its head has come to the last byte of its body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from chatgpt_platform.errors import Problem
from chatgpt_platform.upstream import faults
from chatgpt_platform.upstream.connection import Connection, Offer, Request, Sink

if TYPE_CHECKING:
    from chatgpt_platform.upstream.client import Client

_NO_FIELDS: Final[Mapping[bytes, bytes]] = {}


class Response:
    """The answer to a request, which may not have come yet.

    ``status``: 0 until its head has. ``headers``: names in lower case, in their order. ``fields``: the first of
    each name.
    """

    __slots__ = ("_client", "_connection", "_request", "fields", "headers", "status")

    def __init__(self, client: Client, request: Request, connection: Connection | None) -> None:
        """``connection``: on which the request is, None where it has yet to be sent."""
        self._client: Final = client
        self._request: Request | None = request
        self._connection = connection
        self.status = 0
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.fields = _NO_FIELDS

    @property
    def under_way(self) -> bool:
        """Whether the request is on a connection; otherwise ``head`` sends it."""
        return self._connection is not None

    def tell(self, told: Callable[[], None]) -> bool:
        """Call ``told`` once, when the head has come or only ``head`` knows on.

        False, and nothing is told, where the request is not ``under_way``.
        """
        connection = self._connection
        if connection is None:
            return False
        connection.tell(told)
        return True

    def take_head(self) -> bool:
        """Set ``status`` and the others, if the head has come; whether it has. If not, ``head`` waits."""
        connection = self._connection
        if connection is None:
            return False
        answer = connection.answer
        if not answer.status:
            return False
        self.status, self.headers, self.fields = answer.status, answer.headers, answer.fields
        self._request = None  # it may be large, and a stream long
        return True

    async def sent(self) -> bool:
        """Wait until the request is on a connection; whether that is a new one. Raises Problem, as ``head``
        does."""
        if self._connection is None and self._request is not None:
            self._connection = await self._client.send(self._request)
        return self._connection is not None and not self._connection.idle_since

    async def head(self) -> None:
        """Wait until the head has come, if it has not.

        Raises Problem: no connection, no answer in time, or none that can be used. Cancelling it closes the
        connection at once.
        """
        while not self.status:
            connection = self._connection
            if self._request is None:  # not in a name of its own: a failure would keep it, and it may be large
                raise self._let_go()
            if connection is None:
                self._connection = connection = await self._client.send(self._request)
            try:
                waiter = connection.head()
                if waiter is not None:
                    await waiter
                connection.raise_failure()
            except asyncio.CancelledError:
                connection.abort()  # nobody is left who wants the answer
                raise
            except Problem:
                # A pooled connection may turn out closed just now; a new one has its own reasons.
                if not (connection.untouched and connection.idle_since):
                    raise
                self._connection = None
            else:
                self.take_head()

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; ``name`` in lower case."""
        return self.fields.get(name)

    def read(self) -> Coroutine[Any, Any, bytes]:
        """The next bytes of the body as soon as there are any; b"" at its true end. The head has come.

        Raises Problem, also once it was closed: an end made here is not the end of the message.
        Cancelling it closes the connection at once.
        """
        connection = self._connection
        return connection.read() if self.status and connection is not None else self._refuse()

    async def pump(self, sink: Sink, offer: Offer | None = None) -> None:
        """Give ``sink`` the body, piece by piece as they come, to its true end or until ``stop``.

        ``offer``, which must not raise, is asked first for what comes as a chunk of its own. Raises Problem, after
        all that came before it was given, and what ``sink`` raises. Cancelling it closes the connection at once.
        """
        if self._connection is None or not self.status:
            raise self._let_go()
        await self._connection.pump(sink, offer)

    def stop(self) -> None:
        """End ``pump``, from within its sink: nothing more is wanted."""
        if self._connection is not None:
            self._connection.stop()

    async def _refuse(self) -> bytes:
        raise self._let_go()

    def _let_go(self) -> Problem:
        return faults.let_go(self._client.where)

    def ready(self, limit: int) -> bytes | None:
        """The whole body, where all of it came with the head, as most do; None: read it. ``limit``: bytes."""
        connection = self._connection
        return None if connection is None else connection.take_complete(limit)

    async def read_all(self, limit: int) -> bytes:
        """The whole body. Raises Problem, also when it is longer than ``limit`` bytes."""
        told = self.header(b"content-length")
        if told is not None and int(told) > limit:
            raise faults.too_large(self._client.where, limit)
        body, whole = await self.read_within(limit)
        if not whole:
            raise faults.too_large(self._client.where, limit)
        return body

    async def read_within(self, limit: int) -> tuple[bytes, bool]:
        """The whole body and True; or the beginning of one that is longer than ``limit`` bytes, and False.

        Raises Problem.
        """
        data = await self.read()
        chunks: list[bytes] = []
        size = 0
        while data:
            chunks.append(data)
            size += len(data)
            if size > limit:
                return b"".join(chunks), False
            data = await self.read()
        return b"".join(chunks), True

    def unread(self) -> bytes:
        """What has come of the body and was not read, after reading was cancelled."""
        return b"" if self._connection is None else self._connection.answer.take()

    def close(self, *, linger: bool = False) -> None:
        """Let the connection go: to the pool after a complete answer, else cut at once. May be repeated.

        ``linger``: all that matters has come, so the answer's last bytes are given a moment.
        """
        connection, self._connection, self._request = self._connection, None, None
        if connection is not None:
            connection.release(linger=linger)
