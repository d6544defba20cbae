"""The unpacked copy of itself that the one-file executable runs from.

What is started is PyInstaller's launcher: it unpacks the shared libraries into a new folder of the temporary
directory, ``_MEI`` and its process id in eight hexadecimal digits and a random end, runs this program from there
as its child, hands signals on to it, and removes the folder when the child has ended. A launcher that is killed
removes nothing, so its child does (``leave``), or else the next ``serve`` (``clear_others``): whose copy nobody
holds, and whose launcher is gone, is waste.

https://pyinstaller.org/en/stable/operating-mode.html#how-the-one-file-program-works
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

if sys.platform != "win32":
    import fcntl

ONLINE_PARTS: Final = "chatgpt-platform.online.zip"
"""The libraries that only the commands with the ``openai`` package need, in each copy: as `chatgpt.spec` has
packed them. It is unpacked before everything else, and so tells our copies from other programs'."""

_NAME: Final = re.compile(r"_MEI([0-9a-f]{8})[\w-]+")
_UNPACKS_WITHIN: Final = 60.0
"""Seconds after which a copy on Windows, where processes cannot be looked at as easily, is not being unpacked."""

_LEFT: Final = "-left"
"""At the end of a name: its removal has begun."""

_CLOCKS_DIFFER_BY: Final = 0.1
"""Seconds between the clocks of processes and of files, at most."""

_SYNCHRONIZE: Final = 0x0010_0000
"""The right to await a process's end, on Windows."""

_WANTED_LATER: Final = (
    "encodings.idna", "encodings.punycode", "encodings.unicode_escape", "encodings.utf_8_sig", "stringprep",
    "unicodedata", "chatgpt_platform.upstream.proxies", "chatgpt_platform.observe.exposition",
    "chatgpt_platform.accounts.webhook",
)  # fmt: skip
"""Modules that a gateway may need long after its start: for a host name that is not ASCII, the first query with an
escape, a file with a mark, a proxy, metrics or a webhook since a reload. Those for a file of settings where there
was none come with the prices."""


class Copy:
    """The folder that this process runs from, held against those who clear away; ``launcher`` is a process id."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.launcher: Final = _launcher_of(folder)
        self._mark: IO[bytes] | None = None

    def hold(self) -> None:
        """Keep others from clearing it away, for as long as this process lives."""
        # A folder that was cleaned away already cannot be held, nor need it be.
        with contextlib.suppress(OSError):
            self._mark = (self.folder / ONLINE_PARTS).open("rb")
            if sys.platform != "win32":
                fcntl.flock(self._mark, fcntl.LOCK_SH)  # at most for as long as another looks

    def load_all(self) -> None:
        """Import and read what is wanted later: this process shall go on when its folder is cleaned away under it,
        or the executable replaced."""
        for name in _WANTED_LATER:
            with contextlib.suppress(ImportError):  # it was cleaned away already: that one may be missed
                importlib.import_module(name)
        from chatgpt_platform.accounts.prices import shipped_prices  # noqa: PLC0415 - as they are

        with contextlib.suppress(ImportError, OSError, ValueError):
            shipped_prices()

    def on_orphaned(self, loop: AbstractEventLoop, act: Callable[[], None]) -> None:
        """Call ``act`` on the loop when the launcher has been killed: nobody hands signals on from then on.

        On Windows too, twice: who killed it, or the service manager that starts it anew, knows nothing of us, and
        we hold the port. Elsewhere the process goes on without its launcher.
        """
        if sys.platform == "win32" and self.launcher:
            _follow_parent(loop, act)
        if sys.platform == "linux" and self.launcher:
            _follow(self.launcher, loop, act)

    def leave(self) -> None:
        """At the end of this process: hold the folder no more; remove it if its launcher is not there to do it."""
        if self._mark is not None:
            self._mark.close()
        if sys.platform != "win32" and self.launcher and os.getppid() != self.launcher:
            shutil.rmtree(self.folder, ignore_errors=True)

    def clear_others(self) -> int:
        """Remove the copies that killed runs of this user have left beside this one; gives their number."""
        try:
            beside = [each for each in self.folder.parent.iterdir() if _NAME.fullmatch(each.name)]
        except OSError:
            return 0
        return sum(_remove(each) for each in beside if each != self.folder and self._is_waste(each))

    def _is_waste(self, folder: Path) -> bool:
        try:
            about = folder.lstat()
            is_ours = (folder / ONLINE_PARTS).exists() or folder.name.endswith(_LEFT)
            if not stat.S_ISDIR(about.st_mode) or not is_ours:
                return False
            return self._is_abandoned(folder, about)
        except OSError:
            return False

    if sys.platform == "win32":

        def _is_abandoned(self, folder: Path, about: os.stat_result) -> bool:
            return time.time() - about.st_mtime > _UNPACKS_WITHIN  # and `_remove` fails where it is held

    else:

        def _is_abandoned(self, folder: Path, about: os.stat_result) -> bool:
            return about.st_uid == os.geteuid() and not _is_held(folder) and not self._is_starting(folder)

        def _is_starting(self, folder: Path) -> bool:
            """Whether the launcher of this copy lives: it may not have come so far that its child holds it."""
            launcher = _launcher_of(folder)
            try:
                # One that began after the copy was made is another process, by the same number. In a container
                # ours is; so may be one in another container, with the same temporary directory.
                return _began(launcher) <= folder.stat().st_mtime + _CLOCKS_DIFFER_BY
            except FileNotFoundError:
                return not Path("/proc/self").exists()  # nothing can be told


def current() -> Copy | None:
    """The copy that this process runs from; None unless it is the executable."""
    folder: str | None = getattr(sys, "_MEIPASS", None)
    return Copy(Path(folder)) if folder else None


def clear_others() -> tuple[str, ...]:
    """Remove what killed runs have left unpacked; a line for the log where there was any."""
    copy = current()
    number = copy.clear_others() if copy else 0
    return (f"unpacked copies that killed runs had left were removed: {number}",) if number else ()


def add_online_parts() -> None:
    """Make the ``openai`` package importable; raises OSError when the copy was cleaned away.

    Its libraries are large and ``serve`` needs none of them, so they stay packed until they are wanted.
    """
    copy = current()
    if copy is not None:
        import zipfile  # noqa: PLC0415 - takes a while, and `serve` does without

        with zipfile.ZipFile(copy.folder / ONLINE_PARTS) as parts:
            # Never over one that is loaded: the program would run on into other bytes.
            parts.extractall(copy.folder, [name for name in parts.namelist() if not (copy.folder / name).exists()])
        importlib.invalidate_caches()


def _launcher_of(folder: Path) -> int:
    """The process id in a copy's name; 0 where there is none."""
    name = _NAME.fullmatch(folder.name)
    return int(name[1], 16) if name else 0


