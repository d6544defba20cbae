"""``server.user``: what root gives away before it serves, and that nothing is left to it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from chatgpt_platform.cli import privileges
from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.schema import Logging, Server, Settings
from chatgpt_platform.settings.sharing import State
from support.gateway import wait_until
from support.program import ROOT, environment_of, serving

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such users")
root = pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can become another user")
USER: Final = "65532:65533"


def settings_for(user: str = USER, directory: Path | str = "", state: Path | str = "") -> Settings:
    return replace(
        Settings(),
        server=replace(Server(), user=user),
        logging=replace(Logging(), directory=str(directory)),
        state=State(str(state)),
    )


def in_a_child(code: str, folder: Path) -> Any:
    """What the code prints as JSON; it finds ``lay_down``, ``settings_for`` and ``folder``."""
    program = (
        "import json, os, sys\n"
        "from pathlib import Path\n"
        "from chatgpt_platform.cli.privileges import lay_down\n"
        "from cli.test_cli_privileges import settings_for\n"
        f"folder = Path({str(folder)!r})\n"
    ) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment_of({"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}),
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place that the other user can reach as well."""
    made = tmp_path_factory.mktemp("open")
    for each in (made, *made.parents):
        if "pytest" in str(each):  # what pytest has made is for its own user
            each.chmod(0o755)
    return made


def owner(path: Path) -> tuple[int, int]:
    state = path.lstat()
    return state.st_uid, state.st_gid


@root
def test_root_becomes_the_user_for_good(folder: Path) -> None:
    told = in_a_child(
        """
        warnings = lay_down(settings_for())
        status = Path("/proc/self/status").read_text() if sys.platform == "linux" else ""
        way_back = []
        for act in (os.setuid, os.seteuid, os.setgid, os.setegid):
            try:
                act(0)
                way_back.append(act.__name__)
            except PermissionError:
                pass
        print(json.dumps([warnings, os.getuid(), os.geteuid(), os.getgid(), os.getgroups(), way_back, status]))
        """,
        folder,
    )
    *rest, status = told
    assert rest == [[], 65532, 65532, 65533, [], []]
    if sys.platform == "linux":
        lines = dict(line.split(":\t") for line in status.splitlines())
        assert lines["Uid"].split() == ["65532"] * 4
        assert lines["Gid"].split() == ["65533"] * 4
        assert {int(lines[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}


@root
def test_a_user_without_a_group_gets_that_of_its_number(folder: Path) -> None:
    assert in_a_child('lay_down(settings_for("65532")); print(json.dumps(os.getgid()))', folder) == 65532


@root
def test_the_log_directory_becomes_the_users(folder: Path) -> None:
    logs = folder / "deep" / "logs"
    in_a_child('lay_down(settings_for(directory=folder / "deep" / "logs")); print("1")', folder)
    assert owner(logs) == (65532, 65533)
    assert owner(logs.parent) == owner(folder)


@root
def test_the_state_directory_becomes_the_users_and_nobody_elses(folder: Path) -> None:
    state = folder / "deep" / "state"
    in_a_child('lay_down(settings_for(state=folder / "deep" / "state")); print("1")', folder)
    assert owner(state) == (65532, 65533)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE(state.parent.stat().st_mode) == 0o755


@root
def test_of_the_state_only_files_of_roots_are_given_away(folder: Path) -> None:
    state = folder / "state"
    state.mkdir(mode=0o750)
    ours = {
        "ledger.db", "ledger.db-wal", "ledger.db-shm", "keys.db", "keys.db-journal", "keys.secret", "gateway.lock",
    }  # fmt: skip
    for name in (*ours, "app.log", "notes.txt"):
        (state / name).touch(mode=0o600)
    (state / "ledger.db.1").symlink_to(state / "notes.txt")
    in_a_child('lay_down(settings_for(state=folder / "state")); print("1")', folder)
    assert {each.name for each in state.iterdir() if owner(each) == (65532, 65533)} == ours
    assert stat.S_IMODE((state / "keys.secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o750, "what somebody made stays as it was made"


@root
def test_of_what_lies_there_only_logs_of_roots_are_given_away(folder: Path) -> None:
    logs, outside = folder / "logs", folder / "outside"
    logs.mkdir()
    for name in ("app.log", "access.log", "access.log.1", "notes.txt"):
        (logs / name).write_text("x\n", "utf-8")
    outside.write_text("secret", "utf-8")
    (logs / "app.log.1").symlink_to(outside)
    os.link(outside, logs / "app.log.2")
    (logs / "app.log.3").mkdir()
    (logs / "app.log.4").write_text("x\n", "utf-8")
    if sys.platform != "win32":
        os.chown(logs / "app.log.4", 1234, 1234)
        os.mkfifo(logs / "app.log.5")
    in_a_child('lay_down(settings_for(directory=folder / "logs")); print("1")', folder)
    given = {each.name for each in logs.iterdir() if owner(each)[0] == 65532}
    assert given == {"app.log", "access.log", "access.log.1"}
    assert owner(outside)[0] == 0
    assert owner(logs / "app.log.4")[0] == 1234
    assert owner(logs) == (65532, 65533)


@root
def test_a_directory_that_is_everybodys_stays_so(folder: Path) -> None:
    logs = folder / "logs"
    logs.mkdir()
    logs.chmod(0o1777)
    in_a_child('lay_down(settings_for(directory=folder / "logs")); print("1")', folder)
    assert owner(logs)[0] == 0


@root
def test_what_was_unpacked_can_be_read_by_the_user_and_not_changed(folder: Path) -> None:
    copy = folder / "_MEI00000001own"
    (copy / "inner").mkdir(parents=True)
    for name, mode in (("a.so", 0o700), ("inner/b.zip", 0o600)):
        (copy / name).write_text("x", "utf-8")
        (copy / name).chmod(mode)
    (copy / "c").symlink_to("a.so")
    (copy / "inner").chmod(0o700)
    copy.chmod(0o700)
    told = in_a_child(
        """
        copy = folder / "_MEI00000001own"
        sys._MEIPASS, sys.executable = str(copy), str(folder)
        lay_down(settings_for())
        writable = [name for name in (".", "a.so", "inner/b.zip") if os.access(copy / name, os.W_OK)]
        print(json.dumps([(copy / "inner/b.zip").read_text(), os.access(copy / "c", os.X_OK), writable]))
        """,
        folder,
    )
    assert told == ["x", True, []]
    assert stat.S_IMODE((copy / "inner/b.zip").stat().st_mode) == 0o644
    assert owner(copy)[0] == 0


@root
def test_an_executable_that_the_user_cannot_read_keeps_root(folder: Path) -> None:
    """Modules are read from it as it runs: without them a later import would fail."""
    hidden = folder / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "chatgpt-platform").write_text("x", "utf-8")
    warnings, ids = in_a_child(
        """
        sys._MEIPASS, sys.executable = str(folder), str(folder / "hidden" / "chatgpt-platform")
        print(json.dumps([lay_down(settings_for()), [os.getuid(), os.geteuid(), os.getegid()]]))
        """,
        folder,
    )
    (warning,) = warnings
    assert f"it cannot read {hidden / 'chatgpt-platform'}" in warning
    assert ids == [0, 0, 0]


@root
def test_the_gateway_serves_and_logs_as_the_user(folder: Path) -> None:
    logs = folder / "logs"
    logs.mkdir(mode=0o755)
    environment = {"CHATGPT_SERVER__USER": USER, "CHATGPT_LOGGING__DIRECTORY": str(logs)}
    # No simulator, and no call that makes Python load more: the user may not be able to read where it lies.
    with serving(directory=folder, environment=environment) as program:
        assert requests.get(program.url + "/healthz").status_code == 200
        wait_until(lambda: '"path":"/healthz"' in (logs / "access.log").read_text("utf-8"))
        if sys.platform == "linux":
            status = Path(f"/proc/{program.process.pid}/status").read_text("utf-8")
            assert "Uid:\t65532\t65532\t65532\t65532\n" in status
        assert owner(logs / "access.log") == (65532, 65533)
        assert not [line for line in program.lines if "WARNING" in line]
        program.process.terminate()
        assert program.end() == 0


@posix
def test_without_root_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "setuid", forbidden)
    assert privileges.lay_down(settings_for(directory=tmp_path / "logs")) == ()
    assert not (tmp_path / "logs").exists()


@posix
def test_without_the_setting_root_stays_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "setuid", forbidden)
    assert privileges.lay_down(settings_for("")) == ()


def test_on_windows_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "geteuid", raising=False)
    assert privileges.lay_down(settings_for()) == ()


