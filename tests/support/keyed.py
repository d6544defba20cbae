"""Gateways whose callers have virtual keys.

    with gateway(sharing(virtual_key(tokens=["1000/day"]), directory=tmp_path)) as running:
        ask(running, "openai", headers=bearer())
        account(running).items[0].allowance.spent

With a directory what was used outlives the gateway, and ``keys``, the key store, can be there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from chatgpt_platform.accounts.account import Account
from support.gateway import Running

ALICE: Final = "class-key-0123456789abcdef"
"""The key of alice, who is the holder unless a test names others."""


def virtual_key(name: str = "alice", key: str = ALICE, **options: Any) -> dict[str, Any]:
    """One key of the settings; ``options`` as in the file."""
    return {"name": name, "key": key, **options}


def sharing(*keys: Mapping[str, Any], directory: Path | None = None, **environment: str) -> dict[str, str]:
    """The environment of a gateway with these keys, which warns of no budget. ``directory``: what is to be kept is
    kept there."""
    state = {} if directory is None else {"CHATGPT_STATE__DIRECTORY": str(directory)}
    given = {"CHATGPT_KEYS": json.dumps(keys)} if keys else {}
    quiet = {"CHATGPT_BUDGETS__TIME_ZONE": "UTC", "CHATGPT_BUDGETS__WARN": "[]"}
    return {**given, **state, **quiet, **environment}


def bearer(key: str = ALICE) -> dict[str, str]:
    """The header that brings it."""
    return {"Authorization": f"Bearer {key}"}


def account(running: Running, name: str = "alice") -> Account:
    """What the gateway knows of a holder."""
    return running.service.accounts.ring.accounts[name]


def spent(running: Running, name: str = "alice") -> dict[str, int]:
    """What is used of each allowance, by its name."""
    items = account(running, name).items
    for item in items:
        item.allowance.turn(time.time(), time.monotonic_ns())
    return {item.name: item.allowance.spent for item in items}
