"""Ledgers with known calls, for the tests of what is told of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from chatgpt_platform.ledger.ledger import Ledger
from chatgpt_platform.ledger.rows import COLUMNS

_USUAL: Final[dict[str, Any]] = {
    "time": 0.0, "request_id": "req_1", "key": "anna", "client": "192.0.2.1", "endpoint": "chat/completions",
    "model": "gpt-4o-mini", "upstream": "openai", "status": 200, "prompt_tokens": 10, "cached_tokens": 4,
    "completion_tokens": 20, "cost": 13_200_000, "priced": 1, "duration_ms": 12.5, "first_byte_ms": 5.0,
    "stream": 0, "outcome": "complete", "usage": "reported",
}  # fmt: skip


def row(**values: Any) -> tuple[Any, ...]:
    """A call as the ledger takes it, usual but for these values."""
    assert not values.keys() - _USUAL.keys()
    return tuple({**_USUAL, **values}[name] for name in COLUMNS)


def write(directory: Path, rows: Iterable[tuple[Any, ...]], zone_shift: int = 0) -> None:
    """Record these calls, as a gateway would that ends then."""
    ledger = Ledger(directory, 0, 0, zone_shift, logging.getLogger("tests.ledgers"))
    ledger.open()
    try:
        for each in rows:
            ledger.add(each)
        assert ledger.settle(20)
    finally:
        ledger.close()
