"""The keys of one upstream: they take turns; one that is busy rests, one that does not work is set aside. Pure.

| what the upstream answered | the key |
| --- | --- |
| 429 | rests for its Retry-After, an hour at most; without one for a second, then twice as long each time |
| 401, or that there is no credit left | is set aside, and tried again by one call after a minute, two, four |

Keys that are set aside are used all the same where the upstream has no other: so callers see why, and it goes on
by itself once the owner has mended it. ``now`` is in seconds of a clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import quote

REST: Final = 1.0
LONGEST_REST: Final = 60.0
"""Seconds, where the upstream does not say how long."""

ASIDE: Final = 60.0
LONGEST_ASIDE: Final = 3600.0
"""Seconds; also of a rest, however long the upstream asks for: a nonsensical Retry-After takes no key for days."""


class State(Enum):
    """How a key stands."""

    WORKS = "works"
    RESTING = "resting"
    ASIDE = "set aside"


@dataclass(slots=True, eq=False)
class Key:
    """A key that goes upstream, and its header line. ``number``: from 1; 0 for a caller's own.

    Its repr does not show it.
    """

    value: str = field(repr=False)
    header_line: bytes = field(repr=False)
    number: int = 0
    forms: tuple[bytes, ...] = field(init=False, repr=False)
    """How it may stand in an upstream's header lines: as it is, and as URLs have it."""
    ready_at: float = 0.0
    aside: bool = False
    waited: float = 0.0
    """Seconds of the last rest, or of the last time aside; 0: it works."""
    tried: bool = False
    """Set aside, it was given to the one call that tries it again."""

    def __post_init__(self) -> None:
        self.forms = tuple({self.value.encode(), quote(self.value, safe="").encode()})

    @property
    def own(self) -> bool:
        """Whether the caller brought it."""
        return not self.number

    def state(self, now: float) -> State:
        if self.aside:
            return State.ASIDE
        return State.RESTING if self.ready_at > now else State.WORKS


class KeyPool:
    """The keys of one upstream, in their order."""

    __slots__ = ("_turn", "calm", "keys", "sole")

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys: Final = tuple(keys)
        self.calm = bool(keys)
        """All of them work, so ``ready`` need not be asked."""
        self.sole: Final = keys[0] if len(keys) == 1 else None
        """Which ``pick`` gives while it works."""
        self._turn = 0

    def __bool__(self) -> bool:
        return bool(self.keys)

    def ready(self, now: float) -> bool:
        """Whether there is one that may work."""
        for key in self.keys:  # noqa: SIM110 - quicker than a generator, and for each call
            if key.ready_at <= now:
                return True
        return False

    @property
    def all_aside(self) -> bool:
        """Whether none is known to work."""
        return all(key.aside for key in self.keys)

    def pick(self, now: float) -> Key | None:
        """The key whose turn it is; None while all rest."""
        keys = self.keys
        count = len(keys)
        for _ in keys:
            key = keys[self._turn]
            if count > 1:
                self._turn = (self._turn + 1) % count
            if key.ready_at <= now:
                if key.aside:
                    key.ready_at, key.tried = now + key.waited, True  # others wait for what this call finds out
                return key
        if keys and self.all_aside:
            self._turn = (self._turn + 1) % count
            return keys[self._turn]
        return None

    def rests_for(self, now: float) -> float | None:
        """Seconds until the first key that rests is ready again; None where none rests."""
        waits = [key.ready_at - now for key in self.keys if key.ready_at > now and not key.aside]
        return min(waits, default=None)

    def works(self, key: Key, now: float) -> bool:
        """It was answered with something better than a refusal. Returns whether it had been set aside."""
        was_aside = key.aside
        if was_aside or key.ready_at <= now:  # else it is an answer from before it began to rest
            key.aside, key.waited, key.ready_at = False, 0.0, 0.0
            self.calm = not any(each.aside or each.ready_at for each in self.keys)
        return was_aside

    def rest(self, key: Key, now: float, seconds: float | None) -> None:
        """It is busy. ``seconds``: how long the upstream said; None or 0: it did not."""
        if key.aside:
            return
        if not seconds:
            if key.ready_at > now:
                return  # a call that was under way when it began to rest
            key.waited = seconds = min(max(REST, 2 * key.waited), LONGEST_REST)
        key.ready_at = max(key.ready_at, now + min(seconds, LONGEST_ASIDE))
        self.calm = False

    def set_aside(self, key: Key, now: float) -> bool:
        """It does not work. Returns whether that is news."""
        news = not key.aside
        if news:
            key.waited = ASIDE
        elif key.tried:
            key.waited = min(2 * key.waited, LONGEST_ASIDE)
        else:
            return False  # of a call that was under way then, or for which no better key was left
        key.aside, key.tried = True, False
        self.calm = False
        key.ready_at = now + key.waited
        return news
