"""``keys``: what it makes, changes and shows, and that a key is seen once and nowhere else."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatgpt_platform.accounts import tokens
from chatgpt_platform.accounts.keystore import KeyStore, StoredKey
from chatgpt_platform.cli.main import main
from support.program import run

CONFIG = """\
state: {directory: state}
budgets: {time_zone: UTC}
keys:
  - name: carol
    key: 0123456789-secret-of-carol
    limits: {minute: 3}
    budget: [5.00/month]
"""
DAY = 86_400


class Ran:
    """What one command did. ``key``: the line of standard output that is a key."""

    def __init__(self, code: int, out: str, error: str) -> None:
        self.code, self.out, self.error = code, out, error

    @property
    def key(self) -> str:
        assert self.code == 0, self.error
        assert self.out.endswith("\n")
        assert tokens.is_valid(self.out[:-1])
        return self.out[:-1]


Keys = Callable[..., Ran]


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Keys:
    """Runs ``keys`` with these arguments."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIG)

    def ran(*arguments: str, config: str = "c.yaml", environment: dict[str, str] | None = None) -> Ran:
        try:
            code = main(["keys", *arguments, "--config", config], environment or {})
        except SystemExit as ended:  # argparse
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return ran


def stored(directory: str = "state") -> dict[str, StoredKey]:
    store = KeyStore(Path(directory))
    found = {each.name: each for each in store.all()}
    store.close()
    return found


def digest(key: str) -> str:
    store = KeyStore(Path("state"))
    found = store.digest(key)
    store.close()
    return found


def options(name: str) -> Any:
    return json.loads(stored()[name].options)


def test_a_new_key_is_alone_on_standard_output(keys: Keys) -> None:
    before = time.time()
    made = keys("create", "--name", "alice")
    assert stored()["alice"].digest == digest(made.key)
    assert made.error == "alice: this is the key; it is shown this once and stored nowhere\n"
    assert before <= stored()["alice"].created <= time.time()
    assert options("alice") == {}
    for again in (keys("list"), keys("show", "alice"), keys("list", "--format", "json")):
        assert made.key not in again.out + again.error
        assert made.key[:8] in again.out


def test_each_option_is_stored_as_the_file_has_it(keys: Keys) -> None:
    keys(
        "create", "--name", "alice", "--limits", "50/hour, 3/minute", "--limits", "0/day",
        "--budget", "5.00/month", "--budget", "1/24h,2/week", "--tokens", "100k/day",
        "--models", "gpt-*,o3", "--models", "text-embedding-?",
        "--expires", "2027-01-31 18:00", "--addresses", "10.0.0.0/8", "--addresses", "::1", "--concurrency", "4",
        "--prompts",
    )  # fmt: skip
    assert options("alice") == {
        "limits": {"minute": 3, "hour": 50},
        "tokens": ["100k/day"],
        "budget": ["5.00/month", "1/24h", "2/week"],
        "models": ["gpt-*", "o3", "text-embedding-?"],
        "expires": "2027-01-31T18:00:00",
        "addresses": ["10.0.0.0/8", "::1/128"],
        "concurrency": 4,
        "prompts": True,
    }


def test_what_is_at_its_default_is_not_stored(keys: Keys) -> None:
    for flags in (["--limits", "0/minute"], ["--models", "*"], ["--concurrency", "0"], ["--no-prompts"],
                  ["--expires="], ["--budget", ""]):  # fmt: skip
        name = flags[0].strip("-=")
        assert keys("create", "--name", name, *flags).key
        assert options(name) == {}


def test_an_edit_changes_what_it_names(keys: Keys) -> None:
    key = keys("create", "--name", "alice", "--budget", "5/month", "--limits", "3/minute", "--prompts").key
    edited = keys("edit", "alice", "--limits", "9/hour", "--concurrency", "2")
    assert (edited.code, edited.out) == (0, "")
    assert options("alice") == {"budget": ["5/month"], "limits": {"hour": 9}, "prompts": True, "concurrency": 2}
    assert keys("edit", "alice", "--budget", "", "--limits=", "--no-prompts", "--concurrency", "").code == 0
    assert options("alice") == {}
    assert stored()["alice"].digest == digest(key)
    nothing = keys("edit", "alice")
    assert nothing.code == 2
    assert nothing.error.startswith("keys edit: nothing to change")


