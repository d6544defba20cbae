"""Upstreams and calls to them, for tests that need neither a configuration file nor a web server.

settings = upstream("a", keys=2, priority=1)
fleet(settings, upstream("b"))
call(endpoints.CHAT, authorization="Bearer sk-own")
"""

from __future__ import annotations

import logging
from typing import Any, Final

from chatgpt_platform.access.address import Client
from chatgpt_platform.gateway.call import Call, HeadNotes
from chatgpt_platform.gateway.endpoints import Endpoint
from chatgpt_platform.observe.access import Record
from chatgpt_platform.settings import schema
from chatgpt_platform.settings.secret import Secret
from chatgpt_platform.upstream.fleet import Fleet

LOGGER: Final = logging.getLogger("upstreams")
NOWHERE: Final = "http://127.0.0.1:9/v1"
"""Where nothing is asked for."""


def upstream(name: str, *, keys: int = 1, **settings: Any) -> schema.Upstream:
    """An upstream's settings. ``keys``: how many it has, ``sk-NAME-1`` and so on."""
    secrets = tuple(Secret(f"sk-{name}-{number}") for number in range(1, keys + 1))
    return schema.Upstream(name=name, api_keys=secrets, **{"base_url": NOWHERE, **settings})


def fleet(*settings: schema.Upstream, former: Fleet | None = None) -> Fleet:
    return Fleet(settings, LOGGER, former)


def call(endpoint: Endpoint, **headers: str) -> Call:
    """A call as it has come, its headers by their names with ``_`` for ``-``."""
    return Call(
        endpoint=endpoint,
        method=endpoint.methods[0],
        tail="",
        query="",
        headers={name.replace("_", "-").encode(): text.encode("latin-1") for name, text in headers.items()},
        client=Client("127.0.0.1", "127.0.0.1", True),
        record=Record(0.0, "req_1", "127.0.0.1", endpoint.methods[0], "/"),
        started=0.0,
        notes=HeadNotes(),
    )
