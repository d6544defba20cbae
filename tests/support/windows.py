"""The program as on Windows, as far as another platform can show it: ``python tests/support/windows.py COMMAND``.

What POSIX alone has is taken away before our first import, so that a call on the way fails; ``sys.platform`` says
win32, the event loop is of Windows' kind. The standard library and Tornado are imported before that, and stay
what they are. With ``serve --service`` stand-ins for pywin32 play the service manager: controls come as lines of
standard input, and each status that is reported is a line of standard output, ``scm {...}``.
"""

from __future__ import annotations

import asyncio
import asyncio.runners
import asyncio.sslproto
import concurrent.futures
import concurrent.futures.thread
import encodings.idna
import importlib
import json
import logging
import multiprocessing
import os
import platform
import signal
import socket
import ssl
import subprocess
import sys
import threading
import types
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

BEFORE: Final = (asyncio, concurrent, encodings, logging, multiprocessing, platform, subprocess)
"""Imported here: their modules choose by platform too."""
FOREIGN: Final = (
    "httptools",
    "msgspec",
    "openai",
    "tornado.httpserver",
    "tornado.web",
    "urllib.request",
    "yaml",
)

MODULES: Final = (
    "fcntl",
    "grp",
    "posix",
    "pty",
    "pwd",
    "readline",
    "resource",
    "syslog",
    "termios",
    "tty",
    "uvloop",
)
SIGNALS: Final = frozenset({"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"})
"""Those that Windows has, but for SIGBREAK."""
SIGBREAK: Final = 21
SOCKET: Final = ("AF_UNIX", "MSG_DONTWAIT", "MSG_NOSIGNAL", "SO_REUSEPORT", "sethostname", "CMSG_LEN")
OS: Final = """
    DirEntry F_OK O_APPEND O_CREAT O_EXCL O_RDONLY O_RDWR O_TRUNC O_WRONLY P_NOWAIT P_NOWAITO P_WAIT R_OK
    SEEK_CUR SEEK_END SEEK_SET TMP_MAX W_OK X_OK abort access chdir chmod close closerange cpu_count
    device_encoding dup dup2 environ error execv execve fspath fstat fsync ftruncate get_inheritable
    get_terminal_size getcwd getcwdb getlogin getpid getppid isatty kill link listdir lseek lstat mkdir open
    pipe putenv read readlink remove rename replace rmdir scandir set_inheritable spawnv spawnve stat
    stat_result statvfs_result strerror symlink system terminal_size times times_result truncate umask
    uname_result unlink unsetenv urandom utime waitpid waitstatus_to_exitcode write
"""
"""What Windows has of what the module ``posix`` gives to ``os``."""


