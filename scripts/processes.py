"""Child processes of the scripts: a clean environment, awaited until ready, never left behind.

`Process` is a context manager: whatever ends its block also ends the child. `stop_on_signals` makes SIGTERM
and a closed terminal leave the block like Ctrl-C does.
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType

import environment

LOOPBACK = "127.0.0.1"

# What a child cannot do without: how to find programs and libraries, where Windows keeps its sockets' code,
# and where temporary files go. Nothing else of the user's environment reaches it, so none of the gateway's
# settings does.
_NEEDED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP")

if sys.platform == "win32":
    _NEW_GROUP = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    import resource

    _NEW_GROUP = 0


class ProcessError(Exception):
    """A child process did not start or ended too early; the text is one line for the user."""


def clean_environment(**settings: str) -> dict[str, str]:
    """An environment for `python -m chatgpt_platform`: the bare necessities and `settings`."""
    needed = {name: os.environ[name] for name in _NEEDED if name in os.environ}
    return needed | {"PYTHONPATH": str(environment.ROOT), "PYTHONUTF8": "1"} | settings


def gateway_command(*arguments: str) -> list[str]:
    """The command line that runs the gateway's `serve` from this checkout."""
    return [sys.executable, "-m", "chatgpt_platform", "serve", *arguments]


def free_port() -> int:
    """A TCP port of loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def allow_many_files(wanted: int = 16_384) -> None:
    """Raises the number of files and connections that this process and its children may have open.

    As far as the system lets an ordinary user: many start with 1,024 though more are granted.
    """
    if sys.platform != "win32":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of loopback."""
    with socket.socket() as probe:
        if os.name == "posix":
            # As servers do: a port whose last connections have only just closed is free. On Windows the same
            # option would take the port away from its owner.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def stop_on_signals() -> None:
    """Turns SIGINT, SIGTERM and SIGHUP into KeyboardInterrupt, so that `with` and `finally` do their work."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell starts background jobs with it ignored. Windows has no SIGHUP.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)


@contextlib.contextmanager
def _interrupts_deferred() -> Iterator[list[int]]:
    """Collects the signals that would interrupt the block: a child half started could not be stopped."""
    caught: list[int] = []
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    for name in names:
        signal.signal(getattr(signal, name), lambda signum, frame: caught.append(signum))
    try:
        yield caught
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


class Process:
    """A child process in `folder`, its output in `log`; leaving the `with` block stops it."""

    def __init__(self, command: Sequence[str], folder: Path, log: Path, env: Mapping[str, str]) -> None:
        self._command = command
        self._folder = folder
        self._log = log
        self._env = env

    def __enter__(self) -> "Process":
        with self._log.open("ab") as output, _interrupts_deferred() as interrupts:
            self._child = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=dict(self._env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C is for the script, which then stops its children in good order.
                start_new_session=os.name == "posix",
                creationflags=_NEW_GROUP,
            )
        if interrupts:
            self.stop()
            raise KeyboardInterrupt
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """What the child ended with; None while it runs, negative where a signal ended it."""
        return self._child.poll()

    def is_running(self) -> bool:
        """Whether the child is still there."""
        return self._child.poll() is None

    def wait(self, seconds: float) -> None:
        """Returns when the child has ended by itself. Raises ProcessError when that takes too long."""
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self._command[0]} has not ended in {seconds:.0f} s") from None

    def wait_until_ready(self, port: int, path: str, seconds: float = 30.0) -> None:
        """Returns when `GET path` on the port answers 200. Raises ProcessError when that takes too long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.is_running():
                raise ProcessError(f"{self._command[0]} ended at once: {self._last_line()}")
            if _status(port, path) == http.client.OK:
                return
            time.sleep(0.05)
        raise ProcessError(f"no 200 from http://{LOOPBACK}:{port}{path} in {seconds:.0f} s: {self._last_line()}")

    def stop(self, patience: float = 5.0) -> None:
        """Asks the child to end; asks again, which a gateway takes for "at once"; then ends it by force."""
        try:
            for _ in range(2):
                if self.is_running():
                    self._ask_to_end()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._child.wait(patience)
        finally:  # also when a second Ctrl-C cuts the waiting short
            if self.is_running():
                self._child.kill()
                self._child.wait()

    def _ask_to_end(self) -> None:
        if sys.platform == "win32":
            self._child.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            self._child.terminate()

    def _last_line(self) -> str:
        lines = self._log.read_text("utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"


def _status(port: int, path: str) -> int:
    """The status of `GET path`, or 0 where there is no answer."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
