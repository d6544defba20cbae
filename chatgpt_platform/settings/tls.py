"""The certificate of ``server.tls``: from its files to what encrypts connections, each mistake in one line.

``server_context`` makes an ``ssl.SSLContext`` of the files as they are now. ``Certificate`` keeps the one of a
running server and renews it. ``check_authorities`` looks at the files of ``upstreams[…].ca_file``. All raise
``ConfigurationError``; nothing that a file holds is ever repeated.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.schema import Tls, Upstream
from chatgpt_platform.settings.text import printable

_LARGEST: Final = 2**20
_MISMATCHES: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
"""What OpenSSL calls a key of another certificate; the last when it is of another kind as well."""


class _Role(NamedTuple):
    """One of the two files: its setting, what it has to hold, how that begins, and in which variants."""

    setting: str
    wanted: str
    begin: str
    pattern: re.Pattern[bytes]


_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_BEGINS: Final = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----")
_CERTIFICATE: Final = _Role("server.tls.certificate", "a PEM file with the server's certificate", _BEGIN, _BEGINS)
_KEY: Final = _Role(
    "server.tls.key",
    "a PEM file with the certificate's private key",
    "-----BEGIN PRIVATE KEY-----",
    re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"),
)


class Certificate:
    """The certificate of a running server. ``context``: what to accept the next connection with; None: no TLS.

    A renewal replaces the context and leaves the old one as it was, with the connections that use it. To load
    into the old one would not do: it would go on to show its former certificate beside one of another key type.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls: Final = tls
        self.context = server_context(tls)

    def renew(self, tls: Tls) -> None:
        """Take what the files hold now; files at other paths are only verified, since they need a restart.

        After a ``ConfigurationError`` the former certificate is still in force.
        """
        context = server_context(tls)
        if tls == self._tls:
            self.context = context


def server_context(tls: Tls) -> ssl.SSLContext | None:
    """What a server encrypts its connections with; None where no certificate is configured."""
    if not tls.certificate:
        return None
    problems = [*_problems(_CERTIFICATE, tls.certificate), *_problems(_KEY, tls.key)]
    if problems:
        raise ConfigurationError(problems)
    # Not ``create_default_context``: that one writes the secrets of connections where $SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a callback OpenSSL would ask for the passphrase at the terminal, and wait.
        context.load_cert_chain(tls.certificate, tls.key, password=_no_passphrase)
    except _EncryptedError:
        reason = "is encrypted, expected a key without a passphrase: openssl pkey -in FILE -out NEWFILE makes one"
        raise ConfigurationError([_line(_KEY, tls.key, reason)]) from None
    except ssl.SSLError as error:
        raise ConfigurationError([_refusal(tls, error.reason or "")]) from None
    except OSError as error:  # they were readable a moment ago
        reason = f"cannot be read: {_reason(error)}, expected files that stay"
        raise ConfigurationError([f"{_CERTIFICATE.setting}, {_KEY.setting}: {reason}"]) from None
    return context


def check_authorities(upstreams: Sequence[Upstream]) -> None:
    """Whether the ``ca_file`` of each upstream holds certificates that can be used."""
    problems: list[str] = []
    for index, upstream in enumerate(upstreams):
        if name := upstream.ca_file:
            wanted = "a PEM file with the certificates of authorities"
            role = _Role(f"upstreams[{index}].ca_file", wanted, _BEGIN, _BEGINS)
            found = list(_problems(role, name))
            if not found and not _holds_certificates(name):
                found = [_line(role, name, f"cannot be decoded, expected {wanted} that is whole and undamaged")]
            problems += found
    if problems:
        raise ConfigurationError(problems)


def _problems(role: _Role, name: str) -> Iterator[str]:
    """What is wrong with a file at first sight."""
    path = Path(name)
    try:
        if path.is_dir():
            reason = f"is a directory, expected {role.wanted}"
        elif path.exists() and not path.is_file():  # reading a pipe would wait for its writer
            reason = f"is not a regular file, expected {role.wanted}"
        else:
            reason = _unfit(role, path)
    except (FileNotFoundError, NotADirectoryError):
        reason = f"no such file, expected {role.wanted}"
    except OSError as error:
        reason = f"cannot be read: {_reason(error)}, expected {role.wanted} that this user may read"
    if reason:
        yield _line(role, name, reason)


def _unfit(role: _Role, path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        return f"is larger than 1 MiB, expected {role.wanted}"
    if not role.pattern.search(content):
        return f"no {role.begin} in it, expected {role.wanted}"
    return ""


def _refusal(tls: Tls, reason: str) -> str:
    """Why OpenSSL takes the pair of files not. ``reason``: its own word for it, often none."""
    if reason in _MISMATCHES:
        text = f"does not match the first certificate in {tls.certificate}, expected the key that belongs to it"
        return _line(_KEY, tls.key, text)
    if reason.endswith(("_TOO_SMALL", "_TOO_WEAK")):
        text = f"too weak for OpenSSL ({_words(reason)}), expected ECDSA, or RSA of 2048 bits or more, and SHA-256"
        return _line(_CERTIFICATE, tls.certificate, text)
    role, name = (_KEY, tls.key) if _holds_certificates(tls.certificate) else (_CERTIFICATE, tls.certificate)
    said = f" ({_words(reason)})" if reason else ""
    return _line(role, name, f"cannot be decoded{said}, expected {role.wanted} that is whole and undamaged")


def _holds_certificates(name: str) -> bool:
    """Whether all certificates in a file can be decoded."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(name)
    except OSError:
        return False
    return True


class _EncryptedError(Exception):
    """OpenSSL asks for the passphrase of the key."""


def _no_passphrase() -> NoReturn:
    raise _EncryptedError


def _line(role: _Role, name: str, reason: str) -> str:
    return printable(f"{role.setting}: {name}: {reason}")


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else "unknown"


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")
