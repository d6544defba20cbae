"""Upstreams and what is made of them, for tests that need no configuration file.

settings = upstream("a", keys=2, priority=1)
fleet(settings, upstream("b"))
"""

from __future__ import annotations

import logging
from typing import Any, Final

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
