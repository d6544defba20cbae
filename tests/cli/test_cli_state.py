"""``state.directory``, and a disk that is pulled away: the start says what is wrong, a running gateway goes on.

What the ledger's thread does is tested in tests/ledger; here it is the whole program. Its answers must not wait
for the disk, budgets must hold, and rows must be there when the disk is.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
import requests

from chatgpt_platform.ledger.trouble import LedgerError
from support import truth
from support.gateway import wait_until
from support.program import PROGRAM, Program, run, serving

KEY: Final = "the-virtual-key-of-alice"
PATIENCE: Final = 20.0
ROOT_OF_LINUX: Final = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None,
    reason="mounts need root on Linux",
)


def environment(state: Path, tokens: str = "100k/total") -> Mapping[str, str]:
    keys = [
        {"name": "alice", "key": KEY, "tokens": [tokens]},
        {"name": "bob", "key": KEY + "-2", "tokens": ["1k/total"]},
    ]
    return {
        "CHATGPT_STATE__DIRECTORY": str(state), "CHATGPT_KEYS": json.dumps(keys), "CHATGPT_BUDGETS__WARN": "[]",
    }  # fmt: skip


def ask(program: Program, count: int = 1, key: str = KEY, status: int = 200) -> int:
    """Calls, each within a moment; the tokens that they used."""
    used = 0
    for _ in range(count):
        began = time.monotonic()
        asked = {"model": "gpt-4o-mini", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
        answer = requests.post(
            f"{program.url}/v1/chat/completions",
            json=asked,
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        )
        assert answer.status_code == status, answer.text
        assert time.monotonic() - began < 5, "it waited for the disk"
        used += answer.json()["usage"]["total_tokens"] if status == 200 else 0
    return used


def ask_until_denied(program: Program) -> int:
    """Call until there is no budget left for it; the tokens that were used."""
    used = 0
    for _ in range(1000):
        try:
            used += ask(program)
        except AssertionError as error:
            assert "insufficient_quota" in str(error)  # noqa: PT017 - which of its assertions it was
            return used
    raise AssertionError("it is never denied")


def rows(state: Path) -> int:
    """Those in the ledger; -1 where it cannot be read."""
    with suppress(LedgerError, sqlite3.Error, OSError):
        return len(truth.rows_of(state))
    return -1


def spent(state: Path, name: str = "alice") -> int:
    """What the ledger remembers of a key's tokens."""
    with closing(sqlite3.connect(state / "ledger.db")) as connection:
        found = connection.execute(
            "SELECT value FROM states WHERE kind = 'allowance' AND name = ?", (name,)
        ).fetchone()
    return int(json.loads(found[0])["tokens/total"]["spent"]) if found else 0


