"""Kinds for what a virtual key may spend, and for prices: amounts of tokens and of money.

Money is a whole number of picodollars (10^-12 dollars) everywhere in the code, so that no sum is ever rounded: a
price of $0.15 per million tokens is 150,000 picodollars a token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from chatgpt_platform.settings.containers import ListOf
from chatgpt_platform.settings.kinds import Fault, Mismatch, ScalarKind, TextKind, Unusable
from chatgpt_platform.settings.nodes import Array, Node, Scalar, Style

PICODOLLARS: Final = 10**12
"""In a dollar."""

ROLLING: Final = "rolling"
_CALENDAR: Final = ("day", "week", "month", "year", "total")
_BUCKETS: Final = MappingProxyType({"second": 1, "minute": 60, "hour": 3600})
_UNITS: Final = MappingProxyType({"m": 60, "h": 3600, "d": 86400})
_LONGEST: Final = 3660 * 86400  # ten years
_DECIMAL: Final = r"(?:0|[1-9][0-9]{0,6})(?:\.[0-9]{1,6})?"
_MOST_DOLLARS: Final = 1_000_000  # what a ledger adds up stays far below 2^63 picodollars


@dataclass(frozen=True, slots=True)
class Allowance:
    """An amount for each period. ``amount``: tokens, or picodollars.

    ``period`` and ``seconds``: "second", "minute" or "hour" with the 1, 60 or 3600 seconds in which a bucket of
    this capacity fills; "day", "week" (from Monday), "month", "year" or "total" (which never begins anew) with 0,
    by the calendar of ``budgets.time_zone``; or "rolling" with 60 or more: any stretch as long as this.
    ``text``: as it was written, which ``str`` gives; two that mean the same are equal.
    """

    amount: int
    period: str
    seconds: int
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text or f"{self.amount}/{f'{self.seconds}s' if self.period == ROLLING else self.period}"


class _AllowanceKind(TextKind[Allowance]):
    """``AMOUNT/PERIOD``."""

    words: tuple[str, ...]
    example: str
    amounts: str

    def __init__(self) -> None:
        self.expected = (
            f"{self.name} such as {self.example}: {self.amounts}, and {', '.join(self.words)} or a duration of "
            "1m to 3660d such as 24h or 30d"
        )

    def read(self, text: str) -> Allowance:
        amount, _, period = text.partition("/")
        return Allowance(self.amount(amount), *self._period(period), text)

    def amount(self, text: str) -> int:
        """The amount, more than none. Raises ``Mismatch``."""
        raise NotImplementedError

    def _period(self, text: str) -> tuple[str, int]:
        if text in self.words:
            return text, _BUCKETS.get(text, 0)
        match = re.fullmatch("([1-9][0-9]{0,6})([mhd])", text, re.ASCII)
        seconds = int(match[1]) * _UNITS[match[2]] if match else 0
        if not 60 <= seconds <= _LONGEST:
            raise Mismatch
        return ROLLING, seconds

    def _schema(self, amount: str) -> dict[str, object]:
        return {"type": "string", "pattern": f"^{amount}/({'|'.join(self.words)}|[1-9][0-9]{{0,6}}[mhd])$"}

    def yaml(self, value: Allowance) -> str:
        return str(value)  # nothing in it that needs quotes


class TokenAllowance(_AllowanceKind):
    """Tokens for each period: ``100000/day``, ``2k/minute``, ``5M/30d``."""

    name = "tokens/period"
    example = "100k/day"
    amounts = "a whole number, with k or M for thousands or millions"
    words = (*_BUCKETS, *_CALENDAR)
    _AMOUNT: Final = "[1-9][0-9]{0,15}[kM]?"
    _FACTORS: Final = MappingProxyType({"k": 1000, "M": 1_000_000})
    _MOST: Final = 10**15

    def amount(self, text: str) -> int:
        if not re.fullmatch(self._AMOUNT, text, re.ASCII):
            raise Mismatch
        amount = int(text.rstrip("kM")) * self._FACTORS.get(text[-1], 1)
        if amount > self._MOST:
            raise Mismatch(f"at most {self._MOST} tokens")
        return amount

    def json_schema(self) -> dict[str, object]:
        return self._schema(self._AMOUNT)


class MoneyAllowance(_AllowanceKind):
    """Dollars for each period: ``5.00/month``, ``0.25/24h``."""

    name = "dollars/period"
    example = "5.00/month"
    amounts = "a number with at most 6 places"
    words = _CALENDAR

    def amount(self, text: str) -> int:
        amount = _dollars(text)
        if amount == 0:
            raise Mismatch(f"more than 0, as {self.example}")
        return amount

    def json_schema(self) -> dict[str, object]:
        return self._schema(_DECIMAL.replace("(?:", "("))


class Allowances(ListOf[Allowance]):
    """Some allowances of one kind, no two of them for one period."""

    def parse(self, node: Node) -> tuple[Allowance, ...]:
        allowances = super().parse(node)
        items = node.items if isinstance(node, Array) else ()
        first: dict[tuple[str, int], Allowance] = {}
        faults = []
        for index, (item, each) in enumerate(zip(items, allowances, strict=True)):
            other = first.setdefault((each.period, each.seconds), each)
            if other is not each:
                text = f'found "{each}" beside "{other}", expected one for each period'
                faults.append(Fault(text, item.line, f"[{index}]"))
        if faults:
            raise Unusable(faults)
        return allowances


class Price(ScalarKind[int]):
    """Dollars for a million tokens, at most 6 places; the value is picodollars a token."""

    name = "dollars"
    expected = "dollars for a million tokens, 0 to 1000000, such as 0.15"

    def convert(self, node: Scalar) -> int:
        if node.style is Style.QUOTED:
            raise Mismatch(f"{self.expected}, without quotes")
        return _dollars(node.text) // 1_000_000

    def json_schema(self) -> dict[str, object]:
        return {"type": "number", "minimum": 0, "maximum": _MOST_DOLLARS}

    def yaml(self, value: int) -> str:
        whole, millionths = divmod(value, 1_000_000)
        return f"{whole}.{millionths:06}".rstrip("0").rstrip(".") if millionths else str(whole)


class OptionalPrice(ScalarKind[int | None]):
    """A price, or none where it is empty."""

    name = "dollars"
    expected = f'{Price.expected}, or ""'

    def __init__(self) -> None:
        self._price: Final = Price()

    def convert(self, node: Scalar) -> int | None:
        return self._price.convert(node) if node.text else None

    def json_schema(self) -> dict[str, object]:
        return {"anyOf": [self._price.json_schema(), {"type": "string", "enum": [""]}]}

    def yaml(self, value: int | None) -> str:
        return '""' if value is None else self._price.yaml(value)


def _dollars(text: str) -> int:
    """The picodollars of a decimal number of dollars. Raises ``Mismatch``."""
    if not re.fullmatch(_DECIMAL, text, re.ASCII):
        more = re.fullmatch(r"[0-9]+\.[0-9]{7,}", text, re.ASCII)
        raise Mismatch("at most 6 places behind the point" if more else "")
    whole, _, fraction = text.partition(".")
    amount = int(whole) * PICODOLLARS + int(fraction.ljust(12, "0"))
    if amount > _MOST_DOLLARS * PICODOLLARS:
        raise Mismatch(f"at most {_MOST_DOLLARS} dollars")
    return amount
