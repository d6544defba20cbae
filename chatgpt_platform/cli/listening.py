"""What `serve` says of where it listens, and of why it cannot."""

from __future__ import annotations

import errno
import ipaddress
import sys


def in_url(host: str) -> str:
    """The host as URLs have it."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def failure(error: OSError, host: str, port: int, section: str = "server") -> str:
    """Why it failed, with the cure. ``section``: of the settings that say where."""
    cure = "(--port, PORT, server.port)" if section == "server" else f"({section}.port)"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use: stop the other program, or choose another port {cure}"
    if error.errno == errno.EACCES and sys.platform == "win32":
        return (
            f"port {port} is taken by another program or reserved by Windows (netsh int ipv4 show "
            f"excludedportrange tcp): choose another port {cure}"
        )
    if error.errno == errno.EACCES:
        return f"port {port} may not be used here: choose another, above 1023 {cure}"
    reason = error.strerror or str(error)
    return f"cannot listen on {host}:{port}: {reason}; check {section}.host and {section}.port"
