"""How upstreams are at one moment, in the words of the metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chatgpt_platform.observe.metrics import Breaker, KeyState, UpstreamState
from chatgpt_platform.upstream import breaker, keys
from chatgpt_platform.upstream.upstream import Upstream

_BREAKERS: Final = {
    breaker.State.CLOSED: Breaker.CLOSED,
    breaker.State.HALF_OPEN: Breaker.HALF_OPEN,
    breaker.State.OPEN: Breaker.OPEN,
}
_KEYS: Final = {
    keys.State.WORKS: KeyState.IN_USE,
    keys.State.RESTING: KeyState.RESTING,
    keys.State.ASIDE: KeyState.SET_ASIDE,
}


def of_upstreams(upstreams: Iterable[Upstream], now: float) -> tuple[UpstreamState, ...]:
    """Each of them as it is. ``now``: the loop's time, in seconds."""
    return tuple(
        UpstreamState(
            each.name,
            _BREAKERS[each.breaker.state(now)],
            tuple(_KEYS[key.state(now)] for key in each.keys.keys),
            each.under_way,
            each.client.connections,
        )
        for each in upstreams
    )
