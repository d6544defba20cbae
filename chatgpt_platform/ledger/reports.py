"""Who used what: sums by key, client, model, upstream, day or hour, exact at any moment.

A report adds up totals, of spans as long as fit, and the rows that are in no total yet, in one read transaction.
What asks for clients and for other names too is in no total: it is read from the rows, which takes seconds for
millions of them. What asks for clients knows no calls whose rows are gone.
"""

from __future__ import annotations

import datetime
import math
import operator
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from chatgpt_platform.ledger import schema, totals
from chatgpt_platform.ledger.database import connect
from chatgpt_platform.ledger.totals import CLIENT_TOTALS, CLIENTS, HOUR, HOURS, OF_ROWS, SERVICES, TOTALS, Table
from chatgpt_platform.ledger.transactions import transaction

__all__ = ["Figures", "Query", "connect", "figures"]

By: TypeAlias = Literal["key", "client", "model", "upstream", "day", "hour"]


@dataclass(frozen=True)
class Query:
    """What to add up. ``since``, ``until``: epoch seconds, infinite ones allowed; a call counts by when it began.

    Whole hours are told: ``since`` is rounded down to one, ``until`` up.
    """

    since: float
    until: float
    by: By
    key: str | None = None
    client: str | None = None
    model: str | None = None
    upstream: str | None = None


class Figures(NamedTuple):
    """One line of a report. ``cost``: picodollars; ``unpriced``, ``estimated``: calls."""

    name: str
    calls: int
    complete: int
    client_left: int
    upstream_failed: int
    denied: int
    cut: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost: int
    unpriced: int
    estimated: int


_Sums: TypeAlias = tuple[int, ...]
_Filters: TypeAlias = dict[str, str]
_COST: Final = totals.SUMS.index("cost")
_MILLION: Final = 10**6
_NONE: Final = -1
_AFTER_ALL: Final = 2**63 - 1
"""Ids below and above all others."""


def figures(connection: sqlite3.Connection, query: Query, zone: datetime.tzinfo) -> list[Figures]:
    """The lines of a report: days and hours of ``zone`` in their order, as ``2026-01-31`` and
    ``2026-01-31T14:00+02:00``; of all else the dearest first. Raises sqlite3.Error."""
    with transaction(connection, "DEFERRED"):
        added: dict[str | int, _Sums] = {}
        for name, sums in _parts(connection, query):
            _add(added, name, sums)
    if query.by not in ("day", "hour"):
        lines = [Figures(str(name), *sums) for name, sums in added.items()]
        return sorted(lines, key=lambda line: (-line.cost, -line.calls, line.name))
    named: dict[str | int, _Sums] = {}
    for slot in sorted(added, key=int):
        moment = datetime.datetime.fromtimestamp(int(slot), zone)
        _add(
            named,
            moment.date().isoformat() if query.by == "day" else moment.isoformat(timespec="minutes"),
            added[slot],
        )
    return [Figures(str(name), *sums) for name, sums in named.items()]


def _parts(connection: sqlite3.Connection, query: Query) -> Iterator[tuple[str | int, _Sums]]:
    """Names, or slots, with sums; the same one may come several times."""
    marks = totals.marks(connection)
    since, until = _bounds(connection, query, marks["shift"])
    names = {"key": query.key, "client": query.client, "model": query.model, "upstream": query.upstream}
    filters = {name: value for name, value in names.items() if value is not None}
    reader = _Reader(connection, query.by, filters, marks["shift"])
    asked = {*filters} if query.by in ("day", "hour") else {*filters, query.by}
    if asked <= {*HOURS.names}:
        yield from reader.spans(HOURS, since, until)
        after = marks[SERVICES.mark]
    elif asked <= {*TOTALS.names}:
        yield from reader.spans(TOTALS, since, until)
        after = marks[SERVICES.mark]
    elif asked <= {*CLIENT_TOTALS.names} and query.by in CLIENT_TOTALS.names:
        yield from reader.spans(CLIENT_TOTALS, since, until, marks[CLIENTS.mark])
        after = marks[CLIENTS.mark]
    else:
        yield from reader.rows_at(since, until, None)
        return
    yield from reader.rows_behind(after, since, until)


