"""What a call costs: the owner's prices, laid over the public ones that come with the gateway.

Money is whole picodollars, so that no sum is ever rounded. A model without a price costs nothing; whoever asks is
told so by None. docs/accounting.md has the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple

from chatgpt_platform.settings import walk
from chatgpt_platform.settings.outbound import expression
from chatgpt_platform.settings.schema import LISTS, TREE
from chatgpt_platform.settings.sharing import Price as Rule

REMEMBERED: Final = 4096
"""Models whose price is remembered: callers choose the names, so there may be any number of them."""

_LONGEST_NAME: Final = 256  # as in a rule; a longer one is no model's, and is not looked for


@dataclass(frozen=True, slots=True)
class Price:
    """Picodollars a token. ``cached_input``: for tokens of the prompt that the upstream had cached."""

    input: int
    cached_input: int
    output: int

    def cost(self, prompt: int, cached: int, completion: int) -> int:
        """The picodollars of a call. ``cached``: how many of the ``prompt`` tokens were cached."""
        if cached <= 0:
            return prompt * self.input + completion * self.output
        cached = min(cached, prompt)
        return (prompt - cached) * self.input + cached * self.cached_input + completion * self.output


class _Row(NamedTuple):
    """A rule, ready to be asked. ``rank``: of the rows that match a model, the one with the highest holds."""

    pattern: re.Pattern[str]
    since: str
    rank: tuple[bool, bool, int, int, str, int]
    price: Price


class PriceTable:
    """Prices by model and day. Made once for a configuration, asked on the event loop."""

    def __init__(self, own: Iterable[Rule], shipped: Iterable[Rule]) -> None:
        self._rows: Final = sorted(
            [*_rows(own, own=True), *_rows(shipped, own=False)], key=lambda row: row.rank, reverse=True
        )
        self._day = date.min
        self._found: Final[dict[str, Price | None]] = {}

    def find(self, model: str, day: date) -> Price | None:
        """What this model costs on a day in ``budgets.time_zone``; None: nobody knows.

        ``model``: as the upstream names it.
        """
        if day != self._day:
            self._found.clear()
            self._day = day
        try:
            return self._found[model]
        except KeyError:
            price = self._search(model, day.isoformat())
        if len(model) <= _LONGEST_NAME:
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            self._found[model] = price
        return price

    def _search(self, model: str, day: str) -> Price | None:
        if len(model) > _LONGEST_NAME:
            return None
        return next((row.price for row in self._rows if row.since <= day and row.pattern.match(model)), None)


def price_table(own: Iterable[Rule]) -> PriceTable:
    """The table of the setting ``prices`` over the shipped prices, which are read from their file here."""
    return PriceTable(own, shipped_prices())


@lru_cache(maxsize=1)  # the executable may lose the file while it runs: see cli/unpacked
def shipped_prices() -> tuple[Rule, ...]:
    """The public prices of ``prices.yaml``, read as the setting ``prices`` in a configuration is.

    Raises ``OSError`` or ``ValueError`` where the installation is damaged, naming what is wrong.
    """
    from importlib import resources  # noqa: PLC0415 - only where something has a price

    text = (resources.files("chatgpt_platform") / "accounts" / "prices.yaml").read_text("utf-8")
    # PyYAML takes a tenth of a start.
    from chatgpt_platform.settings.yaml_nodes import from_yaml  # noqa: PLC0415

    findings = walk.read(TREE, from_yaml(text))
    if findings.troubles:
        path, text, line = findings.troubles[0]
        raise ValueError(f"accounts/prices.yaml:{line}: {path}: {text}; install the gateway anew")
    section = LISTS["prices"]
    lengths = {path: len(lines) for path, lines in findings.lists.items()}
    values = {
        setting.path: findings.values.get(setting.path, (setting.default, 0))[0]
        for setting in section.settings(lengths)
    }
    rules: tuple[Rule, ...] = section.build(values, lengths)
    return rules


def _rows(rules: Iterable[Rule], *, own: bool) -> Iterable[_Row]:
    for index, rule in enumerate(rules):
        cached = rule.input if rule.cached_input is None else rule.cached_input
        any_, one = rule.model.count("*"), rule.model.count("?")
        rank = (own, not any_ + one, len(rule.model) - any_ - one, -any_, rule.since, index)
        yield _Row(re.compile(expression(rule.model)), rule.since, rank, Price(rule.input, cached, rule.output))
