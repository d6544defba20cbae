"""Refusals in OpenAI's words that more than one place gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chatgpt_platform.simulator.answer import Refusal

_LIMIT_HEADERS: Final[Mapping[str, str]] = {
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "7s",
}


def busy(headers: Mapping[str, str]) -> Refusal:
    """Too many requests for this key. ``headers``: when it may come again."""
    return Refusal(
        "Rate limit reached for requests. Please try again later.",
        status=429, kind="requests", code="rate_limit_exceeded", headers=headers,
    )  # fmt: skip


BUSY: Final = busy({"Retry-After": "7", **_LIMIT_HEADERS})

QUOTA: Final = Refusal(
    "You exceeded your current quota, please check your plan and billing details. For more information on this "
    "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
    status=429, kind="insufficient_quota", code="insufficient_quota",
)  # fmt: skip
"""The credit behind a key is used up. No Retry-After: waiting does not help."""


def overloaded(headers: Mapping[str, str]) -> Refusal:
    """The service has too much to do. ``headers``: when to come again."""
    return Refusal(
        "The engine is currently overloaded, please try again later.",
        status=503, kind="server_error", headers=headers,
    )  # fmt: skip
