"""What every request goes through, whichever server brings it: the one route table, the one order of refusals.

    call = reception.begin(method, path, query, fields, peer)
    reception.screen(call)                   # before the body is read; raises Problem
    reply = reception.answer(call)           # after it; None: await reception.reply(call)
    head = reception.head(call, reply)

A reload makes a new one; calls under way end with the one they began with.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import unquote

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import endpoints, heads
from chatgpt_platform.gateway.call import Call, HeadNotes, Reply
from chatgpt_platform.gateway.endpoints import Api, Endpoint
from chatgpt_platform.gateway.gateway import Gateway
from chatgpt_platform.gateway.render import JSON
from chatgpt_platform.observe.access import Record
from chatgpt_platform.web import cors
from chatgpt_platform.web.reports import NO_STORE
from chatgpt_platform.web.service import Service
from chatgpt_platform.wire.head import joined

PUBLIC: Final = frozenset({"/healthz", "/readyz"})
"""Paths that are open to every address, and while the gateway drains. All others ask for an allowed one."""

METRICS_PATH: Final = "/metrics"
"""Open to the addresses of metrics.allow, which no other path asks for, and while the gateway drains."""

MODEL_PREFIX: Final = "/v1/models/"
_OWN_LINES: Final = b"\r\nServer: chatgpt-platform\r\nDate: %b\r\n"
_UNREADABLE: Final = {
    400: Kind.BAD_HTTP,
    408: Kind.REQUEST_TIMEOUT,
    414: Kind.TARGET_TOO_LONG,
    431: Kind.HEADERS_TOO_LARGE,
}


@dataclass(frozen=True, slots=True, repr=False)  # a query may hold a key
class Errand:
    """What a request asks for, by its head, of one reception."""

    reception: Reception
    endpoint: Endpoint
    method: str
    path: str
    tail: str
    query: str
    notes: HeadNotes


class Reception:
    """Receives calls under the service's present settings."""

    def __init__(self, service: Service) -> None:
        self.service: Final = service
        self.gateway: Final[Gateway] = service.gateway
        self._addresses: Final = service.addresses
        self._cors: Final = service.settings.server.cors
        self._second = 0
        self._lines = b""
        self.routes: Mapping[str, Endpoint] = {
            **dict.fromkeys(platform_paths(service.settings.server.route), endpoints.PLATFORM),
            **{f"/v1{each.upstream_path.decode()}": each for each in (*endpoints.OPENAI_POSTS, endpoints.MODELS)},
            "/healthz": endpoints.HEALTH,
            "/readyz": endpoints.READY,
            **({METRICS_PATH: endpoints.METRICS} if service.settings.metrics.allow else {}),
            **{each.path: each.endpoint for each in service.reports.operations.values()},
        }
        self._reports: Final = service.reports

    def begin(self, method: str, path: str, query: str, fields: Mapping[bytes, bytes], peer: str) -> Call:
        """Note a call that begins: who, what, when.

        ``fields``: headers by their names in lower case, several of one name joined by ``, ``. ``peer``: the
        address of the socket's other end.
        """
        return self.visit(self.errand(method, path, query), fields, peer)

    def errand(self, method: str, path: str, query: str) -> Errand:
        """What a request line asks for."""
        endpoint = self.routes.get(path)
        tail = ""
        if endpoint is None:
            endpoint, tail = _elsewhere(path)
        return Errand(self, endpoint, method, path, tail, query, HeadNotes())

    def visit(self, errand: Errand, fields: Mapping[bytes, bytes], peer: str, *, arrived: bool = False) -> Call:
        """``begin``, for a head whose errand is known. ``arrived``: the body has come with the head."""
        forwarded_for = fields[b"x-forwarded-for"].decode("latin-1") if b"x-forwarded-for" in fields else ""
        client = self._addresses.client(peer, forwarded_for)
        record = Record(
            time.time(), self.service.next_id(), client.address, errand.method, errand.path, errand.endpoint.label
        )
        call = Call(
            errand.endpoint, errand.method, errand.tail, errand.query, fields, client, record,
            time.monotonic(), errand.notes,
        )  # fmt: skip
        call.arrived = arrived
        return call

    def screen(self, call: Call) -> None:
        """What is checked before the body is read. Raises Problem."""
        if call.notes.screened and not self.service.draining:
            self.gateway.screen(call)
            return
        if call.endpoint is endpoints.METRICS:
            self._screen_scrape(call)
            return
        if call.endpoint in self._reports.operations:
            self._screen_report(call)
            return
        path = call.record.path
        public = path in PUBLIC
        if not (public or call.client.allowed):
            raise Problem(Kind.ADDRESS_DENIED)
        endpoint = call.endpoint
        if call.method not in endpoint.methods:
            if endpoint.methods and not public and cors.is_preflight(self._cors, call.method, call.headers):
                return
            self.gateway.count(call)
            if not endpoint.methods:
                raise Problem(Kind.NOT_FOUND, path=path)
            raise Problem(Kind.METHOD_NOT_ALLOWED, method=call.method)
        if public:
            heads.check_length(call, self.gateway.max_body)
            return
        if self.service.draining:
            raise Problem(Kind.UNAVAILABLE, "draining", retry_after=1)
        self.gateway.screen(call)
        call.notes.screened = True

    def _screen_scrape(self, call: Call) -> None:
        if not self.service.scrapers.client(call.client.address, "").allowed:
            raise Problem(Kind.ADDRESS_DENIED)
        self._check_own(call)

    def _screen_report(self, call: Call) -> None:
        if not self._reports.lets(call):
            raise Problem(Kind.ADDRESS_DENIED)
        if self.service.draining:
            raise Problem(Kind.UNAVAILABLE, "draining", retry_after=1)
        if call.endpoint is endpoints.USAGE and cors.is_preflight(self._cors, call.method, call.headers):
            return
        self._check_own(call)
        self._reports.screen(call, self.gateway.count_refusal)

    def _check_own(self, call: Call) -> None:
        """Method and length of what the gateway answers by itself."""
        if call.method not in call.endpoint.methods:
            raise Problem(Kind.METHOD_NOT_ALLOWED, method=call.method)
        heads.check_length(call, self.gateway.max_body)

    def answer(self, call: Call) -> Reply | None:
        """The Reply to a screened call whose body has been read; None where ``reply`` has to be awaited for it."""
        if call.endpoint.upstream_path and call.method != "OPTIONS":
            return self.gateway.ask(call)
        return self._own(call)

    def reply(self, call: Call) -> Coroutine[Any, Any, Reply]:
        """The Reply to a call that ``answer`` had none for."""
        if call.endpoint is endpoints.METRICS:
            return self._tell(call, self.service.scraping.read(call.header(b"accept") or ""))
        if call.endpoint in self._reports.operations:
            return self._tell(call, self._reports.answer(call))
        return self.gateway.reply(call)

    async def _tell(self, call: Call, telling: Coroutine[Any, Any, Reply]) -> Reply:
        """The Reply of what the gateway tells of itself."""
        try:
            return await telling
        except Problem as problem:
            return self.refuse(call, problem)
        except Exception as error:
            log = self.service.logs.logger
            log.error("%s: a fault of this gateway", call.record.request_id, exc_info=error)
            return self.refuse(call, Problem(Kind.FAULT))

    def _own(self, call: Call) -> Reply | None:
        if call.method == "OPTIONS":
            return Reply(204, cors.preflight_lines(call.endpoint.methods, call.headers))
        if call.endpoint is endpoints.HEALTH:
            return Reply(200, [JSON], b'{"status":"ok"}')
        if call.endpoint is endpoints.READY:
            if self.service.draining:
                return Reply(503, [JSON, (b"Retry-After", b"1")], b'{"status":"draining"}')
            return Reply(200, [JSON], b'{"status":"ready"}')
        if call.endpoint is endpoints.METRICS or call.endpoint in self._reports.operations:
            return None
        raise Problem(Kind.NOT_FOUND, path=call.record.path)  # refused before, by ``screen``

    def refuse(self, call: Call, problem: Problem) -> Reply:
        """The answer to a call that failed."""
        reply = self.gateway.refuse(call, problem)
        if problem.kind is Kind.METHOD_NOT_ALLOWED:
            reply.headers.append((b"Allow", ", ".join(call.endpoint.methods).encode()))
        if call.endpoint in self._reports.operations:
            reply.headers.append(NO_STORE)
        return reply

    def head(self, call: Call, reply: Reply) -> bytes:
        """All header lines of an answer but those of its framing, each ended by CRLF."""
        headers = reply.headers
        lines = b"%b: %b\r\n" % headers[0] if len(headers) == 1 else joined(headers)
        if self._cors:
            lines += joined(cors.lines(self._cors, call.headers))
        own = self._own_lines(int(time.time()))
        return b"".join((lines, call.quota, b"X-Request-Id: ", call.record.request_id.encode(), own))

    def _own_lines(self, second: int) -> bytes:
        """Those that are the same for all answers of a second."""
        if self._second != second:
            self._second = second
            self._lines = _OWN_LINES % formatdate(second, usegmt=True).encode()
        return self._lines


