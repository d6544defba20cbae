"""Calls as rows of the ledger."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final, TypeAlias

from chatgpt_platform.observe.access import Record
from chatgpt_platform.observe.redact import Redactor

_LONGEST: Final = 256
"""Characters of what a caller has chosen."""

_KEPT_BITS: Final = {4: 24, 6: 48}
"""Of an address, where the owner wants them truncated: as many as a provider or a company has, not one person."""

Row: TypeAlias = tuple[
    float, str, str, str, str, str, str, int, int, int, int, int, bool, float, float | None, bool, str, str
]
"""In the order of the ledger's columns but for the id."""


MOST_MODELS: Final = 1000
MOST_REFUSED: Final = 100
"""Names of models in a day, in all and of calls that went wrong: callers choose them, and sums by them stay."""

OTHER_MODELS: Final = "(others)"
"""All further ones."""

_LOOKED_AT: Final = 16 * 1024
"""Characters of a name that are searched for keys."""


class Models:
    """The names of models that the ledger has heard of since ``clear``: a bounded number, no keys among them."""

    def __init__(self, redactor: Redactor) -> None:
        """``redactor``: takes out the keys that callers send where a model's name belongs."""
        self._redactor: Final = redactor
        self._known: Final[dict[str, str]] = {}

    def clear(self) -> None:
        self._known.clear()

    def name(self, record: Record) -> str:
        """What a call's row has for its model."""
        model, known = record.model, self._known
        if not model:
            return ""
        if model in known:
            return known[model]
        name = self._redactor.clean(model[:_LOOKED_AT])[:_LONGEST]
        if len(known) >= (MOST_MODELS if record.status < 400 else MOST_REFUSED) and name not in known:
            return OTHER_MODELS
        known[model if len(model) <= _LONGEST else name] = name
        return name


def row(record: Record, models: Models, *, truncated: bool) -> Row:
    """A call's row. ``truncated``: its client is."""
    return (
        record.time, record.request_id, record.key, truncate(record.client) if truncated else record.client,
        record.endpoint, models.name(record), record.upstream or "",
        record.status, record.prompt_tokens or 0, record.cached_tokens or 0, record.completion_tokens or 0,
        record.cost, record.priced, record.duration_ms, record.first_byte_ms, record.stream, record.outcome,
        record.usage, )  # fmt: skip


def id_of(row: Row) -> str:
    """The id of its request."""
    return row[1]


def key_of(row: Row) -> str:
    """The name of its virtual key."""
    return row[2]


def used_by(row: Row) -> tuple[int, int]:
    """Its tokens, and picodollars."""
    return row[8] + row[10], row[11]


@lru_cache(maxsize=4096)
def truncate(client: str) -> str:
    """The network around an address, as ``192.0.2.0/24``; a text that is no address stays."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    return str(ip_network((address, _KEPT_BITS[address.version]), strict=False))
