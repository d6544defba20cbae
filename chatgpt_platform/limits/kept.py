"""Which clients' buckets have moved since they were last written down.

Whoever can read the disk should not learn from it who called: a client is written down under a digest of its
name, keyed, so that trying all addresses does not find it either. As a digest cannot be turned back, those that
were read at the start wait under it in the store until their client calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from chatgpt_platform.limits.bucket import Windows
from chatgpt_platform.limits.saved import Reader, Restored, text_of

OVERFLOW: Final = "overflow"
"""The overflow client's name, here and where it is written down; no digest and no address."""

_SECRET: Final = range(16, 64 + 1)


class Kept:
    """The clients of one store: ``touch`` tells of one that took tokens, ``forgot`` of one that went."""

    def __init__(self, secret: bytes) -> None:
        """``secret``: 16 to 64 bytes, the same at each start. Raises ValueError for others."""
        if len(secret) not in _SECRET:
            raise ValueError(f"the secret for saved addresses has {len(secret)} bytes, expected 16 to 64")
        self._hash: Final = blake2b(key=secret, digest_size=16)
        self.waiting: Final[set[str]] = set()
        """Digests of clients that have not called since the start; in the store these are their names."""
        self._touched: Final[set[str]] = set()
        self.touch: Final = self._touched.add
        self._written: Final[set[str]] = set()
        self._gone: Final[list[str]] = []
        """Digests of which nothing is to stay."""

    def digest(self, client: str) -> str:
        """32 hex digits."""
        hashed = self._hash.copy()
        hashed.update(client.encode())
        return hashed.hexdigest()

    @property
    def unsaved(self) -> int:
        """Names that ``changes`` has yet to tell of."""
        return len(self._gone) + len(self._touched)

    def changes(
        self, clients: Mapping[str, Sequence[int]], overflow: Sequence[int], windows: Windows, now: int, wall: int,
        most: int,
    ) -> dict[str, str]:  # fmt: skip
        """The texts to be written down now, "" for one to be deleted; each is told once."""
        texts = dict.fromkeys(self._gone[:most], "")
        del self._gone[:most]  # first, so that what is written stays bounded as the clients are
        for _ in range(min(most - len(texts), len(self._touched))):
            client = self._touched.pop()  # goes round the set: each comes up before any does again
            buckets = overflow if client == OVERFLOW else clients.get(client)
            text = "" if buckets is None else text_of(windows, buckets, now, wall)
            if text:
                self._written.add(client)
                texts[self._name(client)] = text
            else:
                self._unwrite(client)
        return texts

    def restore(
        self, texts: Mapping[str, str], windows: Windows, now: int, wall: int
    ) -> Iterator[tuple[str, Restored]]:  # fmt: skip
        """The buckets that are not full yet, by digest. The other texts are to be deleted."""
        reader = Reader(windows, now, wall)
        for name, text in texts.items():
            restored = reader.read(text)
            if restored is None:
                self._gone.append(name)
                continue
            self._written.add(name)
            if name != OVERFLOW:
                self.waiting.add(name)
            if restored.ahead:
                self.touch(name)
            yield name, restored

    def claimed(self, digest: str, client: str) -> None:
        """The client whose digest this is has called; it is touched with that."""
        self.waiting.remove(digest)
        self._touched.discard(digest)
        self._written.discard(digest)
        self._written.add(client)

    def forgot(self, client: str) -> None:
        """The store knows it no longer."""
        self._touched.discard(client)
        self._unwrite(client)
        self.waiting.discard(client)

    def _unwrite(self, client: str) -> None:
        if client in self._written:
            self._written.remove(client)
            self._gone.append(self._name(client))

    def _name(self, client: str) -> str:
        return client if client in self.waiting or client == OVERFLOW else self.digest(client)