class MetricsReception(Reception):
    """That of the port which is for /metrics alone, and answers all who reach it."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.routes = {METRICS_PATH: endpoints.METRICS}

    def errand(self, method: str, path: str, query: str) -> Errand:
        endpoint = self.routes.get(path, endpoints.NOWHERE[Api.PLATFORM])
        return Errand(self, endpoint, method, path, "", query, HeadNotes())

    def screen(self, call: Call) -> None:
        if not call.endpoint.methods:
            raise Problem(Kind.NOT_FOUND, path=call.record.path)
        self._check_own(call)


def unreadable(status: int) -> Problem:
    """The Problem of a request that is no good HTTP, by the status that the wire gives it."""
    return Problem(_UNREADABLE.get(status, Kind.BAD_HTTP))


def platform_paths(route: str) -> tuple[str, ...]:
    """Where the platform API answers. ``route``: "" or "/name"."""
    return ("/chatgpt", route) if route else ("/chatgpt", "/", "/api")


def _elsewhere(path: str) -> tuple[Endpoint, str]:
    """The endpoint of a path that is not in the table, and what follows the endpoint's own path."""
    if path.startswith(MODEL_PREFIX) and path != MODEL_PREFIX:
        try:
            return endpoints.MODELS, unquote(path.removeprefix(MODEL_PREFIX), errors="strict")
        except UnicodeDecodeError:
            return endpoints.MODELS, ".."  # an id that no model has
    is_openai = path == "/v1" or path.startswith("/v1/")
    return endpoints.NOWHERE[Api.OPENAI if is_openai else Api.PLATFORM], ""
