"""How ``keys list`` and ``keys show`` show keys: those of the store and those of the configuration alike."""

from __future__ import annotations

import json
import math
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Final

from chatgpt_platform.accounts.keystore import DATABASE, KeyStore, StoredKey, StoreError
from chatgpt_platform.cli import keys_options, keys_use
from chatgpt_platform.ledger.trouble import LedgerError, described
from chatgpt_platform.settings.dates import end_of, zone_of
from chatgpt_platform.settings.load import Loaded
from chatgpt_platform.settings.schema import Settings
from chatgpt_platform.settings.sharing import VirtualKey
from chatgpt_platform.settings.text import printable, quoted
from chatgpt_platform.settings.virtual_keys import key_from, options_of

_HEADINGS: Final = ("NAME", "KEY", "STATE", "CREATED", "EXPIRES", "FROM", "OPTIONS")
_GAP: Final = "  "


@dataclass(frozen=True)
class _Shown:
    """One key. ``hint`` and ``created``: empty and None where the configuration has it, at ``place``."""

    name: str
    hint: str
    place: str
    created: float | None
    revoked: float | None
    former_until: float | None
    options: keys_options.Options

    @property
    def expires(self) -> str:
        return str(self.options.get("expires", ""))

    def state(self, now: float, zone: tzinfo | None) -> str:
        if self.revoked is not None:
            return "revoked"
        return "expired" if now >= end_of(self.expires, zone) else "active"

    def overlaps(self, now: float) -> bool:
        """Whether the key that it had before works as well."""
        return self.former_until is not None and now < self.former_until


def stored(settings: Settings) -> list[StoredKey]:
    """The keys of the store; nothing is made where there is none. Raises as ``KeyStore`` does."""
    directory = Path(settings.state.directory)
    if not settings.state.directory or not (directory / DATABASE).exists():
        return []
    with closing(KeyStore(directory)) as store:
        return store.all()


def places(loaded: Loaded) -> Mapping[str, str]:
    """Where in the configuration each key stands that is declared there, by name."""
    return {
        key.name: f"keys[{index}], {loaded.sources[f'keys[{index}].name']}"
        for index, key in enumerate(loaded.settings.keys)
    }


def print_all(loaded: Loaded, now: float, *, json: bool) -> None:
    """Raises ``StoreError`` and ``ConfigurationError``."""
    zone = zone_of(loaded.settings.budgets.time_zone)
    keys = list(_all(loaded))
    if json:
        _print_json([_as_json(key, now, zone) for key in keys])
    elif keys:
        _print_columns([_HEADINGS, *(_row(key, now, zone) for key in keys)])
    else:
        print("no keys yet; make one with: chatgpt-platform keys create --name NAME", file=sys.stderr)


def print_one(loaded: Loaded, name: str, now: float, *, json: bool) -> None:
    """Raises ``StoreError`` and ``ConfigurationError``."""
    zone = zone_of(loaded.settings.budgets.time_zone)
    key = next((each for each in _all(loaded) if each.name == name), None)
    if key is None:
        raise StoreError(f"there is no key with the name {quoted(name)}; `keys list` tells which there are")
    use = _use(Path(loaded.settings.state.directory), key_from(key.options, name, name=name), now, zone)
    if json:
        _print_json(_as_json(key, now, zone) | use.as_json())
        return
    _print_columns([(f"{about}:", value) for about, value in _facts(key, now, zone)])
    for line in use.lines(zone, plain=not can_write(keys_use.BARS)):
        print(line)


def _use(directory: Path, key: VirtualKey, now: float, zone: tzinfo | None) -> keys_use.Use:
    """What the ledger knows; where it cannot be read, the rest is shown all the same."""
    try:
        return keys_use.of_key(directory, key, now, zone)
    except (LedgerError, sqlite3.Error) as error:
        print(f"shown without its use: {printable(described(error))}", file=sys.stderr)
        return keys_use.Use((), ())


def can_write(text: str) -> bool:
    """Whether standard output has these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _all(loaded: Loaded) -> Iterator[_Shown]:
    """Those of the configuration first: they are what the owner has written down."""
    found = places(loaded)
    for entry in loaded.settings.keys:
        yield _Shown(entry.name, "", found[entry.name], None, None, None, options_of(entry))
    for key in stored(loaded.settings):
        options = keys_options.read(key.name, key.options)
        yield _Shown(key.name, key.hint, "", key.created, key.revoked, key.former_until, options)


def _row(key: _Shown, now: float, zone: tzinfo | None) -> Sequence[str]:
    options = "; ".join(f"{name} {value}" for name, value in keys_options.told(key.options) if name != "expires")
    state = "active, rotated" if key.overlaps(now) else key.state(now, zone)
    created = "-" if key.created is None else f"{datetime.fromtimestamp(key.created, zone):%Y-%m-%d}"
    return (key.name, key.hint or "-", state, created, key.expires or "-", key.place or DATABASE, options or "-")


def _facts(key: _Shown, now: float, zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    yield "name", key.name
    if key.hint:
        yield "key", key.hint
    yield "from", key.place or DATABASE
    yield "state", key.state(now, zone)
    for about, moment in (("created", key.created), ("revoked", key.revoked)):
        if moment is not None:
            yield about, keys_use.moment(moment, zone)
    if key.former_until is not None and key.overlaps(now):
        yield "the key before", f"works until {keys_use.moment(key.former_until, zone)}"
    yield from keys_options.told(key.options)


def _as_json(key: _Shown, now: float, zone: tzinfo | None) -> dict[str, object]:
    end = end_of(key.expires, zone)
    return {
        "name": key.name,
        "hint": key.hint or None,
        "from": key.place or DATABASE,
        "state": key.state(now, zone),
        "created": keys_use.stamp(key.created),
        "expires": None if math.isinf(end) else keys_use.stamp(end),
        "revoked": keys_use.stamp(key.revoked),
        "former_until": keys_use.stamp(key.former_until) if key.overlaps(now) else None,
        "options": key.options,
    }


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=not can_write("…")))


def _print_columns(rows: Sequence[Sequence[str]]) -> None:
    plain = not can_write("…")
    shown = [[printable(cell.replace("…", "...") if plain else cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        print(_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
