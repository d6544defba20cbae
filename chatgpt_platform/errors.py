"""What can go wrong, in one table.

``Problem`` is the one exception of a call: it names a ``Kind``, the text that the caller is shown (a key
into ``locales``) and, apart from that, a ``detail`` that only the log sees. Foreign exceptions become a
Problem at their borders: the network's in ``upstream/faults``, JSON's in ``gateway/members`` for requests and
``gateway/conversation`` for answers.

``ConfigurationError`` is the one exception of a start: every problem of a configuration, a line each.

    Exception
     ├── Problem              a call failed; rendered for the caller by ``gateway/render``
     └── ConfigurationError   the settings are wrong; printed by ``cli``, exit code 2
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


@dataclass(frozen=True, slots=True, eq=False)  # by identity: rows of equal facts stay two kinds
class _Facts:
    """One row of the table. ``openai_status`` differs from ``status`` only where the contract says so."""

    status: int
    openai_type: str
    openai_code: str | None = None
    level: str = "info"
    openai_status: int | None = None


class Kind(Enum):
    """Each kind of failure with its HTTP status, its OpenAI error type and code, and its log level."""

    BAD_REQUEST = _Facts(400, "invalid_request_error")
    BAD_HTTP = _Facts(400, "invalid_request_error", "bad_http")
    MISSING_KEY = _Facts(400, "invalid_request_error", "invalid_api_key", openai_status=401)
    KEY_REFUSED = _Facts(401, "invalid_request_error", "invalid_api_key")
    ADDRESS_DENIED = _Facts(403, "permission_error", "address_not_allowed")
    FORBIDDEN = _Facts(403, "permission_error", "forbidden")
    UNKNOWN_MODEL = _Facts(400, "invalid_request_error", "model_not_found", openai_status=404)
    NOT_FOUND = _Facts(404, "invalid_request_error", "unknown_url")
    METHOD_NOT_ALLOWED = _Facts(405, "invalid_request_error", "method_not_allowed")
    REQUEST_TIMEOUT = _Facts(408, "invalid_request_error", "request_timeout")
    TOO_LARGE = _Facts(413, "invalid_request_error", "request_too_large")
    TARGET_TOO_LONG = _Facts(414, "invalid_request_error", "uri_too_long")
    MEDIA_TYPE = _Facts(415, "invalid_request_error", "unsupported_media_type")
    TOO_MANY_REQUESTS = _Facts(429, "rate_limit_error", "rate_limit_exceeded")
    OVER_BUDGET = _Facts(429, "insufficient_quota", "insufficient_quota")
    UPSTREAM_BUSY = _Facts(429, "rate_limit_error", "rate_limit_exceeded")  # noqa: PIE796 - two kinds by identity
    HEADERS_TOO_LARGE = _Facts(431, "invalid_request_error", "headers_too_large")
    FAULT = _Facts(500, "server_error", "internal_error", "error")
    BAD_UPSTREAM = _Facts(502, "upstream_error", "bad_upstream", "warning")
    UNAVAILABLE = _Facts(503, "server_error", "unavailable")
    UPSTREAM_TIMEOUT = _Facts(504, "upstream_error", "upstream_timeout", "warning")

    @property
    def status(self) -> int:
        """The HTTP status on the platform API."""
        return self.value.status

    @property
    def openai_status(self) -> int:
        """The HTTP status on the OpenAI API."""
        return self.value.openai_status or self.value.status

    @property
    def openai_type(self) -> str:
        return self.value.openai_type

    @property
    def openai_code(self) -> str | None:
        return self.value.openai_code

    @property
    def level(self) -> str:
        """How loud the application log says it: info, warning or error."""
        return self.value.level


class Problem(Exception):
    """A call that failed.

    ``text``: key into ``locales``; by default the kind's own name in lower case. ``values`` fill its
    placeholders; another Problem among them stands for what its own text says. ``param``: the member of the
    request that is at fault. ``retry_after``: whole seconds. ``safe``: the upstream surely did not act on the
    request, so it may be sent again. ``detail``: English, for the log only, never shown to the caller.
    """

    def __init__(
        self,
        kind: Kind,
        text: str = "",
        *,
        param: str | None = None,
        retry_after: int | None = None,
        safe: bool = False,
        detail: str = "",
        **values: object,
    ) -> None:
        self.kind: Final = kind
        self.text: Final = text or kind.name.lower()
        self.param: Final = param
        self.retry_after: Final = retry_after
        self.safe: Final = safe
        self.detail: Final = detail
        self.values: Final = values
        super().__init__(f"{self.text}: {detail}" if detail else self.text)


class ConfigurationError(Exception):
    """Settings that cannot be used. ``lines``: each problem with its place and the fix, one line each."""

    def __init__(self, lines: list[str]) -> None:
        self.lines: Final = lines
        super().__init__("\n".join(lines))


class StartError(Exception):
    """The gateway cannot start, though nothing is wrong with its settings; the text is one line with the cure."""
