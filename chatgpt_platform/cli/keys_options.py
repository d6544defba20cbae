"""What can be set for a virtual key: as flags of ``keys``, as JSON in the store, as YAML, and for people.

All of it follows from the declaration of ``keys`` in the settings: a flag reads what the file would, and the JSON
has the members that an entry of the file has, without ``name`` and ``key``, and without what is at its default.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from chatgpt_platform.accounts.keystore import StoreError
from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.declaration import Section, Setting
from chatgpt_platform.settings.kinds import Mismatch, Unusable, yaml_text
from chatgpt_platform.settings.nodes import Scalar, Style, Unreadable
from chatgpt_platform.settings.schema import LISTS
from chatgpt_platform.settings.sharing import VirtualKey
from chatgpt_platform.settings.text import printable, quoted

Options = dict[str, Any]
"""By name what is not at its default: ``{"limits": {"minute": 3}, "budget": ["5.00/month"]}``."""

_KEY: Final = LISTS["keys"].item(0)
_OWN: Final = ("name", "key")
"""Members that are no options."""
_LIMITS: Final = "calls/period such as 3/minute or 50/hour, with second, minute, hour or day"

_METAVARS: Final = {
    "limits": "N/PERIOD,...", "tokens": "N/PERIOD", "budget": "DOLLARS/PERIOD", "models": "PATTERN",
    "expires": "DATE", "addresses": "CIDR", "concurrency": "N",
}  # fmt: skip


def add_flags(parser: argparse.ArgumentParser, *, edit: bool) -> None:
    """A flag for each option. ``edit``: the help says how one is taken back."""
    for name, member in _members():
        text = member.help.replace("%", "%%")
        if name == "prompts":
            parser.add_argument("--prompts", action=argparse.BooleanOptionalAction, help=text)
            continue
        # Each can be given again, or hold several at once, as in a variable of the environment.
        parser.add_argument(f"--{name}", action="append", metavar=_METAVARS[name], help=text)
    if edit:
        parser.epilog = 'What is given replaces all that was set before; "" takes it back to its default.'


def given(arguments: argparse.Namespace) -> Options:
    """What the flags say; None for what goes back to its default.

    Raises ``ConfigurationError`` with a line for each flag that cannot be.
    """
    found: Options = {}
    problems: list[str] = []
    for name, member in _members():
        value = getattr(arguments, name)
        if value is None:
            continue
        try:
            found[name] = _read(name, member, value)
        except Unusable as unusable:
            problems += [printable(f"--{name}: {fault.text}") for fault in unusable.faults]
        except Unreadable as unreadable:
            problems.append(f"--{name}: {unreadable.text}")
        except Mismatch as mismatch:
            problems.append(printable(f"--{name}: found {mismatch.found}, expected {mismatch.expected}"))
    if problems:
        raise ConfigurationError(problems)
    return found


def merged(name: str, text: str, changes: Options) -> str:
    """The JSON of a key's options after changes. Raises as ``read`` does."""
    options = {option: value for option, value in (read(name, text) | changes).items() if value is not None}
    return json.dumps(options, ensure_ascii=False)


def read(name: str, text: str) -> Options:
    """The options of a key of the store. Raises ``StoreError`` where they are none."""
    try:
        options = json.loads(text)
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise StoreError(f"the settings of the key {name} cannot be read; revoke it and make another")
    return options


def of_entry(key: VirtualKey) -> Options:
    """The options of an entry of the file."""
    found = {name: _plain(member, getattr(key, name)) for name, member in _members()}
    return {name: value for name, value in found.items() if value is not None}


def as_yaml(name: str, key: str, options: Options) -> str:
    """An entry of ``keys``, indented as in the file. ``key``: what stands for it there."""
    lines = [f"  - name: {yaml_text(name)}", f"    key: {key}"]
    lines += [f"    {option}: {_yaml(value)}" for option, value in options.items()]
    return "keys:\n" + "\n".join(lines)


def told(options: Options) -> Iterator[tuple[str, str]]:
    """Name and value of each, for people."""
    for name, value in options.items():
        if isinstance(value, dict):
            yield name, ", ".join(f"{number}/{period}" for period, number in value.items())
        elif isinstance(value, list):
            yield name, ", ".join(map(str, value))
        else:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)


def _members() -> Iterator[tuple[str, Setting | Section]]:
    return ((name, member) for name, member in _KEY.members.items() if name not in _OWN)


def _read(name: str, member: Setting | Section, value: bool | list[str]) -> object:
    """Raises ``Unusable``, ``Unreadable`` and ``Mismatch``."""
    if isinstance(value, bool):
        return value or None
    text = value[-1].strip() if name in ("expires", "concurrency") else ",".join(each.strip() for each in value)
    if not text:
        return None
    if isinstance(member, Section):
        return _limits(member, text)
    return _plain(member, member.kind.parse(member.kind.node(text)))


def _limits(section: Section, text: str) -> Mapping[str, int] | None:
    """``3/minute,50/hour``, each period once. Raises ``Mismatch``."""
    limits: dict[str, int] = {}
    for part in text.split(","):
        number, _, period = part.strip().partition("/")
        member = section.members.get(period)
        if not isinstance(member, Setting) or period in limits:
            raise Mismatch(f"{_LIMITS}, each once", found=quoted(part))
        try:
            limits[period] = member.kind.parse(Scalar(number, Style.GIVEN))
        except Unusable:
            raise Mismatch(_LIMITS, found=quoted(part)) from None
    return {period: limits[period] for period in section.members if limits.get(period)} or None


def _plain(member: Setting | Section, value: object) -> object:
    """As JSON has it; None at its default."""
    if isinstance(member, Section):
        return {period: limit for period in member.members if (limit := getattr(value, period))} or None
    if value == member.default:
        return None
    if isinstance(value, tuple):
        return [str(each) for each in value]
    return value


def _yaml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {each}' for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(yaml_text, value))}]"
    return yaml_text(value) if isinstance(value, str) else json.dumps(value)