def test_what_cannot_be_is_told_all_at_once_by_its_flag(keys: Keys) -> None:
    flags = (
        "--limits", "3/minute,4/minute", "--budget", "5", "--tokens", "1.5/day", "--models", " , ", "--expires",
        "2027-02-30", "--addresses", "10.0.0.1/8", "--concurrency", "many",
    )  # fmt: skip
    for refused in (keys("create", "--name", "alice", *flags), keys("edit", "alice", *flags)):
        lines = refused.error.splitlines()
        assert (refused.code, refused.out) == (2, "")
        for flag in flags[::2]:
            assert [line for line in lines if line.startswith(f"{flag}: found ")], flag
        assert all(": found " in line and ", expected " in line for line in lines)
    assert stored() == {}
    assert "--limits: found a second limit for a minute, expected one" in lines


@pytest.mark.parametrize(
    "limits", ["3", "/minute", "3/week", "x/minute", "-1/minute", "3/minute,", "1.5/hour", "[]"]
)
def test_limits_that_cannot_be(keys: Keys, limits: str) -> None:
    refused = keys("create", "--name", "alice", f"--limits={limits}")
    assert refused.code == 2
    assert refused.error.startswith("--limits: found ")


@pytest.mark.parametrize("name", ["", "-alice", "a b", "a\nb", "\x1b[2J", "ä", "a" * 65, "../x"])
def test_names_that_cannot_be(keys: Keys, name: str) -> None:
    refused = keys("create", f"--name={name}")
    assert refused.code == 2
    (line,) = refused.error.splitlines()
    assert line.startswith("--name: found ")
    assert line.isprintable()


def test_a_key_in_the_place_of_a_name_is_not_repeated(keys: Keys) -> None:
    key = keys("create", "--name", "alice").key
    for arguments in (["create", "--name", key], ["show", key], ["revoke", key], ["rotate", key],
                      ["edit", key, "--concurrency", "1"]):  # fmt: skip
        refused = keys(*arguments)
        assert refused.code == 2
        assert key not in refused.error + refused.out
        assert "found a key itself, expected the name of one" in refused.error


def test_a_name_is_given_once(keys: Keys) -> None:
    keys("create", "--name", "alice")
    for name, why in (
        ("alice", "the name alice is taken; choose another"),
        ("carol", "the name carol is taken by a key of the configuration (keys[0], c.yaml:4); choose another"),
    ):
        for more in ([], ["--yaml"]):
            refused = keys("create", "--name", name, *more)
            assert (refused.code, refused.out) == (1, "")
            assert refused.error.replace(" by a key of keys.db", "") == f"keys: {why}\n"
    assert set(stored()) == {"alice"}


def test_a_key_of_the_configuration_is_changed_there(keys: Keys) -> None:
    for arguments in (["edit", "carol", "--concurrency", "1"], ["revoke", "carol"], ["rotate", "carol"]):
        refused = keys(*arguments)
        assert refused.code == 1
        assert refused.error == (
            "keys: the key carol belongs to the configuration (keys[0], c.yaml:4); change it there\n"
        )


@pytest.mark.parametrize("arguments", [["show"], ["revoke"], ["rotate"], ["edit", "--concurrency=1"]])
def test_a_name_that_nobody_has(keys: Keys, arguments: list[str]) -> None:
    refused = keys(arguments[0], "nobody", *arguments[1:])
    assert (refused.code, refused.out) == (1, "")
    assert refused.error == 'keys: there is no key with the name "nobody"; `keys list` tells which there are\n'


def test_a_revoked_key_is_shown_as_one(keys: Keys) -> None:
    keys("create", "--name", "alice")
    for _ in range(2):
        revoked = keys("revoke", "alice")
        assert (revoked.code, revoked.out) == (0, "")
    assert stored()["alice"].revoked is not None
    assert "revoked" in keys("list").out
    assert keys("rotate", "alice").error == (
        "keys: the key alice is revoked for good; make one with another name\n"
    )


