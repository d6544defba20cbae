"""Whether a call may begin under the limits of its key, and what it has used in the end.

For a call with a virtual key all limits are taken together, once its body was read: those of its address, those of
its key, and what it may use of the key's allowances. Where one of them refuses, none is taken.

What it may use is held before it begins (``gateway/reservation``), and settled when it is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from datetime import datetime
from typing import Final

from chatgpt_platform.accounts.account import Account, Lack
from chatgpt_platform.accounts.accounts import ROWS_AT_ONCE, Accounts
from chatgpt_platform.accounts.booking import Row
from chatgpt_platform.accounts.ring import REVOKED
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import estimate
from chatgpt_platform.gateway.call import Call
from chatgpt_platform.gateway.reservation import Reservations, longest
from chatgpt_platform.limits.store import Decision, Store
from chatgpt_platform.observe.access import ESTIMATED, REPORTED, Record
from chatgpt_platform.wire.head import joined

_LASTS: Final = 0.25
"""Seconds after which a call under way is noted at the next opportunity. Both together are less than a second: no
more may a kill take."""

_CLIENT_LEFT: Final = 499

_UNHEARD: Final = ("client_left", "cut")
"""Outcomes of calls whose answers nobody waited for."""


class Accounting:
    """The rules of one configuration."""

    def __init__(
        self, accounts: Accounts, limiter: Store, *, hard: bool, cap: int, wait: float, most_waiting: float,
        log_prompts: bool,
    ) -> None:  # fmt: skip
        """``limiter``: that of addresses. ``hard``: whether reservations are for the worst case; ``cap``: tokens
        of an answer to a call without a cap, then; 0: a default. ``wait``: seconds for which so many calls of a
        key may wait for what its others hold."""
        self._accounts: Final = accounts
        self._anonymous: Final = accounts.anonymous
        self._price: Final = accounts.price
        self._records: Final = accounts.records if accounts.ledger is not None else None
        self._limiter: Final = limiter
        self._reservations: Final = Reservations(accounts.price, hard=hard, cap=cap)
        self._wait: Final = wait
        self._most_waiting: Final = most_waiting
        self._log_prompts: Final = log_prompts

    def look(self, call: Call, account: Account) -> None:
        """Raise Problem for a call that its key's limits would refuse, whatever its body. Takes nothing."""
        limiter = account.limiter
        if limiter is not None and not limiter.has_token(account.name, time.monotonic_ns()):
            raise self._too_many(call, account, limiter)

    def tell_quota(self, call: Call, clock: int) -> Decision:
        """Tell a call that takes nothing how far its limits are used: what those of its address would decide."""
        decision, account = self._limiter.look(call.client.key, clock), call.account
        call.quota = joined(decision.headers)
        if account is not None and account.limiter is not None:
            call.quota += joined(account.limiter.look(account.name, clock).headers)
        return decision

    def count(self, call: Call) -> None:
        """Take a call from the limits of its address and of its key, or from none and raise Problem."""
        account, clock = call.account, time.monotonic_ns()
        limiter = None if account is None else account.limiter
        if account is None or limiter is None:
            call.quota = self._limiter.admit(call.client.key, clock) or self._take(call, clock)
            return
        of_key = limiter.admit(account.name, clock)
        if of_key is None:
            raise self._too_many(call, account, limiter)
        try:
            call.quota = (self._limiter.admit(call.client.key, clock) or self._take(call, clock)) + of_key
        except Problem:
            limiter.give_back(account.name)
            call.quota += joined(limiter.look(account.name, clock).headers)
            raise

    def admit(self, call: Call) -> bool:
        """Take a prepared call's part of all limits; False where it may ``wait``. Raises Problem."""
        account = call.account
        if account is None:
            self.count(call)
            self._anonymous.under_way.add(call)
            return True
        if call.credential is not None and call.credential.until == REVOKED:  # since its head came
            raise Problem(Kind.KEY_REFUSED, "key_revoked")
        if len(account.under_way) >= account.concurrency:
            self.look(call, account)
            return False
        if account.items:
            lack = self._reservations.hold(call, account)
            if lack is not None:
                if lack.passing:
                    return False
                self.tell_quota(call, time.monotonic_ns())
                raise self._refused(account, lack)
        try:
            self.count(call)
        except Problem:
            if call.hold is not None:
                account.release(call.hold)
                call.hold = None
            raise
        account.under_way.add(call)
        return True

    async def wait(self, call: Call) -> None:
        """Until ``admit`` takes a call that may wait. Raises Problem."""
        account = call.account
        assert account is not None
        if len(account.waiting) >= self._most_waiting:
            self.tell_quota(call, time.monotonic_ns())
            raise self._in_use(account)
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        entry = (lambda: self.admit(call), turn)
        timer = loop.call_later(self._wait, _give_up, turn)
        account.waiting.append(entry)
        try:
            if not await turn:
                self.tell_quota(call, time.monotonic_ns())
                raise self._in_use(account)
        except asyncio.CancelledError:
            if call not in account.under_way:
                with contextlib.suppress(Problem):
                    self.count(call)  # whatever its outcome
            raise
        finally:
            timer.cancel()
            with contextlib.suppress(ValueError):
                account.waiting.remove(entry)

    def settle(self, call: Call, status: int) -> None:
        """A call is over: what it used is its account's, and a row of the ledger."""
        account, record = call.account or self._anonymous, call.record
        account.under_way.discard(call)
        outcome = record.outcome
        if not outcome:
            good = status < 400 and record.error is None
            record.outcome = outcome = "complete" if good else _outcome(record, status)
        meter = call.meter or account.meter(record.model or "", self._price)
        prompt, completion = record.prompt_tokens or 0, record.completion_tokens
        if completion is None:
            completion = 0
            if record.usage == ESTIMATED and outcome in _UNHEARD and not record.stream:
                completion = meter.told_by(record.duration_ms, longest(call, meter)) * call.copies
                record.completion_tokens = completion
        price = meter.price
        if price is not None:
            record.cost = cost = price.cost(prompt, record.cached_tokens or 0, completion)
            record.priced = True
        else:
            cost = 0
            record.priced = not (prompt or completion)  # of nothing no price is missing
        hold = call.hold
        if hold is not None:
            call.hold = None
            account.settle(hold, prompt + completion, cost, time.time(), time.monotonic_ns())
            if outcome == "complete" and record.usage == REPORTED:
                answer = -(-completion // call.copies)
                ms = 0.0 if record.stream else record.duration_ms
                meter.learn(len(call.body), prompt, answer, ms, cut=0 < call.most_completion <= answer)
        if account.waiting:
            account.wake()
        records = self._records
        if records is not None:
            records.append(record)
            if len(records) >= ROWS_AT_ONCE:
                self._accounts.write_rows()
        if account.keeps_prompts and record.prompt is not None:
            self._accounts.say(record)
            if not self._log_prompts:
                record.prompt = record.answer = None

    def so_far(self) -> list[Row]:
        """Rows of the calls under way that an upstream has been working on for a while, as if they ended now."""
        now, rows = time.monotonic(), []
        for account in (self._anonymous, *self._accounts.ring.accounts.values()):
            for call in account.under_way:
                assert isinstance(call, Call)
                if call.record.attempts and now - call.started >= _LASTS:
                    rows.append(self._row_so_far(call, account, (now - call.started) * 1000))
        return rows

    # Inside.

    def _row_so_far(self, call: Call, account: Account, ms: float) -> Row:
        meter = account.meter(call.record.model or "", self._price)
        prompt = meter.prompt(len(call.body), estimate.quick_prompt_tokens(call.body))
        if call.stream is not None:
            said = call.stream.pieces
        else:
            said = meter.told_by(ms, longest(call, meter)) * call.copies
        cost = 0 if meter.price is None else meter.price.cost(prompt, 0, said)
        record = call.record.copy()
        record.prompt_tokens, record.completion_tokens, record.usage = prompt, said, ESTIMATED
        record.outcome, record.cost, record.priced, record.duration_ms = "cut", cost, meter.price is not None, ms
        return self._accounts.row(record)

    def _take(self, call: Call, clock: int) -> bytes:
        """What ``limiter.admit`` has no answer to. Raises Problem."""
        decision = self._limiter.take(call.client.key, clock)
        call.quota = joined(decision.headers)
        if not decision.admitted:
            raise denied(decision.retry_after)
        return call.quota

    def _too_many(self, call: Call, account: Account, limiter: Store) -> Problem:
        clock = time.monotonic_ns()
        self.tell_quota(call, clock)
        return denied(limiter.look(account.name, clock).retry_after, "too_many_requests_of_key")

    def _refused(self, account: Account, lack: Lack) -> Problem:
        """Why a call may not begin, whatever those under way leave of what they hold."""
        allowance, seconds = lack.item.allowance, lack.wait
        self._accounts.refused(account, lack.item)
        used_up = allowance.spent >= allowance.amount
        if math.isinf(seconds):
            text = "budget_used_up" if used_up else "budget_too_small"
            return Problem(Kind.OVER_BUDGET, text, budget=lack.item.text)
        whole = max(1, math.ceil(seconds))
        if lack.item.is_rate:
            return denied(whole, "too_many_tokens")
        zone = self._accounts.zone
        when = datetime.fromtimestamp(time.time() + seconds, zone).astimezone(zone)
        return Problem(
            Kind.OVER_BUDGET, "over_budget" if used_up else "budget_low", retry_after=whole, budget=lack.item.text,
            time=when.isoformat(sep=" ", timespec="minutes"),
        )  # fmt: skip

    def _in_use(self, account: Account) -> Problem:
        seconds = max(1, math.ceil(self._wait))
        if len(account.under_way) >= account.concurrency:
            return Problem(Kind.TOO_MANY_REQUESTS, "key_busy", retry_after=seconds, seconds=seconds)
        return Problem(Kind.TOO_MANY_REQUESTS, "budget_in_use", retry_after=seconds, seconds=seconds)


def denied(seconds: int, text: str = "too_many_requests") -> Problem:
    """The Problem of a call above a limit that has room again in so many seconds."""
    return Problem(Kind.TOO_MANY_REQUESTS, text, retry_after=seconds, seconds=seconds)


def _outcome(record: Record, status: int) -> str:
    """How a call went that did not go well, for the ledger."""
    if status == _CLIENT_LEFT:
        return "client_left"
    return "upstream_failed" if record.attempts else "denied"


def _give_up(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)
