"""The buckets of many clients, in bounded memory.

    store = Store(windows_of(second=1, minute=3, hour=50, day=0), 100_000, warn)
    decision = store.look(client.key, time.monotonic_ns())   # before the body is read: takes nothing
    decision = store.take(client.key, time.monotonic_ns())   # after it: one token of each bucket, or none
    lines = store.admit(client.key, time.monotonic_ns())     # the same, quicker, where it succeeds

A client whose buckets are all full again has no past worth knowing and may be forgotten; a drained one
never is, or it could start afresh by waiting for others to push it out. When ``max_clients`` drained ones
are known, newcomers share one overflow client. And as no one remembers which newcomers used it, every
newcomer that gets a place of its own starts where the overflow client stands: at worst it is charged for
others, but nobody ever gets more than its limit. While there is no overflow, that client is full and
newcomers start full.

With a ``secret``, hour and day buckets outlive the process:

    ledger.save("client", store.changes(time.monotonic_ns(), time.time_ns()))     # now and then
    store.restore(ledger.states("client"), time.monotonic_ns(), time.time_ns())   # before the first call

Nothing here waits or locks: a take is atomic on the event loop's one thread.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple

from chatgpt_platform.limits import bucket
from chatgpt_platform.limits.bucket import SECOND, Windows
from chatgpt_platform.limits.kept import OVERFLOW, Kept
from chatgpt_platform.limits.saved import WINDOWS

_REPORT_EVERY: Final = 60 * SECOND

_FORGET_AT_LEAST: Final = 2
"""Clients that each newcomer tries to forget, so that memory follows the live ones."""

_FORGET_AT_MOST: Final = 1000
"""Clients looked at for one newcomer's place, so that no call waits for a long clean-up."""


_LINES_KNOWN: Final = 1024
"""Header lines that are remembered; many callers stand alike."""


class Decision(NamedTuple):
    """Whether a call is admitted.

    ``retry_after``: 0 when admitted, else the whole seconds, at least 1, after which it would be if the
    client stays quiet. ``headers``: ``RateLimit-Policy`` and ``RateLimit``, none when nothing is limited,
    in the list syntax of draft-ietf-httpapi-ratelimit-headers-10: ``q`` calls in ``w`` seconds, ``r`` left,
    ``t`` seconds until one more.
    """

    admitted: bool
    retry_after: int
    headers: tuple[tuple[bytes, bytes], ...]


_UNLIMITED: Final = Decision(admitted=True, retry_after=0, headers=())


