"""What a call may use of its key's allowances, and what it likely will: by its body, and by the calls before it.

What it may use is held while it runs, so that calls side by side never use more than there is; see
``limits/allowance``. Where allowances are hard, a call may begin only if there is room for all of it, and one that
names no cap on its answer gets one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from chatgpt_platform.accounts.account import Account, Hold, Item, Lack
from chatgpt_platform.accounts.meter import FIRST_GUESS, Meter
from chatgpt_platform.accounts.prices import Price
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import estimate, members, tokens
from chatgpt_platform.gateway.call import Call

_HARD_CAP: Final = 4096
"""Tokens that the answer to a call without a cap has at most, where allowances are hard and the owner has named no
other figure."""


class Reservations:
    """The rules of one configuration."""

    def __init__(self, price: Callable[[str], Price | None], *, hard: bool, cap: int) -> None:
        """``hard``: whether reservations are for the worst case; ``cap``: tokens of an answer to a call without a
        cap, then; 0: a default."""
        self._price: Final = price
        self._hard: Final = hard
        self._cap: Final = cap or _HARD_CAP

    def hold(self, call: Call, account: Account) -> Lack | None:
        """Hold what a call may use; or what stands in the way of that. Raises Problem."""
        meter = call.meter
        if meter is None:
            meter = call.meter = account.meter(call.record.model or "", self._price)
        prompt = estimate.most_prompt_tokens(call.body)
        cap = self._cap_to_add(call, account, meter, prompt) if self._hard else 0
        # Without a cap not less than a common answer: who asked for short ones may ask for long ones now.
        most = cap or call.most_completion
        most = most if most > 0 else max(meter.completion, FIRST_GUESS)
        answer = most * call.copies if call.endpoint.token_members else 0
        used = prompt + answer
        money = 0 if meter.price is None else meter.price.cost(prompt, 0, answer)
        if not account.begin(used, money, time.time(), time.monotonic_ns()):
            lack = self._lack(call, account, meter, prompt, (used, money))
            if lack is not None:
                return lack
            account.hold(used, money)
        call.hold = Hold(account.items, used, money)
        if cap:
            _put_cap(call, cap)
        return None

    def _lack(self, call: Call, account: Account, meter: Meter, most: int, used: tuple[int, int]) -> Lack | None:
        """What stands in the way of what a call will likely use. ``most``: tokens of its prompt. ``used``: tokens
        and picodollars that it may use."""
        if not self._hard:
            rough = estimate.quick_prompt_tokens(call.body)
            prompt = min(meter.prompt(len(call.body), rough), most)
            answer = _likely(call, account, meter, prompt) * call.copies if call.endpoint.token_members else 0
            used = prompt + answer, 0 if meter.price is None else meter.price.cost(prompt, 0, answer)
        return account.lack(*used, time.time(), time.monotonic_ns())

    def _cap_to_add(self, call: Call, account: Account, meter: Meter, prompt: int) -> int:
        """Tokens that an answer is to have at most where the call has no cap; else 0. Raises Problem for a cap
        that means "no limit" to some services."""
        names = call.endpoint.token_members
        if not names or call.most_completion > 0:
            return 0
        if call.most_completion < 0:
            raise Problem(Kind.BAD_REQUEST, "out_of_range", param=names[0], member=names[0], low=1)
        answer, wall, clock = self._cap * call.copies, time.time(), time.monotonic_ns()
        for item in account.items:
            # What is left once all others leave what they hold.
            left = item.allowance.room(wall, clock) + item.allowance.held
            answer = min(answer, _room(item, left, meter, prompt, answer))
        return max(answer // call.copies, 1)


def longest(call: Call, meter: Meter) -> int:
    """Tokens that an answer to a call has at most, or as a rule."""
    return call.most_completion if call.most_completion > 0 else meter.completion


def _likely(call: Call, account: Account, meter: Meter, prompt: int) -> int:
    """Tokens that an answer to a call will likely have. What is but a guess never keeps the first call of a period
    from beginning."""
    answer = longest(call, meter)
    if call.most_completion > 0:
        return answer
    answer *= call.copies
    for item in account.items:
        answer = min(answer, _room(item, item.allowance.amount, meter, prompt, answer))
    return max(answer // call.copies, 1)


def _room(item: Item, amount: int, meter: Meter, prompt: int, most: int) -> int:
    """Tokens of an answer, ``most`` or fewer, for which so much of an allowance has room behind a question."""
    if not item.in_money:
        return amount - prompt
    price = meter.price
    if price is None or not price.output:
        return most
    return (amount - price.cost(prompt, 0, 0)) // price.output


def _put_cap(call: Call, cap: int) -> None:
    """Tell the upstream how many tokens each answer may have at most."""
    name = tokens.token_member(call.endpoint.token_members, call.record.model or "")
    call.body = members.rewrite(call.body, {name: cap})
    call.most_completion = cap
