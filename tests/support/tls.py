"""TLS contexts for both ends, under an authority that a test makes up."""

from __future__ import annotations

import ssl

import trustme


def served(authority: trustme.CA) -> ssl.SSLContext:
    """For a server on localhost."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """For a client that trusts nobody else."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
