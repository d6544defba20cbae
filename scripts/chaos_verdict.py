"""The verdict of scripts/chaos.py on what callers got and what upstreams saw. Pure.

What counts as wrong:

- a caller that stayed did not get exactly one well-formed outcome, or one that is not its own;
- a status that nothing which happened explains; success though no upstream answered, failure though one did;
- a call was sent again after an upstream may have acted on it;
- of the calls that met only safe faults while a healthy upstream existed, fewer than 99.9 % succeeded.

An upstream was healthy for a call where, in the whole of the call's time, it had no outage, no fault happened on
any of its calls, and nothing was left of an earlier one: no Retry-After that had not passed, no circuit breaker
that a fault may have opened (chaos_faults says how long that is taken to last). A call under way at the moment an
outage cut the upstreams' open connections may have been lost on one, which no upstream sees; such a call counts as
having met a fault that is not safe. So does a stream whose caller had got a heartbeat when the fault came: nothing
is sent again after a byte went to the caller.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import chaos_answers
from chaos_answers import Kind, Outcome
from chaos_faults import KEY_FAULTS, MAY_GO_ON, SAFE, VALID, Schedule
from chaos_load import End, Told

SHARE = 0.999

_LAX = frozenset({"bad-json", "bad-utf8", "error-first", "error-later", "named-error"})
"""Faults of a body, which the OpenAI API passes on as it is."""

_SENDS_ERROR = frozenset({"error-later", "named-error"})
"""Faults that are an error event of the upstream's own and a clean end, passed on as it is."""

_ALWAYS = frozenset({429, 502, 503, 504})
_STATUSES = {
    "403": {403},
    "404": {400, 404},
    "408": {408},
    "500": {500},
    "529": {529},
    "error-first": {500},
    "named-error": {529},
}
"""Statuses that only these faults explain. On the platform API 5xx are 502, so 500 is a fault of the gateway's."""


@dataclass(frozen=True)
class Arrival:
    """A call as an upstream saw it. `at`: Unix seconds. `fault`: what it met, empty: a sound answer."""

    at: float
    upstream: str
    fault: str

    @property
    def is_good(self) -> bool:
        """Whether it was answered well."""
        return not self.fault or self.fault in VALID


@dataclass
class Verdict:
    """What the run came to. `guilty`: the calls that show a fault of the gateway's, and what it is."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    arrivals: int = 0
    fair: int = 0
    """Calls that met only safe faults while an upstream had no fault, whatever was just before; to be told."""
    fair_failed: list[int] = field(default_factory=list)
    demanded: int = 0
    """Calls that had to succeed."""
    failed: list[int] = field(default_factory=list)
    """Those of them that did not."""
    guilty: dict[int, list[str]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of the calls that had to succeed, those that did."""
        return 1.0 - len(self.failed) / self.demanded if self.demanded else 1.0

    @property
    def is_good(self) -> bool:
        return not self.guilty and self.share >= SHARE


def judge(
    told: Sequence[Told], arrivals: Mapping[int, Sequence[Arrival]], schedules: Sequence[Schedule]
) -> Verdict:
    """Looks at every call. `arrivals`: those of each call's number."""
    verdict = Verdict(arrivals=sum(map(len, arrivals.values())))
    for one in told:
        met = sorted(arrivals.get(one.plan.number, ()), key=lambda arrival: arrival.at)
        verdict.faults.update(arrival.fault or "none" for arrival in met)
        outcome = outcome_of(one, met)
        status = f" {outcome.status}" if outcome.kind is Kind.FAILED else ""
        verdict.outcomes[outcome.kind.value + status] += 1
        wrong = [*_sent_again(met), *_wrong_for_caller(one, met, outcome)]
        if wrong:
            verdict.guilty[one.plan.number] = wrong
        if outcome.kind in (Kind.NONE, Kind.BROKEN) or not met_only_safe(one, met, schedules):
            continue  # broken: the head was out before the fault came, with a heartbeat if no event
        if any(each.is_fair(one.sent, one.ended) for each in schedules):
            verdict.fair += 1
            if outcome.kind is not Kind.GOOD:
                verdict.fair_failed.append(one.plan.number)
        if any(each.is_healthy(one.sent, one.ended) for each in schedules):
            verdict.demanded += 1
            if outcome.kind is not Kind.GOOD:
                verdict.failed.append(one.plan.number)
    return verdict


def outcome_of(one: Told, met: Sequence[Arrival]) -> Outcome:
    """What a call came to for its caller."""
    if one.plan.leaves is not None:
        return Outcome(Kind.NONE)
    if one.end in (End.REFUSED, End.NEVER) or (one.end is End.RESET and not one.raw):
        return Outcome(Kind.WRONG, why=one.end.value)
    lax = one.plan.api == "openai" and bool(met) and met[-1].fault in _LAX
    return chaos_answers.read(one.plan.api, one.raw, one.end, stream=one.plan.stream, lax=lax)


def met_only_safe(one: Told, met: Sequence[Arrival], schedules: Sequence[Schedule]) -> bool:
    """Whether a call met no fault, or only those after which it was to be sent again."""
    safe = all(arrival.is_good or arrival.fault in SAFE | KEY_FAULTS for arrival in met)
    return safe and not any(each.cut_between(one.sent, one.ended) for each in schedules)


def _sent_again(met: Sequence[Arrival]) -> list[str]:
    """Every attempt but the last must have ended in a way that allows another."""
    return [
        f"sent again after {arrival.upstream} met it with {arrival.fault or 'a sound answer'}"
        for arrival in met[:-1]
        if arrival.fault not in MAY_GO_ON
    ]


def _wrong_for_caller(one: Told, met: Sequence[Arrival], outcome: Outcome) -> list[str]:
    wrong = []
    if one.stray:
        wrong.append(f"bytes that belong to no answer: {one.stray[:80]!r}")
    last = met[-1] if met else None
    if outcome.kind is Kind.WRONG:
        wrong.append(outcome.why)
    elif outcome.kind is Kind.GOOD:
        if last is None or not (last.is_good or last.fault in _LAX):
            wrong.append(f"success, though the last attempt met {last.fault if last else 'no upstream'}")
        elif outcome.text and one.plan.name not in outcome.text:
            wrong.append(f"somebody else's answer: {outcome.text[:120]!r}")
        elif not outcome.text and last.is_good:
            wrong.append("success without a text")
    elif outcome.kind in (Kind.FAILED, Kind.BROKEN):
        if last is not None and last.is_good:
            wrong.append(f"{outcome.kind.value} {outcome.status}, though {last.upstream} answered well")
        elif outcome.kind is Kind.FAILED:
            wrong += _wrong_status(one, met, outcome.status)
        elif outcome.clean and not (last is not None and last.fault in _SENDS_ERROR):
            wrong.append("an error event of the gateway's, but then a final chunk")
    return wrong


def _wrong_status(one: Told, met: Sequence[Arrival], status: int) -> list[str]:
    explained = set(_ALWAYS)
    for arrival in met:
        explained |= _STATUSES.get(arrival.fault, set())
        if arrival.fault == "key refused":
            explained.add(401)
    if one.plan.api == "platform":
        explained -= {500, 529, 408}
    return [] if status in explained else [f"status {status}, which nothing explains"]
