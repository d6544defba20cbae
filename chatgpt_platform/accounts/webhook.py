"""Tells a service of the owner's what happened: signed, in order, and tried again until it was heard.

    webhook = Webhook("https://hooks.example/budgets?team=3", "whsec_…", logger)
    webhook.send({"type": "budget.share", "timestamp": …, "data": {…}})
    await webhook.close()

Headers and signature are those of the Standard Webhooks specification, 1.0.0, whose libraries verify them. Only
host and port of the URL are ever logged: services put their secrets into its path or its query.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import random as chance
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from chatgpt_platform.errors import Problem
from chatgpt_platform.upstream.client import Client, Timeouts

QUEUE: Final = 1000
"""Events that wait at most."""

TRIES: Final = 8
"""Of one event; with the pauses between them they take some five hours."""

PATIENCE: Final = 10.0
"""Seconds for one try, from the look-up of the name to the head of the answer."""

FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 7200.0
_FACTOR: Final = 5.0
"""Seconds between two tries: 5, 25, 125, ... and chance makes each up to a quarter shorter or longer."""

LAST_MOMENT: Final = 2.0
"""Seconds that what waits gets when the program ends."""

_PREFIX: Final = "whsec_"
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_HEADERS: Final = b"Content-Type: application/json\r\n"


class _Event(NamedTuple):
    """``id``: the same whenever it is tried."""

    id: str
    kind: str
    body: bytes


class _Failed(Exception):
    """A try that came to nothing; the text says why. ``wait``: seconds that the service asks for, if it does."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        self.wait: Final = wait
        super().__init__(why)


class _Gone(Exception):
    """The service wants no events any more."""


