"""The use case: screen a call, admit it, answer it, and never answer with anything but a Reply."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from typing import Final

from chatgpt_platform.access.keys import KeyPolicy
from chatgpt_platform.accounts.accounts import Accounts
from chatgpt_platform.accounts.booking import Row
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import endpoints, forward, heads, metering
from chatgpt_platform.gateway.accounting import Accounting, denied
from chatgpt_platform.gateway.attempts import Attempts
from chatgpt_platform.gateway.call import Call, Reply
from chatgpt_platform.gateway.catalogue import Catalogue, anything
from chatgpt_platform.gateway.endpoints import Api
from chatgpt_platform.gateway.forward import FailedAnswer
from chatgpt_platform.gateway.identity import Identity
from chatgpt_platform.gateway.load import Load
from chatgpt_platform.gateway.openai_api import EVENT_STREAM, STREAM_HEADERS, OpenAIApi
from chatgpt_platform.gateway.platform_api import FormReader, PlatformApi
from chatgpt_platform.gateway.render import JSON, Renderer
from chatgpt_platform.gateway.routing import Routing
from chatgpt_platform.gateway.tokens import TokenCap
from chatgpt_platform.limits.store import Store
from chatgpt_platform.observe.metrics import Metrics
from chatgpt_platform.settings.schema import Settings
from chatgpt_platform.upstream.fleet import Fleet
from chatgpt_platform.upstream.retries import Budget
from chatgpt_platform.upstream.sse import encode

_OPENAI: Final = Api.OPENAI  # looked up in the class it would cost a call each time
_MODELS: Final = endpoints.MODELS
_PREFLIGHT: Final = 204
"""The status of what a browser asks before a call, and of nothing else."""


class Gateway:
    """Everything that is decided for a call under one configuration; a reload makes a new one.

    What may outlive a configuration is handed in: the limiter, the upstreams, the calls under way.
    """

    def __init__(
        self, settings: Settings, limiter: Store, fleet: Fleet, load: Load, accounts: Accounts, metrics: Metrics,
        read_multipart: FormReader, logger: logging.Logger,
    ) -> None:  # fmt: skip
        models, retries, prompts = settings.models, settings.retries, settings.logging.prompts
        budget = Budget(retries.budget, asyncio.get_running_loop().time(), load.entered)
        routing = Routing(fleet, KeyPolicy(settings.access.caller_keys))
        cap = TokenCap(models.max_tokens.default, models.max_tokens.cap)
        self._identity: Final = Identity(accounts, require_key=settings.access.require_key)
        self._accounting: Final = Accounting(
            accounts, limiter, hard=settings.budgets.reserve == "worst", cap=models.max_tokens.default,
            wait=settings.load.wait, most_waiting=settings.load.calls or math.inf, log_prompts=prompts,
        )  # fmt: skip
        self._accounts: Final = accounts
        self._keyed: Final = accounts.on or settings.access.require_key
        """Whether there is anything to account for."""
        self.renderer: Final = Renderer(settings.server.language, settings.environment_language)
        self.max_body: Final = settings.server.max_body
        self.heartbeat: Final = settings.server.heartbeat
        self._long_length: Final = len(str(self.max_body))
        """Digits of a declared length at which it may be too long."""
        self._attempts: Final = Attempts(fleet, load, budget, retries.attempts, metrics, logger)
        self.settle: Final = self._attempts.settle
        """The call is over: what it held is free. May be repeated."""
        self._catalogue: Final = Catalogue(fleet, models.aliases, logger)
        self._openai: Final = OpenAIApi(
            self._attempts, routing, self._identity, models.aliases, cap, self.renderer, log_prompts=prompts
        )
        self._platform: Final = PlatformApi(
            self._attempts, routing, self._identity, models.aliases, models.default, cap, self.renderer,
            read_multipart, log_prompts=prompts,
        )  # fmt: skip
        self._limiter: Final = limiter
        self._load: Final = load
        self._log: Final = logger

    def screen(self, call: Call) -> None:
        """What is checked before the body is read: address, type, declared length, key, the buckets.

        Takes nothing from the buckets of a call that goes on; a call refused here for what it is still
        counts, as each call does. Raises Problem.
        """
        if not call.client.allowed:
            raise Problem(Kind.ADDRESS_DENIED)
        try:
            if call.notes.screened:
                declared = call.headers.get(b"content-length")
                if declared is not None and len(declared) >= self._long_length:
                    heads.check_length(call, self.max_body)
                if call.notes.credential is not None:
                    self._identity.welcome(call, call.notes.credential)
            else:
                heads.check_body(call, self.max_body)
                self._check_key_head(call)
        except Problem:
            self.count(call)
            raise
        if call.arrived:
            return  # with its body: the take follows at once, and there is nothing to save by looking first
        now = time.monotonic_ns()
        if not _counts(call):
            return
        if not self._limiter.has_token(call.client.key, now):
            decision = self._accounting.tell_quota(call, now)
            if not decision.admitted:
                raise denied(decision.retry_after)
        if call.account is not None:
            self._accounting.look(call, call.account)

    def ask(self, call: Call) -> Reply | None:
        """Admit a screened call and ask an upstream, if one can take it at once: ``call.response`` is its answer.

        A Reply where that failed; otherwise ``reply`` has it. Never raises.
        """
        try:
            if not self._keyed:
                self.count(call)
                (self._openai if call.endpoint.api is _OPENAI else self._platform).prepare(call)
            elif not self._admit(call):
                return None
            call.placed = self._load.enter(call.client.key)
            if call.placed and (call.endpoint is not _MODELS or call.tail):
                self._attempts.begin(call)
        except Exception as error:  # noqa: BLE001 - it is told in the Reply
            return self._failed(call, error)
        return None

    def reply_at_once(self, call: Call) -> Reply | None:
        """``reply``, where nothing is left to wait for, since most answers come whole; else None."""
        key, response = call.key, call.response
        assert key is not None
        assert response is not None
        if not response.take_head():
            return None
        try:
            forward.note_head(call, response)
            api = self._openai if call.endpoint.api is _OPENAI else self._platform
            reply = api.reply_at_once(call, key, response)
            upstream = call.upstream if reply is not None else None
            if upstream is not None and (upstream.breaker.failures or not upstream.keys.calm):
                upstream.answered(key)
        except Problem as problem:
            call.failure = problem  # ``reply`` may ask another upstream
            return None
        except Exception as error:  # noqa: BLE001 - it is told in the Reply
            reply = self._failed(call, error)
        return reply

    async def reply(self, call: Call) -> Reply:
        """The Reply to a call that ``ask`` let. Never raises but for its cancellation."""
        try:
            if call.waits:
                await self._accounting.wait(call)
                call.waits = False
            if not call.placed:
                await self._load.wait(call.client.key, lambda: self._enter(call))
            if _lists_models(call):
                return await self._models(call)
            if call.response is None:
                await self._load.wait(call.client.key, lambda: self._attempts.begin(call))
            return await self._reply_in_the_end(call)
        except Exception as error:  # noqa: BLE001 - it is told in the Reply
            return self._failed(call, error)

    def broken_off(self, call: Call) -> None:
        """Nobody is left to be answered, or a fault of ours ended the call: the upstream may have begun all the
        same. To be called before its answer is closed."""
        response = call.response
        if response is not None and response.under_way:
            response.take_head()
            metering.broken_off(call, response)

    def streamed(self, call: Call) -> None:
        """A stream came to its proper end."""
        if call.upstream is not None and call.key is not None:
            call.upstream.answered(call.key)

    def begun_stream(self) -> Reply:
        """The head of a stream whose first event has yet to come."""
        return Reply(200, [(b"content-type", EVENT_STREAM + b"; charset=utf-8"), *STREAM_HEADERS])

    def last_event(self, call: Call, reply: Reply) -> tuple[bytes, bool]:
        """A Reply to a call that has had ``begun_stream``, as its only event; and whether it breaks off with
        it."""
        if reply.status == 200 and any(value.startswith(EVENT_STREAM) for _, value in reply.headers):
            return reply.body, False
        if reply.status < 400:
            problem = Problem(Kind.BAD_UPSTREAM, "upstream_no_stream", detail="the upstream did not stream")
            reply = self.refuse(call, problem)
        return encode(reply.body), True

    def account(self, call: Call, status: int) -> None:
        """Charge a call that is over; it must have been settled."""
        counts = (call.endpoint.counted or _counts(call)) and status != _PREFLIGHT
        # One that began without a key may end after all keys were taken out of the settings.
        if counts and (self._keyed or call.account is not None or call in self._accounts.anonymous.under_way):
            self._accounting.settle(call, status)

    def calls_so_far(self) -> list[Row]:
        """Of the calls under way that have lasted for a while, what their rows would be if they ended now."""
        return self._accounting.so_far()

    async def close(self) -> None:
        """Stop what goes on beside the calls."""
        await self._catalogue.close()

    def refuse(self, call: Call, problem: Problem) -> Reply:
        """The answer to a call that failed, said in the log as loudly as its kind asks."""
        call.record.error = str(problem)
        level = logging.getLevelNamesMapping()[problem.kind.level.upper()]
        if level > logging.INFO and problem.kind is not Kind.FAULT:  # that one was said where it happened
            upstream = f"{call.record.upstream}: " if call.record.upstream else ""
            self._log.log(level, "%s: %s%s", call.record.request_id, upstream, problem)
        return self.renderer.reply(problem, call.api, call.language)

    def count(self, call: Call) -> None:
        """Take the call's token from each bucket of its client; raises Problem when one is empty."""
        if not (call.endpoint.counted or _counts(call)):
            return
        self._accounting.count(call)

    def count_refusal(self, call: Call) -> None:
        """Take a token for a call that would have taken none, had it not been refused; as ``count``."""
        self._accounting.count(call)

    def abandon(self, call: Call) -> None:
        """The caller left before its body was whole: the call counts all the same."""
        with contextlib.suppress(Problem):
            self.count(call)

    def counted(self, call: Call, problem: Problem) -> Problem:
        """The Problem of a call that went wrong while its body came; the call counts, and may be denied."""
        try:
            self.count(call)
        except Problem as denied:
            return denied
        return problem

    def _api(self, call: Call) -> OpenAIApi | PlatformApi:
        return self._openai if call.endpoint.api is _OPENAI else self._platform

    async def _reply_in_the_end(self, call: Call) -> Reply:
        """The Reply to a call that is under way, sent again as often as it may and must be. Raises Problem."""
        api = self._api(call)
        while True:
            key, response = call.key, call.response
            assert key is not None
            assert response is not None
            try:
                if call.failure is not None:
                    raise call.failure
                upstream = call.upstream
                if upstream is not None and not upstream.breaker.closed and await response.sent():
                    upstream.reached()
                await response.head()
                forward.note_head(call, response)
                reply = await api.reply(call, key, response)
            except (FailedAnswer, Problem) as error:
                failure = error  # no waiting in here: compiled, others would meet it as what they are handling
            else:
                if upstream is not None and upstream in call.unasked:
                    upstream.refuses_usage()
                if upstream is not None and (reply.stream is None or not upstream.breaker.closed):
                    upstream.answered(key)  # of a stream only the end tells, but for a breaker that waits for news
                return reply
            call.failure = None
            if not await self._attempts.again(call, failure):
                if _was_sent(failure) and response is not call.refused:
                    metering.broken_off(call, response)
                return self._last_failure(call, failure)

    def _last_failure(self, call: Call, failure: FailedAnswer | Problem) -> Reply:
        """The Reply to a call that is not sent again. Raises Problem."""
        if isinstance(failure, Problem):
            raise failure
        if failure.status == 429 and call.own_key is None:
            soonest = self._attempts.soonest(call)
            failure.wait = soonest if soonest is not None else failure.wait
        return self._api(call).failure(call, failure)

    async def _models(self, call: Call) -> Reply:
        """The list of models. Raises Problem."""
        try:
            if call.own_key is None:
                body = await self._catalogue.body(anything if call.account is None else call.account.may_use)
            else:
                body = await self._catalogue.body_for(call.candidates[0][0], call.own_key)
        except FailedAnswer as failed:
            return self._openai.failure(call, failed)
        return Reply(200, [JSON], body)

    def _enter(self, call: Call) -> bool:
        call.placed = self._load.enter(call.client.key)
        return call.placed

    def _failed(self, call: Call, error: Exception) -> Reply:
        """The Reply to a call that failed. A fault of ours is a well-formed answer too, and a line in the log."""
        if isinstance(error, Problem):
            return self.refuse(call, error)
        self._log.error("%s: a fault of this gateway", call.record.request_id, exc_info=error)
        call.record.outcome = "cut"
        self.broken_off(call)
        return self.refuse(call, Problem(Kind.FAULT))

    def _admit(self, call: Call) -> bool:
        """Read what a call asks for, and take its part of all limits; False where it has to wait for that. Raises
        Problem."""
        api = self._openai if call.endpoint.api is _OPENAI else self._platform
        try:
            api.prepare(call)
        except Problem:
            self.count(call)
            raise
        if call.endpoint is not _MODELS:
            call.waits = not self._accounting.admit(call)
        return not call.waits

    def _check_key_head(self, call: Call) -> None:
        self._api(call).check_key_head(call)


def _was_sent(failure: FailedAnswer | Problem) -> bool:
    """Whether an upstream had a call whose answer then went wrong; one that it refused well did not."""
    if isinstance(failure, FailedAnswer):
        return False
    return failure.kind in (Kind.BAD_UPSTREAM, Kind.UPSTREAM_TIMEOUT) and not failure.safe


def _lists_models(call: Call) -> bool:
    return call.endpoint is _MODELS and not call.tail


def _counts(call: Call) -> bool:
    """Each call of a counted endpoint, and each POST under /v1, wherever it leads."""
    return call.endpoint.counted or (call.api is _OPENAI and call.method == "POST")
