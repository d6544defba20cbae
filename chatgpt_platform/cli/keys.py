"""``keys``: make, list, show, edit, revoke and rotate virtual keys, and make the owner's token.

A key is shown once, alone on standard output, so that ``KEY=$(chatgpt-platform keys create --name alice)`` works;
what there is to say besides goes to standard error. It is never taken from the command line.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from chatgpt_platform.accounts import tokens
from chatgpt_platform.accounts.keystore import DATABASE, KeyStore, StoreError
from chatgpt_platform.cli import keys_options, keys_shown
from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.kinds import Unusable
from chatgpt_platform.settings.load import Loaded, load
from chatgpt_platform.settings.measures import Duration
from chatgpt_platform.settings.nodes import Scalar, Style
from chatgpt_platform.settings.text import quoted
from chatgpt_platform.settings.virtual_keys import name_from

_OVERLAP: Final = Duration(zero=True, days=True)
_ONCE: Final = "it is shown this once and stored nowhere"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("keys", help="make, list, edit and revoke virtual keys")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    create = _add(actions, "create", _create, "make a key; it alone is written to standard output")
    create.add_argument("--name", required=True, metavar="NAME", help="whose or what for: letters, digits, ._-")
    create.add_argument(
        "--yaml", action="store_true", help="store nothing; tell the entry for the configuration file instead"
    )
    keys_options.add_flags(create)
    _add_format(_add(actions, "list", _list, "list all keys"))
    _add_format(
        _add(actions, "show", _show, "show a key: what it may, what it has left, how it was used", named=True)
    )
    edit = _add(actions, "edit", _edit, "change what a key may", named=True)
    edit.epilog = 'What is given replaces all that was set before; "" takes it back to its default.'
    keys_options.add_flags(edit)
    _add(actions, "revoke", _revoke, "end a key for good, the calls under way with it too", named=True)
    rotate = _add(actions, "rotate", _rotate, "give a key another text, written to standard output", named=True)
    rotate.add_argument(
        "--overlap", default="0s", metavar="DURATION", help="how long the old one works beside it, such as 24h"
    )
    _add(actions, "admin", _admin, "make a token for /admin; it alone is written to standard output")


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    act: Callable[[argparse.Namespace, Mapping[str, str]], int] = arguments.act
    try:
        return act(arguments, environment)
    except StoreError as error:
        return _fail(str(error))


def _add(
    actions: Any, name: str, act: Callable[[argparse.Namespace, Mapping[str, str]], int], text: str,
    *, named: bool = False,
) -> argparse.ArgumentParser:  # fmt: skip
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    if named:
        parser.add_argument("name", metavar="NAME", help="the name of the key")
    parser.add_argument("--config", metavar="FILE", help="the configuration file")
    parser.set_defaults(run=run, act=act)
    return parser


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("table", "json"), default="table", help="table (the default) or json")


def _create(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    name, options = _new_name(arguments.name), keys_options.given(arguments)
    loaded = load(environment, config=arguments.config)
    _assert_free(name, loaded)
    if arguments.yaml:
        return _create_entry(name, options, loaded)
    text = keys_options.merged(name, "{}", options)
    with _open(loaded) as store:
        _show_once(store.create(name, text, time.time()), name)
    _say(f"{name}: this is the key; {_ONCE}")
    return 0


def _create_entry(name: str, options: keys_options.Options, loaded: Loaded) -> int:
    if any(key.name == name for key in keys_shown.stored(loaded.settings)):
        return _fail(f"the name {name} is taken by a key of {DATABASE}; choose another")
    token = tokens.make()
    print(token, flush=True)
    _say(f"{name}: this is the key; {_ONCE}. Its entry in the configuration file:")
    _say(keys_options.as_yaml(name, tokens.fingerprint(token), keys_options.normal(name, options)))
    return 0


def _list(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    loaded = load(environment, config=arguments.config)
    _assert_state(loaded)
    keys_shown.print_all(loaded, time.time(), json=arguments.format == "json")
    return 0


def _show(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    name = _asked_name(arguments.name)
    loaded = load(environment, config=arguments.config)
    _assert_state(loaded)
    keys_shown.print_one(loaded, name, time.time(), json=arguments.format == "json")
    return 0


def _edit(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    name, changes = _asked_name(arguments.name), keys_options.given(arguments)
    if not changes:
        raise ConfigurationError(["keys edit: nothing to change; name what is to be set (see keys edit --help)"])
    with _open_for(name, arguments, environment) as store:
        store.edit(name, lambda text: keys_options.merged(name, text, changes))
    _say(f"{name} is changed; a running gateway goes by it within a second")
    return 0


def _revoke(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    name = _asked_name(arguments.name)
    with _open_for(name, arguments, environment) as store:
        store.revoke(name, time.time())
    _say(f"{name} is revoked; a running gateway stops it within a second")
    return 0


def _rotate(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    name, overlap = _asked_name(arguments.name), _duration(arguments.overlap)
    with _open_for(name, arguments, environment) as store:
        _show_once(store.rotate(name, overlap, time.time()), name)
    former = f"works for another {arguments.overlap}" if overlap else "does not work any more"
    _say(f"{name}: this is the new key; {_ONCE}. The old one {former}")
    return 0


def _admin(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    token = tokens.make()
    print(token, flush=True)
    _say(f"this is the token for /admin; {_ONCE}. The line for the configuration file:")
    _say(f"admin: {{token: {tokens.fingerprint(token)}}}")
    return 0


def _show_once(token: str, name: str) -> None:
    """Print a key that is in force already. Raises OSError."""
    try:
        print(token, flush=True)
    except OSError:
        _say(f"{name}: its key could not be written and is lost; make another with: keys rotate {name}")
        raise


def _open(loaded: Loaded) -> closing[KeyStore]:
    return closing(KeyStore(_assert_state(loaded)))


def _open_for(name: str, arguments: argparse.Namespace, environment: Mapping[str, str]) -> closing[KeyStore]:
    """The store, to change this key. Raises ``StoreError`` for a key of the configuration."""
    loaded = load(environment, config=arguments.config)
    place = keys_shown.places(loaded).get(name)
    if place is not None:
        raise StoreError(f"the key {name} belongs to the configuration ({place}); change it there")
    return _open(loaded)


def _assert_state(loaded: Loaded) -> Path:
    directory = loaded.settings.state.directory
    if not directory:
        line = (
            "state.directory: found none, expected a directory to keep keys in; set it in the configuration "
            "(state: {directory: /var/lib/chatgpt-platform}), or use `keys create --yaml`, which keeps nothing"
        )
        raise ConfigurationError([line])
    return Path(directory)


def _assert_free(name: str, loaded: Loaded) -> None:
    place = keys_shown.places(loaded).get(name)
    if place is not None:
        raise StoreError(f"the name {name} is taken by a key of the configuration ({place}); choose another")


def _new_name(text: str) -> str:
    """A name for a key. Raises ``ConfigurationError``."""
    return name_from(_asked_name(text), "--name")


def _asked_name(text: str) -> str:
    if tokens.claims(text):
        raise ConfigurationError(["keys: found a key itself, expected the name of one; `keys list` tells them"])
    return text


def _duration(text: str) -> float:
    """Seconds. Raises ``ConfigurationError``."""
    try:
        return _OVERLAP.parse(Scalar(text, Style.GIVEN))
    except Unusable as unusable:
        line = f"--overlap: found {quoted(text)}, expected {_OVERLAP.expected}"
        raise ConfigurationError([line]) from unusable


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _fail(reason: str) -> int:
    _say(f"keys: {reason}")
    return 1
