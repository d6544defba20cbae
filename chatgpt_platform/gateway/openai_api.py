"""The OpenAI API: bodies pass through unchanged, both ways."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from chatgpt_platform.access.keys import Key, KeyPolicy, bearer_token
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import endpoints, failures, forward, members
from chatgpt_platform.gateway.call import Call, Reply
from chatgpt_platform.gateway.forward import Upstream
from chatgpt_platform.gateway.render import JSON, Renderer
from chatgpt_platform.gateway.source import ErrorEvent, EventSource
from chatgpt_platform.gateway.streams import Passage, Relay
from chatgpt_platform.gateway.tokens import TokenCap
from chatgpt_platform.gateway.usage import figures_of
from chatgpt_platform.observe.redact import mask
from chatgpt_platform.upstream.client import Response

MAX_HELD: Final = 4 * 1024 * 1024
"""Bytes of a JSON answer that are held to be checked and accounted; a longer one is passed on as it comes."""

EVENT_STREAM: Final = b"text/event-stream"
STREAM_HEADERS: Final = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
"""Proxies in front of the gateway must neither keep a stream nor collect it."""


class OpenAIApi:
    """Answers calls to ``/v1/…`` from the upstream."""

    def __init__(
        self, upstream: Upstream, keys: KeyPolicy, aliases: Mapping[str, str], cap: TokenCap, renderer: Renderer,
        *, log_prompts: bool,
    ) -> None:  # fmt: skip
        self._upstream: Final = upstream
        self._keys: Final = keys
        self._aliases: Final = aliases
        self._cap: Final = cap
        self._capped: Final = cap.limits
        self._renderer: Final = renderer
        self._log_prompts: Final = log_prompts

    def key(self, call: Call) -> Key:
        """Whose key pays; raises Problem when there is none or it cannot be one."""
        fixed = self._keys.fixed_for_openai
        return fixed or self._keys.for_openai(bearer=bearer_token(call.header(b"authorization") or ""))

    def ask(self, call: Call) -> None:
        """Forward the call. Raises Problem."""
        key = self._keys.fixed_for_openai or self.key(call)
        path = self._path(call) if call.tail else call.endpoint.upstream_path
        if call.endpoint is not endpoints.MODELS:
            self._prepare(call)
            if self._log_prompts:
                call.record.prompt = call.body.decode()
        headers = call.notes.upstream_headers if call.body else b""
        if not headers:
            headers = forward.request_headers(call, key)
            if call.body:
                call.notes.upstream_headers = headers
        self._upstream.ask(call, key, path, headers, call.body)

    def reply_at_once(self, call: Call, key: Key, response: Response) -> Reply | None:
        """The Reply to a JSON answer all of which came with its head, as most do; None for any other.

        Raises Problem.
        """
        if response.status != 200 or response.fields.get(b"content-type") != b"application/json":
            return None
        body = response.ready(MAX_HELD)
        return None if body is None else self._whole(call, key, response, body)

    async def reply(self, call: Call, key: Key, response: Response) -> Reply:
        """The Reply to any answer whose head has come. Raises Problem."""
        media_type = forward.content_type(response)
        if response.status >= 400:
            return await self._failure(call, key, response)
        if not 200 <= response.status < 300:
            raise forward.unusable(response)
        if media_type == EVENT_STREAM:
            return await self._stream(call, key, response)
        if not forward.is_json(media_type):
            raise forward.unusable(response)
        return await self._body(call, key, response)

    def _path(self, call: Call) -> bytes:
        if any(segment in ("", ".", "..") for segment in call.tail.split("/")):
            raise Problem(Kind.NOT_FOUND, path=call.record.path)
        model = self._aliases.get(call.tail, call.tail)
        call.record.model = model
        return call.endpoint.upstream_path + b"/" + quote(model, safe="/:@").encode()

    def _prepare(self, call: Call) -> None:
        """Read the body, note what it asks for, and change what is to be changed. Raises Problem."""
        asked = members.read_openai(call.body)
        model = "" if asked.model is msgspec.UNSET else asked.model
        real = self._aliases.get(model, model)
        changes: dict[str, object] = {"model": real} if real != model else {}
        if self._capped:
            figures = {name: getattr(asked, name) for name in call.endpoint.token_members}
            changes |= self._cap.changes(figures, call.endpoint.token_members, real)
        record = call.record
        record.model = real or None
        record.stream = bool(asked.stream)
        if changes:
            call.body = members.rewrite(call.body, changes)

    async def _failure(self, call: Call, key: Key, response: Response) -> Reply:
        body = await forward.error_body(response, key)
        if not failures.is_error_object(body):
            raise forward.failure(response, body)
        call.record.error = f"the upstream answered {response.status}"
        if response.status >= 500:
            self._upstream.warn(call, call.record.error)
        headers = [line for line in forward.answer_headers(response, key) if line[0] != b"content-type"]
        return Reply(response.status, [JSON, *headers], body)

    async def _body(self, call: Call, key: Key, response: Response) -> Reply:
        body, whole = await response.read_within(MAX_HELD)
        if not whole:
            return self._passage(call, response, forward.answer_headers(response, key), body)
        return self._whole(call, key, response, body)

    def _whole(self, call: Call, key: Key, response: Response, body: bytes) -> Reply:
        try:
            prompt, completion, may_tell_error = figures_of(body)
        except ValueError as error:
            raise Problem(Kind.BAD_UPSTREAM, detail=f"the answer is not JSON: {error}") from None
        if may_tell_error and failures.is_error_object(body):
            body = mask(body, key.value)
        record = call.record
        record.prompt_tokens, record.completion_tokens = prompt, completion
        record.first_byte_ms = call.elapsed_ms()
        if self._log_prompts:
            record.answer = body.decode(errors="replace")
        return Reply(response.status, forward.answer_headers(response, key), body)

    def _passage(self, call: Call, response: Response, headers: list[tuple[bytes, bytes]], first: bytes) -> Reply:
        length = response.header(b"content-length")
        known = None if length is None else int(length)
        return Reply(response.status, headers, stream=Passage(response, first, call), length=known)

    async def _stream(self, call: Call, key: Key, response: Response) -> Reply:
        source = EventSource(response, release_long=True)
        try:
            first = await source.first()
        except ErrorEvent as event:
            call.record.error = "the upstream sent an error event"
            body = failures.error_body(mask(event.data, key.value))
            if not failures.is_error_object(body):
                raise failures.problem_of(event.status, body, None, now=time.time()) from None
            return Reply(event.status, [JSON], body)

        def break_off(problem: Problem) -> bytes:
            self._upstream.warn(call, str(problem))
            return self._renderer.body(problem, call.api, call.language)[1]

        headers = [*forward.answer_headers(response, key), *STREAM_HEADERS]
        return Reply(200, headers, stream=Relay(source, first, call, break_off, key.value))
