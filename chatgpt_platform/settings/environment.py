"""What the environment says: each setting's variables, and those variables with ``_FILE`` appended."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

from chatgpt_platform.settings import walk
from chatgpt_platform.settings.declaration import Section, Setting, variable
from chatgpt_platform.settings.kinds import Unusable
from chatgpt_platform.settings.layers import Found, Layer
from chatgpt_platform.settings.nodes import Unreadable, from_json
from chatgpt_platform.settings.schema import LISTS, SETTINGS
from chatgpt_platform.settings.text import printable

CONFIG: Final = "CHATGPT_CONFIG"
_FILE: Final = "_FILE"
_LARGEST: Final = 2**20


class Given(NamedTuple):
    """A variable that says something: ``text`` is its own or that of the file it names (then ``name`` says so)."""

    name: str
    text: str

    def found(self, value: object) -> Found:
        return Found(value, f"environment variable {self.name}", self.name)


class Environment(Layer):
    """Reads all variables at once."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        super().__init__()
        self._environment: Final = environment
        self._directory: Final = directory
        for section in LISTS.values():
            self._read_list(section)
        for setting in SETTINGS.values():
            self._read_setting(setting)
        self.problems.extend(_unknown(environment))

    def _read_list(self, section: Section) -> None:
        """``CHATGPT_UPSTREAMS``: the list as JSON, in place of the file's."""
        first: tuple[str, int, dict[str, object]] | None = None
        for given in self._given([variable(section.path)]):
            try:
                findings = walk.read(section, from_json(given.text))
            except Unreadable as unreadable:
                self._refuse(section.path, f"{given.name}: {unreadable.text}")
                continue
            for trouble in findings.troubles:
                self._refuse(trouble.path, f"{given.name}: {trouble.path}: {trouble.text}")
            values = {path: given.found(value) for path, (value, _) in findings.values.items()}
            places = (given.name,) * len(findings.lists.get(section.path, (0,) * section.least))
            if first is None:
                first = given.name, len(places), _plain(values)
                self.lists[section.path] = places
                self.values.update(values)
            elif first[1:] != (len(places), _plain(values)):
                self._differ(section.path, given.name, first[0])

    def _read_setting(self, setting: Setting) -> None:
        for given in self._given(setting.variables):
            try:
                self._keep(setting, given.found(setting.kind.parse(setting.kind.node(given.text))))
            except Unreadable as unreadable:
                self._refuse(setting.path, f"{given.name}: {unreadable.text}")
            except Unusable as unusable:
                for fault in unusable.faults:
                    where = f"{setting.path}{fault.where}: " if fault.where else ""
                    self._refuse(setting.path, f"{given.name}: {where}{fault.text}")

    def _keep(self, setting: Setting, found: Found) -> None:
        """Take a value; a second name for the setting must agree with the first."""
        former = self.values.setdefault(setting.path, found)
        if found.value != former.value:
            self._differ(setting.path, found.place, former.place)

    def _refuse(self, path: str, problem: str) -> None:
        self.problems.append(printable(problem))
        self.refused.add(path)

    def _differ(self, path: str, *names: str) -> None:
        text = f"found two different values for {path}, expected only one of them to be set"
        self._refuse(path, f"{' and '.join(names)}: {text}")

    def _given(self, names: Iterable[str]) -> Iterator[Given]:
        for name in names:
            if text := self._environment.get(name, "").strip():
                yield Given(name, text)
            if path := self._environment.get(name + _FILE, "").strip():
                try:
                    yield Given(name + _FILE, _content(self._directory / path))
                except _NoContent as reason:
                    # The path is not repeated: people put the key itself there.
                    self.problems.append(f"{name}{_FILE}: {reason}")


def _plain(values: Mapping[str, Found]) -> dict[str, object]:
    return {path: found.value for path, found in values.items()}


class _NoContent(Exception):
    """Why the file that a variable names cannot be used."""


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise _NoContent("the file that it names does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if path.is_dir():
            raise _NoContent("it names a directory, expected a file") from None
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "it has no valid name"
        raise _NoContent(f"the file that it names cannot be read: {reason}") from None
    if len(content) > _LARGEST:
        raise _NoContent("the file that it names is larger than 1 MiB")
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise _NoContent("the file that it names is not UTF-8") from None
    if not text:
        raise _NoContent("the file that it names is empty")
    return text


def _unknown(environment: Mapping[str, str]) -> Iterator[str]:
    """Only names with ``__`` are surely meant for us: container platforms set CHATGPT_PORT and the like."""
    known = [name for setting in SETTINGS.values() for name in setting.variables]
    known += [variable(section.path) for section in LISTS.values()]
    usable = {*known, *(name + _FILE for name in known)}
    for name in sorted(environment):
        if name.startswith("CHATGPT_") and "__" in name and name not in usable and environment[name].strip():
            near = get_close_matches(name, known, n=2, cutoff=0.75)
            expected = (
                f"did you mean {' or '.join(near)}?" if near else "expected CHATGPT_ and the path of a setting"
            )
            yield printable(f"{name}: found an unknown variable, {expected}")


def slips(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Variables that are ignored and look as if they were meant: one underscore too few, or a short name
    with ``CHATGPT_`` before it. A line each."""
    known = {name: name for setting in SETTINGS.values() for name in setting.variables}
    meant = {name.replace("_", ""): name for name in known}
    return tuple(
        printable(f"{name} is not a setting and is ignored; did you mean {near}?")
        for name in sorted(environment)
        if name.startswith("CHATGPT_") and "__" not in name and environment[name].strip() and name not in known
        if (near := meant.get(name.replace("_", "")) or known.get(name.removeprefix("CHATGPT_")))
    )