@posix
@pytest.mark.parametrize("missing", ["setgroups", "setgid", "setuid"])
def test_without_the_capabilities_root_serves_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, forbidden if name == missing else lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (warning,) = privileges.lay_down(settings_for())
    assert "server.user" in warning
    assert f"--user {USER}" in warning
    assert "\n" not in warning


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities of Linux")
@pytest.mark.parametrize(("held", "warned"), [("00000000a80425fb", False), ("00000000000000c1", True)])
def test_root_stays_root_where_its_launcher_could_not_signal_another_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, held: str, warned: bool
) -> None:
    for name in ("setgroups", "setgid"):
        monkeypatch.setattr(os, name, lambda _: None)
    monkeypatch.setattr(os, "setuid", lambda number: None if number else forbidden())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(privileges, "_may_read", lambda *_: True)
    monkeypatch.setattr(Path, "read_text", lambda *_: f"Uid:\t0\nCapEff:\t{held}\nSeccomp:\t0\n")
    assert privileges.lay_down(settings_for()) == (), "without a launcher there is nothing to hand on"
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    warnings = privileges.lay_down(settings_for())
    assert bool(warnings) is warned
    assert all("hand signals on" in each and "KILL" in each for each in warnings)


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities of Linux")
def test_without_the_capabilities_nothing_is_given_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda *_: forbidden())
    monkeypatch.setattr(Path, "read_text", lambda *_: "CapEff:\t0000000000000063\n")
    (warning,) = privileges.lay_down(settings_for(directory=tmp_path))
    assert "it lacks the capabilities for it" in warning


@posix
def test_a_way_back_to_root_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the secure bit that keeps capabilities, which no container sets."""
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ConfigurationError, match=r"server\.user.*root again"):
        privileges.lay_down(settings_for())


@root
def test_a_directory_that_cannot_be_given_stops_nothing(folder: Path) -> None:
    (folder / "file").write_text("", "utf-8")
    assert (
        in_a_child('print(json.dumps(lay_down(settings_for(directory=folder / "file" / "logs"))))', folder) == []
    )


def forbidden(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")
