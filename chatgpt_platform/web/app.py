"""The route table and the handlers, each of them thin.

Every path asks for an allowed address but those of ``base.PUBLIC``.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from tornado import web

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import endpoints
from chatgpt_platform.gateway.call import Reply
from chatgpt_platform.gateway.endpoints import Api
from chatgpt_platform.gateway.render import JSON
from chatgpt_platform.web import cors
from chatgpt_platform.web.base import Handler
from chatgpt_platform.web.service import Service


class ApiHandler(Handler):
    """A platform or OpenAI endpoint, and the preflights of the pages that may call it."""

    def _screen(self) -> None:
        if self.call.client.allowed and cors.is_preflight(self.service.settings.server.cors, self.request):
            return
        super()._screen()

    async def answer(self) -> Reply:
        if self.request.method != "OPTIONS":
            return await super().answer()
        for name, value in cors.preflight_headers(self.endpoint.methods, self.request):
            self.set_header(name, value)
        return Reply(204)


class ModelHandler(ApiHandler):
    """One model by its id, which may hold slashes."""

    def tail(self) -> str:
        try:
            return unquote(self.request.path.removeprefix("/v1/models/"), errors="strict")
        except UnicodeDecodeError:
            return ".."  # an id that no model has


class HealthHandler(Handler):
    """Whether the process lives."""

    async def answer(self) -> Reply:
        return Reply(200, [JSON], b'{"status":"ok"}')


class ReadyHandler(HealthHandler):
    """Whether the gateway takes work."""

    async def answer(self) -> Reply:
        if self.service.draining:
            return Reply(503, [JSON, (b"retry-after", b"1")], b'{"status":"draining"}')
        return Reply(200, [JSON], b'{"status":"ready"}')


class NowhereHandler(Handler):
    """All other paths."""

    def _screen(self) -> None:
        if not self.call.client.allowed:
            raise Problem(Kind.ADDRESS_DENIED)
        self._gateway.count(self.call)
        raise Problem(Kind.NOT_FOUND, path=self.request.path)


def build(service: Service) -> web.Application:
    """The application under the service's present settings."""
    rules: list[Any] = [
        (rf"/v1{re.escape(endpoint.upstream_path.decode())}", ApiHandler, _with(service, endpoint))
        for endpoint in (*endpoints.OPENAI_POSTS, endpoints.MODELS)
    ]
    rules += [
        (r"/v1/models/.+", ModelHandler, _with(service, endpoints.MODELS)),
        (r"/v1(?:/.*)?", NowhereHandler, _with(service, endpoints.NOWHERE[Api.OPENAI])),
        (r"/healthz", HealthHandler, _with(service, endpoints.HEALTH)),
        (r"/readyz", ReadyHandler, _with(service, endpoints.HEALTH)),
    ]
    rules += [
        (re.escape(path), ApiHandler, _with(service, endpoints.PLATFORM))
        for path in platform_paths(service.settings.server.route)
    ]
    return web.Application(
        rules,
        default_handler_class=NowhereHandler,
        default_handler_args=_with(service, endpoints.NOWHERE[Api.PLATFORM]),
        log_function=_silent,
    )


def platform_paths(route: str) -> tuple[str, ...]:
    """Where the platform API answers. ``route``: "" or "/name"."""
    return ("/chatgpt", route) if route else ("/chatgpt", "/", "/api")


def _with(service: Service, endpoint: endpoints.Endpoint) -> dict[str, Any]:
    return {"service": service, "endpoint": endpoint}


def _silent(_: web.RequestHandler) -> None:
    """The access log is written by the service."""
