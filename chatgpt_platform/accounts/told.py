"""What the owner is told of each virtual key, as it stands in JSON; never the key. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

from chatgpt_platform.accounts import shapes
from chatgpt_platform.accounts.money import dollars
from chatgpt_platform.settings.dates import end_of
from chatgpt_platform.settings.sharing import VirtualKey


class Standing(NamedTuple):
    """How an allowance stands. ``amount``, ``spent``, ``reserved``: tokens, or picodollars.

    ``allowance``: as it was written. ``unit``: ``tokens`` or ``dollars``. ``resets``: epoch seconds at which its
    period ends; infinite for one that has no such end.
    """

    allowance: str
    unit: str
    amount: int
    spent: int
    reserved: int
    resets: float


def key(
    key: VirtualKey, zone: tzinfo | None, standings: Sequence[Standing] = (), *, stored: bool = False,
    hint: str = "", created: float | None = None, revoked: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A key as ``shapes.KEY`` has it. ``stored``: not one of the configuration. Times are epoch seconds."""
    expires = end_of(key.expires, zone) if key.expires else None
    values = (
        key.name,
        "store" if stored else "file",
        hint,
        _time(created),
        _time(expires),
        _time(revoked),
        asdict(key.limits),
        [str(each) for each in key.tokens],
        [str(each) for each in key.budget],
        list(key.models),
        [str(each) for each in key.addresses],
        key.concurrency,
        key.prompts,
        [_standing(each) for each in standings],
    )
    return dict(zip(shapes.KEY, values, strict=True))


def _standing(of: Standing) -> dict[str, Any]:
    figures = (of.spent, of.reserved, of.amount - of.spent - of.reserved)
    spent, reserved, left = map(dollars if of.unit == "dollars" else str, figures)
    resets = None if math.isinf(of.resets) else of.resets
    return dict(zip(shapes.STANDING, (of.allowance, of.unit, spent, reserved, left, _time(resets)), strict=True))


def _time(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
