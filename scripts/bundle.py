"""What lies in an executable that scripts/build.py has made: its parts, their sizes, what it needs to run.

Run within the build's environment, whose PyInstaller reads the archive.
"""

import functools
import importlib.metadata
import io
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PyInstaller.archive.readers import ArchiveReadError, CArchiveReader

import bench_report
from chatgpt_platform.cli.unpacked import ONLINE_PARTS
from chatgpt_platform.settings.dates import ZONES

PACKAGE = "chatgpt_platform"

# What an ELF file needs of glibc stands in its string table: each version's name, ended by a zero byte.
# https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html
_GLIBC = re.compile(rb"GLIBC_(\d+\.\d+(?:\.\d+)?)\0")
_LIBRARY = re.compile(r"\.(?:so(?:\.[\d.]+)?|dll|pyd)$")
_SHOWN = 12


class BundleError(Exception):
    """The file is no executable of ours; the text is one line."""


@dataclass(frozen=True)
class Part:
    """Something in the archive: where it goes, the bytes that it takes there, and itself."""

    name: str
    packed: int
    content: bytes


class Bundle:
    """An executable's archive, read."""

    def __init__(self, executable: Path) -> None:
        try:
            archive = CArchiveReader(str(executable))
            modules = archive.open_embedded_archive("PYZ.pyz")
        except (OSError, ValueError, KeyError, ArchiveReadError) as error:
            raise BundleError(f"{executable}: cannot be read as an executable of PyInstaller: {error}") from None
        self.size = executable.stat().st_size
        self.files = [
            Part(name, packed, archive.extract(name))
            for name, (_, packed, _, _, kind) in archive.toc.items()
            if kind in "bxZ"
        ]
        self.launcher = executable.read_bytes()[: self.size - sum(entry[1] for entry in archive.toc.values())]
        self.modules = {name: packed for name, (_, _, packed) in modules.toc.items()}

    def libraries(self) -> Iterator[Part]:
        """All shared libraries and extension modules, those of the packed part too."""
        for part in self.files:
            if part.name == ONLINE_PARTS:
                with zipfile.ZipFile(io.BytesIO(part.content)) as inner:
                    for entry in inner.infolist():
                        yield Part(entry.filename, entry.compress_size, inner.read(entry))
            elif _LIBRARY.search(part.name):
                yield part


def glibc_needed(executable: Path) -> str:
    """The oldest glibc that the executable and all its libraries run with, as "2.31"."""
    bundle = Bundle(executable)
    texts = [bundle.launcher, *(part.content for part in bundle.libraries())]
    versions = {match.decode() for text in texts for match in _GLIBC.findall(text)}
    return max(versions, key=version_key, default="0.0")


def version_key(version: str) -> tuple[int, ...]:
    """To compare versions such as "2.31" by."""
    return tuple(map(int, version.split(".")))


def report(executable: Path) -> str:
    """The size of the executable and of each big part, as a table."""
    bundle = Bundle(executable)
    sizes: Counter[str] = Counter()
    for part in bundle.files:
        sizes[_owner(part.name)] += part.packed
    for name, packed in bundle.modules.items():
        sizes[_owner(name)] += packed
    sizes["launcher, lists"] = bundle.size - sum(sizes.values())
    rows = [(name, bench_report.megabytes(size)) for name, size in sizes.most_common(_SHOWN)]
    rest = bundle.size - sum(size for _, size in sizes.most_common(_SHOWN))
    rows += [("the rest", bench_report.megabytes(rest)), ("all", bench_report.megabytes(bundle.size))]
    return f"{executable}\n" + bench_report.text_table(("part", "MB"), rows)


def _owner(name: str) -> str:
    """What a file or module belongs to, as the report calls it."""
    top = _top(name)
    if name == ONLINE_PARTS:
        return "pydantic-core and jiter"
    if top in (PACKAGE, f"{PACKAGE}__mypyc"):
        return "the gateway"
    if top in _packages():
        return top.removesuffix("_core")
    if top.startswith(("libcrypto", "libssl")):
        return "OpenSSL"
    if name == ZONES:
        return "time zones"
    if top.startswith(("libsqlite3", "sqlite3.", "_sqlite3")):
        return "SQLite"
    return (
        "Python"
        if top.startswith(("libpython", "python")) or top in sys.stdlib_module_names
        else "other libraries"
    )


def distributions_of(names: Iterable[str]) -> list[str]:
    """The names of the distributions that modules, or files of libraries, come from."""
    known = _packages()
    return sorted({distribution for name in names for distribution in known.get(_top(name), ())})


def _top(name: str) -> str:
    return re.split(r"[./\\]", name, maxsplit=1)[0]


@functools.cache
def _packages() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()
