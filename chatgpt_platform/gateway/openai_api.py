"""The OpenAI API: bodies pass through unchanged, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import endpoints, failures, forward, members, metering
from chatgpt_platform.gateway.attempts import Attempts
from chatgpt_platform.gateway.call import NO_CAP, Call, Reply
from chatgpt_platform.gateway.forward import FailedAnswer
from chatgpt_platform.gateway.identity import Identity
from chatgpt_platform.gateway.render import JSON, Renderer
from chatgpt_platform.gateway.routing import Routing
from chatgpt_platform.gateway.shapes import OpenAIBody
from chatgpt_platform.gateway.source import ErrorEvent, EventSource
from chatgpt_platform.gateway.streams import Passage, Relay
from chatgpt_platform.gateway.tokens import TokenCap
from chatgpt_platform.gateway.usage import Tokens, figures_of
from chatgpt_platform.observe.access import REPORTED
from chatgpt_platform.observe.redact import mask
from chatgpt_platform.upstream.client import Response
from chatgpt_platform.upstream.keys import Key

MAX_HELD: Final = 4 * 1024 * 1024
"""Bytes of a JSON answer that are held to be checked and accounted; a longer one is passed on as it comes."""

_MODELS: Final = endpoints.MODELS  # looked up in the module it would cost a little each time
_COMPLETIONS: Final = endpoints.COMPLETIONS

EVENT_STREAM: Final = b"text/event-stream"
STREAM_HEADERS: Final = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
"""Proxies in front of the gateway must neither keep a stream nor collect it."""


class OpenAIApi:
    """Answers calls to ``/v1/…`` from the upstreams."""

    def __init__(
        self, attempts: Attempts, routing: Routing, identity: Identity, aliases: Mapping[str, str], cap: TokenCap,
        renderer: Renderer, *, log_prompts: bool,
    ) -> None:  # fmt: skip
        self._attempts: Final = attempts
        self._routing: Final = routing
        self._identity: Final = identity
        self._aliases: Final = aliases
        self._cap: Final = cap
        self._capped: Final = cap.limits
        self._renderer: Final = renderer
        self._log_prompts: Final = log_prompts

    def check_key_head(self, call: Call) -> None:
        """Refuse what cannot be paid for before the body is read. Raises Problem."""
        self._identity.find_in_head(call)
        if call.credential is None:
            self._identity.settle_on(call, "missing_bearer")
            self._routing.check_openai(call)

    def prepare(self, call: Call) -> None:
        """Read what is asked for, of whom, and who pays. Raises Problem."""
        asked = call.tail
        if call.endpoint is not _MODELS:
            asked = self._read_body(call)
            if self._log_prompts or (call.account is not None and call.account.keeps_prompts):
                call.record.prompt = call.body.decode()
        elif call.tail:
            self._read_tail(call)
        if call.account is not None and (asked or call.endpoint is not _MODELS):
            call.account.check_model(asked, call.record.model or "")
        self._routing.assign_openai(call, call.record.model or "")
        call.lines = call.notes.upstream_lines
        if not call.lines or call.own_key is not None:
            call.lines = forward.request_lines(call)
            if call.own_key is None:
                call.notes.upstream_lines = call.lines

    def reply_at_once(self, call: Call, key: Key, response: Response) -> Reply | None:
        """The Reply to a JSON answer all of which came with its head, as most do; None for any other.

        Raises Problem.
        """
        if response.status != 200 or response.fields.get(b"content-type") != b"application/json":
            return None
        body = response.ready(MAX_HELD)
        return None if body is None else self._whole(call, key, response, body)

    async def reply(self, call: Call, key: Key, response: Response) -> Reply:
        """The Reply to any answer whose head has come. Raises Problem and FailedAnswer."""
        media_type = forward.content_type(response)
        if response.status >= 400:
            raise await forward.failed_answer(response, key)
        if not 200 <= response.status < 300:
            raise forward.unusable(response)
        if media_type == EVENT_STREAM:
            return await self._stream(call, key, response)
        if not forward.is_json(media_type):
            raise forward.unusable(response)
        return await self._body(call, key, response)

    def failure(self, call: Call, failed: FailedAnswer) -> Reply:
        """The Reply to a failing answer: the upstream's own words. Raises Problem where those are no error
        object."""
        body = failed.body
        if failed.event or failures.is_error_object(body):
            body = failures.error_body(body)
        if not failures.is_error_object(body):
            raise failed.problem
        call.record.error = (
            "the upstream sent an error event" if failed.event else f"the upstream answered {failed.status}"
        )
        if failed.status >= 500:
            self._attempts.warn(call, call.record.error)
        headers = [line for line in failed.headers if line[0] not in (b"content-type", b"retry-after")]
        if failed.wait is not None:
            headers.append((b"retry-after", str(failures.whole(failed.wait)).encode()))
        return Reply(failed.status, [JSON, *headers], body)

    def _read_tail(self, call: Call) -> None:
        if any(segment in ("", ".", "..") for segment in call.tail.split("/")):
            raise Problem(Kind.NOT_FOUND, path=call.record.path)
        call.record.model = self._aliases.get(call.tail, call.tail)

    def _read_body(self, call: Call) -> str:
        """Read the body, note what it asks for, and change what is to be changed. The model as the caller names
        it. Raises Problem."""
        asked = members.read_openai(call.body)
        model = "" if asked.model is msgspec.UNSET else asked.model
        real = self._aliases.get(model, model)
        record = call.record
        record.model = real or None
        if asked.stream:
            record.stream = True
            if call.endpoint.stream_options:
                call.stream_options = members.stream_options(call.body)
        changes: dict[str, int] = {}
        if self._capped or real != model:
            figures = {name: getattr(asked, name) for name in call.endpoint.token_members}
            changes = self._cap.changes(figures, call.endpoint.token_members, real)
            call.body = members.rewrite(call.body, {"model": real, **changes} if real != model else changes)
        if call.account is not None:
            if call.account.items and members.in_background(asked):
                # It would go on, and be paid, when nobody here sees any more what it uses.
                raise Problem(Kind.BAD_REQUEST, "forbidden_member", param="background", member="background")
            self._note_answers(call, asked, changes)
        return model

    def _note_answers(self, call: Call, asked: OpenAIBody, changes: Mapping[str, int]) -> None:
        """How many answers a call asks for, and how long they may be. ``changes``: of the caps in its body."""
        if asked.n is not None or asked.best_of is not None:
            call.copies = max(int(asked.n or 1), int(asked.best_of or 1), 1)
        if call.endpoint is _COMPLETIONS:
            call.copies *= members.prompts(call.body)
        if asked.max_tokens is asked.max_completion_tokens is asked.max_output_tokens is None and not changes:
            return  # there is none, as a rule
        given = [changes.get(name, getattr(asked, name)) for name in call.endpoint.token_members]
        caps = [cap for cap in given if cap is not None]
        if caps:
            call.most_completion = max(caps) if min(caps) > 0 else NO_CAP

    async def _body(self, call: Call, key: Key, response: Response) -> Reply:
        body, whole = await response.read_within(MAX_HELD)
        if not whole:
            return self._passage(call, response, forward.answer_headers(response, key), body)
        return self._whole(call, key, response, body)

    def _whole(self, call: Call, key: Key, response: Response, body: bytes) -> Reply:
        try:
            prompt, completion, cached, may_tell_error = figures_of(body)
        except ValueError as error:
            raise Problem(Kind.BAD_UPSTREAM, detail=f"the answer is not JSON: {error}") from None
        failed = may_tell_error and failures.is_error_object(body)
        record = call.record
        if failed:
            body = mask(body, key.value)
            record.error = f"the upstream answered {response.status} with an error"
        if prompt and completion:
            record.prompt_tokens, record.completion_tokens, record.cached_tokens = prompt, completion, cached
            record.usage = REPORTED
        elif not failed:
            metering.answered(call, Tokens(prompt, completion, cached), body)
        record.first_byte_ms = call.elapsed_ms()
        if record.prompt is not None:
            record.answer = body.decode(errors="replace")
        return Reply(response.status, forward.answer_headers(response, key), body)

    def _passage(self, call: Call, response: Response, headers: list[tuple[bytes, bytes]], first: bytes) -> Reply:
        length = response.header(b"content-length")
        known = None if length is None else int(length)
        return Reply(response.status, headers, stream=Passage(response, first, call), length=known)

    async def _stream(self, call: Call, key: Key, response: Response) -> Reply:
        source = EventSource(response, release_long=True, without_extra=call.asked)
        try:
            first = await source.first()
        except ErrorEvent as event:
            raise forward.failed_event(event, response, key) from None

        def break_off(problem: Problem) -> bytes:
            self._attempts.broke_off(call, problem)
            return self._renderer.body(problem, call.api, call.language)[1]

        headers = [*forward.answer_headers(response, key), *STREAM_HEADERS]
        return Reply(200, headers, stream=Relay(source, first, call, break_off, key.value))