class _Reader:
    """Reads sums by one name, or by the hour, from totals and rows."""

    def __init__(self, connection: sqlite3.Connection, by: By, filters: _Filters, shift: int) -> None:
        self._connection: Final = connection
        self._by: Final = by
        self._filters: Final = filters
        self._shift: Final = shift

    def spans(
        self, table: Table, since: int, until: int, rolled: int = _NONE
    ) -> Iterator[tuple[str | int, _Sums]]:
        """From totals, of the longest spans that fit; what none fits, from rows up to ``rolled``."""
        spans = (HOUR,) if self._by in ("day", "hour") else table.spans
        if spans[0] > HOUR:
            spans = (0, *spans)
        for span, start, end in pieces(since, until, spans, self._shift):
            if span:
                yield from self._totals(table, span, start, end)
            else:
                yield from self.rows_at(start, end, rolled)

    def rows_behind(self, after: int, since: int, until: int) -> Iterator[tuple[str | int, _Sums]]:
        """From the rows that are in no total yet."""
        yield from self._rows("id > ? AND +time >= ? AND +time < ?", (after, since, until))

    def rows_at(self, since: int, until: int, last: int | None) -> Iterator[tuple[str | int, _Sums]]:
        """From the rows of a time, up to an id: from those whose ids are near it, and from the odd ones."""
        end = _AFTER_ALL if last is None else last
        bounds = (since - schema.EARLY) * _MILLION, min((until + schema.LATE + 1) * _MILLION, end)
        yield from self._rows(
            f"id >= ? AND id <= ? AND +time >= ? AND +time < ? AND NOT ({schema.ODD})", (*bounds, since, until)
        )
        yield from self._rows(f"time >= ? AND time < ? AND {schema.ODD} AND +id <= ?", (since, until, end))

    def _rows(self, condition: str, values: tuple[int, ...]) -> Iterator[tuple[str | int, _Sums]]:
        slot = f"(CAST(time AS INTEGER) - {self._shift}) / {HOUR} * {HOUR} + {self._shift}"
        yield from self._read(
            f"SELECT {slot if self._by in ('day', 'hour') else self._by}, {_selected(OF_ROWS)} "  # noqa: S608
            f"FROM calls WHERE true{self._where()} AND {condition} GROUP BY 1",  # names first: they hold for few
            (*self._filters.values(), *values),
        )

    def _totals(self, table: Table, span: int, start: int, end: int) -> Iterator[tuple[str | int, _Sums]]:
        name = "slot" if self._by in ("day", "hour") else self._by
        sums = _selected({sum_: f"sum({sum_})" for sum_ in totals.SUMS})
        if table is TOTALS and "key" in self._filters:
            # From slot to slot, and in each to the key: the lines of all other keys are not read.
            source = (
                "WITH RECURSIVE slots (at) AS (SELECT min(slot) FROM totals WHERE span = ?1 AND slot >= ?2 "  # noqa: S608
                "UNION ALL SELECT (SELECT min(slot) FROM totals WHERE span = ?1 AND slot > at) "
                "FROM slots WHERE at < ?3) "
                f"SELECT {name}, {sums} FROM slots CROSS JOIN totals ON span = ?1 AND slot = at WHERE at < ?3"
            )
        else:
            source = f"SELECT {name}, {sums} FROM {table.name} WHERE span = ?1 AND slot >= ?2 AND slot < ?3"  # noqa: S608
        yield from self._read(f"{source}{self._where()} GROUP BY 1", (span, start, end, *self._filters.values()))

    def _where(self) -> str:
        return "".join(f" AND {name} = ?" for name in self._filters)

    def _read(self, statement: str, values: Iterable[int | str]) -> Iterator[tuple[str | int, _Sums]]:
        for name, *sums in self._connection.execute(statement, (*values,)):
            rest = sums.pop()
            sums[_COST] = sums[_COST] * _MILLION + rest
            yield name, tuple(sums)


def pieces(since: int, until: int, spans: tuple[int, ...], shift: int) -> list[tuple[int, int, int]]:
    """Cut a time into (span, from, to): the longest span where whole ones fit, shorter ones before and behind it.

    ``spans`` ascend; what is left over has the first.
    """
    if since >= until:
        return []
    span, *longer = spans
    if not longer:
        return [(span, since, until)]
    start = -(-(since - shift) // longer[0]) * longer[0] + shift
    end = (until - shift) // longer[0] * longer[0] + shift
    if start >= end:
        return [(span, since, until)]
    inner = pieces(start, end, tuple(longer), shift)
    return [*pieces(since, start, (span,), shift), *inner, *pieces(end, until, (span,), shift)]


def _selected(sums: dict[str, str]) -> str:
    """SQL for the sums; that of the cost in two parts, so that it never passes 64 bits."""
    parts = {**sums, "cost": sums["cost"].replace("(cost)", f"(cost / {_MILLION})")}
    return f"{', '.join(parts.values())}, {sums['cost'].replace('(cost)', f'(cost % {_MILLION})')}"


def _bounds(connection: sqlite3.Connection, query: Query, shift: int) -> tuple[int, int]:
    """``since`` and ``until`` as hours, within those that there may be anything of."""
    odd = f"FROM entries WHERE {schema.ODD}"
    slots = connection.execute(
        "SELECT (SELECT min(slot) FROM hours WHERE span = ?1), (SELECT max(slot) FROM hours WHERE span = ?1), "  # noqa: S608
        "(SELECT min(id) / ?2 - ?3 FROM entries), (SELECT max(id) / ?2 + ?4 FROM entries), "
        f"(SELECT min(time) {odd}), (SELECT max(time) {odd})",
        (HOUR, _MILLION, schema.LATE, schema.EARLY),
    ).fetchone()  # fmt: skip
    known = [slot for slot in slots if slot is not None]
    if not known:
        return 0, 0
    since, until = max(query.since, min(known)), min(query.until, _floor(max(known), shift) + HOUR)
    return _floor(since, shift), -_floor(-until, -shift)


def _floor(moment: float, shift: int) -> int:
    return math.floor((moment - shift) / HOUR) * HOUR + shift


def _add(added: dict[str | int, _Sums], name: str | int, sums: _Sums) -> None:
    before = added.get(name)
    added[name] = sums if before is None else tuple(map(operator.add, before, sums))
