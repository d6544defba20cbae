"""All upstreams, and which of them a call may go to.

fleet = Fleet(settings.upstreams, logger)
choice = fleet.candidates("gpt-4o-mini")
upstream = fleet.choose(choice.keyed, now)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple

from chatgpt_platform.settings import schema
from chatgpt_platform.upstream.upstream import Upstream

_MODELS_KNOWN: Final = 1024
LONGEST_KNOWN: Final = 256
"""Models whose candidates are remembered: how many, and the characters of one; callers may ask for any name."""

Tiers = tuple[tuple[Upstream, ...], ...]
"""Upstreams of equal priority together, those of the lowest figure first."""


class Candidates(NamedTuple):
    """Who may answer for a model.

    ``first``: to which it belongs, and so a key that its caller brings. ``keyed``: those with keys of the owner's.
    """

    first: Upstream
    keyed: Tiers


class Fleet:
    """The upstreams of one configuration."""

    def __init__(
        self, settings: Sequence[schema.Upstream], logger: logging.Logger, former: Fleet | None = None
    ) -> None:
        """``former``: the fleet of the configuration before; what did not change goes on with all that it
        knows."""
        kept: Sequence[Upstream] = former.upstreams if former else ()
        self.upstreams: Final[Sequence[Upstream]] = tuple(
            next((known for known in kept if known.settings == each and not each.ca_file), None)
            or Upstream(each, logger)  # whose authorities may be others now in the same file
            for each in settings
        )
        for upstream in self.upstreams:
            upstream.logger = logger
        ordered = sorted(self.upstreams, key=lambda each: each.settings.priority)
        self._ordered: Final = tuple(ordered)
        self.all_keyed: Final = all(each.keys for each in ordered)
        self.any_keyed: Final = any(each.keys for each in ordered)
        self.remembered: Final = lru_cache(_MODELS_KNOWN)(self._candidates)
        """``candidates`` for names that are not longer than ``LONGEST_KNOWN``, without a detour."""

    async def close(self, but: Fleet | None = None) -> None:
        """Let the connections go, but those of upstreams that another fleet has too."""
        self.remembered.cache_clear()
        kept = but.upstreams if but else ()
        await asyncio.gather(*(each.client.close() for each in self.upstreams if each not in kept))

    def choose(
        self, tiers: Tiers, now: float, avoid: Collection[Upstream] = (), *, keyed: bool = True
    ) -> Upstream | None:
        """The upstream for a call that goes now: of the lowest priority figure, the one with the least to do for
        its weight; None where none can take it. ``keyed``: it must have a key at hand.

        The last resort: one that asked to be left alone, and one whose keys are all set aside.
        """
        resting = False
        for tier in tiers:
            free = [each for each in tier if each.admits(now) and (not keyed or each.keys.ready(now))]
            if avoid:
                free = [each for each in free if each not in avoid]
            if free:
                willing = [each for each in free if each.rests_until <= now]
                if willing:
                    return willing[0] if len(willing) == 1 else _least_loaded(willing)
                resting = True
        return self._last_resort(tiers, now, avoid, keyed=keyed) if resting or keyed else None

    def _last_resort(
        self, tiers: Tiers, now: float, avoid: Collection[Upstream], *, keyed: bool
    ) -> Upstream | None:
        left = [each for tier in tiers for each in tier if each not in avoid and each.admits(now)]
        resting = [each for each in left if not keyed or each.keys.ready(now)]
        if resting:
            return min(resting, key=lambda each: each.rests_until)
        return next((each for each in left if each.keys.all_aside), None) if keyed else None

    def candidates(self, model: str) -> Candidates | None:
        """Who may answer for a model, None where nobody does. No model at all is everybody's."""
        return self.remembered(model) if len(model) <= LONGEST_KNOWN else self._candidates(model)

    def rescue(
        self, tiers: Tiers, now: float, avoid: Collection[Upstream], *, keyed: bool = True
    ) -> Upstream | None:
        """An upstream that is taken to be down, for a call that has nobody else: it may be well again."""
        left = [
            each for tier in tiers for each in tier
            if each not in avoid and not each.breaker.closed and not each.breaker.tried(now) and not each.full
            and (not keyed or each.keys.ready(now))
        ]  # fmt: skip
        return min(left, key=lambda each: each.breaker.opens_in(now), default=None)

    def _candidates(self, model: str) -> Candidates | None:
        serving = [each for each in self._ordered if each.serves(model)]
        if not serving and not model:
            serving = list(self._ordered)
        if not serving:
            return None
        keyed = [each for each in serving if each.keys]
        tiers = tuple(tuple(tier) for _, tier in groupby(keyed, lambda each: each.settings.priority))
        return Candidates(serving[0], tiers)


def _least_loaded(free: Sequence[Upstream]) -> Upstream:
    """The one with the fewest calls for its weight. Equals take turns, by their weights (smooth weighted
    round-robin, as nginx has it)."""
    least = min(each.under_way / each.weight for each in free)
    equals = [each for each in free if each.under_way / each.weight == least]
    if len(equals) == 1:
        return equals[0]
    for each in equals:
        each.credit += each.weight
    chosen = max(equals, key=lambda each: each.credit)
    chosen.credit -= sum(each.weight for each in equals)
    return chosen
