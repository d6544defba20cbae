"""The columns of a row, and the bounds of what they hold."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

Row: TypeAlias = tuple[Any, ...]
"""One call, its values in the order of ``COLUMNS``."""

OUTCOMES: Final = ("complete", "client_left", "upstream_failed", "denied", "cut")
"""How a call may end; ``cut``: the gateway ended it."""
USAGES: Final = ("reported", "estimated", "none")
"""Where the numbers of tokens come from."""

COUNT_LIMIT: Final = 10**10
"""Tokens of one call at most."""
COST_LIMIT: Final = 10**18
"""Picodollars of one call at most: a million dollars."""
TIME_FIRST: Final = 86_400
TIME_LAST: Final = 10**11
"""Epoch seconds that a call may have begun at: a clock that was never set is no reason to lose the row.

The tables of ``schema`` check all of these bounds."""

COLUMNS: Final = (
    "time", "request_id", "key", "client", "endpoint", "model", "upstream", "status", "prompt_tokens",
    "cached_tokens", "completion_tokens", "cost", "priced", "duration_ms", "first_byte_ms", "stream", "outcome",
    "usage",
)  # fmt: skip
"""Of a row as it is added; in the view ``calls`` they stand behind ``id``.

time: epoch seconds, its start; key, upstream: "" for none; cost: picodollars; priced: 0 where there is no price.
Texts are not compared with what they may be: that would cost a third of all that a row costs.
"""
TRAITS: Final = ("key", "endpoint", "model", "upstream", "status", "priced", "stream", "outcome", "usage")
"""What many calls have in common: the table ``traits`` holds each set of them once, and a row names its set."""
ENTRY: Final = tuple(name for name in COLUMNS if name not in TRAITS)
"""What each call has of its own; in the table ``entries`` behind ``id`` and ``traits``."""

SAID_COLUMNS: Final = ("time", "request_id", "key", "client", "prompt", "answer")
"""Of the table ``said``, behind its ``id``."""

_COUNTS: Final = tuple(COLUMNS.index(name) for name in ("prompt_tokens", "cached_tokens", "completion_tokens"))
_COST: Final = COLUMNS.index("cost")
_TIME: Final = COLUMNS.index("time")


def mended(row: Row) -> Row:
    """The row with numbers that are out of bounds brought to their bounds, and half characters to question marks.

    An upstream may report any number of tokens, and a caller may write any name of a model.
    """
    values = [
        value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value for value in row
    ]
    for position, low, high in (
        *((position, 0, COUNT_LIMIT) for position in _COUNTS),
        (_COST, 0, COST_LIMIT),
        (_TIME, TIME_FIRST, TIME_LAST),
    ):
        if position < len(values) and isinstance(values[position], int | float):
            values[position] = min(max(values[position], low), high)
    return tuple(values)
