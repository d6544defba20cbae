"""The keystore: what it keeps of a key, two processes at once, and files that are gone, wrong or not ours."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatgpt_platform.accounts import tokens
from chatgpt_platform.accounts.keystore import KeyStore, StoredKey, StoreError
from chatgpt_platform.errors import ConfigurationError
from support.program import PATIENCE, ROOT, environment_of

NOW = 1_800_000_000.0
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes and owners")
root = pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(state: Path) -> Iterator[KeyStore]:
    opened = KeyStore(state)
    yield opened
    opened.close()


def key(store: KeyStore, name: str) -> StoredKey:
    (found,) = (each for each in store.all() if each.name == name)
    return found


def test_a_key_is_seen_once_and_known_by_its_digest(store: KeyStore) -> None:
    token = store.create("alice", '{"concurrency": 2}', NOW)
    assert tokens.is_valid(token)
    stored = key(store, "alice")
    assert stored == StoredKey(
        "alice", store.digest(token), tokens.hint(token), NOW, '{"concurrency": 2}', None, "", None
    )
    assert store.digest(token) != hashlib.sha256(token.encode()).hexdigest()
    assert store.digest(token) != store.digest(tokens.make())


def test_no_key_and_no_digest_is_shown(store: KeyStore, state: Path) -> None:
    made = [store.create("alice", "{}", NOW), store.rotate("alice", 60, NOW), store.create("bob", "{}", NOW)]
    for each in store.all():
        for digest in filter(None, (each.digest, each.former_digest)):
            assert digest not in repr(each)
    store.close()
    for file in state.iterdir():
        content = file.read_bytes()
        for token in made:
            assert token.encode() not in content
            assert token[8:].encode() not in content
            assert hashlib.sha256(token.encode()).digest() not in content


def test_the_oldest_comes_first_and_a_name_is_never_given_twice(store: KeyStore) -> None:
    for name, moment in (("zoe", NOW), ("bob", NOW + 1), ("amy", NOW + 1)):
        store.create(name, "{}", moment)
    assert [each.name for each in store.all()] == ["zoe", "amy", "bob"]
    with pytest.raises(StoreError, match=r"^the name bob is taken; choose another$"):
        store.create("bob", "{}", NOW)
    store.revoke("bob", NOW)
    with pytest.raises(StoreError, match=r"^the name bob is taken by a revoked key, and stays so; choose"):
        store.create("bob", "{}", NOW)
    assert len(store.all()) == 3


def test_a_revoked_key_stays_revoked_from_the_first_time_on(store: KeyStore) -> None:
    store.create("alice", "{}", NOW)
    store.rotate("alice", 1000, NOW)
    store.revoke("alice", NOW + 1)
    store.revoke("alice", NOW + 2)
    stored = key(store, "alice")
    assert (stored.revoked, stored.former_digest, stored.former_until) == (NOW + 1, "", None)
    for act in (lambda: store.rotate("alice", 0, NOW), lambda: store.edit("alice", str)):
        with pytest.raises(StoreError, match=r"^the key alice is revoked for good; make one with another name$"):
            act()


def test_rotation_keeps_the_key_before_for_as_long_as_it_is_told(store: KeyStore) -> None:
    first = store.create("alice", '{"a": 1}', NOW)
    second = store.rotate("alice", 3600, NOW + 10)
    stored = key(store, "alice")
    assert (stored.digest, stored.former_digest) == (store.digest(second), store.digest(first))
    assert (stored.hint, stored.former_until) == (tokens.hint(second), NOW + 3610)
    assert (stored.options, stored.created) == ('{"a": 1}', NOW)
    third = store.rotate("alice", 0, NOW + 20)
    stored = key(store, "alice")
    assert (stored.digest, stored.former_digest, stored.former_until) == (store.digest(third), "", None)


def test_an_edit_changes_what_is_there_now(store: KeyStore) -> None:
    store.create("alice", "a", NOW)
    store.edit("alice", lambda options: options + "b")
    assert key(store, "alice").options == "ab"

    def refuse(options: str) -> str:
        raise ValueError(options)

    with pytest.raises(ValueError, match=r"^ab$"):
        store.edit("alice", refuse)
    store.edit("alice", lambda options: options + "c")
    assert key(store, "alice").options == "abc"


@pytest.mark.parametrize("name", ["bob", "bob\n\x1b[2J", "'; DROP TABLE keys; --"])
def test_a_name_that_is_not_there_is_one_line(store: KeyStore, name: str) -> None:
    for act in (
        lambda: store.revoke(name, NOW),
        lambda: store.rotate(name, 0, NOW),
        lambda: store.edit(name, str),
    ):
        with pytest.raises(StoreError, match=r"^there is no key with the name ") as raised:
            act()
        assert str(raised.value).isprintable()


def test_the_same_files_know_the_same_keys(store: KeyStore, state: Path) -> None:
    token = store.create("alice", "{}", NOW)
    store.close()
    again = KeyStore(state)
    assert key(again, "alice").digest == again.digest(token)
    assert not again.changed()
    again.close()
    again.close()


def test_every_change_is_noticed_once(store: KeyStore, state: Path) -> None:
    other = KeyStore(state)
    assert not store.changed()
    other.create("alice", "{}", NOW)
    assert store.changed()
    assert not store.changed()
    store.create("bob", "{}", NOW)
    assert store.changed()
    assert not store.changed()
    assert other.changed()
    assert not other.changed()
    with pytest.raises(StoreError):
        other.create("bob", "{}", NOW)
    assert not store.changed()
    other.close()
    assert not store.changed()


def in_another_process(code: str, state: Path) -> subprocess.Popen[str]:
    """Runs code that finds ``KeyStore``, ``state`` and ``NOW``."""
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from chatgpt_platform.accounts.keystore import KeyStore, StoreError\n"
        f"state, NOW = Path({str(state)!r}), {NOW}\n"
    ) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment_of({"PYTHONPATH": str(ROOT)}),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip


def test_a_key_revoked_by_another_process_is_noticed(store: KeyStore, state: Path) -> None:
    token = store.create("alice", "{}", NOW)
    store.changed()
    with in_another_process('KeyStore(state).revoke("alice", NOW + 1)', state) as other:
        assert other.communicate(timeout=PATIENCE) == ("", "")
    assert store.changed()
    stored = key(store, "alice")
    assert (stored.digest, stored.revoked) == (store.digest(token), NOW + 1)


def test_processes_that_begin_together_share_one_secret(state: Path) -> None:
    code = """
        print("ready", flush=True)
        number = sys.stdin.readline().strip()
        store = KeyStore(state)
        for n in range(5):
            store.create(f"{number}-{n}", "{}", NOW)
        try:
            store.create("same", "{}", NOW)
        except StoreError as error:
            print(error)
        print(store.digest("x"))
        store.close()
        """
    others = [in_another_process(code, state) for _ in range(4)]
    for other in others:
        assert other.stdout
        assert other.stdout.readline() == "ready\n"
    told = []
    threads = [threading.Thread(target=lambda n=n, other=other: told.append(other.communicate(f"{n}\n", PATIENCE)))
               for n, other in enumerate(others)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [errors for _, errors in told] == [""] * 4
    lines = [line for out, _ in told for line in out.splitlines()]
    assert sum("the name same is taken" in line for line in lines) == 3
    assert len({line for line in lines if "taken" not in line}) == 1
    store = KeyStore(state)
    assert len(store.all()) == 21
    store.close()


def test_many_threads_use_one_store(store: KeyStore) -> None:
    def work(n: int) -> None:
        for each in range(10):
            store.create(f"{n}-{each}", "{}", NOW)
            store.changed()
            store.all()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(store.all()) == 40


def test_another_process_that_holds_the_file_is_waited_for_and_named(
    store: KeyStore, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatgpt_platform.accounts.keystore.PATIENCE", 0.05)
    hasty = KeyStore(state)
    holder = sqlite3.connect(state / "keys.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"keys\.db: database is locked\. The cure: try again"):
        hasty.create("alice", "{}", NOW)
    assert hasty.all() == []
    holder.execute("ROLLBACK")
    holder.close()
    hasty.create("alice", "{}", NOW)
    hasty.close()
    assert store.changed()


@posix
def test_nobody_else_may_read_the_files(store: KeyStore, state: Path) -> None:
    store.create("alice", "{}", NOW)
    assert state.stat().st_mode & 0o777 == 0o700
    modes = {file.name: file.stat().st_mode & 0o777 for file in state.iterdir()}
    assert modes == dict.fromkeys(("keys.db", "keys.db-shm", "keys.db-wal", "keys.secret"), 0o600)


@root
def test_what_root_makes_belongs_to_the_owner_of_the_directory(state: Path) -> None:
    state.mkdir()
    if sys.platform != "win32":
        os.chown(state, 65532, 65533)
    inner = state / "inner"
    stores = [KeyStore(folder) for folder in (state, inner)]
    for store in stores:
        store.create("alice", "{}", NOW)
    made = [inner, *inner.iterdir(), *(file for file in state.iterdir() if file != inner)]
    assert {(each.stat().st_uid, each.stat().st_gid) for each in made} == {(65532, 65533)}
    assert len(made) == 9
    for store in stores:
        store.close()


def test_a_lost_secret_is_one_line_with_the_cure(store: KeyStore, state: Path) -> None:
    store.create("alice", "{}", NOW)
    store.close()
    (state / "keys.secret").unlink()
    with pytest.raises(ConfigurationError) as raised:
        KeyStore(state)
    cure = "bring it back from a backup, or remove keys.db as well and make all keys anew"
    line = f"{state / 'keys.secret'}: is missing, and without it no key is known. The cure: {cure}"
    assert raised.value.lines == [line]
    assert not (state / "keys.secret").exists()


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33, b"x" * 32])
def test_a_secret_that_is_not_the_right_one_is_told(store: KeyStore, state: Path, content: bytes) -> None:
    store.create("alice", "{}", NOW)
    store.close()
    (state / "keys.secret").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"keys\.secret: is not the .*The cure: bring it back") as raised:
        KeyStore(state)
    assert len(raised.value.lines) == 1


def test_a_secret_that_was_there_first_is_used(state: Path) -> None:
    state.mkdir()
    (state / "keys.secret").write_bytes(b"p" * 32)
    store = KeyStore(state)
    token = store.create("alice", "{}", NOW)
    assert key(store, "alice").digest == tokens.digest(token, b"p" * 32)
    store.close()


def test_a_start_that_was_killed_while_it_made_the_secret_is_repeated(state: Path) -> None:
    state.mkdir()
    (state / "keys.secret.new").write_bytes(b"torn")
    store = KeyStore(state)
    store.close()
    assert len((state / "keys.secret").read_bytes()) == 32
    assert not (state / "keys.secret.new").exists()


def test_a_file_that_is_no_database_is_told(state: Path) -> None:
    state.mkdir()
    (state / "keys.db").write_text("no database " * 100)
    with pytest.raises(ConfigurationError, match=r"keys\.db: file is not a database\. The cure: bring it back"):
        KeyStore(state)
    assert (state / "keys.db").read_text() == "no database " * 100


def test_a_database_of_a_newer_version_is_left_alone(store: KeyStore, state: Path) -> None:
    store.close()
    with sqlite3.connect(state / "keys.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match=r"keys\.db: was written by a newer chatgpt-platform"):
        KeyStore(state)


@pytest.mark.parametrize("made", ["state", "state/keys.db", "state/keys.secret"])
def test_what_stands_in_the_way_is_told(tmp_path: Path, state: Path, made: str) -> None:
    place = tmp_path / made
    if made == "state":
        place.write_text("")
    else:
        place.mkdir(parents=True)
    with pytest.raises(ConfigurationError) as raised:
        KeyStore(state)
    (line,) = raised.value.lines
    assert re.match(rf"{re.escape(str(place))}: .*\. The cure: ", line)


@root
def test_who_may_not_read_the_files_is_told_who_may(tmp_path_factory: pytest.TempPathFactory) -> None:
    state = tmp_path_factory.mktemp("open")
    for each in (state, *state.parents):
        if "pytest" in str(each):
            each.chmod(0o755)
    store = KeyStore(state)
    store.create("alice", "{}", NOW)
    code = """
        import os
        from chatgpt_platform.errors import ConfigurationError
        os.setuid(65532)
        try:
            KeyStore(state)
        except ConfigurationError as error:
            print(*error.lines)
        """
    with in_another_process(code, state) as other:
        out, errors = other.communicate(timeout=PATIENCE)
    assert errors == ""
    assert out.startswith(f"{state / 'keys.db'}: ")
    assert out.endswith(f"The cure: run this as the owner of {state} (user 0), or as its administrator\n")
    store.close()


@posix
def test_files_that_are_gone_are_told_and_those_of_a_backup_are_read(store: KeyStore, state: Path) -> None:
    token = store.create("alice", "{}", NOW)
    store.create("bob", "{}", NOW)
    backup = state.with_name("backup")
    (copy := KeyStore(backup)).create("carol", "{}", NOW)
    copy.close()
    store.changed()
    state.rename(state.with_name("moved"))
    with pytest.raises(StoreError, match=r"keys\.db: No such file or directory\. The cure: bring it back"):
        store.changed()
    assert key(store, "alice").digest == store.digest(token)
    backup.rename(state)
    assert store.changed()
    assert [each.name for each in store.all()] == ["carol"]
    assert not store.changed()
    state.rename(backup)
    KeyStore(state).close()
    (state / "keys.secret").write_bytes(b"x" * 32)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"keys\.secret: is not the one that belongs to keys\.db"):
            store.changed()
    assert [each.name for each in store.all()] == ["carol"]