def test_rotation_gives_another_key_and_keeps_the_old_as_long_as_is_asked(keys: Keys) -> None:
    first = keys("create", "--name", "alice").key
    before = time.time()
    rotated = keys("rotate", "alice", "--overlap", "1d")
    now = stored()["alice"]
    assert (now.digest, now.former_digest) == (digest(rotated.key), digest(first))
    assert now.former_until is not None
    assert before + DAY <= now.former_until <= time.time() + DAY
    assert rotated.error.endswith("The old one works for another 1d\n")
    assert "the key before:  works until " in keys("show", "alice").out
    assert "active, rotated" in keys("list").out
    at_once = keys("rotate", "alice")
    assert at_once.error.endswith("The old one does not work any more\n")
    assert stored()["alice"].former_digest == ""
    refused = keys("rotate", "alice", "--overlap", "long")
    assert refused.code == 2
    assert refused.error.startswith('--overlap: found "long", expected a duration')


def test_an_entry_for_the_file_is_told_and_nothing_is_stored(keys: Keys, tmp_path: Path) -> None:
    made = keys(
        "create", "--yaml", "--name", "dave", "--limits", "3/minute", "--models", "gpt-*",
        "--budget", "5.00/month", "--expires", "2027-01-31", "--addresses", "10.0.0.0/8,::1",
        "--prompts", "--concurrency", "",
    )  # fmt: skip
    assert not (tmp_path / "state").exists()
    entry = made.error.partition("\n")[2]
    assert f"    key: {tokens.fingerprint(made.key)}\n" in entry
    assert made.key not in entry
    (tmp_path / "d.yaml").write_text("state: {directory: state}\n" + entry)
    shown = json.loads(keys("show", "dave", "--format", "json", config="d.yaml").out)
    assert shown["options"] == {
        "limits": {"minute": 3},
        "budget": ["5.00/month"],
        "models": ["gpt-*"],
        "expires": "2027-01-31",
        "addresses": ["10.0.0.0/8", "::1/128"],
        "prompts": True,
    }


