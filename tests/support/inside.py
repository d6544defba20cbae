"""What an object of ours holds, be its class compiled or not."""

from __future__ import annotations


def inside(it: object) -> str:
    """The ``repr`` of all its attributes."""
    return repr({name: getattr(it, name) for name in dir(it) if not name.startswith("__")})