if sys.platform == "linux":

    def _follow(launcher: int, loop: AbstractEventLoop, act: Callable[[], None]) -> None:
        """Call ``act`` once the launcher, our parent, has ended."""
        try:
            handle = os.pidfd_open(launcher)
        except ProcessLookupError:
            loop.call_soon(act)
            return
        except (OSError, AttributeError):  # a kernel before 5.3
            return

        def gone() -> None:
            loop.remove_reader(handle)
            os.close(handle)
            act()

        if os.getppid() != launcher:  # it ended just before, and its number may be another's
            os.close(handle)
            loop.call_soon(act)
        else:
            loop.add_reader(handle, gone)


if sys.platform != "win32":

    def _began(process: int) -> float:
        """When a process began, in seconds since the epoch. Raises FileNotFoundError where none lives.

        Fields 3 and 22 of proc_pid_stat(5): its state, and clock ticks since the machine was started.
        """
        fields = Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        if fields[0] in "ZX":  # it has ended, and its parent has not asked yet
            raise FileNotFoundError
        ticks = int(fields[19])
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")

    def _is_held(folder: Path) -> bool:
        """Whether a running process holds this copy."""
        if folder.name.endswith(_LEFT):
            return False
        with (folder / ONLINE_PARTS).open("rb") as mark:
            try:
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False


def _follow_parent(loop: AbstractEventLoop, act: Callable[[], None]) -> None:
    """Windows' way to await a process's end."""
    import pywintypes  # noqa: PLC0415 - on Windows only; before the others, whose library it loads
    import win32api  # noqa: PLC0415
    import win32event  # noqa: PLC0415

    def wait() -> None:
        win32event.WaitForSingleObject(parent, win32event.INFINITE)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            for _ in range(2):
                loop.call_soon_threadsafe(act)

    with contextlib.suppress(pywintypes.error):  # it may not be looked at: then nothing can be known
        parent = win32api.OpenProcess(_SYNCHRONIZE, False, os.getppid())
        threading.Thread(target=wait, name="the launcher's end", daemon=True).start()


def _remove(folder: Path) -> bool:
    """Remove a copy; False where it is in use after all, or not ours to remove."""
    waste = folder.with_name(folder.name.removesuffix(_LEFT) + _LEFT)
    try:
        # On Windows this fails while any process has a file of it open, which is how one holds it there.
        folder.rename(waste)
    except OSError:
        return False
    shutil.rmtree(waste, ignore_errors=True)
    return not waste.exists()
