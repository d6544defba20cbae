"""The notices of everything that an executable holds: what `chatgpt-platform version --licenses` prints.

The build calls `collect` in the environment that it freezes. A distribution brings its licence files along,
and lists of the Rust crates compiled into it. What has no such files stands in `packaging/notices`: licences
carried verbatim, one file for each C library or family of files, and in `spdx` the texts that crates name.
Whatever has no notice anywhere is a `NoticeError`, so that nothing ships without one.
"""

import json
import platform
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import environment
from chatgpt_platform import __version__
from chatgpt_platform.cli import licences

NOTICES = environment.ROOT / "packaging" / "notices"

# The stem of a shared library's file name (see `stem`) -> its notice. One line for each family.
LIBRARIES = {
    "libpython": "python", "python": "python",
    "libssl": "openssl", "libcrypto": "openssl",
    "libz": "zlib", "zlib": "zlib",
    "libbz": "bzip2",
    "liblzma": "xz",
    "libffi": "libffi",
    "libexpat": "expat",
    "libmpdec": "mpdecimal", "libmpdec++": "mpdecimal",
    "libsqlite": "sqlite", "sqlite": "sqlite",
    "libuuid": "util-linux",
    "libgcc_s": "gcc", "libstdc++": "gcc", "libatomic": "gcc",
    "libreadline": "readline",
    "libncurses": "ncurses", "libncursesw": "ncurses", "libtinfo": "ncurses",
    "libpanel": "ncurses", "libpanelw": "ncurses",
    "libedit": "libedit",
    "vcruntime": "microsoft", "msvcp": "microsoft", "ucrtbase": "microsoft", "mfc": "microsoft",
    "concrt": "microsoft", "vcomp": "microsoft",
}  # fmt: skip
UCRT = "api-ms-win-"  # the forwarders of Windows' C library: many files, one family

# Libraries that a distribution brings along under its own licence.
OF_DISTRIBUTIONS = {"pywintypes": "pywin32", "pythoncom": "pywin32", "perfmondata": "pywin32"}

# Modules of Python's own that hold a C library, or link to one. Some Pythons have it all in one file: there
# the modules are built in, and no library's file tells.
MODULES = {
    "_ssl": "openssl", "_hashlib": "openssl",
    "zlib": "zlib",
    "_bz2": "bzip2",
    "_lzma": "xz",
    "_ctypes": "libffi",
    "pyexpat": "expat",
    "_decimal": "mpdecimal",
    "_sqlite3": "sqlite",
    "_uuid": "util-linux",
    "_curses": "ncurses", "_curses_panel": "ncurses",
    "readline": "libedit",  # built in only where it is this one: the other's licence would not let it
}  # fmt: skip
LINKED_ONLY = {"readline", "_uuid"}  # in a file of their own these hold nothing: the library has one too

# C code inside a distribution's own modules, of which its licence files say nothing.
VENDORED = {
    "uvloop": ("libuv",),
    "pyyaml": ("libyaml",),
    "msgspec": ("msgspec",),
}

# Texts that notices refer to.
REFERRED = {"openssl": ("spdx/Apache-2.0",), "msgspec": ("spdx/Apache-2.0", "spdx/MIT")}

TITLES = {
    "python": f"Python {platform.python_version()}",
    "python-parts": "Parts of Python",
    "openssl": "OpenSSL",
    "bzip2": "bzip2 (libbz2)",
    "xz": "XZ Utils (liblzma)",
    "expat": "Expat",
    "mpdecimal": "libmpdec",
    "sqlite": "SQLite",
    "util-linux": "util-linux (libuuid)",
    "gcc": "GCC's runtime libraries (libgcc, libstdc++)",
    "microsoft": "Microsoft's runtime libraries",
    "libyaml": "LibYAML, in PyYAML",
    "libuv": "libuv, in uvloop",
    "msgspec": "Parts of msgspec",
}

# Distributions of which the executable holds a part: which one, and where its licence stands among their files.
PARTS = {"pyinstaller": ("its loader", ""), "mypy": ("what native modules hold of mypyc", "LICENSE")}

