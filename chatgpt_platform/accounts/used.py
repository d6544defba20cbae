"""What is remembered of an allowance, as JSON in the ledger. Stays interpreted, as ``gateway/shapes`` does."""

from __future__ import annotations

import msgspec


class Used(msgspec.Struct):
    """What was used of an allowance. ``state``: for ``limits.allowance``; the others for people. ``resets``: epoch
    seconds, None for what does not begin anew all at once."""

    spent: int
    held: int
    resets: float | None
    state: list[object]


State = dict[str, Used]
"""By the names of items."""
