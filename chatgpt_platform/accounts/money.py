"""Money as people read it. In the program it is whole numbers of picodollars (10^-12 dollars). Pure."""

from __future__ import annotations

from typing import Final

from chatgpt_platform.settings.allowances import PICODOLLARS

_PLACES: Final = 12
_FEWEST: Final = 2


def dollars(picodollars: int) -> str:
    """Exactly, as decimal dollars: two places at least, and no more than it takes."""
    whole, rest = divmod(abs(picodollars), PICODOLLARS)
    places = f"{rest:0{_PLACES}d}".rstrip("0").ljust(_FEWEST, "0")
    return f"{'-' if picodollars < 0 else ''}{whole}.{places}"
