"""Root's powers, laid down before anything listens: what ``server.user`` asks for.

A container starts as root for one purpose: to own the directories of logs and of state that Docker made as root on
the host. Once they are the service user's, the process becomes this user, with no way back. Elsewhere (not root,
Windows) nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from pathlib import Path
from typing import Final

from chatgpt_platform.cli import unpacked
from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.schema import Settings

_LOGS: Final = ("access.log", "app.log")
"""How the names of the log files begin, the rotated ones' too."""

_STATE: Final = ("ledger.", "keys.", "gateway.lock")
"""How those in the state directory begin: two databases with what SQLite lays beside them, a secret, a lock."""

_CAP_KILL, _CAP_SETGID, _CAP_SETUID = 1 << 5, 1 << 6, 1 << 7
"""Of linux/capability.h."""


def lay_down(settings: Settings) -> tuple[str, ...]:
    """Become ``server.user`` where root started this; warnings for the log, none or one.

    Raises ``ConfigurationError`` where the system lets the process become root again.
    """
    if sys.platform != "win32" and settings.server.user and os.geteuid() == 0:
        return _become(settings)
    return ()


if sys.platform != "win32":

    def _become(settings: Settings) -> tuple[str, ...]:
        wanted = settings.server.user
        user, _, group = wanted.partition(":")
        uid, gid = int(user), int(group or user)
        copy = unpacked.current()
        if not _has(_CAP_SETGID | _CAP_SETUID):
            return (_why_not(wanted, "it lacks the capabilities for it"),)
        if copy is not None and not _has(_CAP_KILL):
            return (_why_not(wanted, "its launcher, which stays root, could not hand signals on"),)
        if copy is not None and not _may_read(sys.executable, uid, gid):
            return (_why_not(wanted, f"it cannot read {sys.executable}, from which modules come as it runs"),)
        if copy is not None:
            _open_to_all(copy.folder)
        if settings.logging.directory:
            _give_directory(Path(settings.logging.directory), _LOGS, uid, gid)
        if settings.state.directory:
            # What is made here is nobody else's to read: it gets the secret of the keys.
            _give_directory(Path(settings.state.directory), _STATE, uid, gid, mode=0o700)
        try:
            os.setgroups([])
            os.setgid(gid)  # as root: the real, the effective and the saved one
            os.setuid(uid)
        except OSError as error:
            return (_why_not(wanted, error.strerror or str(error)),)
        _assert_no_way_back(wanted)
        return ()

    def _why_not(wanted: str, reason: str) -> str:
        return (
            f"root serves, since it may not become server.user, {wanted} ({reason}). The cure: start as that user "
            f"(docker run --user {wanted}, in a compose file user: {wanted}), or leave root the capabilities "
            "CHOWN, SETUID, SETGID and KILL"
        )

    def _may_read(path: str, uid: int, gid: int) -> bool:
        """Whether a file, in all the folders on the way to it, is open to a user; asked as this user."""
        group, groups = os.getegid(), os.getgroups()
        try:
            os.setgroups([])
            os.setegid(gid)
            os.seteuid(uid)
            return os.access(path, os.R_OK, effective_ids=True)
        except OSError:  # it cannot become this user, as is told later on
            return True
        finally:
            os.seteuid(0)
            with contextlib.suppress(OSError):
                os.setegid(group)
                os.setgroups(groups)

    def _has(capabilities: int) -> bool:
        """Whether root has all of these powers; a container can have them taken from it."""
        try:
            status = Path("/proc/self/status").read_text("utf-8")
        except OSError:  # not Linux
            return True
        effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
        return effective is None or int(effective[1], 16) & capabilities == capabilities

    def _assert_no_way_back(wanted: str) -> None:
        try:
            os.setuid(0)
        except OSError:
            return
        line = f"server.user: having become {wanted}, it could become root again; start it as {wanted} instead"
        raise ConfigurationError([line])

    def _open_to_all(copy: Path) -> None:
        """Let every user read what the executable was unpacked to: it is root's alone, and is read as it runs.

        It stays root's, so that the service cannot change its own code.
        """
        for folder, _, names in os.walk(copy):
            for path in (Path(folder), *(Path(folder, name) for name in names)):
                with contextlib.suppress(OSError):
                    mode = path.lstat().st_mode
                    if not stat.S_ISLNK(mode):
                        path.chmod(stat.S_IMODE(mode) | (0o555 if mode & stat.S_IXUSR else 0o444))

    def _give_directory(
        directory: Path, files: tuple[str, ...], uid: int, gid: int, mode: int = 0o777
    ) -> None:  # fmt: skip
        """Make a directory, and root's files in it that begin so, the user's.

        What fails is told of when they are opened. ``mode``: of a directory that is not there yet.
        """
        with contextlib.suppress(OSError):
            directory.mkdir(mode, parents=True, exist_ok=True)
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for name in os.listdir(descriptor):  # noqa: PTH208 - of what is open, whatever its name leads to now
                    if name.startswith(files):
                        _give_file(name, descriptor, uid, gid)
                if not os.fstat(descriptor).st_mode & stat.S_IWOTH:  # /tmp and its like are everybody's already
                    os.fchown(descriptor, uid, gid)
            finally:
                os.close(descriptor)

    def _give_file(name: str, directory: int, uid: int, gid: int) -> None:
        """Only a plain file of root's with no other name: whoever owns the directory may have put a link there."""
        with contextlib.suppress(OSError):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
            try:
                state = os.fstat(descriptor)
                if state.st_uid == 0 and stat.S_ISREG(state.st_mode) and state.st_nlink == 1:
                    os.fchown(descriptor, uid, gid)
            finally:
                os.close(descriptor)
