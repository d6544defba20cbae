"""One virtual key from elsewhere than the file: its options, as a store keeps and a command line gives them.

Options are what a JSON object says of a key besides its name and secret, under the names that ``keys`` has in
the file: ``{"limits": {"minute": 3}, "budget": ["5.00/month"]}``. They are read by the kinds that read the file.

All errors are ``ConfigurationError``, a line for each problem that begins with its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings import walk
from chatgpt_platform.settings.declaration import Section, Setting, tree
from chatgpt_platform.settings.kinds import Fault, Unusable
from chatgpt_platform.settings.nodes import Scalar, Style, Unreadable, from_json
from chatgpt_platform.settings.schema import value_at
from chatgpt_platform.settings.sharing import NAME, VirtualKey
from chatgpt_platform.settings.text import printable, quoted

_WHOLE: Final = tree(VirtualKey)
_OPTIONS: Final = _WHOLE._replace(
    members=MappingProxyType({name: each for name, each in _WHOLE.members.items() if name not in {"name", "key"}})
)
_LIMITS: Final = _OPTIONS.members["limits"]
FLAGS: Final = tuple(_OPTIONS.members)
"""The names of all options, each of which can be a flag of the command line."""


def name_from(text: str, where: str) -> str:
    """The name of a key, if it can be one. Raises ``ConfigurationError``."""
    try:
        return NAME.parse(Scalar(text, Style.GIVEN))
    except Unusable as unusable:
        raise ConfigurationError([_line(where, "", fault.text) for fault in unusable.faults]) from None


def key_from(options: object, where: str, *, name: str = "") -> VirtualKey:
    """The key with these options, which came from JSON; its secret is empty. Raises ``ConfigurationError``."""
    findings = walk.read(_OPTIONS, from_json(json.dumps(options)))
    if findings.troubles:
        raise ConfigurationError([_line(where, each.path, each.text) for each in findings.troubles])
    given = findings.values
    values = {each.path: given[each.path][0] if each.path in given else each.default for each in _settings()}
    key: VirtualKey = _OPTIONS.build(values, {})
    return replace(key, name=name)


def options_of(key: VirtualKey) -> dict[str, object]:
    """Those options of a key that are not the defaults, as ``key_from`` reads them."""
    options: dict[str, object] = {}
    for each in _settings():
        value = value_at(key, each.path)
        if value != each.default:
            _put(options, each.path, value)
    return options


def options_from(flags: Mapping[str, str]) -> dict[str, object]:
    """The options that a command line gives, as ``key_from`` reads them, over those of before if there are any.

    ``flags``: by the names in ``FLAGS``, as they were typed; lists are comma-separated, and ``limits`` is a list
    as well: ``3/minute,50/hour``. An empty text stands for the default. Raises ``ConfigurationError``.
    """
    options: dict[str, object] = {}
    problems: list[str] = []
    for name, text in flags.items():
        try:
            options[name] = _limits(text) if name == "limits" else _option(name, text.strip())
        except Unreadable as unreadable:
            problems.append(_line(f"--{name}", "", unreadable.text))
        except Unusable as unusable:
            problems += [_line(f"--{name}", "", fault.text) for fault in unusable.faults]
    if problems:
        raise ConfigurationError(problems)
    return options


def _option(name: str, text: str) -> object:
    setting = _OPTIONS.members[name]
    assert isinstance(setting, Setting)
    value = setting.kind.parse(setting.kind.node(text)) if text else setting.default
    return _plain(value)


def _limits(text: str) -> dict[str, object]:
    """``3/minute,50/hour``. Raises ``Unusable``."""
    assert isinstance(_LIMITS, Section)
    limits: dict[str, object] = {}
    faults: list[Fault] = []
    for part in text.split(",") if text.strip() else ():
        amount, _, period = part.strip().partition("/")
        setting = _LIMITS.members.get(period)
        if not isinstance(setting, Setting) or not re.fullmatch("[0-9]+", amount, re.ASCII):
            faults.append(Fault(f"found {quoted(part.strip())}, expected limits such as 3/minute,50/hour"))
            continue
        if period in limits:
            faults.append(Fault(f"found a second limit for a {period}, expected one"))
        try:
            limits[period] = setting.kind.parse(setting.kind.node(amount))
        except Unusable as unusable:
            faults += unusable.faults
    if faults:
        raise Unusable(faults)
    return limits


def _settings() -> Iterator[Setting]:
    return _OPTIONS.settings()


def _put(options: dict[str, Any], path: str, value: object) -> None:
    """Put a value where its path leads to."""
    *groups, last = path.split(".")
    for group in groups:
        options = options.setdefault(group, {})
    options[last] = _plain(value)


def _plain(value: object) -> object:
    """A value as JSON: allowances and networks are texts."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, (bool, int, str)) else str(value)


def _line(where: str, path: str, text: str) -> str:
    return printable(f"{where}: {path}: {text}" if path else f"{where}: {text}")
