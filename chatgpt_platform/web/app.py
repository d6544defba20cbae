"""The endpoints as a Tornado application, which any server of Tornado's kind can serve.

Every path asks for an allowed address but those of ``reception.PUBLIC``.
"""

from __future__ import annotations

import re

from tornado import web

from chatgpt_platform.web.base import Handler
from chatgpt_platform.web.reception import MODEL_PREFIX, Reception
from chatgpt_platform.web.service import Service


def build(service: Service) -> web.Application:
    """The application under the service's present settings."""
    return application(Reception(service))


def application(reception: Reception) -> web.Application:
    """The application whose calls this reception receives."""
    patterns = [*map(re.escape, reception.routes), re.escape(MODEL_PREFIX) + ".+", r"/v1(?:/.*)?"]
    given = {"reception": reception}
    return web.Application(
        [(pattern, Handler, given) for pattern in patterns],
        default_handler_class=Handler,
        default_handler_args=given,
        log_function=_silent,
    )


def _silent(_: web.RequestHandler) -> None:
    """The access log is written by the service."""