class Store:
    """Who has used how much. ``now``: nanoseconds from 0 up; a clock that goes back counts as standing still.

    ``on_overflow`` is told, at most once a minute, how many calls of newcomers have met a full store since
    the last time.
    """

    def __init__(
        self, windows: Windows, max_clients: int, on_overflow: Callable[[int], None], *, keep: int = 0,
        secret: bytes = b"", prefix: str = "",
    ) -> None:  # fmt: skip
        """``keep``: clients up to which none is forgotten, since to find one again costs less. ``prefix``: of the
        windows' names in header lines, where others stand beside them.

        ``secret``: 16 to 64 bytes under which clients are written down; without it none is.
        """
        self._kept: Final = Kept(secret) if secret else None
        self._prefix: Final = prefix
        self._waiting_until = 0
        """From then on those that still wait for their client since the start are full."""
        self._on_overflow: Final = on_overflow
        self._keep: Final = keep
        self._clients: dict[str, list[int]] = {}
        # One entry for each client: a moment before which it is surely not full. Takes since then only move
        # the true moment on, so an entry is put right when it comes up, not at each take.
        self._due: list[tuple[int, str]] = []
        self.admitted = 0
        self.denied = 0
        """Calls, from the start on."""
        self._now = 0
        self._overflowing = 0
        self._report_at = 0
        self._set(windows, max_clients)
        self._overflow = bucket.fresh(windows)

    def __len__(self) -> int:
        """Clients remembered, not counting the overflow client."""
        return len(self._clients)

    def has_token(self, client: str, now: int) -> bool:
        """Whether ``take`` would admit now: all that most calls need to know of ``look``."""
        buckets = self._known(client)
        return not bucket.wait(self._windows, self._overflow if buckets is None else buckets, self._forward(now))

    def look(self, client: str, now: int) -> Decision:
        """What ``take`` would decide now. Takes nothing, remembers nothing."""
        if not self._windows:
            return _UNLIMITED
        now = self._forward(now)
        buckets = self._known(client)
        known = buckets is not None
        if buckets is None:
            buckets = self._overflow  # where every newcomer starts
        wait = bucket.wait(self._windows, buckets, now)
        if wait and not known and len(self._clients) >= self._max_clients:
            self._report_overflow(now)  # a call that is denied here gets no further: no take will count it
        self.denied += bool(wait)
        return self._decision(buckets, wait, now)

    def take(self, client: str, now: int) -> Decision:
        """Take one token of each of the client's buckets, or of none."""
        decision = self._take(client, now)
        self.admitted += decision.admitted
        self.denied += not decision.admitted
        return decision

    def _take(self, client: str, now: int) -> Decision:
        if not self._windows:
            return _UNLIMITED
        now = self._forward(now)
        buckets = self._known(client)
        if buckets is None:
            return self._take_as_newcomer(client, now)
        wait = bucket.take(self._windows, buckets, now)
        if self._touch is not None and not wait:
            self._touch(client)
        return self._decision(buckets, wait, now)

    def admit(self, client: str, now: int) -> bytes | None:
        """``take`` in one go for most calls: the lines of ``Decision.headers``, each ended by CRLF.

        None, and nothing was taken, where it takes ``take`` to tell more.
        """
        if now > self._now:
            self._now = now
        buckets = self._clients.get(client)
        if buckets is None:
            return self._admit_newcomer(client)
        left = self._spend(buckets, self._now)
        if left is None:
            return None
        if self._touch is not None:
            self._touch(client)
        self.admitted += 1
        return self._lines(left)

    def _admit_newcomer(self, client: str) -> bytes | None:
        if not self._windows:
            return None
        if self._claim(client) is not None:
            return self.admit(client, self._now)
        self._forget(self._now)
        if len(self._clients) >= self._max_clients:
            return None
        buckets = self._overflow.copy()
        left = self._spend(buckets, self._now)
        if left is None:
            return None
        self._remember(client, buckets)
        self.admitted += 1
        return self._lines(left)

    def give_back(self, client: str) -> None:
        """Undo the last take of a client: it was refused elsewhere."""
        buckets = self._clients.get(client)
        if buckets is not None:
            buckets[:] = [
                full_at - window.interval for window, full_at in zip(self._windows, buckets, strict=True)
            ]
            self.admitted -= 1

    def reconfigure(self, windows: Windows, max_clients: int, now: int) -> None:
        """Go on under other limits: tokens used in a window stay used in the window of the same name.

        With a smaller ``max_clients`` the drained clients stay, and newcomers overflow until there is room.
        """
        now = self._forward(now)
        old, known = self._windows, self._clients
        self._set(windows, max_clients)
        self._overflow = bucket.carry(old, windows, self._overflow, now)
        self._clients = {}
        self._due = []
        for client, buckets in known.items():
            carried = bucket.carry(old, windows, buckets, now)
            full = bucket.full_time(windows, carried)
            if full > now:
                self._clients[client] = carried
                self._due.append((full, client))
            elif self._kept is not None:
                self._kept.forgot(client)
        self._order_due()
        if self._touch is not None:  # under other limits other figures are missing
            for client in (OVERFLOW, *self._clients):
                self._touch(client)

    def digest(self, client: str) -> str:
        """Under which name a client is written down; empty without a secret."""
        return self._kept.digest(client) if self._kept is not None else ""

    @property
    def unsaved(self) -> int:
        """Clients that ``changes`` has yet to tell of."""
        return 0 if self._kept is None else self._kept.unsaved

    def changes(self, now: int, wall: int, most: int = 1000) -> dict[str, str]:
        """What is to be written down by now: a text under each name, "" where it is to be deleted.

        Told once: it is taken to be written. ``wall``: the wall clock, in nanoseconds since the epoch. ``most``:
        clients looked at in one go, some 3 us each; the rest comes the next time.
        """
        kept = self._kept
        if kept is None:
            return {}
        now = self._forward(now)
        if kept.waiting and now >= self._waiting_until:
            # They are full: no newcomer need be looked for among them any longer.
            for name in list(islice(kept.waiting, most)):
                self._drop(name)
        return kept.changes(self._clients, self._overflow, self._windows, now, wall, most)

    def restore(self, texts: Mapping[str, str], now: int, wall: int) -> None:
        """Go on from what ``changes`` told before the start; before the first call. Never raises: what cannot be
        read is left out, and deleted."""
        if self._kept is None:
            return
        now = self._forward(now)
        for name, restored in self._kept.restore(texts, self._windows, now, wall):
            if name == OVERFLOW:
                self._overflow = restored.buckets
            else:
                self._clients[name] = restored.buckets
                self._due.append((restored.full, name))
        self._order_due()

    def _set(self, windows: Windows, max_clients: int) -> None:
        self._windows = windows
        kept = self._kept
        saves = kept is not None and any(window.name in WINDOWS for window in windows)
        self._touch = kept.touch if kept is not None and saves else None
        self._spend = bucket.spending(windows)
        self._max_clients = max_clients
        named = [(f"{self._prefix}{window.name}", window) for window in windows]
        policy = ", ".join(f'"{name}";q={window.capacity};w={window.seconds}' for name, window in named)
        self._policy = (b"RateLimit-Policy", policy.encode())
        self._template = ", ".join(f'"{name}";r=%d;t=%d' for name, _ in named).encode()
        lines = b"RateLimit-Policy: %b\r\nRateLimit: %b\r\n" % (self._policy[1], self._template)
        # One client alone has hardly ever the same lines twice.
        remember = lru_cache(_LINES_KNOWN) if max_clients > 1 else _as_it_is
        self._lines: Callable[[tuple[int, ...]], bytes] = remember(lines.__mod__)

    def _forward(self, now: int) -> int:
        """The time, standing still where the clock went back."""
        if now > self._now:
            self._now = now
        return self._now

    def _decision(self, buckets: list[int], wait: int, now: int) -> Decision:
        limits = self._template % bucket.quota(self._windows, buckets, now)
        return Decision(not wait, -(-wait // SECOND), (self._policy, (b"RateLimit", limits)))

    def _take_as_newcomer(self, client: str, now: int) -> Decision:
        self._forget(now)
        has_room = len(self._clients) < self._max_clients
        buckets = self._overflow.copy() if has_room else self._overflow
        wait = bucket.take(self._windows, buckets, now)
        if not has_room:
            self._report_overflow(now)
            if self._touch is not None:
                self._touch(OVERFLOW)
        elif not wait:
            self._remember(client, buckets)
        return self._decision(buckets, wait, now)

    def _remember(self, client: str, buckets: list[int]) -> None:
        self._clients[client] = buckets
        heapq.heappush(self._due, (bucket.full_time(self._windows, buckets), client))
        if self._touch is not None:
            self._touch(client)

    def _forget(self, now: int) -> None:
        """Drop a few clients whose buckets are full, and more where that makes room for one newcomer."""
        due, clients = self._due, self._clients
        if len(clients) < self._keep and len(clients) < self._max_clients:
            return
        for looked in range(_FORGET_AT_MOST):
            if not due or due[0][0] > now:
                return
            if looked >= _FORGET_AT_LEAST and len(clients) < self._max_clients:
                return
            client = due[0][1]
            buckets = clients.get(client)
            full = 0 if buckets is None else bucket.full_time(self._windows, buckets)
            if full > now:
                heapq.heapreplace(due, (full, client))
            else:
                heapq.heappop(due)
                if buckets is not None:  # else it is known by its own name since
                    self._drop(client)

    def _drop(self, client: str) -> None:
        del self._clients[client]
        if self._kept is not None:
            self._kept.forgot(client)

    def _known(self, client: str) -> list[int] | None:
        buckets = self._clients.get(client)
        return self._claim(client) if buckets is None else buckets

    def _claim(self, client: str) -> list[int] | None:
        """The buckets of one that was known before the start, if it is: from now on under its own name."""
        kept = self._kept
        if kept is None or not kept.waiting:
            return None
        digest = kept.digest(client)
        if digest not in kept.waiting:
            return None
        kept.claimed(digest, client)
        buckets = self._clients.pop(digest)
        self._remember(client, buckets)
        return buckets

    def _order_due(self) -> None:
        heapq.heapify(self._due)
        self._waiting_until = max(self._due)[0] if self._due else 0

    def _report_overflow(self, now: int) -> None:
        self._overflowing += 1
        if now >= self._report_at:
            calls, self._overflowing = self._overflowing, 0
            self._report_at = now + _REPORT_EVERY
            self._on_overflow(calls)


def _as_it_is(lines: Callable[[tuple[int, ...]], bytes]) -> Callable[[tuple[int, ...]], bytes]:
    return lines