_EXTENSION = re.compile(r"\.(?:pyd|abi3\.so|cpython-[\w-]+\.so)$")
_RULE = "=" * 79


class NoticeError(Exception):
    """Something would ship without its notice; the text names it, and the cure, in one line."""


@dataclass(frozen=True)
class Section:
    """What is printed under one heading."""

    title: str
    text: str


def collect(distributions: Iterable[str], libraries: Iterable[str]) -> str:
    """All notices as one text, this project's own licence first.

    `distributions`: the names of those that are frozen, installed in this environment, and mypy where there are
    native modules; PyInstaller, whose loader is in every executable, need not be named. `libraries`: the file
    names of the shared libraries in the bundle, with or without folders; extension modules among them are
    welcome. Raises NoticeError.
    """
    names = sorted({canonical(name) for name in distributions})
    files = sorted({Path(library.replace("\\", "/")).name for library in libraries})
    sections = [_own(), *_of_distributions([*names, "pyinstaller"])]
    # zlib: PyInstaller's loader holds a copy of its own.
    families = (
        {"python", "python-parts", "zlib"}
        | built_in_families()
        | {name for file in files if (name := family(file, names))}
    )
    families.update(name for distribution in names for name in VENDORED.get(distribution, ()))
    spdx = {text for name in families for text in REFERRED.get(name, ())} | _licences_of_crates(names)
    sections += [Section(TITLES.get(name, name), _notice(name)) for name in sorted(families)]
    sections += [Section(f"The text of {name.removeprefix('spdx/')}", _notice(name)) for name in sorted(spdx)]
    return _printed(sections)


def family(library: str, distributions: Iterable[str]) -> str:
    """The notice that a shared library needs; "" for an extension module that its distribution accounts for.

    Raises NoticeError for a library that nobody has a notice for.
    """
    lowered = library.lower()
    if is_extension(lowered):
        module = lowered.partition(".")[0]
        return "" if module in LINKED_ONLY else MODULES.get(module, "")
    if lowered.startswith(UCRT):
        return "microsoft"
    name = stem(lowered)
    if name in OF_DISTRIBUTIONS and OF_DISTRIBUTIONS[name] in distributions:
        return ""
    if name not in LIBRARIES:
        raise NoticeError(
            f"{library} is bundled, and scripts/notices.py has no notice for it: "
            "put its licence into packaging/notices and its name into LIBRARIES, or keep it out of the bundle"
        )
    return LIBRARIES[name]


def is_extension(library: str) -> bool:
    """Whether a file is a module of Python's or of a distribution's rather than a library of its own."""
    return _EXTENSION.search(library.lower()) is not None


def stem(library: str) -> str:
    """A library's name without versions and the like: "libssl" for libssl.so.3 and libssl-3-x64.dll.

    Digits at the end of the name count as a version: "libbz" for libbz2.so.1.0.
    """
    # As auditwheel names the copies in wheels: libfoo-1a2b3c4d.so.5
    plain = re.sub(r"-[0-9a-f]{8}(?=[.-])", "", library)
    match = re.fullmatch(r"(.+?)[-_.\d]*u?(?:-(?:x64|arm64))?(?:\.so[.\d]*|\.dll)", plain)
    return match[1] if match else plain


def built_in_families(modules: Iterable[str] = sys.builtin_module_names) -> set[str]:
    """The notices that Python itself needs, by the modules built into it."""
    return {MODULES[name] for name in modules if name in MODULES}


def crates(found: Distribution) -> list[dict[str, Any]]:
    """The Rust crates compiled into a distribution, as its CycloneDX lists give them, ordered by name."""
    components: list[dict[str, Any]] = []
    for file in found.files or ():
        if file.parts[0].endswith(".dist-info") and file.parts[1] == "sboms" and file.suffix == ".json":
            components += json.loads(Path(file.locate()).read_text("utf-8")).get("components", [])
    rust = [component for component in components if str(component.get("purl", "")).startswith("pkg:cargo/")]
    return sorted(rust, key=lambda component: (component["name"], component["version"]))


