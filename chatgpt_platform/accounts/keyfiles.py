"""Files of the keystore in ``state.directory``: open to the owner of that directory, to nobody else.

The administrator often runs ``keys`` as root beside a gateway that runs as a user of its own (``server.user``,
systemd's DynamicUser): what root makes there gets the owner of the directory. Windows has neither; there a file's
rights are those of its folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path
from typing import Final

from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.text import printable

SECRET_BYTES: Final = 32
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def make_directory(directory: Path) -> None:
    """Make it where there is none. Raises ``ConfigurationError``."""
    try:
        if not directory.is_dir():
            directory.mkdir(0o700, parents=True, exist_ok=True)
            _give(directory, directory.parent)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise unusable(directory, f"cannot be made: {reason(error)}", "let state.directory name another") from None


def make_empty(path: Path) -> None:
    """Make a file where there is none. Raises OSError.

    One that is there is never opened: closing it would take SQLite's locks from this process.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, _MAKE, 0o600))
        _give(path, path.parent)


def read_secret(path: Path) -> bytes | None:
    """What the file holds; None where there is no file. Raises ``ConfigurationError``."""
    try:
        with path.open("rb") as file:
            secret = file.read(SECRET_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(path, f"cannot be read: {reason(error)}", readable_cure(path.parent)) from None
    if len(secret) != SECRET_BYTES:
        raise unusable(path, f"is not the {SECRET_BYTES} bytes that were written there", RESTORE)
    return secret


def write_secret(path: Path) -> bytes:
    """Make a new one, wholly there or not at all, and on the disk. Raises OSError. One caller at a time."""
    secret = secrets.token_bytes(SECRET_BYTES)
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)  # of one that was killed here
    descriptor = os.open(draft, _MAKE, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, which only its maker could open
        file.write(secret)
        file.flush()
        os.fsync(descriptor)
    _give(draft, path.parent)
    draft.replace(path)
    _settle(path.parent)
    return secret


RESTORE: Final = "bring it back from a backup, or remove keys.db as well and make all keys anew"


def unusable(path: Path, what: str, cure: str) -> ConfigurationError:
    """The error of a file that cannot be used."""
    return ConfigurationError([printable(f"{path}: {what}. The cure: {cure}")])


def reason(error: Exception) -> str:
    """Why the system refused."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def readable_cure(directory: Path) -> str:
    """Who may use the directory."""
    owner = ""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            owner = f" (user {directory.stat().st_uid})"
    return f"run this as the owner of {directory}{owner}, or as its administrator"


if sys.platform == "win32":

    def _give(made: Path, like: Path) -> None:
        """Rights are inherited from the folder."""

    def _settle(directory: Path) -> None:
        """A folder cannot be opened; NTFS keeps a journal of names."""

else:

    def _give(made: Path, like: Path) -> None:
        """Root's to the owner of what it lies in."""
        if os.geteuid() == 0:
            owner = like.stat()
            os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def _settle(directory: Path) -> None:
        """Let a new name outlive a power failure."""
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
