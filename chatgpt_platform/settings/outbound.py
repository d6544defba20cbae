"""Kinds for the way out: an upstream's own headers, the proxy, a webhook, names and wildcards of models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import translate
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

from chatgpt_platform.settings.addresses import split_url
from chatgpt_platform.settings.containers import ListOf, MapOf, describe_key
from chatgpt_platform.settings.kinds import Fault, Mismatch, Text, TextKind, Unusable, yaml_text
from chatgpt_platform.settings.nodes import Node, Scalar, Table
from chatgpt_platform.settings.secret import HIDDEN, MASK, Secret, SecretKind

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_KEY_HEADERS: Final = frozenset({"authorization", "api-key"})
# What the gateway writes itself, what frames a message, and what ends at the next hop (RFC 9110, section 7.6.1).
_TAKEN_HEADERS: Final = frozenset(
    {"accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect"}
    | {"host", "keep-alive", "te", "trailer", "traceparent", "tracestate", "transfer-encoding", "upgrade"}
    | {"user-agent"}
)
_PORTS: Final = MappingProxyType({"http": 80, "socks5": 1080, "socks5h": 1080})


class HeaderName(TextKind[str]):
    """The name of a header that an upstream's configuration may set."""

    name = "header"
    expected = "the name of a header, such as X-Team"

    def read(self, text: str) -> str:
        lower = text.lower()
        if not _TOKEN.fullmatch(text):
            raise Mismatch
        if lower in _KEY_HEADERS:
            raise Mismatch("another header: a key belongs into api_keys")
        if lower in _TAKEN_HEADERS or lower.startswith("proxy-"):
            raise Mismatch("another header: this one is the gateway's own")
        return text

    def found(self, node: Scalar) -> str:
        """A name that could be a misplaced value is not repeated: ``{X-Key:abc}`` is one name in YAML."""
        harmless = re.fullmatch("[A-Za-z][A-Za-z-]{0,39}", node.text)
        return describe_key(node) if harmless else "a name that is not shown"

    def yaml(self, value: str) -> str:
        return yaml_text(value)


class HeaderValue(SecretKind):
    """What stands in a header. No error repeats it: it may be a password."""

    name = "text"
    expected = "a text of visible ASCII characters and blanks, no blank at its ends"
    pattern = r"[!-~](?:[ -~]{0,4094}[!-~])?"


class Headers(MapOf[Secret]):
    """Headers by name; one name in two spellings is one too many."""

    def __init__(self) -> None:
        self._names: Final = HeaderName()
        super().__init__(self._names, HeaderValue())
        self.expected = "a mapping from the names of headers to texts"

    def parse(self, node: Node) -> Mapping[str, Secret]:
        headers = super().parse(node)
        first: dict[str, str] = {}
        for key, _ in node.entries if isinstance(node, Table) else ():
            other = first.setdefault(key.text.lower(), key.text)
            if other != key.text:
                text = f"found a second time (as {other}), expected once"
                raise Unusable([Fault(text, key.line, f"[{self.shown(key)}]")])
        return headers

    def found(self, node: Node) -> str:
        return HIDDEN if isinstance(node, Scalar) else super().found(node)

    def shown(self, key: Scalar) -> str:
        return self._names.found(key)


class Proxy(SecretKind):
    """The URL of a proxy, always with its port; empty for none. Its credentials are masked when it is shown."""

    name = "URL"
    expected = (
        "an http://, socks5:// or socks5h:// URL with a host and without a path, such as "
        "http://user:password@proxy:3128 (special characters in user and password percent-encoded)"
    )
    _CREDENTIALS: Final = re.compile(
        r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+(?::(?:[^%]|%[0-9A-Fa-f]{2})*)?"
    )

    def read(self, text: str) -> Secret:
        if text == "":
            return Secret("")
        parts = split_url(text)
        scheme, rest = parts.scheme, text.partition("://")[2].removesuffix("/")
        credentials, _, place = parts.netloc.rpartition("@")
        if scheme not in _PORTS or rest != parts.netloc or "@" in credentials:
            raise Mismatch
        if "@" in parts.netloc:
            self._check(scheme, credentials)
        port = "" if parts.port else f":{_PORTS[scheme]}"
        return Secret(f"{scheme}://{parts.netloc.removesuffix(place)}{place.lower()}{port}")

    def _check(self, scheme: str, credentials: str) -> None:
        """Whether user and password can be told to such a proxy (RFC 1929 and 7617). Raises ``Mismatch``."""
        if not self._CREDENTIALS.fullmatch(credentials):
            raise Mismatch
        user, _, password = credentials.partition(":")
        if scheme == "http":
            if b":" in unquote_to_bytes(user):
                raise Mismatch("a user without a colon, which an HTTP proxy would take for its end")
        elif not all(0 < len(each) <= 255 and each.isascii() for each in map(unquote_to_bytes, (user, password))):
            raise Mismatch("user and password of 1 to 255 ASCII characters each, as SOCKS5 has them")

    def yaml(self, value: Secret) -> str:
        return yaml_text(re.sub("//.*@", f"//{MASK}@", value.reveal()))

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": "^(?:(?:[Hh][Tt][Tt][Pp]|[Ss][Oo][Cc][Kk][Ss]5[Hh]?)://[^/?#]+/?)?$"}


class WebhookUrl(TextKind[str]):
    """Where notes are sent; empty for nowhere. Its path is masked when it is shown: for many it is the secret."""

    name = "URL"
    expected = "an http:// or https:// URL with a host and without credentials and fragment"

    def read(self, text: str) -> str:
        if text == "":
            return text
        parts = split_url(text)
        if parts.scheme not in {"http", "https"} or "@" in parts.netloc or "#" in text:
            raise Mismatch
        return text

    def found(self, node: Scalar) -> str:
        return HIDDEN

    def yaml(self, value: str) -> str:
        return yaml_text(re.sub("(//[^/?]*)[/?].+", rf"\1/{MASK}", value))

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": "^(?:[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+([/?][^#]*)?)?$"}


class Patterns(ListOf[str]):
    """Names of models in which ``*`` stands for any characters and ``?`` for one; at least one of them."""

    def __init__(self) -> None:
        super().__init__(Text("the name of a model, * and ? in it as wildcards", pattern=r"\S(?:.{0,254}\S)?"))
        self.name = "list of names"

    def parse(self, node: Node) -> tuple[str, ...]:
        patterns = super().parse(node)
        if not patterns:
            raise Unusable([Fault('found no model, expected at least one; "*" stands for all', node.line)])
        return patterns

    def json_schema(self) -> dict[str, object]:
        return super().json_schema() | {"type": "array", "minItems": 1}


def matches(pattern: str, name: str) -> bool:
    """Whether a name of ``models`` or a pattern there is meant by the name of a model."""
    return re.fullmatch(expression(pattern), name) is not None


def expression(pattern: str) -> str:
    """A pattern of ``models`` as a regular expression, which takes no longer than a name is long."""
    return translate(pattern.replace("[", "[[]"))
