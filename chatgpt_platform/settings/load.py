"""One door to the settings: which file, what wins, and every problem at once.

loaded = load(os.environ, config=arguments.config, flags={"server.port": 8080})
loaded.settings.server.port
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings import walk
from chatgpt_platform.settings.contradictions import contradictions
from chatgpt_platform.settings.environment import CONFIG, Environment, slips
from chatgpt_platform.settings.kinds import Unusable
from chatgpt_platform.settings.layers import Found, Layer, Merged
from chatgpt_platform.settings.nodes import Node, Unreadable, from_json
from chatgpt_platform.settings.schema import SETTINGS, TREE, Settings
from chatgpt_platform.settings.text import printable

USUAL_FILE: Final = "config/chatgpt.yaml"
SYSTEM_FILE: Final = "/etc/chatgpt-platform/chatgpt.yaml"
WINDOWS_FILE: Final = r"chatgpt-platform\chatgpt.yaml"
"""Its counterpart, in the folder that %ProgramData% names."""
LARGEST: Final = 2**20
_MOST_LINES: Final = 100
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


class Loaded(NamedTuple):
    """``file``: the one that was read, or None. ``sources``: for the path of each setting, where it came from.

    ``slips``: variables that look like settings and are none; nothing is wrong, but somebody should know.
    """

    settings: Settings
    file: Path | None
    sources: Mapping[str, str]
    slips: tuple[str, ...]


def load(
    environment: Mapping[str, str],
    *,
    config: str | None = None,
    flags: Mapping[str, object] = _NOTHING,
    directory: Path = Path(),
) -> Loaded:
    """Read the settings: flags over the environment over the file over the defaults.

    ``config``: the file that a flag names. ``flags``: values by setting path, texts as in the environment; None
    is no flag. ``directory``: what relative paths start from.

    Raises ``ConfigurationError`` with every problem of all three, a line each.
    """
    file = _File(environment, config, directory)
    layers = (file, Environment(environment, directory), _Flags(flags))
    merged = Merged(layers)
    problems = [*chain.from_iterable(layer.problems for layer in layers), *contradictions(merged)]
    if problems:
        more = len(problems) - _MOST_LINES
        raise ConfigurationError(problems[:_MOST_LINES] + ([f"... and {more} more problems"] if more > 0 else []))
    settings: Settings = TREE.build(
        {path: each.value for path, each in merged.values.items()},
        merged.lengths,
        environment_language=environment.get("LANG", ""),
    )
    sources = MappingProxyType({path: each.source for path, each in merged.values.items()})
    return Loaded(settings, file.path, sources, slips(environment))


class _Unopened(Exception):
    """Why a configuration file cannot be used."""


class _File(Layer):
    """The configuration file: ``path`` when there is one."""

    def __init__(self, environment: Mapping[str, str], config: str | None, directory: Path) -> None:
        super().__init__()
        self.path: Path | None = None
        named = config if config is not None else environment.get(CONFIG, "").strip() or None
        if named == "":
            self.problems.append('--config: found "", expected the name of a file')
            return
        for name in (USUAL_FILE, _system_file(environment)) if named is None else (named,):
            try:
                content = _content(directory / name)
            except FileNotFoundError:
                if named is not None:
                    by = "--config" if config is not None else CONFIG
                    self.problems.append(printable(f"{name}: no such file, expected the one that {by} names"))
                continue
            except _Unopened as reason:
                self.problems.append(printable(f"{name}: {reason}"))
                return
            self.path = directory / name
            self._read(name, content)
            return

    def _read(self, name: str, content: bytes) -> None:
        # Only where there is a file: without one a start is a tenth shorter.
        from chatgpt_platform.settings.yaml_nodes import from_yaml  # noqa: PLC0415

        try:
            findings = walk.read(TREE, from_yaml(_decode(content)))
        except Unreadable as unreadable:
            line = f"{unreadable.line}:" if unreadable.line else ""
            self.problems.append(printable(f"{name}:{line} {unreadable.text}"))
            return
        for path, (value, number) in findings.values.items():
            self.values[path] = Found(value, f"{name}:{number}", printable(f"{name}:{number}: {path}"))
        for path, numbers in findings.lists.items():
            self.lists[path] = tuple(printable(f"{name}:{number}") for number in numbers)
        self.refused.update(trouble.path for trouble in findings.troubles)
        for trouble in sorted(findings.troubles, key=lambda each: each.line):
            path = f"{trouble.path}: " if trouble.path else ""
            self.problems.append(printable(f"{name}:{trouble.line}: {path}{trouble.text}"))


def _system_file(environment: Mapping[str, str]) -> str:
    if sys.platform == "win32":
        return str(Path(environment.get("PROGRAMDATA") or r"C:\ProgramData") / WINDOWS_FILE)
    else:  # noqa: RET505 - the type checker knows one platform at a time
        return SYSTEM_FILE


def _content(path: Path) -> bytes:
    """What the file holds. Raises ``FileNotFoundError`` and ``_Unopened``."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if path.is_dir():
            raise _Unopened("is a directory, expected a file") from None
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not a valid name"
        raise _Unopened(f"cannot be read: {reason}") from None
    if len(content) > LARGEST:
        raise _Unopened("is larger than 1 MiB, expected a configuration file")
    return content


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(content.count(b"\n", 0, error.start) + 1, "not UTF-8") from None


class _Flags(Layer):
    """The flags of the command line. A path that is no setting is a mistake of the program: ``KeyError``."""

    def __init__(self, flags: Mapping[str, object]) -> None:
        super().__init__()
        for path, value in flags.items():
            if value is not None:
                self._read(path, value)

    def _read(self, path: str, value: object) -> None:
        kind = SETTINGS[path].kind
        flag = "--" + path.rpartition(".")[2].replace("_", "-")
        try:
            node: Node = kind.node(value.strip()) if isinstance(value, str) else from_json(json.dumps(value))
            self.values[path] = Found(kind.parse(node), f"flag {flag}", flag)
        except Unreadable as unreadable:
            self.refused.add(path)
            self.problems.append(f"{flag}: {unreadable.text}")
        except Unusable as unusable:
            self.refused.add(path)
            self.problems.extend(printable(f"{flag}: {fault.text}") for fault in unusable.faults)
