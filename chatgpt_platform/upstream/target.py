"""Where an upstream is: its base URL, taken apart once."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

_PORTS: Final = {"http": 80, "https": 443}
_VISIBLE: Final = re.compile(r"[^\x00-\x20\x7f]+")


@dataclass(frozen=True, slots=True)
class Target:
    """``host``: a name in ASCII or an address, IPv6 without brackets. ``path``: without a slash at its end."""

    secure: bool
    host: str
    port: int
    path: bytes
    authority: bytes
    """The Host header: the port only where it is not the scheme's own (RFC 9110, 7.2)."""

    @property
    def where(self) -> str:
        """host:port, for the log."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def literal(self) -> bool:
        """Whether the host is an IP address, so that there is no name to look up."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


def parse(base_url: str) -> Target:
    """Raises ValueError where this is not http or https with a host, or holds credentials, query or fragment.

    The text of the error never repeats the URL, which might hold a password.
    """
    # urlsplit drops tabs and line breaks without a word.
    if not _VISIBLE.fullmatch(base_url):
        raise ValueError("a base URL has no spaces or control characters")
    url = urlsplit(base_url)
    if url.scheme not in _PORTS:
        raise ValueError("a base URL begins with http:// or https://")
    if "@" in url.netloc or "?" in base_url or "#" in base_url:
        raise ValueError("a base URL has no credentials, query or fragment")
    host = _host(url)
    port = _PORTS[url.scheme] if url.port is None else url.port
    if port == 0:
        raise ValueError("port 0 cannot be connected to")
    authority = f"[{host}]" if ":" in host else host
    if port != _PORTS[url.scheme]:
        authority += f":{port}"
    path = url.path.rstrip("/").encode("ascii")
    return Target(url.scheme == "https", host, port, path, authority.encode("ascii"))


def _host(url: SplitResult) -> str:
    host = url.hostname or ""
    if not host or "%" in host:
        raise ValueError("a base URL names a host, and no zone")
    return host if host.isascii() else host.encode("idna").decode("ascii")
