"""Ledgers in a directory, rows for them, and what they say to their log."""

from __future__ import annotations

import datetime
import logging
import random
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chatgpt_platform.ledger import database, totals
from chatgpt_platform.ledger.inserting import insert_calls
from chatgpt_platform.ledger.ledger import Ledger
from chatgpt_platform.ledger.reports import Query
from chatgpt_platform.ledger.rows import COLUMNS, OUTCOMES, USAGES, Row
from chatgpt_platform.ledger.totals import CLIENTS, SERVICES
from chatgpt_platform.ledger.traits import Traits
from chatgpt_platform.ledger.transactions import transaction
from chatgpt_platform.ledger.upkeep import roll_up

MIDNIGHT = 1_767_225_600
"""2026-01-01T00:00:00Z."""
WITHIN = 10.0
"""Seconds: a guard against hanging."""


def row(**values: Any) -> Row:
    """A complete call at ``MIDNIGHT``, with other values where they are named."""
    usual: dict[str, Any] = {
        "time": MIDNIGHT, "request_id": "r", "key": "ann", "client": "192.0.2.77",
        "endpoint": "/v1/chat/completions", "model": "gpt-4o-mini", "upstream": "openai", "status": 200,
        "prompt_tokens": 10, "cached_tokens": 1, "completion_tokens": 20, "cost": 300, "priced": 1,
        "duration_ms": 12.5, "first_byte_ms": None, "stream": False, "outcome": "complete", "usage": "reported",
    }  # fmt: skip
    assert not values.keys() - usual.keys()
    return tuple((usual | values)[name] for name in COLUMNS)


def mixed(count: int, *, days: int = 20, seed: int = 1) -> list[Row]:
    """Rows of few names, all over so many days."""
    chance = random.Random(seed)
    return [
        row(
            time=MIDNIGHT + chance.random() * days * 86_400, key=chance.choice(("", "ann", "bob")),
            client=f"192.0.2.{chance.randrange(5)}", model=chance.choice(("a", "b")),
            upstream=chance.choice(("", "x")), prompt_tokens=chance.randrange(1000), cost=chance.randrange(10**12),
            priced=chance.randrange(2), outcome=chance.choice(OUTCOMES), usage=chance.choice(USAGES),
        )
        for _ in range(count)
    ]  # fmt: skip


def put(connection: sqlite3.Connection, rows: list[Row], first: int, *, rolled: bool = True) -> None:
    with transaction(connection):
        insert_calls(connection, Traits(connection), rows, first, pytest.fail)
    for kind in (SERVICES, CLIENTS) if rolled else ():
        while roll_up(connection, [kind]):
            pass


def number(connection: sqlite3.Connection, statement: str) -> int:
    (value,) = connection.execute(statement).fetchone()
    return int(value or 0)


def counted(rows: Iterable[Row], query: Query, zone: datetime.tzinfo, shift: int) -> dict[str, tuple[int, ...]]:
    """What a report over rows should say, by hand: sums by name."""
    found: dict[str, list[int]] = {}
    for values in rows:
        one: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
        slot = (int(one["time"]) - shift) // totals.HOUR * totals.HOUR + shift
        if slot + totals.HOUR <= query.since or slot >= query.until:
            continue
        wanted = {"key": query.key, "client": query.client, "model": query.model, "upstream": query.upstream}
        if any(value is not None and one[name] != value for name, value in wanted.items()):
            continue
        moment = datetime.datetime.fromtimestamp(slot, zone)
        one["day"], one["hour"] = moment.date().isoformat(), moment.isoformat(timespec="minutes")
        sums = found.setdefault(one[query.by], [0] * len(totals.SUMS))
        for number, name in enumerate(totals.SUMS):
            sums[number] += {
                "calls": 1, "unpriced": not one["priced"], "estimated": one["usage"] == "estimated",
                **{outcome: one["outcome"] == outcome for outcome in OUTCOMES},
            }.get(name, one.get(name, 0))  # fmt: skip
    return {name: tuple(sums) for name, sums in found.items()}


class Said(logging.Handler):
    """What a logger of its own was told: levels and sentences."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.logger = logging.Logger("ledger")
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


@contextmanager
def opened(
    directory: Path, said: Said | None = None, *, keep: float = 0, size: int = 0, shift: int = 0
) -> Iterator[Ledger]:
    """A running ledger. What it says without a ``said`` being there fails."""
    heard = said or Said()
    ledger = Ledger(directory, keep, size, shift, heard.logger)
    ledger.open()
    try:
        yield ledger
    finally:
        ledger.close()
    assert said is not None or heard.lines == []


def rolled_up(directory: Path, *later: Row) -> None:
    """Put all rows that a ledger holds into its totals, and then some rows behind them."""
    connection = database.open_to_write(directory, pytest.fail)
    try:
        totals.prepare(connection)
        for kind in (SERVICES, CLIENTS):
            while roll_up(connection, [kind]):
                pass
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()
        with transaction(connection):
            insert_calls(connection, Traits(connection), later, last + 1, pytest.fail)
    finally:
        connection.close()


def written(directory: Path, *rows: Row, shift: int = 0) -> None:
    """Put rows into a ledger, once."""
    with opened(directory, shift=shift) as ledger:
        for one in rows:
            ledger.add(one)
        assert ledger.settle(WITHIN)


def set_aside(directory: Path) -> list[Path]:
    """The broken files that were moved aside."""
    return sorted(directory.glob("ledger.db.broken-*"))
