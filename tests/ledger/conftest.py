"""A ledger's file, open to write, as the thread that writes has it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatgpt_platform.ledger import database, totals


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = database.open_to_write(tmp_path, pytest.fail)
    totals.prepare(connection)
    yield connection
    connection.close()
