"""scripts/test.py: the Node packages are installed once, and a failure of npm is told, not raised."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

import environment


@pytest.fixture
def script() -> ModuleType:
    """scripts/test.py; by its path, because the standard library has a package named `test`."""
    spec = importlib.util.spec_from_file_location("scripts_test", environment.ROOT / "scripts" / "test.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Npm:
    """Stands in for npm: makes node_modules, or fails."""

    def __init__(self) -> None:
        self.runs = 0
        self.returncode = 0

    def run(self, command: list[str], *, cwd: Path, **_: object) -> subprocess.CompletedProcess[bytes]:
        assert command[1] == "ci"
        self.runs += 1
        (cwd / "node_modules").mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, self.returncode, b"", b"npm error network down\nmore\n")


@pytest.fixture
def npm(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Npm:
    npm = Npm()
    monkeypatch.setattr(script.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(script.subprocess, "run", npm.run)
    return npm


def test_the_lock_is_installed_once_and_again_when_it_changes(
    script: ModuleType, npm: Npm, tmp_path: Path
) -> None:
    (tmp_path / "package-lock.json").write_text("{}", "utf-8")
    script.install_node_packages(tmp_path)
    script.install_node_packages(tmp_path)
    assert npm.runs == 1
    (tmp_path / "package-lock.json").write_text("{ }", "utf-8")
    script.install_node_packages(tmp_path)
    assert npm.runs == 2


def test_a_failure_is_one_line_and_is_tried_again(
    script: ModuleType, npm: Npm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "package-lock.json").write_text("{}", "utf-8")
    npm.returncode = 1
    script.install_node_packages(tmp_path)
    told = capsys.readouterr().out.splitlines()[-1]
    assert "skipped" in told
    assert told.endswith("npm error network down")
    npm.returncode = 0
    script.install_node_packages(tmp_path)
    assert npm.runs == 2


def test_without_npm_nothing_happens(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    script.install_node_packages(tmp_path)
    assert capsys.readouterr().out == ""


def test_the_node_lock_has_hashes_and_names_no_host() -> None:
    text = (environment.ROOT / "tests" / "node" / "package-lock.json").read_text("utf-8")
    assert '"integrity": "sha512-' in text
    assert "://" not in text


def test_artefacts_are_tested_only_where_they_could_be_built(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []
    codes = [3]

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append([str(word) for word in command])
        return subprocess.CompletedProcess(command, codes.pop(0))

    monkeypatch.setattr(script.environment, "enter", lambda lock: None)
    monkeypatch.setattr(script.subprocess, "run", run)
    monkeypatch.setattr(script.sys, "argv", ["test.py", "--packaging", "-k", "image"])
    assert script.main() == 3
    assert [command[1].endswith("build.py") for command in commands] == [True]
    assert "could not be built" in capsys.readouterr().err
    codes[:] = [0, 1]
    assert script.main() == 1
    assert commands[-1][1:] == ["-m", "pytest", "-rs", "--packaging", "-k", "image"]
