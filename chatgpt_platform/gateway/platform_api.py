"""The platform API: a prompt in, one answer out; a conversation travels as ``continuous`` and ``result``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from chatgpt_platform.errors import Problem
from chatgpt_platform.gateway import conversation, failures, forward, metering, parameters, tokens, usage
from chatgpt_platform.gateway.attempts import Attempts
from chatgpt_platform.gateway.call import Call, Reply
from chatgpt_platform.gateway.forward import FailedAnswer
from chatgpt_platform.gateway.identity import Identity
from chatgpt_platform.gateway.members import USAGE_ASKED
from chatgpt_platform.gateway.openai_api import EVENT_STREAM, STREAM_HEADERS
from chatgpt_platform.gateway.parameters import Question
from chatgpt_platform.gateway.render import JSON, Renderer
from chatgpt_platform.gateway.routing import Routing
from chatgpt_platform.gateway.source import ErrorEvent, EventSource
from chatgpt_platform.gateway.streams import Telling, whole_stream
from chatgpt_platform.gateway.tokens import TokenCap
from chatgpt_platform.observe.redact import mask
from chatgpt_platform.upstream.client import Response
from chatgpt_platform.upstream.keys import Key

MAX_ANSWER: Final = 16 * 1024 * 1024

_STREAM_HEADERS: Final = ((b"content-type", EVENT_STREAM + b"; charset=utf-8"), *STREAM_HEADERS)

FormReader = Callable[[str, bytes], list[tuple[str, str]]]
"""Content type and body of a multipart form in, its text fields out; raises Problem."""


class PlatformApi:
    """Answers calls to ``/chatgpt`` and the conversation route from the upstream's chat completions."""

    def __init__(
        self, attempts: Attempts, routing: Routing, identity: Identity, aliases: Mapping[str, str],
        default_model: str, cap: TokenCap, renderer: Renderer, read_multipart: FormReader, *, log_prompts: bool,
    ) -> None:  # fmt: skip
        self._attempts: Final = attempts
        self._routing: Final = routing
        self._identity: Final = identity
        self._aliases: Final = {tokens.RETIRED_MODEL: default_model, **aliases}
        self._default_model: Final = default_model
        self._cap: Final = cap
        self._renderer: Final = renderer
        self._read_multipart: Final = read_multipart
        self._log_prompts: Final = log_prompts

    def check_key_head(self, call: Call) -> None:
        """Refuse a header's key that cannot be one before the body is read; a missing key may be in there."""
        self._identity.find_in_head(call, call.header(b"apikey"))
        if call.credential is None:
            self._routing.check_platform(call)

    def prepare(self, call: Call) -> None:
        """Read the question, whom to ask, and who pays. Raises Problem."""
        question = self._question(call)
        if question.api_key is not None:
            self._identity.find(call, question.api_key)
        account = self._identity.settle_on(call, "missing_key")
        asked = question.model or self._default_model
        model = self._aliases.get(asked, asked)
        call.record.model, call.record.stream = model, question.stream
        if account is not None:
            account.check_model(asked, model)
        self._routing.assign_platform(call, model, question.api_key)
        call.turns = conversation.messages(question)
        if self._log_prompts or (account is not None and account.keeps_prompts):
            call.record.prompt = question.prompt
        call.body = self._body(call, question, model)
        if question.stream:
            call.stream_options = USAGE_ASKED
        call.lines = forward.JSON_LINE  # nothing of the caller's travels on

    def reply_at_once(self, call: Call, key: Key, response: Response) -> Reply | None:
        """The Reply to a JSON answer all of which came with its head, as most do; None for any other.

        Raises Problem.
        """
        if response.status != 200 or not forward.is_json(forward.content_type(response)):
            return None
        body = response.ready(MAX_ANSWER)
        return None if body is None else self._whole(call, body)

    async def reply(self, call: Call, key: Key, response: Response) -> Reply:
        """The Reply to any answer whose head has come. Raises Problem and FailedAnswer."""
        media_type = forward.content_type(response)
        if response.status >= 400:
            raise await forward.failed_answer(response, key)
        if response.status != 200:
            raise forward.unusable(response)
        if media_type == EVENT_STREAM and call.record.stream:
            return await self._stream(call, key, response)
        if not forward.is_json(media_type):
            raise forward.unusable(response)
        return self._whole(call, await response.read_all(MAX_ANSWER))

    def failure(self, call: Call, failed: FailedAnswer) -> Reply:
        """A failing answer is the gateway's to tell. Raises Problem."""
        raise failed.problem

    def _question(self, call: Call) -> Question:
        given: dict[str, Any] = parameters.from_text(parameters.from_query(call.query))
        given |= self._from_body(call)
        return parameters.question(given, call.header(b"model"), call.header(b"accept") or "")

    def _from_body(self, call: Call) -> dict[str, Any]:
        kind = call.header(b"content-type") or ""
        media_type = kind.partition(";")[0].strip().lower()
        if call.method == "GET" or not call.body:
            return {}
        if media_type == "application/x-www-form-urlencoded":
            return parameters.from_text(parameters.from_query(call.body.decode("latin-1")))
        if media_type == "multipart/form-data":
            return parameters.from_text(self._read_multipart(kind, call.body))
        return parameters.from_json(call.body)

    def _body(self, call: Call, question: Question, model: str) -> bytes:
        members = call.endpoint.token_members
        asked = question.max_tokens
        tokens_asked = {} if asked is None else {tokens.token_member(members, model): asked}
        limit = tokens_asked | self._cap.changes(tokens_asked, members, model)
        call.most_completion = max(limit.values(), default=0)
        return conversation.request_body(question, call.turns, model, limit)

    def _whole(self, call: Call, body: bytes) -> Reply:
        try:
            said = conversation.answer(body)
        except Problem:
            if failures.is_error_object(body):
                call.refused = call.response
            raise
        said.model = said.model or call.record.model or ""
        metering.answered(call, usage.tokens_of(body), body)
        call.record.first_byte_ms = call.elapsed_ms()
        if call.record.prompt is not None:
            call.record.answer = said.text
        if call.record.stream:
            return Reply(200, [*_STREAM_HEADERS], whole_stream(call.turns, said))
        return Reply(200, [JSON], conversation.success(call.turns, said))

    async def _stream(self, call: Call, key: Key, response: Response) -> Reply:
        def problem_of(status: int, data: bytes) -> Problem:
            return failures.problem_of(status, mask(data, key.value), None)

        def break_off(problem: Problem) -> bytes:
            self._attempts.broke_off(call, problem)
            return self._renderer.body(problem, call.api, call.language)[1]

        source = EventSource(response, release_long=False)
        try:
            first = await source.first()
        except ErrorEvent as event:
            raise forward.failed_event(event, response, key) from None
        return Reply(
            200, [*_STREAM_HEADERS], stream=Telling(source, first, call, break_off, call.turns, problem_of)
        )