def test_an_entry_needs_no_directory_and_all_else_does(keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text("")
    assert keys("create", "--yaml", "--name", "dave", config="e.yaml").key
    for arguments in (["create", "--name", "dave"], ["list"], ["show", "a"], ["revoke", "a"], ["rotate", "a"],
                      ["edit", "a", "--concurrency=1"]):  # fmt: skip
        refused = keys(*arguments, config="e.yaml")
        assert (refused.code, refused.out) == (2, "")
        (line,) = refused.error.splitlines()
        assert line.startswith("state.directory: found none, expected a directory to keep keys in; set it")
    assert [each.name for each in tmp_path.iterdir() if each.is_dir()] == []


def test_the_settings_come_from_where_serve_has_them(keys: Keys, tmp_path: Path) -> None:
    environment = {"CHATGPT_STATE__DIRECTORY": str(tmp_path / "other")}
    assert keys("create", "--name", "alice", environment=environment).key
    assert set(stored("other")) == {"alice"}
    broken = keys("list", environment={"CHATGPT_STATE__DIRECTORY": "x", "HOUR_LIMIT": "fifty"})
    assert broken.code == 2
    assert broken.error.startswith("HOUR_LIMIT: ")


def test_a_token_for_the_owner(keys: Keys, tmp_path: Path) -> None:
    made = keys("admin")
    assert made.error.splitlines()[-1] == f"admin: {{token: {tokens.fingerprint(made.key)}}}"
    (tmp_path / "f.yaml").write_text(CONFIG + made.error.splitlines()[-1])
    assert keys("list", config="f.yaml").code == 0
    assert not (tmp_path / "state").exists()


def test_the_list_has_a_line_for_each_key(keys: Keys) -> None:
    nothing = keys("list")
    assert nothing.out.splitlines()[1].split() == [
        "carol", "-", "active", "-", "-", "keys[0],", "c.yaml:4", "limits", "3/minute;", "budget", "5.00/month",
    ]  # fmt: skip
    hints = [keys("create", "--name", name, "--expires", "2001-01-01").key[:8] for name in ("zoe", "amy")]
    lines = keys("list").out.splitlines()
    assert lines[0].split() == ["NAME", "KEY", "STATE", "CREATED", "EXPIRES", "FROM", "OPTIONS"]
    assert [line.split()[0] for line in lines[1:]] == ["carol", "zoe", "amy"]
    for line, hint in zip(lines[2:], hints, strict=True):
        assert line.split()[1:3] == [f"{hint}…", "expired"]
        assert line.split()[4:] == ["2001-01-01", "keys.db", "-"]


def test_a_list_of_no_keys_says_how_to_make_one(keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text("state: {directory: state}")
    empty = keys("list", config="g.yaml")
    assert (empty.code, empty.out) == (0, "")
    assert empty.error == "no keys yet; make one with: chatgpt-platform keys create --name NAME\n"
    assert json.loads(keys("list", "--format", "json", config="g.yaml").out) == []
    assert not (tmp_path / "state").exists()


def test_programs_read_json(keys: Keys) -> None:
    key = keys("create", "--name", "alice", "--expires", "2027-01-31").key
    shown = json.loads(keys("list", "--format", "json").out)
    assert [each["name"] for each in shown] == ["carol", "alice"]
    alice = shown[1]
    assert alice.pop("created").endswith("Z")
    assert alice == {
        "name": "alice", "hint": f"{key[:8]}…", "from": "keys.db", "state": "active",
        "expires": "2027-02-01T00:00:00Z", "revoked": None, "former_until": None,
        "options": {"expires": "2027-01-31"},
    }  # fmt: skip
    assert shown[0]["from"] == "keys[0], c.yaml:4"
    assert "secret-of-carol" not in json.dumps(shown)


def test_an_output_of_few_characters_gets_what_it_can_show(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    key = keys("create", "--name", "alice").key
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    for arguments in (["list"], ["list", "--format", "json"], ["show", "alice"]):
        assert main(["keys", *arguments, "--config", "c.yaml"], {}) == 0
    out.flush()
    text = out.buffer.getvalue().decode("ascii")
    assert text.count(f"{key[:8]}...") == 2
    assert json.loads(f'"{key[:8]}\\u2026"') == tokens.hint(key)


@pytest.mark.parametrize("text", ["[broken", "7", '{"limits": 3}', '{"expires": "soon"}', "[" * 100_000])
def test_options_that_another_hand_has_spoilt_are_told(keys: Keys, text: str) -> None:
    keys("create", "--name", "alice")
    store = KeyStore(Path("state"))
    store.edit("alice", lambda _: text)
    store.close()
    for refused in (keys("list"), keys("edit", "alice", "--concurrency", "1")):
        assert (refused.code, refused.out) == (2, "")
        assert refused.error.splitlines()[1:] == [
            "keys.db: alice: its settings cannot be read; the cure: revoke it and make another"
        ]
    assert keys("revoke", "alice").code == 0


def test_a_key_that_could_not_be_shown_is_no_riddle(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    error = io.StringIO()
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.setattr(sys, "stdout", Full())
    assert main(["keys", "create", "--name", "alice", "--config", "c.yaml"], {}) == 1
    monkeypatch.undo()
    assert error.getvalue().startswith(
        "alice: its key could not be written and is lost; make another with: keys rotate alice\n"
    )


@pytest.mark.parametrize("arguments", [[], ["steal"], ["create"], ["show"], ["rotate", "--overlap", "1h"]])
def test_a_command_line_that_cannot_be_is_one_line(keys: Keys, arguments: list[str]) -> None:
    refused = keys(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert len(refused.error.splitlines()) == 1


def test_the_real_program(tmp_path: Path) -> None:
    environment = {"CHATGPT_STATE__DIRECTORY": "state"}
    made = run("keys", "create", "--name", "alice", directory=tmp_path, environment=environment)
    assert made.returncode == 0, made.stderr
    assert tokens.is_valid(made.stdout.removesuffix("\n"))
    shown = run("keys", "show", "alice", directory=tmp_path, environment=environment)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0] == "name:     alice"
    assert made.stdout.strip() not in shown.stdout