def ended(program: Program) -> list[str]:
    """Stop it; its warnings and errors."""
    program.process.terminate()
    assert program.end() == 0
    return [line.split(" ", 1)[1] for line in program.lines if " WARNING " in line or " ERROR " in line]


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[None]:
    """A disk of its own at a place."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(("size=1M", *options)), "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)


# The start.


def fails(state: Path, code: int, *parts: str, directory: Path) -> None:
    done = run("serve", "--demo", "--port", "0", directory=directory, environment=environment(state))
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert all(part in line for part in parts), line
    assert "--debug" not in line


def test_a_second_gateway_is_turned_away(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving("--demo", directory=tmp_path, environment=environment(state)) as program:
        fails(state, 1, "in use by another gateway", str(program.process.pid), "stop it", directory=tmp_path)
        ask(program)
        assert ended(program) == []


def test_a_ledger_of_a_newer_version(tmp_path: Path) -> None:
    state = begun(tmp_path)
    with closing(sqlite3.connect(state / "ledger.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    fails(state, 1, "newer chatgpt-platform", "run that version", directory=tmp_path)


def test_keys_of_a_newer_version(tmp_path: Path) -> None:
    state = begun(tmp_path)
    with closing(sqlite3.connect(state / "keys.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    fails(state, 2, "newer chatgpt-platform", "use that one", directory=tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("keys.secret", None, ("keys.secret", "backup")),
        ("keys.secret", b"short", ("keys.secret", "32 bytes", "backup")),
        ("keys.db", b"no database at all" * 100, ("keys.db", "backup")),
    ],
)
def test_keys_that_cannot_be_read(
    name: str, content: bytes | None, parts: tuple[str, ...], tmp_path: Path
) -> None:
    state = begun(tmp_path)
    for companion in state.glob(f"{name}-*"):
        companion.unlink()
    if content is None:
        (state / name).unlink()
    else:
        (state / name).write_bytes(content)
    fails(state, 2, "The cure: ", *parts, directory=tmp_path)


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("no directory")
    fails(state, 2, str(state), "state.directory", directory=tmp_path)


def test_garbage_in_place_of_the_ledger_is_kept_aside(tmp_path: Path) -> None:
    state = begun(tmp_path)
    (state / "ledger.db").write_bytes(b"garbage " * 1000)
    with serving("--demo", directory=tmp_path, environment=environment(state)) as program:
        ask(program)
        wait_until(lambda: rows(state) == 1, PATIENCE)
        (said,) = ended(program)
    assert "cannot be read" in said
    (aside,) = state.glob("ledger.db.broken-*")
    assert aside.read_bytes().startswith(b"garbage")


def test_a_ledger_that_is_locked_at_the_start_is_gone_on_with(tmp_path: Path) -> None:
    """As while ``usage forget`` writes it anew: what was used before must not be forgotten."""
    state = begun(tmp_path)
    before = spent(state)
    assert before > 0
    with closing(sqlite3.connect(state / "ledger.db", isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode = DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        with serving("--demo", directory=tmp_path, environment=environment(state)) as program:
            used = ask(program, 3)
            holder.execute("ROLLBACK")
            holder.close()
            wait_until(lambda: rows(state) == 4, PATIENCE)
            used += ask(program, 2)
            said = ended(program)
    assert [line.split()[0] for line in said] == ["WARNING", "WARNING"], said
    assert rows(state) == 6
    assert spent(state) == before + used


def begun(tmp_path: Path) -> Path:
    """A state directory in which one call is recorded, and a key is stored."""
    state = tmp_path / "state"
    with serving("--demo", directory=tmp_path, environment=environment(state)) as program:
        ask(program)
        ended(program)
    made = run("keys", "create", "--name", "carol", directory=tmp_path, environment=environment(state))
    assert made.returncode == 0, made.stderr
    return state


# While it runs.


@ROOT_OF_LINUX
def test_a_disk_that_gets_full(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with (
        mounted(state),
        serving("--demo", directory=tmp_path, environment=environment(state, "100/total")) as program,
    ):
        used = ask(program, 2)
        wait_until(lambda: rows(state) == 2, PATIENCE)
        filler = os.open(state / "filler", os.O_CREAT | os.O_WRONLY)
        with suppress(OSError):
            while True:
                os.write(filler, b"x" * 4096)
        os.close(filler)
        used += ask(program, 5)
        program.wait_for("make room on its disk")
        used += ask_until_denied(program)
        assert 50 < used <= 100, "the budget holds"
        (state / "filler").unlink()
        program.wait_for("is written again; rows lost: 0")
        said = ended(program)
        assert [line.split()[0] for line in said] == ["WARNING", "WARNING"], said
        assert spent(state) == used
        assert rows(state) == len([line for line in program.lines if '"path":"/v1/chat/completions"' in line])


@ROOT_OF_LINUX
def test_a_read_only_disk_over_it_and_away_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving("--demo", directory=tmp_path, environment=environment(state)) as program:
        used = ask(program, 2)
        wait_until(lambda: rows(state) == 2, PATIENCE)
        with mounted(state, "ro"):
            used += ask(program, 5)
            program.wait_for("cannot be written")
            used += ask(program, 5)
        program.wait_for("is written again; rows lost: 0")
        ended(program)
    assert rows(state) == 12
    assert spent(state) == used


@ROOT_OF_LINUX
def test_a_disk_that_is_taken_away(tmp_path: Path) -> None:
    """What lay on it is gone; all that is known of budgets goes to where the ledger begins anew."""
    state = tmp_path / "state"
    with serving_on_a_disk(state, tmp_path) as program:
        bobs, used = ask(program, 2, key=KEY + "-2"), ask(program, 2)
        wait_until(lambda: rows(state) == 4, PATIENCE)
        subprocess.run(["umount", "-l", state], check=True)
        used += ask(program, 5)
        wait_until(lambda: rows(state) == 5, PATIENCE)
        said = ended(program)
    assert any("removed or replaced" in line for line in said)
    assert any("the keys that are known stay in force" in line for line in said)
    assert len(said) == 2
    assert (spent(state), spent(state, "bob")) == (used, bobs)


@contextmanager
def serving_on_a_disk(state: Path, folder: Path) -> Iterator[Program]:
    with mounted(state), serving("--demo", directory=folder, environment=environment(state)) as program:
        yield program


@pytest.mark.skipif(sys.platform == "win32", reason="an open file stays where it is")
def test_a_directory_that_is_replaced_by_an_empty_one(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving("--demo", directory=tmp_path, environment=environment(state)) as program:
        bobs, used = ask(program, 2, key=KEY + "-2"), ask(program, 2)
        wait_until(lambda: rows(state) == 4, PATIENCE)
        state.rename(tmp_path / "before")
        state.mkdir()
        used += ask(program, 5)
        wait_until(lambda: rows(state) == 5, PATIENCE)
        ended(program)
    assert (spent(state), spent(state, "bob")) == (used, bobs)
    assert rows(tmp_path / "before") == 4


@pytest.mark.skipif(sys.platform == "win32", reason="an open file stays where it is")
def test_garbage_in_place_of_the_ledger_while_it_is_open(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving("--demo", directory=tmp_path, environment=environment(state)) as program:
        bobs, used = ask(program, 2, key=KEY + "-2"), ask(program, 2)
        wait_until(lambda: rows(state) == 4, PATIENCE)
        (tmp_path / "garbage").write_bytes(b"garbage " * 1000)
        (tmp_path / "garbage").replace(state / "ledger.db")
        used += ask(program, 5)
        program.wait_for("a new one begins")
        used += ask(program, 2)
        wait_until(lambda: rows(state) >= 2, PATIENCE)
        ended(program)
    assert (spent(state), spent(state, "bob")) == (used, bobs)
    assert list(state.glob("ledger.db.broken-*"))


@pytest.mark.skipif(sys.platform == "win32", reason="an open file stays where it is")
def test_a_backup_in_place_of_the_ledger_while_it_is_open(tmp_path: Path) -> None:
    """What SQLite keeps beside the file must not be laid over another."""
    state = tmp_path / "state"
    with serving("--demo", directory=tmp_path, environment=environment(state)) as program:
        used = ask(program, 2)
        wait_until(lambda: rows(state) == 2, PATIENCE)
        with closing(sqlite3.connect(state / "ledger.db")) as connection:
            connection.execute("VACUUM INTO ?", (str(tmp_path / "backup"),))
        used += ask(program, 200)
        wait_until(lambda: rows(state) == 202, PATIENCE)
        (tmp_path / "backup").replace(state / "ledger.db")
        used += ask(program, 5)
        wait_until(lambda: rows(state) == 7, PATIENCE)
        ended(program)
    with closing(sqlite3.connect(state / "ledger.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert spent(state) == used


def test_garbage_written_over_the_ledger_is_seen_at_the_next_start(tmp_path: Path) -> None:
    """SQLite cannot see it before it reads; what it writes meanwhile is lost with the file."""
    state = tmp_path / "state"
    with serving("--demo", directory=tmp_path, environment=environment(state)) as program:
        ask(program, 2)
        wait_until(lambda: rows(state) == 2, PATIENCE)
        (state / "ledger.db").write_bytes(b"garbage " * 20_000)
        ask(program, 5)
        program.process.terminate()
        assert program.end() == 0
    with serving("--demo", directory=tmp_path, environment=environment(state)) as program:
        ask(program, 2)
        wait_until(lambda: rows(state) >= 2, PATIENCE)
        ended(program)


@ROOT_OF_LINUX
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_rights_that_are_taken_away(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o755)
    state = tmp_path / "state"
    state.mkdir()
    shutil.chown(state, 65534, 65534)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *PROGRAM]
    with serving("--demo", directory=tmp_path, environment=environment(state), command=command) as program:
        used = ask(program, 2)
        wait_until(lambda: rows(state) == 2, PATIENCE)
        shutil.chown(state, 0, 0)
        state.chmod(0o700)
        used += ask(program, 5)
        program.wait_for(" WARNING ")
        used += ask(program, 5)
        shutil.chown(state, 65534, 65534)
        program.wait_for("is written again; rows lost: 0")
        said = ended(program)
    assert sum("let the gateway's user write" in line for line in said) == 1, said
    assert rows(state) == 12
    assert spent(state) == used