class Webhook:
    """One URL, and the events on their way to it. Belongs to one event loop; only ``close`` waits for anything."""

    def __init__(
        self, url: str, secret: str, logger: logging.Logger, *,
        ca_file: str = "", random: Callable[[], float] = chance.random, wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """``secret``: see ``signing_key``. ``ca_file``: the authorities (PEM) that are believed; by default the
        system's. ``random``: gives numbers from 0 to 1. ``wall``: seconds since the epoch.

        Raises ValueError, which repeats neither, where the URL or the secret cannot be used.
        """
        base, self._path = parts_of(url)
        self._key: Final = signing_key(secret)
        self._client: Final = Client(base, Timeouts(PATIENCE, PATIENCE, PATIENCE, PATIENCE), ca_file=ca_file)
        self.where: Final = self._client.where
        """host:port, for the log."""
        self._logger: Final = logger
        self._random: Final = random
        self._wall: Final = wall
        self._queue: Final[deque[_Event]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closing: Final = asyncio.Event()
        self._gone = False

    def send(self, event: Mapping[str, object]) -> None:
        """Have it delivered after those before it. Never raises, never waits: what cannot be sent is logged."""
        kind = str(event.get("type", "event"))
        if self._gone or self._closing.is_set():
            self._drop(kind, "the service wants no more" if self._gone else "the gateway is ending")
            return
        if len(self._queue) >= QUEUE:
            self._drop(kind, f"{QUEUE} others wait already")
            return
        try:
            body = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            self._drop(kind, f"it cannot be written as JSON ({type(error).__name__})")
            return
        # A lone surrogate has no UTF-8; it becomes a question mark.
        self._queue.append(_Event(f"msg_{secrets.token_hex(16)}", kind, body.encode("utf-8", "replace")))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._deliver(), name="deliver to the webhook")

    async def close(self) -> None:
        """Try what waits once more, for a moment; say what is lost."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=LAST_MOMENT)
            self._task.cancel()  # does nothing to what is done
            await asyncio.wait({self._task})
        while self._queue:
            self._drop(self._queue.popleft().kind, "the gateway ended before it was delivered")
        await self._client.close()

    async def _deliver(self) -> None:
        """Until nothing waits."""
        while self._queue:
            event = self._queue[0]
            try:
                why = await self._persist(event)
            except _Gone:
                self._give_up()
                return
            self._queue.popleft()
            if why:
                self._drop(event.kind, why)

    async def _persist(self, event: _Event) -> str:
        """Try until it was taken, then ""; or why no more tries are made. Raises _Gone."""
        tries = 0
        while True:
            tries += 1
            try:
                await self._try(event)
            except _Failed as failed:
                why, wait = str(failed), pause(tries, self._random, failed.wait)
            else:
                return ""
            if tries == TRIES:
                return f"given up after {TRIES} tries: {why}"
            if self._closing.is_set():
                return f"the gateway is ending, and the last try failed: {why}"
            self._logger.info(
                "the webhook at %s did not take %s: %s; tried again in %d s", self.where, event.kind, why, wait
            )
            await self._rest(wait)

    async def _rest(self, seconds: float) -> None:
        """So long, or until the program ends."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _try(self, event: _Event) -> None:
        """Raises _Failed and _Gone."""
        stamp = str(int(self._wall()))
        lines = f"webhook-id: {event.id}\r\nwebhook-timestamp: {stamp}\r\n"
        lines += f"webhook-signature: {signature(self._key, event.id, stamp, event.body)}\r\n"
        response = self._client.begin(b"POST", self._path, _HEADERS, event.body, trace=lines.encode("ascii"))
        try:
            await response.head()
        except Problem as problem:
            raise _Failed(problem.detail) from None
        finally:
            response.close(linger=True)
        if response.status == 410:
            raise _Gone
        if not 200 <= response.status < 300:
            wait = wait_of(response.header(b"retry-after"), self._wall())
            redirect = ", a redirect, which is not followed" if 300 <= response.status < 400 else ""
            raise _Failed(f"it answered {response.status}{redirect}", wait)

    def _give_up(self) -> None:
        self._gone = True
        self._logger.warning(
            "the webhook at %s answered 410 (Gone): it gets no more events until budgets.webhook is changed or the"
            " gateway restarted",
            self.where,
        )
        while self._queue:
            self._drop(self._queue.popleft().kind, "the service wants no more")

    def _drop(self, kind: str, why: str) -> None:
        self._logger.warning("%s is not sent to the webhook at %s: %s", kind, self.where, why)


def parts_of(url: str) -> tuple[str, bytes]:
    """What ``Client`` takes for a URL, and the path with the query. Raises ValueError, without the URL."""
    if not _VISIBLE.fullmatch(url):
        raise ValueError("the webhook's URL has a space, or a character that must be percent-encoded")
    if "#" in url:
        raise ValueError("the webhook's URL has a fragment (#), which is never sent")
    parts = urlsplit(url)
    path = parts.path or "/"
    return f"{parts.scheme}://{parts.netloc}", f"{path}?{parts.query}".removesuffix("?").encode("ascii")


def signing_key(secret: str) -> bytes:
    """The bytes that sign: those that ``whsec_`` and base64 stand for, or else the text's own.

    Raises ValueError, which does not repeat it.
    """
    if not secret:
        raise ValueError("the webhook has no secret to sign with")
    if not secret.startswith(_PREFIX):
        return secret.encode("utf-8", "surrogatepass")
    text = secret.removeprefix(_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"what follows {_PREFIX} in the webhook's secret is not base64") from None
    if not key:
        raise ValueError(f"nothing follows {_PREFIX} in the webhook's secret")
    return key


def signature(key: bytes, message: str, stamp: str, body: bytes) -> str:
    """The value of ``webhook-signature``. ``message``: the id. ``stamp``: of this try."""
    signed = hmac.digest(key, f"{message}.{stamp}.".encode("ascii") + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode('ascii')}"


def pause(tries: int, random: Callable[[], float], asked: float | None = None) -> float:
    """Seconds until the next try, after so many. ``asked``: at least so long, within the bound."""
    seconds = FIRST_PAUSE * _FACTOR ** (tries - 1)
    seconds = min(LONGEST_PAUSE, seconds) * (0.75 + random() / 2)
    return max(seconds, min(asked or 0.0, LONGEST_PAUSE))


def wait_of(retry_after: bytes | None, now: float) -> float | None:
    """Seconds that a Retry-After asks for: a number or a date (RFC 9110, 10.2.3); None where it is no such thing.

    ``now``: seconds since the epoch.
    """
    text = (retry_after or b"").decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # HTTP's dates are UTC, and "-0000" comes without a zone.
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
