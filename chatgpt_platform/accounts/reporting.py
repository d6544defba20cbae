"""A report of the ledger's figures as people and programs read it: a table, CSV, JSON.

    report = report(figures(...), span, ...)
    table(report)        # for a terminal
    as_csv(report)       # for a spreadsheet
    as_object(report)    # for a program, as it stands in JSON

Money is exact in all of them: picodollars are whole numbers, and all their places are shown.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from chatgpt_platform.accounts import shapes
from chatgpt_platform.accounts.inquiry import Span
from chatgpt_platform.accounts.money import dollars
from chatgpt_platform.ledger.reports import Figures
from chatgpt_platform.settings.text import printable

_LONGEST_NAME: Final = 60
"""Columns of a terminal that a name gets in a table."""

_NO_PRICE: Final = "*"
_ESTIMATE: Final = "~"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Report:
    """Figures, and what they are figures of.

    ``by``: one of ``inquiry.BY``. ``filters``: what the calls were limited to, by the words of
    ``inquiry.FILTERS``. ``left_out``: how many rows are in ``total`` and not in ``rows``.
    """

    span: Span
    zone: tzinfo
    zone_name: str
    by: str
    filters: dict[str, str]
    rows: Sequence[Figures]
    total: Figures
    left_out: int = 0


def report(
    figures: Sequence[Figures], span: Span, zone: tzinfo, zone_name: str, by: str, filters: dict[str, str],
    most: int | None = None,
) -> Report:  # fmt: skip
    """A report of these figures, in their order. ``most``: rows that it may have."""
    kept = figures if most is None else figures[:most]
    return Report(span, zone, zone_name, by, filters, kept, total(figures), len(figures) - len(kept))


def total(rows: Iterable[Figures]) -> Figures:
    """The sum of all rows."""
    columns = list(zip(*(row[1:] for row in rows), strict=True))
    sums = map(sum, columns) if columns else [0] * (len(Figures._fields) - 1)
    return Figures("total", *sums)


def as_object(report: Report) -> dict[str, Any]:
    """The report as it stands in JSON."""
    values = (
        "usage",
        _local(report.span.since, report.zone).isoformat(),
        _local(report.span.until, report.zone).isoformat(),
        report.zone_name,
        report.by,
        report.filters,
        "USD",
        [{report.by: row.name, **_members(row)} for row in report.rows],
        report.left_out,
        _members(report.total),
    )
    return dict(zip(shapes.REPORT, values, strict=True))


def as_csv(report: Report, line_end: str = "\r\n") -> str:
    """The rows as CSV (RFC 4180) under a line of names; no total, which a spreadsheet would add again."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow((report.by, *shapes.FIGURES))
    writer.writerows((_harmless(row.name), *_members(row).values()) for row in report.rows)
    return text.getvalue()


def table(report: Report) -> str:
    """The report for people, lines ended by line feeds."""
    since, until = (f"{_local(each, report.zone):%Y-%m-%d %H:%M}" for each in report.span)
    only = "".join(f", {name} {printable(value) or '(none)'}" for name, value in report.filters.items())
    head = f"Calls from {since} to {until} ({report.zone_name}), by {report.by}{only}"
    if not report.rows:
        return f"{head}: none.\n"
    lines = [head, "", *_aligned(report)]
    lines += [""] if report.total.unpriced or report.total.estimated else []
    if report.total.unpriced:
        lines.append(f"{_NO_PRICE} The model of {_calls(report.total.unpriced)} has no price: not in the cost.")
    if report.total.estimated:
        lines.append(f"{_ESTIMATE} The tokens of {_calls(report.total.estimated)} are estimated.")
    return "\n".join(lines) + "\n"


_COLUMNS: Final[dict[str, Callable[[Figures], str]]] = {
    "calls": lambda row: f"{row.calls:,}",
    "failed": lambda row: f"{row.upstream_failed + row.cut:,}",
    "left": lambda row: f"{row.client_left:,}",
    "denied": lambda row: f"{row.denied:,}",
    "prompt": lambda row: f"{row.prompt_tokens:,}",
    "cached": lambda row: f"{row.cached_tokens:,}",
    "completion": lambda row: f"{row.completion_tokens:,}{_ESTIMATE if row.estimated else ' '}",
    "cost": lambda row: f"${dollars(row.cost)}{_NO_PRICE if row.unpriced else ' '}",
}
"""Those of a table behind the name."""


def _aligned(report: Report) -> list[str]:
    names = [report.by, *(_short(row.name) for row in report.rows), "total"]
    heads = [*_COLUMNS][:-2] + [f"{head} " for head in [*_COLUMNS][-2:]]  # over the figures, not over their marks
    figures = [[column(row) for column in _COLUMNS.values()] for row in (*report.rows, report.total)]
    cells = [heads, *figures]
    first = max(map(_width, names))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        (name + " " * (first - _width(name)) + "".join(f"  {cell:>{width}}" for cell, width in pairs)).rstrip()
        for name, pairs in ((name, zip(row, widths, strict=True)) for name, row in zip(names, cells, strict=True))
    ]


def _members(row: Figures) -> dict[str, Any]:
    """What ``shapes.FIGURES`` says, in its order."""
    return dict(zip(shapes.FIGURES, (*row[1:10], dollars(row.cost), row.unpriced, row.estimated), strict=True))


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number:,} calls"


def _local(moment: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(moment, UTC).astimezone(zone)


def _harmless(name: str) -> str:
    """A name that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    return f"'{name}" if name.startswith(_FORMULA) else name


def _short(name: str) -> str:
    """A name as a table shows it: callers choose models' names, and may choose long and odd ones."""
    name = printable(name) or "(none)"
    if _width(name) <= _LONGEST_NAME:
        return name
    while _width(name) >= _LONGEST_NAME:
        name = name[:-1]
    return name + "…"


def _width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )
