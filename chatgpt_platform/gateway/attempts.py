"""Which upstream a call is sent to, and whether and where it is sent again after a failure.

Again only where that is safe: connecting failed, not a byte of the request was written, or the upstream answered
with a complete 429 or 503, or refused the key. Whatever else went wrong, it may have acted on the call, so that is
left to the upstreams with ``retry_unsafe``. Nothing is sent again once a byte has gone to the caller, beyond the
gateway's retry budget, or beyond the call's total time. An upstream that has not failed the call yet comes first;
one that has is asked again after a pause. What the caller sees in the end is the last real failure.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from random import random
from typing import Final
from urllib.parse import quote

import msgspec

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import failures, members
from chatgpt_platform.gateway.call import Call
from chatgpt_platform.gateway.forward import FailedAnswer
from chatgpt_platform.gateway.load import Load
from chatgpt_platform.observe.metrics import Metrics
from chatgpt_platform.upstream.fleet import Fleet
from chatgpt_platform.upstream.keys import Key
from chatgpt_platform.upstream.retries import LONGEST_PAUSE, Budget, pause
from chatgpt_platform.upstream.upstream import Upstream

_UPSTREAMS_FAULTS: Final = (Kind.BAD_UPSTREAM, Kind.UPSTREAM_TIMEOUT)

Failure = Problem | FailedAnswer


class Attempts:
    """Sends calls to the upstreams of one configuration. Who sends one must ``settle`` it once."""

    def __init__(
        self, fleet: Fleet, load: Load, budget: Budget, most: int, metrics: Metrics, logger: logging.Logger,
        *, jitter: Callable[[], float] = random,
    ) -> None:  # fmt: skip
        """``most``: times that a call is sent. ``jitter``: gives numbers from 0 to 1."""
        self._fleet: Final = fleet
        self._load: Final = load
        self._budget: Final = budget
        self._most: Final = most
        self._metrics: Final = metrics
        self._log: Final = logger
        self._jitter: Final = jitter
        self._loop: Final = asyncio.get_running_loop()

    def begin(self, call: Call) -> bool:
        """Send a call for the first time; False where all that could take it have as many calls as they may.

        Raises Problem: none can take it at the moment.
        """
        call.asked_at = now = self._loop.time()
        first = call.candidates[0]
        only = first[0]
        if (
            len(first) == 1 and only.breaker.closed and only.keys.calm and only.under_way < only.most
            and only.rests_until <= now
        ):  # fmt: skip
            self._send(call, only, now)  # as ``choose`` would have it, for most calls
            return True
        upstream = self._fleet.choose(call.candidates, now, keyed=call.own_key is None)
        if upstream is None:
            if any(each.full and _could(each, call, now) for each in _all(call)):
                return False
            raise self._nobody(call, now)
        self._send(call, upstream, now)
        return True

    async def again(self, call: Call, failure: Failure) -> bool:
        """Send a call again that failed, where that is safe and of use. Cancelled while it pauses, it has not."""
        now = self._loop.time()
        upstream = call.upstream
        assert upstream is not None
        if call.asked and _refuses_asking(failure):
            self._send_unasked(call, upstream, failure, now)
            return True
        may = self._judge(call, upstream, failure, now)
        self._let_go(call)
        if not may or call.committed or call.record.attempts >= self._most:
            return False
        called = _named(upstream, call, failure)
        chosen, delay = self._next(call, now)
        if chosen is None or now + delay - call.asked_at >= min(upstream.total, chosen.total):
            return False
        if not self._costs_nothing(call, failure, chosen) and not self._budget.spend(now, self._load.entered):
            _note_reason(call, f"{called}; not sent again: the retry budget is used up")
            return False
        _note_reason(call, called)
        if delay:
            self._wake()
            await asyncio.sleep(delay)
            now = self._loop.time()
            chosen, _ = self._next(call, now)
            if chosen is None or call.committed:
                return False
        self._metrics.retry(upstream.name, _reason(failure))
        self._send(call, chosen, now)
        self._wake()
        return True

    def broke_off(self, call: Call, problem: Problem) -> None:
        """A stream that had begun well went wrong: it is too late to send it again."""
        self.warn(call, str(problem))
        if call.upstream is not None and problem.kind in _UPSTREAMS_FAULTS:
            call.upstream.failed(call.response, problem, self._loop.time())

    def warn(self, call: Call, what: str) -> None:
        """Tell the owner what went wrong with a call whose answer does not show it as a failure of ours."""
        self._log.warning("%s: %s: %s", call.record.request_id, call.record.upstream, what)

    def soonest(self, call: Call) -> float | None:
        """Seconds until one of the keys that rest can be used again, None where none rests."""
        now = self._loop.time()
        waits = [wait for each in _all(call) if (wait := each.keys.rests_for(now)) is not None]
        return min(waits, default=None)

    def settle(self, call: Call) -> None:
        """A call is over, for whatever reason. May be repeated."""
        load, upstream = self._load, call.upstream
        if upstream is not None and upstream.breaker.closed and call.response is not None:
            # As ``_let_go`` does it, where no breaker waits for news: each call passes here.
            call.upstream = None
            call.response.close()
            upstream.under_way -= 1
        else:
            self._let_go(call)
        if call.placed:
            call.placed = False
            load.leave(call.client.key)
        if load.queue:
            load.wake()

    # Inside.

    def _wake(self) -> None:
        """The upstream that a call went to before is free for another."""
        if self._load.queue:
            self._load.wake()

    def _send_unasked(self, call: Call, upstream: Upstream, failure: Failure, now: float) -> None:
        """Send a stream again to an upstream that was asked for its usage and refused that, as the caller has it.

        It is not a call that failed: neither the retry budget nor ``attempts`` have a say.
        """
        key = call.key
        assert key is not None
        upstream.answered(key)
        _note_reason(call, f"{_named(upstream, call, failure)}, it does not take stream_options")
        self._let_go(call)
        call.unasked = (*call.unasked, upstream)
        self._send(call, upstream, now, key)

    def _send(self, call: Call, upstream: Upstream, now: float, key: Key | None = None) -> None:
        keys, record, endpoint = upstream.keys, call.record, call.endpoint
        key = key or call.own_key or (keys.sole if keys.calm else None) or keys.pick(now)
        assert key is not None
        record.upstream = upstream.name
        record.attempts += 1
        call.key = key
        path, body = endpoint.upstream_path, call.body
        if not upstream.plain or call.tail or call.stream_options:
            path, body = _addressed(call, upstream)
        call.response = upstream.begin(
            endpoint.upstream_method, path, key, call.lines, body, call.trace, now - call.asked_at
        )
        call.upstream = upstream  # now it is one of its calls, until it is let go

    def _let_go(self, call: Call) -> None:
        """The present attempt is over."""
        upstream = call.upstream
        if upstream is None:
            return
        call.upstream = None
        if call.response is not None:
            call.response.close()
        upstream.under_way -= 1
        if not upstream.breaker.closed:
            upstream.breaker.ended(call.response)

    def _judge(self, call: Call, upstream: Upstream, failure: Failure, now: float) -> bool:
        """Note what a failure tells of the upstream and its key; whether the call may be sent again."""
        if isinstance(failure, Problem):
            return self._judge_problem(call, upstream, failure, now)
        key, status = call.key, failure.status
        assert key is not None
        if _is_of_key(failure):
            upstream.there()
            if status != 429 or failures.is_out_of_credit(status, failure.body):
                upstream.refused(key, now, "401, it was refused" if status == 401 else f"{status}, no credit left")
            else:
                upstream.busy(key, now, failure.wait)
            if key.own:
                return False
            if not upstream.keys.ready(now):
                call.lost_at = (*call.lost_at, upstream)
            return True
        if status >= 500:
            if status == 503 and failure.wait:
                upstream.rest(now, failure.wait)
            _count_failure(call, upstream, failure.problem, now)
            call.failed_at = (*call.failed_at, upstream)
            return status == 503 or upstream.settings.retry_unsafe
        upstream.answered(key)
        call.failed_at = (*call.failed_at, upstream)
        return status == 408 and upstream.settings.retry_unsafe

    def _judge_problem(self, call: Call, upstream: Upstream, problem: Problem, now: float) -> bool:
        if problem.kind not in _UPSTREAMS_FAULTS:
            return False
        _count_failure(call, upstream, problem, now)
        if problem.kind is Kind.UPSTREAM_TIMEOUT:
            call.lost_at = (*call.lost_at, upstream)  # it has had its time
        else:
            call.failed_at = (*call.failed_at, upstream)
        return problem.safe or upstream.settings.retry_unsafe

    def _costs_nothing(self, call: Call, failure: Failure, chosen: Upstream) -> bool:
        """Whether sending a call again burdens nobody who is in trouble."""
        if _is_of_key(failure):
            return True  # the key before is not asked again for a while
        if not self._budget or chosen in call.failed_at or chosen in call.lost_at:
            return False
        if isinstance(failure, Problem):
            return failure.safe  # nothing of it was sent so far
        return failure.status == 503 and not chosen.breaker.failures  # in an outage of all there is no such one

    def _next(self, call: Call, now: float) -> tuple[Upstream | None, float]:
        """Who is asked next, and after how many seconds."""
        keyed, spent = call.own_key is None, (*call.failed_at, *call.lost_at)
        fresh = self._fleet.choose(call.candidates, now, spent, keyed=keyed)
        if fresh is not None:
            return fresh, 0.0
        chosen = self._fleet.choose(call.candidates, now, call.lost_at, keyed=keyed)
        if chosen is None or len(spent) > 1:
            rescue = self._fleet.rescue(call.candidates, now, spent, keyed=keyed)
            if rescue is not None or chosen is None:
                return rescue, 0.0
        delay = max(pause(call.record.attempts, self._jitter), chosen.rests_until - now)
        return (None, 0.0) if delay > LONGEST_PAUSE else (chosen, delay)

    def _nobody(self, call: Call, now: float) -> Problem:
        """Why no upstream can take the call, and when one will: a busy key is the better news than a dead
        service."""
        upstreams = list(_all(call))
        if call.own_key is None:
            waits = [(each.keys.rests_for(now), each) for each in upstreams if each.breaker.admits(now)]
            resting = [(wait, each) for wait, each in waits if wait is not None]
            if resting:
                wait, upstream = min(resting, key=lambda each: each[0])
                call.record.upstream = upstream.name
                detail = "all keys rest, as the upstream asked for by 429"
                return Problem(Kind.UPSTREAM_BUSY, retry_after=_whole(wait), detail=detail)
        upstream = min(upstreams, key=lambda each: each.breaker.opens_in(now))
        call.record.upstream = upstream.name
        seconds = _whole(upstream.breaker.opens_in(now))
        because = upstream.last_problem or Problem(Kind.UNAVAILABLE)
        return Problem(
            Kind.UNAVAILABLE, "upstream_down", retry_after=seconds, seconds=seconds, because=because,
            detail=f"known to be down: {because}",
        )  # fmt: skip


def _addressed(call: Call, upstream: Upstream) -> tuple[bytes, bytes]:
    """Path and body for an upstream that has its own names for models, or its own paths."""
    asked = call.record.model or ""
    model = upstream.rename.get(asked, asked)
    changes: dict[str, object] = {"model": model} if call.body and model != asked else {}
    call.asked = bool(call.stream_options) and upstream.asks_usage and upstream not in call.unasked
    if call.asked:
        changes["stream_options"] = msgspec.Raw(call.stream_options)
    body = members.rewrite(call.body, changes)
    path = call.endpoint.upstream_path
    if call.tail:
        path += b"/" + quote(model, safe="/:@").encode()
    return upstream.dialect.path(path, model), body


def _count_failure(call: Call, upstream: Upstream, problem: Problem, now: float) -> None:
    """Once for each call: one alone, sent again and again, does not take an upstream away from the others."""
    if upstream not in call.failed_at or not upstream.breaker.closed:
        upstream.failed(call.response, problem, now)


def _all(call: Call) -> Sequence[Upstream]:
    return [each for tier in call.candidates for each in tier]


def _could(upstream: Upstream, call: Call, now: float) -> bool:
    """Whether it would take the call, were it not for those that it has."""
    return upstream.breaker.admits(now) and (
        call.own_key is not None or upstream.keys.ready(now) or upstream.keys.all_aside
    )


def _named(upstream: Upstream, call: Call, failure: Failure) -> str:
    """An attempt that failed, for the access log."""
    key = f" key {call.key.number}" if call.key is not None and len(upstream.keys.keys) > 1 else ""
    return f"{upstream.name}{key}: {failure.text if isinstance(failure, Problem) else failure.status}"


def _refuses_asking(failure: Failure) -> bool:
    """Whether an answer may find fault with ``stream_options``, which callers seldom send by themselves."""
    return (
        isinstance(failure, FailedAnswer) and failure.status in (400, 422)
        and (b"stream_options" in failure.body or b"include_usage" in failure.body)
    )  # fmt: skip


def _is_of_key(failure: Failure) -> bool:
    return isinstance(failure, FailedAnswer) and failure.status in (401, 402, 429)


def _reason(failure: Failure) -> str:
    """One of ``metrics.RETRY_REASONS``."""
    if isinstance(failure, Problem):
        return "unsent" if failure.safe else "unsafe"
    if failure.status in (401, 402) or failures.is_out_of_credit(failure.status, failure.body):
        return "key"
    return str(failure.status) if failure.status in (429, 503) else "unsafe"


def _note_reason(call: Call, why: str) -> None:
    record = call.record
    record.reason = f"{record.reason}; {why}" if record.reason else why


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))
