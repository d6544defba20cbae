"""Ledgers with a few calls of a key named anna's, for the tests of what is told of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chatgpt_platform.ledger.rows import Row
from support import ledgers


def row(**values: Any) -> Row:
    """A call of anna's at 192.0.2.1, for $0.0000132, but for these values."""
    usual = {"key": "anna", "client": "192.0.2.1", "cached_tokens": 4, "cost": 13_200_000}
    return ledgers.row(**{**usual, **values})


def write(directory: Path, rows: Iterable[Row], shift: int = 0) -> None:
    """Record these calls, as a gateway would that ends then."""
    with ledgers.opened(directory, shift=shift) as ledger:
        for each in rows:
            ledger.add(each)
        assert ledger.settle(ledgers.WITHIN)
