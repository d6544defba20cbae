"""Debian trees for the tests of artefacts: what stands in for base images, from the packages that this host uses.

The mirror and the release are what the host's own apt is set up for. A tree is kept in its folder, so that it is
made once, by root; ``Unavailable`` says in one line why it cannot be.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from support import tools
from support.tools import Unavailable

DISTROLESS: Final = (
    "base-files", "netbase", "tzdata", "ca-certificates", "libc6", "libssl3", "libgcc-s1", "libstdc++6", "zlib1g",
)  # fmt: skip
"""What gcr.io/distroless/cc-debian12 consists of."""

CERTIFICATES: Final = "etc/ssl/certs/ca-certificates.crt"
NONROOT: Final = 65532
RELEASE: Final = "bookworm"
"""What both base images are made from."""
_PATIENCE: Final = 900.0  # seconds, for a slow mirror


class _Source(NamedTuple):
    mirror: str
    release: str


def minimal(folder: Path, packages: Sequence[str], release: str = RELEASE) -> Path:
    """A Debian with ``packages`` and what they need, set up by ``debootstrap``. Raises ``Unavailable``."""
    if not _is_made(folder, packages):
        tools.need(debootstrap="debootstrap")
        source = _source(release)
        _run("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", source.release, str(folder),
             source.mirror)  # fmt: skip
        for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
            shutil.rmtree(folder / waste, ignore_errors=True)
        _stamp(folder).write_text(" ".join(packages), "utf-8")
    return folder


def distroless(folder: Path) -> Path:
    """What distroless's cc-debian12 holds: the same packages, unpacked but not set up. Raises ``Unavailable``."""
    if not _is_made(folder, DISTROLESS):
        _source(RELEASE)
        _unpack(folder, DISTROLESS)
        _set_up(folder)
        _stamp(folder).write_text(" ".join(DISTROLESS), "utf-8")
    return folder


def unpacked(folder: Path, *packages: str) -> Path:
    """These packages of this machine's own Debian, unpacked and nothing else: no service of theirs is set up.

    Raises ``Unavailable``.
    """
    if not _is_made(folder, packages):
        _unpack(folder, packages)
        _stamp(folder).write_text(" ".join(packages), "utf-8")
    return folder


def _unpack(folder: Path, packages: Sequence[str]) -> None:
    downloads = folder.with_name(f"{folder.name}.debs")
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir()
    download = ("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages)
    try:
        _run(*download, folder=downloads)
    except Unavailable:  # the lists of packages may be old, or not there yet
        _run("apt-get", "-q", "update")
        _run(*download, folder=downloads)
    for archive in sorted(downloads.iterdir()):
        _run("dpkg-deb", "-x", str(archive), str(folder))
    shutil.rmtree(downloads)


def _set_up(folder: Path) -> None:
    """What distroless adds to the packages: its users, one file of all certificates."""
    users = {"root": 0, "nobody": 65534, "nonroot": NONROOT}
    (folder / "etc/passwd").write_text(
        "".join(
            f"{name}:x:{number}:{number}:{name}:/nonexistent:/sbin/nologin\n" for name, number in users.items()
        )
    )
    (folder / "etc/group").write_text("".join(f"{name}:x:{number}:\n" for name, number in users.items()))
    authorities = sorted((folder / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    (folder / CERTIFICATES).write_text("".join(each.read_text("ascii") for each in authorities), "ascii")


def _source(wanted: str) -> _Source:
    """Where apt has this host's packages from. Raises ``Unavailable``."""
    source = _find_source(wanted)
    if source is None:  # only what apt has lists of is told by it
        _run("apt-get", "-q", "update")
        source = _find_source(wanted)
    if source is None:
        raise Unavailable(f"apt knows no mirror of {wanted} main, which the tree is to be made from")
    return source


def _find_source(wanted: str) -> _Source | None:
    answer = _run(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"
    )
    sources = [line.split() for line in answer.splitlines()]
    for mirror, release, component in (each for each in sources if len(each) == 3):
        if (release, component) == (wanted, "main"):
            return _Source(mirror, release)
    return None


def _is_made(folder: Path, packages: Sequence[str]) -> bool:
    """Whether the tree is there and whole; the rest of an attempt that broke off is removed."""
    stamp = _stamp(folder)
    if stamp.exists() and folder.exists() and stamp.read_text("utf-8") == " ".join(packages):
        return True
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return False


def _stamp(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.made")


def _run(program: str, *arguments: str, folder: Path | None = None) -> str:
    """What the program printed. Raises ``Unavailable`` where it is not there or fails."""
    if shutil.which(program) is None:
        raise Unavailable(f"{program} is not there")
    done = subprocess.run(
        [program, *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
        errors="replace", timeout=_PATIENCE, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise Unavailable(f"{program} failed: {last}")
    return done.stdout
