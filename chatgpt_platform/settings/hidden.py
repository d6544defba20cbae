"""What no log and no answer may show: every secret of the settings, in the forms in which it may turn up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

from chatgpt_platform.settings.schema import Settings, Upstream
from chatgpt_platform.settings.secret import DIGEST

_WORD: Final = 8
"""Characters below which an own header's value is taken for a plain word, which the logs may well hold."""


def secrets_of(settings: Settings) -> Iterator[str]:
    """Those of the upstreams, the virtual keys, the owner's token, and the way to the webhook with its secret."""
    yield from upstream_secrets(settings.upstreams)
    tokens = (*(key.key for key in settings.keys), settings.admin.token, settings.budgets.webhook.secret)
    # Of a key that is written as its SHA-256 only this is known; nobody else needs to.
    yield from (text for token in tokens if (text := token.reveal().removeprefix(DIGEST)))
    way = urlsplit(settings.budgets.webhook.url)
    yield from (text for text in (way.path, way.query) if len(text) >= _WORD)


def upstream_secrets(upstreams: Iterable[Upstream]) -> Iterator[str]:
    """The keys, the own headers' values, and the proxies with their passwords."""
    for upstream in upstreams:
        proxy = upstream.proxy.reveal()
        yield from (key.reveal() for key in upstream.api_keys)
        yield from (text for value in upstream.headers.values() if len(text := value.reveal()) >= _WORD)
        yield from filter(None, (proxy, unquote(urlsplit(proxy).password or "")))
