"""What is said is kept only for keys that ask for it, addresses as exactly as the owner wants; and all can go."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from chatgpt_platform.ledger import erasure
from support.fleet import SHAPE_NAMES, SHAPES, ask
from support.gateway import gateway
from support.keyed import ALICE, bearer, sharing, virtual_key

BOB = "another-key-0123456789abcdef"
KEYS = (virtual_key(prompts=True), virtual_key("bob", BOB))


def found(directory: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(directory / "ledger.db")) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize(("api", "stream"), SHAPES, ids=SHAPE_NAMES)
def test_what_is_said_is_kept_for_keys_that_ask_for_it_alone(api: str, stream: bool, tmp_path: Path) -> None:
    with gateway(sharing(*KEYS, directory=tmp_path)) as running:
        for headers in (bearer(), bearer(BOB), {}):
            assert ask(running, api, stream=stream, headers=headers).good
        broken = requests.post(running.url + "/v1/chat/completions", data=b"{", headers=bearer(), timeout=20)
        assert broken.status_code == 400
        log = running.output()
    ((key, prompt, answer),) = found(tmp_path, "SELECT key, prompt, answer FROM said")
    assert key == "alice"
    assert "hi" in prompt
    assert "Hello! This is turn 1" in answer
    assert "This is turn 1" not in log, "in the ledger, not in the access log"
    assert '"prompt"' not in log


def test_addresses_are_kept_truncated_where_the_owner_wants_it(tmp_path: Path) -> None:
    options = {"CHATGPT_LEDGER__ADDRESSES": "truncated", "DAY_LIMIT": "100"}
    with gateway(sharing(*KEYS, directory=tmp_path, **options)) as running:
        assert ask(running, "openai", headers=bearer()).good
    assert found(tmp_path, "SELECT client FROM calls") == [("127.0.0.0/24",)]
    assert found(tmp_path, "SELECT client FROM said") == [("127.0.0.0/24",)]
    assert b"127.0.0.1" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_all_of_a_key_can_be_erased(tmp_path: Path) -> None:
    with gateway(sharing(*KEYS, directory=tmp_path)) as running:
        for headers in (bearer(ALICE), bearer(BOB)):
            assert ask(running, "openai", headers=headers).good
    with closing(erasure.connect_to_erase(tmp_path)) as connection:
        assert erasure.forget(connection, key="alice") == 1
    assert found(tmp_path, "SELECT key FROM calls") == [("bob",)]
    assert found(tmp_path, "SELECT key FROM said") == []
    assert b"alice" not in b"".join(file.read_bytes() for file in tmp_path.glob("ledger.db*"))
