"""What no log and no answer may show: every secret of the settings, in the forms in which it may turn up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

from chatgpt_platform.settings.schema import Upstream

_WORD: Final = 8
"""Characters below which an own header's value is taken for a plain word, which the logs may well hold."""


def secrets_of(upstreams: Iterable[Upstream]) -> Iterator[str]:
    """The keys, the own headers' values, and the proxies with their passwords."""
    for upstream in upstreams:
        proxy = upstream.proxy.reveal()
        yield from (key.reveal() for key in upstream.api_keys)
        yield from (text for value in upstream.headers.values() if len(text := value.reveal()) >= _WORD)
        yield from filter(None, (proxy, unquote(urlsplit(proxy).password or "")))
