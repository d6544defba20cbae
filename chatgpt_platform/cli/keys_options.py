"""What can be set for a virtual key: as flags of ``keys``, as JSON in the store, as YAML, and for people.

``settings.virtual_keys`` reads all of it by the declaration of ``keys`` in the configuration file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from chatgpt_platform.accounts.keystore import DATABASE
from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.kinds import yaml_text
from chatgpt_platform.settings.schema import LISTS
from chatgpt_platform.settings.virtual_keys import FLAGS, key_from, options_from, options_of

Options = Mapping[str, Any]
"""By name what is not at its default: ``{"limits": {"minute": 3}, "budget": ["5.00/month"]}``."""

_METAVARS: Final = {
    "limits": "N/PERIOD,...", "tokens": "N/PERIOD", "budget": "DOLLARS/PERIOD", "models": "PATTERN",
    "expires": "DATE", "addresses": "CIDR", "concurrency": "N",
}  # fmt: skip
_SINGLE: Final = ("expires", "concurrency")
"""Of these the last counts that is given; of the others all."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each option."""
    members = LISTS["keys"].members
    for name in FLAGS:
        text = members[name].help.replace("%", "%%")
        if name == "prompts":
            parser.add_argument("--prompts", action=argparse.BooleanOptionalAction, help=text)
        else:
            parser.add_argument(f"--{name}", action="append", metavar=_METAVARS[name], help=text)


def given(arguments: argparse.Namespace) -> Options:
    """What the flags say, defaults included that are asked for with an empty text.

    Raises ``ConfigurationError`` with a line for each flag that cannot be.
    """
    flags: dict[str, str] = {}
    for name in FLAGS:
        value = getattr(arguments, name)
        if isinstance(value, bool):
            flags[name] = str(value).lower()
        elif value is not None:
            flags[name] = value[-1] if name in _SINGLE else ",".join(value)
    return options_from(flags)


def merged(name: str, text: str, changes: Options) -> str:
    """The JSON of a key's options after changes. Raises as ``read`` does."""
    return json.dumps(normal(name, {**read(name, text), **changes}), ensure_ascii=False)


def read(name: str, text: str) -> Options:
    """The options of a key of the store. Raises ``ConfigurationError`` where they are none."""
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        options = text
    return normal(name, options)


def normal(name: str, options: object) -> Options:
    """Options without defaults. Raises ``ConfigurationError`` for what are none."""
    try:
        return options_of(key_from(options, f"{DATABASE}: {name}"))
    except ConfigurationError as error:
        cure = f"{DATABASE}: {name}: its settings cannot be read; the cure: revoke it and make another"
        raise ConfigurationError([*error.lines, cure]) from None


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


def _yaml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {each}' for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(yaml_text, value))}]"
    return yaml_text(value) if isinstance(value, str) else json.dumps(value)
