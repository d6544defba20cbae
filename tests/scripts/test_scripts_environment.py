"""The stamp logic of scripts/environment.py; nothing is installed, and no interpreter is started."""

import ast
import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

import environment
from environment import Environment, SetupError


class Recorded(Environment):
    """An environment that writes down what it would run, and makes the interpreter's file as `venv` would."""

    def __init__(self, folder: Path, locks: Path) -> None:
        super().__init__(folder, locks)
        self.commands: list[str] = []
        self.failing = ""

    def _run(self, command: list[str], failure: str) -> None:
        action = "venv" if "venv" in command else f"install {Path(command[-1]).name}"
        self.commands.append(action)
        if self.failing and self.failing in action:
            raise SetupError(failure)
        if action == "venv":
            (self.folder / "installed-lock.json").unlink(missing_ok=True)  # as --clear does
            self.python.parent.mkdir(parents=True, exist_ok=True)
            self.python.touch()

    def prepared(self, lock: str) -> list[str]:
        """Prepares and returns the commands of this time only."""
        self.commands.clear()
        self.prepare(lock)
        return list(self.commands)


@pytest.fixture
def project(tmp_path: Path) -> Recorded:
    locks = tmp_path / "locks"
    locks.mkdir()
    (locks / "run.txt").write_text("tornado==6.6.1\n", "utf-8")
    (locks / "dev.txt").write_text("tornado==6.6.1\npytest==9.0.0\n", "utf-8")
    return Recorded(tmp_path / ".venv", locks)


def test_the_first_time_makes_and_fills_it_and_the_second_does_nothing(
    project: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert project.prepared("run") == ["venv", "install run.txt"]
    assert capsys.readouterr().out == "Setting up .venv (once) ...\n"
    assert project.prepared("run") == []
    assert capsys.readouterr().out == ""


def test_demo_then_test_adds_to_it_and_demo_again_is_content(project: Recorded) -> None:
    project.prepare("run")
    assert project.prepared("dev") == ["install dev.txt"]
    assert project.prepared("run") == []
    assert project.prepared("dev") == []


def test_test_then_demo_installs_once(project: Recorded) -> None:
    assert project.prepared("dev") == ["venv", "install dev.txt"]
    assert project.prepared("run") == []


def test_a_changed_lock_makes_it_anew(project: Recorded) -> None:
    project.prepare("run")
    (project.locks / "run.txt").write_text("tornado==6.7.0\n", "utf-8")
    assert project.prepared("run") == ["venv", "install run.txt"]


def test_a_change_of_the_tests_lock_does_not_touch_an_environment_of_the_demo(project: Recorded) -> None:
    project.prepare("run")
    (project.locks / "dev.txt").write_text("tornado==6.6.1\npytest==9.1.0\n", "utf-8")
    assert project.prepared("run") == []


def test_line_endings_of_a_checkout_do_not_matter(project: Recorded) -> None:
    project.prepare("run")
    (project.locks / "run.txt").write_bytes(b"tornado==6.6.1\r\n")
    assert project.holds("run")


def test_another_python_makes_it_anew(project: Recorded) -> None:
    project.prepare("run")
    stamp = project.folder / "installed-lock.json"
    content = json.loads(stamp.read_text("utf-8"))
    stamp.write_text(json.dumps(content | {"python": ".cpython-310-other.so"}), "utf-8")
    assert project.prepared("run") == ["venv", "install run.txt"]


def test_a_removed_interpreter_makes_it_anew(project: Recorded) -> None:
    project.prepare("run")
    project.python.unlink()
    assert project.prepared("run") == ["venv", "install run.txt"]


@pytest.mark.parametrize("junk", ["", "null", "[]", "{}", '{"lock": 1}', '{"lock": "nonsense"}', "\ufeffx"])
def test_an_unreadable_stamp_counts_as_none(project: Recorded, junk: str) -> None:
    project.prepare("run")
    (project.folder / "installed-lock.json").write_text(junk, "utf-8")
    assert not project.holds("run")
    assert not project.holds("dev")


def test_an_install_that_broke_off_is_repaired(project: Recorded) -> None:
    project.failing = "install"
    with pytest.raises(SetupError, match="network"):
        project.prepare("run")
    project.failing = ""
    assert project.prepared("run") == ["venv", "install run.txt"]


def test_without_ensurepip_the_fix_is_named(project: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match="apt install python3-venv"):
        project.prepare("run")
    assert project.commands == []


def test_a_failing_command_raises_its_line(tmp_path: Path) -> None:
    plain = Environment(tmp_path, tmp_path)
    plain._run([sys.executable, "-c", ""], "not this")
    with pytest.raises(SetupError, match="the plain line"):
        plain._run([sys.executable, "-c", "raise SystemExit(3)"], "the plain line")


def test_enter_outside_runs_the_same_command_line_inside(
    project: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.name == "nt":
        pytest.skip("Windows has no exec")
    started: list[tuple[Path, list[str]]] = []

    def execv(program: Path, command: list[str]) -> None:
        started.append((program, command))
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys, "argv", ["scripts/demo.py", "--once"])
    with pytest.raises(SystemExit):
        environment.enter("run", project)
    assert started == [(project.python, [str(project.python), "scripts/demo.py", "--once"])]
    assert project.commands == ["venv", "install run.txt"]


def test_enter_inside_an_up_to_date_environment_returns(
    project: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.prepare("dev")
    monkeypatch.setattr(sys, "prefix", str(project.folder))
    monkeypatch.setattr(sys, "path", [])
    environment.enter("run", project)
    assert sys.path == [str(environment.ROOT)]


def test_enter_tells_a_failure_in_one_line(project: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    project.failing = "venv"
    with pytest.raises(SystemExit) as leaving:
        environment.enter("run", project)
    assert leaving.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "script", sorted(Path(environment.__file__).parent.glob("*.py")), ids=lambda path: path.name
)
def test_an_older_python_reads_far_enough_to_be_turned_away(script: Path) -> None:
    tree = ast.parse(script.read_text("utf-8"), feature_version=(3, 8))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    if any(isinstance(node, ast.If) and "__main__" in ast.dump(node.test) for node in tree.body):
        first = imports[0]
        assert isinstance(first, ast.Import)
        assert first.names[0].name == "environment"


def test_the_tests_lock_holds_every_pin_of_the_run_lock() -> None:
    run, dev = (pins(environment.PROJECT.locks / name) for name in ("run.txt", "dev.txt"))
    assert run
    assert {name: pin for name, pin in dev.items() if name in run} == run


def pins(lock: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Name: (version, hashes) for each package of a lock."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for entry in lock.read_text("utf-8").replace("\\\n", " ").splitlines():
        if entry[:1].isalnum():
            name, _, version = entry.split()[0].partition("==")
            hashes = frozenset(word for word in entry.split() if word.startswith("--hash=sha256:"))
            assert version, entry
            assert hashes, entry
            found[name] = (version, hashes)
    return found
