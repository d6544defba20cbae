"""How a connection to an upstream comes about: its name looked up, its addresses tried in turn, a proxy, TLS."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from chatgpt_platform.upstream import authorities, faults
from chatgpt_platform.upstream.connection import Connection, Timeouts
from chatgpt_platform.upstream.target import Target
from chatgpt_platform.wire import liveness

if TYPE_CHECKING:
    from chatgpt_platform.upstream.proxies import Proxy


class Connector:
    """Makes connections to one host."""

    def __init__(
        self, target: Target, timeouts: Timeouts, make: Callable[[], Connection], *,
        tls: ssl.SSLContext | None = None, proxy: str = "", ca_file: str = "",
    ) -> None:  # fmt: skip
        """``make``: a connection yet to be connected. The others: see ``Client``. Raises ValueError."""
        self._target: Final = target
        self._timeouts: Final = timeouts
        self._make: Final = make
        self._tls = tls
        if ca_file:
            self._tls = _speaking_http(authorities.own(ca_file))
        self._proxy: Final = _proxy(proxy) if proxy else None
        way = f" through the proxy {self._proxy.where}" if self._proxy else ""
        self._where: Final = target.where + way
        self._looking: asyncio.Task[list[tuple[str, int]]] | None = None
        """The look-up of a name that is under way: one for all, since each takes one of a few threads."""
        self._waiting = 0
        """Who waits for it."""
        self._closed = False

    def close(self) -> None:
        """End what nobody waits for. Who asks, after a reload too, still gets a connection."""
        self._closed = True
        self._leave_look_up()

    async def connect(self, total: float) -> Connection:
        """A new connection, TLS and all; by ``total`` in the loop's time. Raises Problem."""
        # A task of its own, since timeouts ask for one, and what drives a call need not be one.
        connecting = asyncio.create_task(self._connect(total), name="connect to the upstream")
        try:
            return await connecting
        except asyncio.CancelledError:
            connecting.cancel()
            connecting.add_done_callback(_let_go)
            raise

    async def _connect(self, total: float) -> Connection:
        deadline = min(asyncio.get_running_loop().time() + self._timeouts.connect, total)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._connect_in_turn(await self._addresses(), deadline)
        except TimeoutError as error:
            if deadline == total:
                raise faults.too_slow(self._where, "total") from None
            raise faults.unreachable(self._where, error) from None
        except faults.FOREIGN as error:
            raise faults.unreachable(self._where, error) from None

    async def _addresses(self) -> list[tuple[str, int]]:
        """Where the host, or the proxy, may be reached: (address, family), in the resolver's order."""
        if self._proxy is None:
            if self._target.literal:
                return [(self._target.host, socket.AF_UNSPEC)]
            return await self._look_up(self._target.host, self._target.port)
        try:
            return await self._look_up(self._proxy.host, self._proxy.port)
        except socket.gaierror as error:
            raise faults.ProxyUnreachable(0, f"the proxy's name is not known: {error.strerror}") from None

    async def _look_up(self, host: str, port: int) -> list[tuple[str, int]]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(_look_up(host, port), name=f"look up {host}")
            self._looking.add_done_callback(_look_at)
        self._waiting += 1
        try:
            return await asyncio.shield(self._looking)
        finally:
            self._waiting -= 1
            if self._closed:
                self._leave_look_up()

    def _leave_look_up(self) -> None:
        if self._looking is not None and not self._waiting:
            self._looking.cancel()

    async def _connect_in_turn(self, addresses: list[tuple[str, int]], deadline: float) -> Connection:
        """The first address that answers. One that does not may use half of the time that is left."""
        loop = asyncio.get_running_loop()
        for address, family in addresses[:-1]:
            try:
                async with asyncio.timeout_at((loop.time() + deadline) / 2):
                    return await self._connect_to(address, family)
            except ssl.SSLError:
                raise  # the others are the same host
            except OSError as error:
                if faults.exhausted(error) and error.errno != errno.EADDRNOTAVAIL:
                    raise
        return await self._connect_to(*addresses[-1])

    async def _connect_to(self, address: str, family: int) -> Connection:
        try:
            if self._proxy is None:
                return await self._create(host=address, port=self._target.port, family=family)
            through = await self._proxy.connect(address, self._target.host, self._target.port)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL and ":" in address:
                # Not that its ports are used up, most likely.
                raise OSError(errno.ENETUNREACH, "this machine has no IPv6 address for it") from None
            raise
        return await self._create(sock=through)

    async def _create(self, **to: Any) -> Connection:
        """``to``: an address, or a socket that leads there."""
        secure = self._target.secure
        made: tuple[asyncio.Transport, Connection] = await asyncio.get_running_loop().create_connection(
            self._make,
            **to,
            ssl=self._context() if secure else None,
            server_hostname=self._target.host if secure else None,
            # Ours ends it; the loop's own limit must lie behind.
            ssl_handshake_timeout=self._timeouts.connect + 60 if secure else None,
        )
        transport, connection = made
        options = transport.get_extra_info("socket")
        liveness.watch(options)
        liveness.give_up_after(options, liveness.GIVE_UP)
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is not None:
            return self._tls
        made = _speaking_http(authorities.context())
        if authorities.has_authorities(made):  # not where no file could be opened just now
            self._tls = made
        return made


def _speaking_http(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_alpn_protocols(["http/1.1"])
    return context


def _proxy(url: str) -> Proxy:
    from chatgpt_platform.upstream.proxies import Proxy  # noqa: PLC0415 - a library that few need

    return Proxy(url)


async def _look_up(host: str, port: int) -> list[tuple[str, int]]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        socket.socket().close()  # raises OSError where it was for want of a descriptor that nothing was found
        raise
    return [(str(address[0]), family) for family, _, _, _, address in found]


def _look_at(looking: asyncio.Task[list[tuple[str, int]]]) -> None:
    """Those who waited for it may all have gone, and then nobody asks for its exception."""
    if not looking.cancelled():
        looking.exception()


def _let_go(connecting: asyncio.Task[Connection]) -> None:
    """Close a connection that came about when nobody waited for it any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().abort()
