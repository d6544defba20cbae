"""The arithmetic and the tables of scripts/bench.py's reports."""

import math
import statistics
from collections.abc import Sequence
from typing import Any, TypeVar

Figures = TypeVar("Figures", bound=tuple[Any, ...])


def median(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure by itself; the rounds are named tuples of one kind."""
    middle = map(statistics.median, zip(*rounds, strict=True))
    return type(rounds[0])(*middle)


def percentile(sorted_values: Sequence[float], percent: float) -> float:
    """The least value that so many percent of all do not exceed; 0 of none."""
    if not sorted_values:
        return 0.0
    return sorted_values[max(0, math.ceil(len(sorted_values) * percent / 100) - 1)]


def times(value: float, yardstick: float) -> str:
    """How many times the yardstick a value is."""
    return f"{value / yardstick:.2f}" if yardstick else "-"


def megabytes(size: float) -> str:
    """Bytes as megabytes."""
    return f"{size / 1e6:.1f}"


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """For a terminal: the first column to the left, the others to the right."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines
    )


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """For a page: as Markdown has it, numbers to the right."""
    rule = ["---:"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *rows])