def take_posix_away() -> None:
    """From here on this is Windows, for what is imported later and for every call."""
    from support.proactor import ProactorLoop

    for name in FOREIGN:
        importlib.import_module(name)
    kept = OS.split()
    for name in vars(importlib.import_module("posix")):
        if not name.startswith("_") and name not in kept and hasattr(os, name):
            delattr(os, name)
    for name in [each for each in vars(signal) if each.startswith("SIG") and each.isupper()]:
        if name not in SIGNALS and not name.startswith("SIG_"):
            delattr(signal, name)
    for name in ("alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "siginterrupt", "sigwait"):
        delattr(signal, name)
    vars(socket)["socketpair"] = partial(
        socket.socketpair, vars(socket)["AF_UNIX"]
    )  # there it pairs over the loopback
    for name in SOCKET:
        if hasattr(socket, name):
            delattr(socket, name)
    vars(signal)["SIGBREAK"] = SIGBREAK
    vars(ssl)["enum_certificates"] = lambda store: []  # the system's certificates
    vars(socket)["SO_EXCLUSIVEADDRUSE"] = socket.SO_REUSEADDR
    for module in MODULES:
        sys.modules[module] = None  # type: ignore[assignment] # an import fails
    vars(asyncio)["ProactorEventLoop"] = vars(asyncio)["new_event_loop"] = ProactorLoop
    sys.platform = "win32"


class ServiceManager:
    """The modules of pywin32, after their C++ source, and who starts and stops services behind them."""

    def __init__(self) -> None:
        names = (
            "SERVICE_WIN32_OWN_PROCESS", "SERVICE_START_PENDING", "SERVICE_RUNNING", "SERVICE_STOP_PENDING",
            "SERVICE_STOPPED", "SERVICE_ACCEPT_STOP", "SERVICE_ACCEPT_SHUTDOWN", "SERVICE_ACCEPT_PRESHUTDOWN",
            "SERVICE_ACCEPT_PARAMCHANGE", "SERVICE_CONTROL_STOP", "SERVICE_CONTROL_SHUTDOWN",
            "SERVICE_CONTROL_PRESHUTDOWN", "SERVICE_CONTROL_PARAMCHANGE", "SERVICE_CONTROL_INTERROGATE",
        )  # fmt: skip
        values = (16, 2, 4, 3, 1, 1, 4, 256, 8, 1, 5, 15, 6, 4)
        self.scm: Any = types.SimpleNamespace(
            **dict(zip(names, values, strict=True)), SetServiceStatus=self._set_status
        )
        self.host: Any = types.SimpleNamespace(
            EVENTLOG_ERROR_TYPE=1, Initialize=lambda *_: None, LogMsg=self._log,
            PrepareToHostSingle=self._prepare, RegisterServiceCtrlHandler=self._register,
            StartServiceCtrlDispatcher=self._dispatch,
        )  # fmt: skip
        self._begin: Any = None
        self._control: Any = None

    def install(self) -> None:
        types_of_all: Any = types.SimpleNamespace(error=ServiceError)
        sys.modules.update(pywintypes=types_of_all, servicemanager=self.host, win32service=self.scm)

    def say(self, **what: object) -> None:
        print("scm " + json.dumps(what), flush=True)  # noqa: T201 - the test reads it

    def _set_status(self, handle: int, status: tuple[int, ...]) -> None:
        assert handle == 7
        assert len(status) == 7
        state = {1: "stopped", 2: "start pending", 3: "stop pending", 4: "running"}[status[1]]
        self.say(state=state, accepts=status[2], error=status[3], checkpoint=status[5], wait=status[6])

    def _log(self, kind: int, event: int, inserts: tuple[str, str]) -> None:
        self.say(log=inserts[0], kind=kind)

    def _prepare(self, begin: Any) -> None:
        self._begin = begin

    def _register(self, name: str, control: Any, extra: bool) -> int:
        assert name == "chatgpt-platform"
        assert extra
        self._control = control
        return 7

    def _dispatch(self) -> None:
        if os.environ.get("NO_MANAGER"):
            raise ServiceError(1063)
        service = threading.Thread(target=self._main, name="service main")
        service.start()
        threading.Thread(target=self._obey, daemon=True).start()
        service.join()

    def _main(self) -> None:
        """``service_main`` of pywin32."""
        instance = self._begin(("chatgpt-platform",))
        self._set_status(7, (16, 2, 0, 0, 0, 0, 5000))
        try:
            instance.SvcRun()
        except Exception as error:  # noqa: BLE001 - as there
            self.say(log=f"{type(error).__name__}: {error}", kind=1)
            self._set_status(7, (16, 1, 0, 1066, 0x20000001, 0, 0))
        else:
            self._set_status(7, (16, 1, 0, 0, 0, 0, 0))

    def _obey(self) -> None:
        for line in sys.stdin:
            control = getattr(self.scm, "SERVICE_CONTROL_" + line.strip(), 99)
            self.say(control=line.strip(), answer=self._control(control, 0, None))


class ServiceError(Exception):
    """``pywintypes.error``."""

    def __init__(self, winerror: int) -> None:
        super().__init__(winerror, "StartServiceCtrlDispatcher", "as Windows says it")
        self.winerror = winerror


if __name__ == "__main__":
    take_posix_away()
    ServiceManager().install()
    from chatgpt_platform.cli.main import main

    sys.exit(main())
