"""What the owner is told of each virtual key, as it stands in JSON; never the key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

from chatgpt_platform.accounts import shapes
from chatgpt_platform.accounts.account import Item
from chatgpt_platform.accounts.money import dollars
from chatgpt_platform.settings.dates import end_of
from chatgpt_platform.settings.sharing import VirtualKey

if TYPE_CHECKING:
    from chatgpt_platform.accounts.keystore import StoredKey


def key(
    key: VirtualKey, stored: StoredKey | None, items: Sequence[Item], zone: tzinfo | None, wall: float, clock: int
) -> dict[str, Any]:
    """A key as ``shapes.KEY`` has it. ``stored``: what the key store knows of it; None for one of the settings.
    ``items``: its allowances; none for one that is over. The times are those of ``limits.allowance``."""
    expires = end_of(key.expires, zone)
    values = (
        key.name,
        "store" if stored else "file",
        stored.hint if stored else "",
        _time(stored.created if stored else None),
        _time(expires),
        _time(stored.revoked if stored else None),
        asdict(key.limits),
        [str(each) for each in key.tokens],
        [str(each) for each in key.budget],
        list(key.models),
        [str(each) for each in key.addresses],
        key.concurrency,
        key.prompts,
        [standing(each, wall, clock) for each in items],
    )
    return dict(zip(shapes.KEY, values, strict=True))


def standing(item: Item, wall: float, clock: int) -> dict[str, Any]:
    """An allowance as ``shapes.STANDING`` has it; the times as above."""
    allowance = item.allowance
    left = allowance.room(wall, clock)  # asked first: it brings the others up to date
    amounts = map(dollars if item.unit == "dollars" else str, (allowance.spent, allowance.held, left))
    values = (item.text, item.unit, *amounts, _time(allowance.ends))
    return dict(zip(shapes.STANDING, values, strict=True))


def _time(moment: float | None) -> str | None:
    if moment is None or math.isinf(moment):
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
