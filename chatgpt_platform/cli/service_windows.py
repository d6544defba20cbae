"""``serve --service``: the gateway under the Service Control Manager of Windows, by way of pywin32.

The manager starts us on a thread of its own and tells us to stop on another; our event loop runs on the first.
Nobody sees standard error there, so its lines go to the event log as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from chatgpt_platform.cli import unpacked
from chatgpt_platform.cli.life import Manager, pass_on
from chatgpt_platform.errors import ConfigurationError

NAME: Final = "chatgpt-platform"
"""The service's name, and its source in the event log."""
_STARTING: Final = 30.0
"""Seconds that the manager shall give the start: a slow disk, a virus scanner."""
_SLACK: Final = 5.0
"""Seconds on top of the drain for what comes after it."""
_NOT_IMPLEMENTED: Final = 120  # ERROR_CALL_NOT_IMPLEMENTED
_NO_MANAGER: Final = 1063  # ERROR_FAILED_SERVICE_CONTROLLER_CONNECT
_EVENT: Final = 1


def host(serve: Callable[[Manager], int], config: str | None) -> int:
    """Let the manager run ``serve``; its exit code once the service has stopped.

    ``config``: its folder becomes the working directory, from which relative paths start: the manager starts all
    services in that of the system.
    """
    import pywintypes  # noqa: PLC0415 - on Windows only; before the others, whose library it loads
    import servicemanager  # noqa: PLC0415
    import win32service  # noqa: PLC0415

    service = _Service(serve, config, servicemanager, win32service)
    servicemanager.Initialize(NAME, None)
    servicemanager.PrepareToHostSingle(service.begin)
    try:
        servicemanager.StartServiceCtrlDispatcher()  # type: ignore[no-untyped-call]
    except pywintypes.error as error:
        if error.winerror != _NO_MANAGER:
            raise
        print(
            "serve: --service is for the Windows service manager alone: start it with `sc.exe start "
            f"{NAME}`, or leave --service out",
            file=sys.stderr,
        )
        return 2
    return service.code


class ServiceFailedError(Exception):
    """The service ended by itself: raised to pywin32, which then reports an error to the manager."""


class _Service(Manager):
    """What pywin32 wants of a service: ``begin`` gives it, ``SvcRun`` is its life."""

    def __init__(
        self, serve: Callable[[Manager], int], config: str | None, servicemanager: ModuleType, scm: ModuleType
    ) -> None:
        """``servicemanager``, ``scm``: pywin32's modules of the name and ``win32service``."""
        self.code = 1
        self._serve: Final = serve
        self._config: Final = config
        self._host: Final = servicemanager
        self._scm: Final = scm
        self._handle: Any = None
        self._stop: Callable[[], None] | None = None
        self._reload: Callable[[], None] | None = None
        self._reporting: Final = threading.Lock()
        self._state: int = scm.SERVICE_START_PENDING
        self._checkpoint = 0
        self._wait = _STARTING

    def begin(self, arguments: tuple[str, ...]) -> _Service:
        """``arguments``: the service's name first."""
        self._handle = self._host.RegisterServiceCtrlHandler(arguments[0], self._control, True)
        return self

    def SvcRun(self) -> None:  # noqa: N802 - pywin32 calls it so
        """Raises ``ServiceFailedError`` where the exit code is not 0, so that the recovery actions are taken."""
        self._report(self._scm.SERVICE_START_PENDING, _STARTING)
        with contextlib.redirect_stderr(_EventLog(self._host, sys.stderr)):
            if self._config is not None:
                with contextlib.suppress(OSError):  # the file itself is not there either, and that is told
                    os.chdir(Path(self._config).absolute().parent)
            try:
                self.code = self._serve(self)
            except ConfigurationError as error:
                print(*error.lines, sep="\n", file=sys.stderr)
                self.code = 2
        if self.code:
            raise ServiceFailedError(
                f"{NAME} ended with exit code {self.code}; the reason stands above or in app.log"
            )

    # What the gateway tells.

    def on_stop(self, loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
        self._stop = lambda: pass_on(loop, stop)
        copy = unpacked.current()
        if copy is not None:
            copy.on_orphaned(loop, stop)

    def on_reload(self, loop: asyncio.AbstractEventLoop, reload: Callable[[], None]) -> None:
        self._reload = lambda: pass_on(loop, reload)

    def ready(self) -> None:
        self._report(self._scm.SERVICE_RUNNING, 0)

    def stopping(self, drain: float) -> None:
        self._report(self._scm.SERVICE_STOP_PENDING, drain + _SLACK)

    # What the manager tells, on a thread of its own.

    def _control(self, control: int, event: int, data: object) -> int:
        """Must return soon. Returns a Windows error code, 0 for none."""
        scm = self._scm
        if control in (scm.SERVICE_CONTROL_STOP, scm.SERVICE_CONTROL_PRESHUTDOWN, scm.SERVICE_CONTROL_SHUTDOWN):
            self._report(scm.SERVICE_STOP_PENDING, _SLACK)
            if self._stop is not None:
                self._stop()
        elif control == scm.SERVICE_CONTROL_PARAMCHANGE and self._reload is not None:
            self._reload()
        elif control == scm.SERVICE_CONTROL_INTERROGATE:
            self._report(self._state, self._wait)
        else:
            return _NOT_IMPLEMENTED
        return 0

    def _report(self, state: int, wait: float) -> None:
        """``wait``: seconds after which, with no further word, the manager may take us for hung."""
        scm = self._scm
        with self._reporting:
            self._state, self._wait = state, wait
            running = state == scm.SERVICE_RUNNING
            self._checkpoint = 0 if running else self._checkpoint + 1
            taken = scm.SERVICE_ACCEPT_STOP | scm.SERVICE_ACCEPT_PRESHUTDOWN | scm.SERVICE_ACCEPT_SHUTDOWN
            scm.SetServiceStatus(
                self._handle,
                (
                    scm.SERVICE_WIN32_OWN_PROCESS,
                    state,
                    taken | scm.SERVICE_ACCEPT_PARAMCHANGE if running else 0,
                    0,
                    0,
                    self._checkpoint,
                    round(wait * 1000),
                ),
            )


class _EventLog(io.TextIOBase):
    """Standard error whose lines stand in the event log too."""

    def __init__(self, servicemanager: ModuleType, other: Any) -> None:
        self._host: Final = servicemanager
        self._other: Final = other
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(None, lines):
            self._host.LogMsg(self._host.EVENTLOG_ERROR_TYPE, _EVENT, (line, ""))
        with contextlib.suppress(Exception):  # there may be no console, or a broken one
            self._other.write(text)
        return len(text)
