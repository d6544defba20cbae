"""What is served: each endpoint once, with what the gateway must know of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final


class Api(Enum):
    """The shapes in which questions and failures are written."""

    PLATFORM = "platform"
    OPENAI = "openai"
    ACCOUNTS = "accounts"
    """What is told of accounts; failures have OpenAI's shape."""


@dataclass(frozen=True, slots=True, eq=False)  # by identity, which is quick to look up
class Endpoint:
    """``upstream_path`` is joined to the upstream's base URL; empty for what the gateway answers by itself.

    ``token_members``: members that bound the answer's length, the one to add first.
    ``counted``: whether a call takes tokens from the caller's buckets. ``metered``: whether the model's tokens are
    used. ``stream_options``: whether streams tell their usage only where that member of the body asks for it.
    ``name``: where metrics need one.
    """

    api: Api
    upstream_path: bytes
    methods: tuple[str, ...] = ("POST",)
    upstream_method: bytes = b"POST"
    token_members: tuple[str, ...] = ()
    counted: bool = True
    metered: bool = False
    stream_options: bool = False
    name: str = ""
    label: str = field(init=False)
    """What metrics and the ledger call it: its ``name``, or else the upstream's path."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.name or self.upstream_path.decode().strip("/"))

    @property
    def kind(self) -> str:
        """What metrics call its API; ``gateway`` for what the gateway tells of itself."""
        return self.api.value if self.upstream_path or not self.methods else "gateway"


_CHAT_TOKENS: Final = ("max_tokens", "max_completion_tokens")

PLATFORM: Final = Endpoint(
    Api.PLATFORM,
    b"/chat/completions",
    methods=("GET", "POST"),
    token_members=_CHAT_TOKENS,
    metered=True,
    name="chatgpt",
)
CHAT: Final = Endpoint(
    Api.OPENAI, b"/chat/completions", token_members=_CHAT_TOKENS, metered=True, stream_options=True
)
COMPLETIONS: Final = Endpoint(
    Api.OPENAI, b"/completions", token_members=("max_tokens",), metered=True, stream_options=True
)
RESPONSES: Final = Endpoint(Api.OPENAI, b"/responses", token_members=("max_output_tokens",), metered=True)
EMBEDDINGS: Final = Endpoint(Api.OPENAI, b"/embeddings", metered=True)
MODERATIONS: Final = Endpoint(Api.OPENAI, b"/moderations")
MODELS: Final = Endpoint(Api.OPENAI, b"/models", methods=("GET",), upstream_method=b"GET", counted=False)

OPENAI_POSTS: Final = (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, MODERATIONS)

HEALTH: Final = Endpoint(Api.PLATFORM, b"", methods=("GET", "HEAD"), counted=False, name="healthz")
READY: Final = Endpoint(Api.PLATFORM, b"", methods=("GET", "HEAD"), counted=False, name="readyz")
METRICS: Final = Endpoint(Api.PLATFORM, b"", methods=("GET", "HEAD"), counted=False, name="metrics")

USAGE: Final = Endpoint(Api.ACCOUNTS, b"", methods=("GET", "HEAD"), counted=False, name="usage")
ADMIN_USAGE: Final = Endpoint(Api.ACCOUNTS, b"", methods=("GET", "HEAD"), counted=False, name="admin/usage")
ADMIN_KEYS: Final = Endpoint(Api.ACCOUNTS, b"", methods=("GET", "HEAD"), counted=False, name="admin/keys")
ADMIN_OPENAPI: Final = Endpoint(
    Api.ACCOUNTS, b"", methods=("GET", "HEAD"), counted=False, name="admin/openapi.json"
)

NOWHERE: Final = {api: Endpoint(api, b"", methods=(), counted=False, name="unknown") for api in Api}
"""Paths that lead nowhere, by the shape in which that is said."""
