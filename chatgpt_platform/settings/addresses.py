"""Kinds for what names a place: hosts, networks, origins, URLs, the route and files."""

from __future__ import annotations

import ipaddress
import re
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from chatgpt_platform.settings.kinds import Mismatch, TextKind, yaml_text
from chatgpt_platform.settings.nodes import Scalar

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

USAGE: Final = "api/usage"
RESERVED: Final = ("v1", "healthz", "readyz", "metrics", "admin", "chatgpt")
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_HIDDEN: Final = "a value that is not shown"
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    """An IP address or a name in ASCII (RFC 1123, with the underscore that container networks use)."""
    if _is_address(text):
        return True
    labels = text.removesuffix(".").split(".")
    # A name whose last label is a number would be taken for an IPv4 address (WHATWG URL, section 3.5).
    return len(text) <= 253 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


class _AddressKind(TextKind[str]):
    def yaml(self, value: str) -> str:
        return yaml_text(value)


class Host(_AddressKind):
    """An address or name to listen on, without a port."""

    name = "host"
    expected = "an IP address or a host name, without a port"

    def read(self, text: str) -> str:
        bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        if not _is_host(bare):
            raise Mismatch
        return bare


class Cidr(TextKind[Network]):
    """A network; a bare address is a network of one. IPv4-mapped IPv6 becomes IPv4, as callers' addresses do."""

    name = "CIDR"
    expected = "an IP address or a network such as 10.0.0.0/8 or fd00::/8"

    def read(self, text: str) -> Network:
        address, slash, length = text.partition("/")
        if not _is_address(address) or "%" in text or (slash and not re.fullmatch("[0-9]{1,3}", length)):
            raise Mismatch
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:  # a prefix that is too long
            raise Mismatch from None
        if ipaddress.ip_address(address) != network.network_address:
            raise Mismatch(f"the network {network}, or the address {address} alone")
        if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
            return ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
        return network

    def yaml(self, value: Network) -> str:
        return yaml_text(str(value))


def split_url(text: str) -> SplitResult:
    """The parts of a URL with a host. Raises ``Mismatch``; blanks, which ``urlsplit`` drops, are refused."""
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and _is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", text) or "\\" in text or parts.netloc.endswith(":"):
        raise Mismatch
    return parts


def _authority(parts: SplitResult, default_ports: dict[str, int]) -> str:
    """``host`` or ``host:port``: lower case, brackets around IPv6, no port that the scheme implies."""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in {None, default_ports.get(parts.scheme)} else f"{host}:{parts.port}"


class Origin(_AddressKind):
    """``*`` or a web origin, as browsers send it: lower case, without the scheme's own port."""

    name = "origin"
    expected = 'an origin such as https://chat.example, without a path, or "*"'

    def read(self, text: str) -> str:
        if text == "*":
            return text
        parts = split_url(text)
        if "@" in text or text.partition("://")[2] != parts.netloc:
            raise Mismatch
        return f"{parts.scheme}://{_authority(parts, {'http': 80, 'https': 443})}"


class BaseUrl(_AddressKind):
    """Where an upstream's API begins; the result has no slash at the end."""

    name = "URL"
    expected = "an http:// or https:// URL with a host and without credentials, query or fragment"

    def read(self, text: str) -> str:
        if "@" in text:
            raise Mismatch("a URL without credentials: a key belongs into api_keys")
        parts = split_url(text)
        if parts.scheme not in {"http", "https"} or "?" in text or "#" in text:
            raise Mismatch
        return f"{parts.scheme}://{_authority(parts, {})}{parts.path.rstrip('/')}"

    def found(self, node: Scalar) -> str:
        """Shown only where nothing in it can be a key: one may be in the credentials, the query, or misplaced."""
        harmless = re.fullmatch(r"[a-z]{2,8}:/{0,2}[A-Za-z0-9.:\[\]_-]*(/[A-Za-z0-9._/-]*)?", node.text)
        return super().found(node) if harmless else _HIDDEN

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^@?#]+$"}


class Route(_AddressKind):
    """A path, ``/api``; empty for none. Slashes around it make no difference."""

    name = "path"
    expected = "a path of letters, digits and ._~- such as /api"

    def read(self, text: str) -> str:
        segments = text.removeprefix("/").removesuffix("/").split("/")
        if segments == [""]:
            return ""
        if len(text) > 200 or not all(re.fullmatch(r"(?!\.\.?$)[A-Za-z0-9._~-]+", part) for part in segments):
            raise Mismatch
        if segments[0].lower() in RESERVED:
            raise Mismatch(f"a path that does not begin with one of {', '.join(RESERVED)}: they are in use")
        if "/".join(segments[:2]).lower() == USAGE:
            raise Mismatch(f"a path that does not begin with {USAGE}: it is in use")
        return "/" + "/".join(segments)


class PemFile(_AddressKind):
    """The path of a PEM file; empty for none. A key that stands in place of its path is never repeated."""

    name = "path"
    expected = "the path of a PEM file, not what it holds"
    _CONTENT: Final = re.compile("-----BEGIN|LS0tLS1CRUdJTi")  # as it is, or in base64

    def read(self, text: str) -> str:
        if self._CONTENT.search(text):
            raise Mismatch
        return text

    def found(self, node: Scalar) -> str:
        return _HIDDEN
