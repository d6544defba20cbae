"""A Call goes in, a Reply comes out: what the gateway and the web server below it say to each other."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from chatgpt_platform.access.address import Client
from chatgpt_platform.accounts.account import Account, Hold
from chatgpt_platform.accounts.meter import Meter
from chatgpt_platform.accounts.ring import Credential
from chatgpt_platform.errors import Problem
from chatgpt_platform.gateway.endpoints import Api, Endpoint
from chatgpt_platform.gateway.parameters import Turn
from chatgpt_platform.observe.access import Record
from chatgpt_platform.upstream.client import Response, Sink
from chatgpt_platform.upstream.fleet import Tiers
from chatgpt_platform.upstream.keys import Key
from chatgpt_platform.upstream.upstream import Upstream

NO_CAP: Final = -1
"""Of a call whose cap on tokens is below 1, which to some services means that there is none."""


class HeadNotes:
    """What was made of a call's head, under one configuration, for all calls whose heads are the same.

    Nothing here depends on the body and its length, on the caller's address or on the time.
    """

    screened: bool = False
    """One of them has passed what is checked of the head."""
    upstream_lines: bytes = b""
    """The header lines that go upstream, with a body and the owner's key; empty until one of them has."""
    credential: Credential | None = None
    """Whose virtual key stands in it."""

    def __repr__(self) -> str:
        """Without the header lines, which are the caller's."""
        return f"<HeadNotes {self.screened=}>"


class Call:
    """One request, as the gateway sees it.

    ``headers``: names in lower case; several of one name are joined by ``, ``. ``query``: the raw query
    string. ``tail``: what follows the endpoint's path (a model's id). ``body`` is empty until it was read.
    ``started``: monotonic seconds. ``notes``: shared by calls with the same head.
    """

    body: bytes = b""
    arrived: bool = False
    """The whole request came at once, so that admission follows its screening immediately."""
    quota: bytes = b""
    """RateLimit header lines, each ended by CRLF, once admission was reached."""
    credential: Credential | None = None
    """The virtual key that it came with."""
    account: Account | None = None
    """Who it is charged to; None where there is nothing to account for."""
    waits: bool = False
    """It has not been admitted: other calls of its key hold what it may use."""
    meter: Meter | None = None
    """Of its model, with this account."""
    hold: Hold | None = None
    """What it holds of its account's allowances."""
    copies: int = 1
    """How many answers it asks for."""
    most_completion: int = 0
    """The tokens that each of them may have; 0: it does not say; ``NO_CAP``."""
    placed: bool = False
    """It is one of the calls under way that ``gateway/load`` counts."""
    candidates: Tiers = ()
    """The upstreams that may answer."""
    own_key: Key | None = None
    """The key that pays, where the caller brought it."""
    lines: bytes = b""
    """The header lines that go upstream, but for the key's; each ended by CRLF."""
    trace: bytes = b""
    """The same of its trace."""
    asked_at: float = 0.0
    """When an upstream was first asked, in the loop's time."""
    upstream: Upstream | None = None
    """Which is asked now, or was last and has not been released."""
    key: Key | None = None
    """Who pays, once the upstream was asked."""
    response: Response | None = None
    """The upstream's answer, once it was asked."""
    failed_at: Sequence[Upstream] = ()
    """The upstreams that failed it, of which others are preferred."""
    lost_at: Sequence[Upstream] = ()
    """Those that are not asked again for it."""
    failure: Problem | None = None
    """What was wrong with an answer that came whole."""
    stream: Stream | None = None
    """The answer that is being passed on."""
    committed: bool = False
    """Something of an answer went to the caller: it is not sent again."""
    stream_options: bytes = b""
    """The member of this name that asks a stream for its usage, as JSON; empty where the caller does so."""
    unasked: Sequence[Upstream] = ()
    """The upstreams that refused to be asked so."""
    asked: bool = False
    """The upstream of ``upstream`` was asked so."""
    refused: Response | None = None
    """An answer that is whole, well, and nothing but an error."""
    turns: Sequence[Turn] = ()
    """On the platform API: the conversation so far, as the upstream was asked to go on with it."""

    def __init__(
        self, endpoint: Endpoint, method: str, tail: str, query: str, headers: Mapping[bytes, bytes],
        client: Client, record: Record, started: float, notes: HeadNotes,
    ) -> None:  # fmt: skip
        self.endpoint = endpoint
        self.method = method
        self.tail = tail
        self.query = query
        self.headers = headers
        self.client = client
        self.record = record
        self.started = started
        self.notes = notes

    def __repr__(self) -> str:
        """Without headers and body, which hold keys."""
        return f"<Call {self.record.request_id}: {self.method} {self.record.path}>"

    @property
    def api(self) -> Api:
        return self.endpoint.api

    @property
    def language(self) -> str:
        """The languages that the caller would like, as its Accept-Language says; may be empty."""
        return self.header(b"accept-language") or ""

    def elapsed_ms(self) -> float:
        """Milliseconds since the call began."""
        return (time.monotonic() - self.started) * 1000

    def header(self, name: bytes) -> str | None:
        """A header's text, or None when it was not sent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


PassChunk = Callable[[bytes, int], bool]
"""Sends a chunk on, frame and all, that brings so many bytes; False where it cannot go as it is."""


class Stream(ABC):
    """A streamed answer: pieces as they come, then the end."""

    broken: bool = False
    """True once the answer broke off: close the connection without ending the body properly."""

    events: bool = True
    """Whether it is one of server-sent events."""

    @property
    def pieces(self) -> int:
        """Tokens of it that have come, as far as can be told before its end."""
        return 0

    @property
    def between_events(self) -> bool:
        """Whether a comment may go to the caller now."""
        return self.events

    @abstractmethod
    async def pump(self, write: Sink, pass_chunk: PassChunk | None = None) -> None:
        """Give ``write`` each piece as soon as it has come. Never raises but for what ``write`` raises.

        ``pass_chunk`` is asked first, for pieces that came as a chunk each and stay as they are.
        """

    @abstractmethod
    def close(self) -> None:
        """Let the upstream go; at once, where it is not done. May be called at any time, and again."""


class Reply:
    """The answer: a head, and either a whole body or a stream. ``length``: bytes of the stream, where known."""

    def __init__(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"", stream: Stream | None = None,
        length: int | None = None,
    ) -> None:  # fmt: skip
        self.status = status
        self.headers = headers
        self.body = body
        self.stream = stream
        self.length = length
