"""``GET /v1/models``: the models of all upstreams together, and the aliases.

Each upstream's list is asked for with the owner's key and kept for a while; one that cannot be had just now is
told as it was last, or as far as the settings name its models. Only what an upstream's ``models`` let through is
told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import forward
from chatgpt_platform.gateway.forward import FailedAnswer
from chatgpt_platform.gateway.shapes import Model, ModelList
from chatgpt_platform.upstream.fleet import Fleet
from chatgpt_platform.upstream.keys import Key
from chatgpt_platform.upstream.upstream import Upstream

KEPT: Final = 300.0
"""Seconds for which a list is believed."""

AGAIN: Final = 10.0
"""Seconds after which an upstream is asked again whose list could not be had, while others' lists are told."""

PATIENCE: Final = 10.0
"""Seconds that a caller waits for the upstreams' lists at most."""

_LARGEST: Final = 4 * 1024 * 1024
_ACCEPT: Final = b"Accept: application/json\r\n"


Models = dict[str, msgspec.Raw]
"""Model objects as the upstreams have them, by their ids."""

_list_decoder: Final = msgspec.json.Decoder(ModelList)
_model_decoder: Final = msgspec.json.Decoder(Model)


def anything(_: str) -> bool:
    """What callers without a virtual key may use."""
    return True


class Catalogue:
    """The models of one fleet."""

    def __init__(
        self, fleet: Fleet, aliases: Mapping[str, str], logger: logging.Logger, *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """``clock``: seconds."""
        self._fleet: Final = fleet
        self._aliases: Final = aliases
        self._log: Final = logger
        self._clock: Final = clock
        self._known: Final[dict[Upstream, Models]] = {}
        self._fresh_until = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self._failure: FailedAnswer | Problem | None = None

    async def body(self, may_use: Callable[[str], bool] = anything) -> bytes:
        """The list with the owner's keys, as far as a caller ``may_use`` what is on it. Raises Problem and
        FailedAnswer where there is not a single model to tell."""
        if self._clock() >= self._fresh_until:
            if self._renewing is None:
                self._renewing = asyncio.create_task(self._renew(), name="list the models")
            await asyncio.wait((self._renewing,))
        found: Models = {}
        for upstream in self._fleet.upstreams:
            found |= {name: each for name, each in self._of(upstream).items() if name not in found}
        if not found and self._failure is not None:
            raise self._failure
        return self._told(found, may_use)

    async def body_for(self, upstream: Upstream, key: Key) -> bytes:
        """The list that a caller's own key gets. Raises Problem and FailedAnswer."""
        return self._told(_served(upstream, await _ask(upstream, key)), anything)

    async def close(self) -> None:
        """Ask for nothing more."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait((self._renewing,))

    async def _renew(self) -> None:
        asked = [each for each in self._fleet.upstreams if each.keys and each.dialect.lists_models]
        failures: list[FailedAnswer | Problem] = []
        try:
            if asked:
                await self._learn_all(asked, failures)
            self._failure = failures[-1] if failures else None
            if not failures:
                self._fresh_until = self._clock() + KEPT
            elif self._known:
                self._fresh_until = self._clock() + AGAIN
        finally:
            self._renewing = None

    async def _learn_all(self, asked: list[Upstream], failures: list[FailedAnswer | Problem]) -> None:
        tasks = [asyncio.create_task(self._learn(each, failures), name=f"models of {each.name}") for each in asked]
        cancelled = False
        try:
            _, late = await asyncio.wait(tasks, timeout=PATIENCE)
            if late and not failures:
                detail = "an upstream did not list its models in time"
                failures.append(Problem(Kind.UPSTREAM_TIMEOUT, detail=detail))
        except asyncio.CancelledError:
            cancelled = True  # no waiting in here: compiled, it would stay what is being handled
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if cancelled:
            raise asyncio.CancelledError

    async def _learn(self, upstream: Upstream, failures: list[FailedAnswer | Problem]) -> None:
        now = asyncio.get_running_loop().time()
        key = next((each for each in upstream.keys.keys if each.ready_at <= now), upstream.keys.keys[0])
        try:
            self._known[upstream] = await _ask(upstream, key)
        except (FailedAnswer, Problem) as failure:
            failures.append(failure)
            self._log.info("%s: its models cannot be listed: %s", upstream.name, failure)

    def _of(self, upstream: Upstream) -> Models:
        """The models of one upstream, as far as they are known."""
        named = [name for name in upstream.settings.models if not set(name) & set("*?")]
        by_settings = {name: _object(name, upstream.name) for name in (*named, *upstream.settings.rename)}
        if not upstream.keys:
            return {}
        return by_settings | _served(upstream, self._known.get(upstream, {}))

    def _told(self, models: Models, may_use: Callable[[str], bool]) -> bytes:
        aliases = {
            alias: _renamed(models[real], alias) if real in models else _object(alias, real)
            for alias, real in self._aliases.items()
            if self._fleet.candidates(real) is not None
        }
        every = models | {name: each for name, each in aliases.items() if name not in models}
        told = [model for name, model in every.items() if may_use(name) or may_use(self._aliases.get(name, name))]
        return msgspec.json.encode({"object": "list", "data": told})


async def _ask(upstream: Upstream, key: Key) -> Models:
    """What an upstream lists. Raises Problem and FailedAnswer."""
    path = upstream.dialect.path(b"/models", "")
    response = await upstream.client.open(b"GET", path, key.header_line + _ACCEPT, b"")
    try:
        if response.status != 200:
            if response.status >= 400:
                raise await forward.failed_answer(response, key)
            raise forward.unusable(response)
        body = await response.read_all(_LARGEST)
    finally:
        response.close()
    try:
        body.decode()
        return {_model_decoder.decode(each).id: each for each in _list_decoder.decode(body).data}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(Kind.BAD_UPSTREAM, detail=f"{upstream.name} answered no list of models") from None


def _served(upstream: Upstream, models: Models) -> Models:
    return {name: each for name, each in models.items() if upstream.serves(name)}


def _object(name: str, owner: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"id": name, "object": "model", "created": 0, "owned_by": owner}))


def _renamed(model: msgspec.Raw, name: str) -> msgspec.Raw:
    """The same object under another id."""
    members: dict[str, object] = dict(msgspec.json.decode(model, type=dict[str, msgspec.Raw]))
    return msgspec.Raw(msgspec.json.encode(members | {"id": name}))
