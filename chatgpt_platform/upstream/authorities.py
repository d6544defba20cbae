"""Whose certificates are believed: the system's authorities, wherever this system keeps them; or those of a file.

OpenSSL looks where it was built to look, and where ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` say. An executable takes
its OpenSSL to systems that keep their authorities elsewhere.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final

BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch; distroless images
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL and its kin
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, without the older links
    "/etc/ssl/cert.pem",  # Alpine, macOS
)
"""Where systems keep all their authorities in one file."""

_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")


def context(bundles: Iterable[str] = BUNDLES) -> ssl.SSLContext:
    """A client's context, with certificate and host name checks.

    Where OpenSSL itself finds no authority, those of the first of ``bundles`` that is there and can be read.
    """
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not has_authorities(made):
        for bundle in bundles:
            try:
                made.load_verify_locations(bundle)
            except OSError:  # not there; ssl.SSLError, no certificates in it, is one too
                continue
            break
    return made


def own(file: str) -> ssl.SSLContext:
    """The same, believing those in ``file`` (PEM) and nobody else.

    Raises ValueError, which names the file and what is wrong with it.
    """
    try:
        made = ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:  # ssl.SSLError, no certificates in it, is an OSError
        unreadable = isinstance(error, OSError) and not isinstance(error, ssl.SSLError)
        reason = getattr(error, "strerror", None) if unreadable else "there is no PEM certificate in it"
        raise ValueError(f"{file}: {reason or type(error).__name__}") from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    # What Python 3.13 asks for besides, authorities that people make for themselves often lack; and an
    # intermediate may stand for its root.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return made


def has_authorities(made: ssl.SSLContext) -> bool:
    """Whether a context of the system's knows anybody, or may find somebody."""
    paths = ssl.get_default_verify_paths()._asdict()  # not by their names, whose types leave out None
    return bool(made.cert_store_stats()["x509_ca"]) or _is_hashed(paths["capath"])


def _is_hashed(folder: str | None) -> bool:
    """Whether OpenSSL can find anybody there: it reads a folder's files only when it meets a certificate, by the
    hash of their subjects."""
    try:
        return folder is not None and any(_HASHED.fullmatch(each.name) for each in Path(folder).iterdir())
    except OSError:
        return False
