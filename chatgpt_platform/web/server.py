"""The listening side: the wire before the gateway, drained and closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Final

from chatgpt_platform.settings.schema import ServerTimeouts
from chatgpt_platform.settings.tls import Certificate
from chatgpt_platform.web.app import application
from chatgpt_platform.web.reception import Reception
from chatgpt_platform.web.service import Service
from chatgpt_platform.web.shortcut import Shortcut
from chatgpt_platform.wire import server as wire
from chatgpt_platform.wire.connection import Timeouts


class Server:
    """Serves a ``Service``. Use: ``listen``, then ``drain``, then ``close``."""

    def __init__(
        self, service: Service, *, tls: Certificate | None = None, direct: bool = True,
        reception: Callable[[Service], Reception] = Reception,
    ) -> None:  # fmt: skip
        """``direct``: whether hot endpoints go past Tornado's handlers. ``reception``: what is served."""
        self._service: Final = service
        self._tls: Final = tls
        self._direct: Final = direct
        self._reception: Final = reception
        self._wire: Final = wire.Server(self._shortcut(), service.logs.logger)
        service.fronts.append(lambda: self._wire.connections)
        self.rebuild()

    def listen(self, host: str, port: int) -> int:
        """Start to accept and return the port, which the system picks for 0. Raises OSError."""
        return self._wire.listen(host, port)

    def rebuild(self) -> None:
        """Put the service's present settings in force, for the requests that come."""
        self._wire.application = self._shortcut()
        self._wire.timeouts = _timeouts(self._service.settings.server.timeouts)
        self._wire.tls = self._tls.context if self._tls else None

    async def drain(self, timeout: float) -> int:
        """Refuse new calls, close idle connections, wait for what is under way.

        Returns how many calls were still under way when ``timeout`` (seconds) had passed.
        """
        self._service.draining = True
        return await self._wire.drain(timeout)

    async def close(self) -> None:
        """Stop to accept and cut what is still open."""
        self._service.cutting = True
        await self._wire.close()

    def _shortcut(self) -> Shortcut:
        reception = self._reception(self._service)
        return Shortcut(reception, application(reception), direct=self._direct)


def _timeouts(settings: ServerTimeouts) -> Timeouts:
    return Timeouts(**{each.name: getattr(settings, each.name) for each in fields(Timeouts)})
