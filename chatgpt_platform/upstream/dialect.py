"""How a service is spoken to: where its endpoints are, and which header brings the key. Pure.

``openai``: OpenAI's own API and what is compatible with it. ``azure``: the Azure OpenAI service (Microsoft Learn,
"Azure OpenAI in Azure AI Foundry Models REST API reference"), whose paths name a deployment and a version.
"""

from __future__ import annotations

from typing import Final, Protocol
from urllib.parse import quote

_OF_DEPLOYMENTS: Final = (b"/chat/completions", b"/completions", b"/embeddings")
"""Azure's endpoints that are told in the path which model to use, as a deployment; others read the body."""


class Dialect(Protocol):
    """One way to speak."""

    @property
    def lists_models(self) -> bool:
        """Whether ``/models`` tells what can be called."""

    def key_line(self, key: str) -> bytes:
        """The header line that brings a key."""

    def path(self, path: bytes, model: str) -> bytes:
        """Where an endpoint is, below the base URL. ``path``: where OpenAI has it. ``model``: its name here."""


class OpenAI:
    """As OpenAI's API reference has it."""

    lists_models: Final = True

    def key_line(self, key: str) -> bytes:
        return b"Authorization: Bearer %b\r\n" % key.encode()

    def path(self, path: bytes, model: str) -> bytes:
        return path


class Azure:
    """``version``: a version of the service's API, such as 2024-10-21."""

    lists_models: Final = False  # it would list what could be deployed

    def __init__(self, version: str) -> None:
        self._query: Final = b"?api-version=" + quote(version, safe="").encode()

    def key_line(self, key: str) -> bytes:
        return b"api-key: %b\r\n" % key.encode()

    def path(self, path: bytes, model: str) -> bytes:
        if path in _OF_DEPLOYMENTS:
            return b"/openai/deployments/%b%b%b" % (quote(model, safe="").encode(), path, self._query)
        return b"/openai%b%b" % (path, self._query)


def of(api: str, version: str) -> Dialect:
    """The dialect of the settings ``api`` and ``api_version``."""
    return Azure(version) if api == "azure" else OpenAI()