def chosen(expression: str) -> list[str]:
    """The licences out of an SPDX expression under which we take a crate: of each choice one with a text here.

    Raises NoticeError where there is none.
    """
    names = []
    for part in expression.split(" AND "):
        offered = [name.strip().replace(" ", "-") for name in part.strip(" ()").replace("/", " OR ").split(" OR ")]
        known = [name for name in offered if (NOTICES / "spdx" / f"{name}.txt").exists()]
        if not known:
            raise NoticeError(f"no text of {part.strip(' ()')} is in packaging/notices/spdx, which a crate needs")
        names.append("MIT" if "MIT" in known else known[0])
    return names


def _own() -> Section:
    title = f"chatgpt-platform {__version__}, GPL-3.0-or-later"
    text = (
        "ChatGPT API Platform is free software: you can redistribute it and/or modify it under the terms of the\n"
        "GNU General Public License as published by the Free Software Foundation, either version 3 of the\n"
        "License, or (at your option) any later version. It comes without any warranty. Below its licence stand\n"
        "the notices of everything else that this executable holds.\n\n"
    )
    return Section(title, text + (environment.ROOT / "LICENSE").read_text("utf-8"))


def _of_distributions(names: Iterable[str]) -> Iterator[Section]:
    for name in dict.fromkeys(names):
        found = installed(name)
        texts = licences.texts(found)
        if not texts:
            raise NoticeError(f"{name} is bundled without a licence file of its own: keep it out, or see VENDORED")
        head = f"{found.name} {found.version}"
        if name in PARTS:
            part, file = PARTS[name]
            head += f" ({part})"
            texts = [text for text in texts if file in ("", text[0])]
        else:
            head += f", {licences.expression(found) or 'see below'}"
        yield Section(head, texts[0][1])
        for file, text in texts[1:]:
            yield Section(f"{found.name}: {file}", text)
        if compiled := crates(found):
            yield Section(f"Rust crates in {found.name}", "".join(map(_crate_line, compiled)))


def installed(name: str) -> Distribution:
    """An installed distribution. Raises NoticeError."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise NoticeError(f"{name} is bundled, yet not installed in this environment") from None


def _licences_of_crates(names: Iterable[str]) -> set[str]:
    """The texts that the crates of all distributions need."""
    expressions = {licence_of(crate) for name in names for crate in crates(installed(name))}
    return {f"spdx/{name}" for expression in expressions for name in chosen(expression)}


def _crate_line(crate: dict[str, Any]) -> str:
    author = crate.get("author") or ", ".join(one.get("name", "") for one in crate.get("authors", []))
    by = f", by {author}" if author else ""
    return f"{crate['name']} {crate['version']}{by}: {licence_of(crate)}\n"


def licence_of(crate: dict[str, Any]) -> str:
    """The licence of a crate, as its list has it. Raises NoticeError."""
    for entry in crate.get("licenses", []):
        named = entry.get("expression") or entry.get("license", {}).get("id")
        if named:
            return str(named)
    raise NoticeError(f"the crate {crate['name']} is bundled, and its list names no licence")


def _notice(name: str) -> str:
    """The text of a notice. Python's is that of the running one, if it has it: on Windows it says more."""
    file = NOTICES / f"{name}.txt"
    if name == "python":
        own = (Path(folder, "LICENSE.txt") for folder in (sysconfig.get_path("stdlib"), sys.base_prefix))
        file = next(filter(Path.exists, own), file)
    if not file.exists():
        raise NoticeError(f"packaging/notices/{name}.txt is missing")
    return file.read_text("utf-8")


def _printed(sections: Iterable[Section]) -> str:
    """The sections one below the other; a text that was there before is only referred to."""
    first: dict[str, str] = {}
    parts = []
    for section in sections:
        text = section.text.replace("\r\n", "\n").strip("\n")
        where = first.setdefault(text, section.title)
        shown = text if where == section.title else f'The same text as under "{where}".'
        parts.append(f"{_RULE}\n{section.title}\n{_RULE}\n\n{shown}\n")
    return "\n".join(parts)


def canonical(name: str) -> str:
    """A distribution's name as registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
