"""The keys of the key store as the running gateway has them, and the watch on what others change of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chatgpt_platform.errors import ConfigurationError, StartError
from chatgpt_platform.settings.sharing import VirtualKey
from chatgpt_platform.settings.virtual_keys import key_from

if TYPE_CHECKING:
    from chatgpt_platform.accounts.keystore import StoredKey

WATCH_EVERY: Final = 0.4
"""Seconds between two looks at the key store: a revoked key stops within a second."""


class StoredKeys:
    """All keys of one directory, the revoked ones too."""

    def __init__(self, directory: Path, logger: logging.Logger) -> None:
        """Raises ConfigurationError, and StartError where the keys cannot be read."""
        # SQLite is a twentieth of a start: only those who keep something pay for it.
        from chatgpt_platform.accounts.keystore import KeyStore, StoreError  # noqa: PLC0415

        self._passing: Final = (StoreError, ConfigurationError)
        self._log: Final = logger
        self._store: Final = KeyStore(directory)
        self.digest: Final = self._store.digest
        """Under which a key stands in the store."""
        self._watching: asyncio.Task[None] | None = None
        self._on_change: Callable[[], None] = lambda: None
        self._stale = False
        """The store has changed since ``keys`` were read."""
        self._looks = 0
        try:
            self.keys: Sequence[tuple[StoredKey, VirtualKey]] = self._read()
        except StoreError as error:
            raise StartError(str(error)) from None

    def watch(self, on_change: Callable[[], None]) -> None:
        """Call ``on_change`` from now on whenever ``keys`` are others."""
        self._on_change = on_change
        self._watching = asyncio.create_task(self._watch(on_change), name="watch the key store")

    def look(self) -> bool:
        """Look at the store at once, for a key that may have been made a moment ago. Whether ``keys`` are others
        now."""
        try:
            self._stale = self._store.changed() or self._stale  # which it tells but once
            if not self._stale:
                return False
            self.keys = self._read()
        except self._passing:
            return False  # the next look of the watch tells of it
        self._stale = False
        self._looks += 1
        self._on_change()
        return True

    async def close(self) -> None:
        """Let go of the files."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))
        self._store.close()

    async def _watch(self, on_change: Callable[[], None]) -> None:
        troubled = False
        while True:
            await asyncio.sleep(WATCH_EVERY)
            try:
                self._stale = await asyncio.to_thread(self._store.changed) or self._stale
                if self._stale:
                    looks, keys = self._looks, await asyncio.to_thread(self._read)
                    if looks == self._looks:  # else ``look`` has read them later
                        self.keys, self._stale = keys, False
                        on_change()
                troubled = False
            except Exception as error:  # noqa: BLE001 - whatever it is, a key that is revoked later is to stop
                if not troubled:
                    fault = None if isinstance(error, self._passing) else error
                    self._log.error("the keys that are known stay in force: %s", error, exc_info=fault)
                troubled = True

    def _read(self) -> Sequence[tuple[StoredKey, VirtualKey]]:
        found = []
        for each in self._store.all():
            try:
                options = json.loads(each.options)
                found.append((each, key_from(options, f"key {each.name}", name=each.name)))
            except (ConfigurationError, ValueError, RecursionError) as error:
                self._log.error("the key %s does not count: %s", each.name, error)
        return found
