"""scripts/test.py: Node packages are installed once, a failure of npm is told; what is built and tested."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
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


class Runs:
    """Stands in for what is run: notes the commands, and ends them with ``codes``."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.codes: list[int] = []
        self.paths: list[str] = []

    def run(
        self, command: list[str], env: Mapping[str, str] | None = None, **_: object
    ) -> subprocess.CompletedProcess[bytes]:
        self.paths += [env["PYTHONPATH"]] if env else []
        self.commands.append([str(word) for word in command[1:]])
        return subprocess.CompletedProcess(command, self.codes.pop(0))


@pytest.fixture
def runs(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Runs:
    runs = Runs()
    monkeypatch.delenv("CHATGPT_EXECUTABLE", raising=False)
    monkeypatch.setattr(script.environment, "enter", lambda lock: None)
    monkeypatch.setattr(script.subprocess, "run", runs.run)
    monkeypatch.setattr(script.sys, "argv", ["test.py", "--packaging", "-k", "image"])
    return runs


PYTEST = ["-m", "pytest", "-rs", "--packaging", "-k", "image"]


def test_artefacts_are_tested_only_where_they_could_be_built(
    script: ModuleType, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.codes = [3]
    assert script.main() == 3
    assert runs.commands == [[str(script.BUILD)]]
    assert "could not be built" in capsys.readouterr().err
    runs.codes = [0, 1]
    assert script.main() == 1
    assert runs.commands[1:] == [[str(script.BUILD)], PYTEST]


def test_an_executable_that_is_given_is_tested_and_none_is_built(
    script: ModuleType, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script.environment, "ROOT", Path(__file__).parent)
    monkeypatch.setenv("CHATGPT_EXECUTABLE", Path(__file__).name)  # relative to the checkout, wherever one is
    runs.codes = [0]
    assert script.main() == 0
    assert runs.commands == [PYTEST]


def test_an_executable_that_is_given_and_missing_is_one_line(
    script: ModuleType, runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHATGPT_EXECUTABLE", "dist/misspelt")
    assert script.main() == 2
    assert runs.commands == []
    assert capsys.readouterr().err == "CHATGPT_EXECUTABLE=dist/misspelt: no such file; leave it out to build one\n"


def test_native_modules_are_compiled_and_come_before_the_checkout(
    script: ModuleType, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script.native, "make", lambda: script.environment.ROOT / "build" / "native")
    monkeypatch.setattr(script.sys, "argv", ["test.py", "--native", "tests/limits"])
    runs.codes = [0]
    assert script.main() == 0
    first = ["-m", "pytest", "-o", "pythonpath=build/native tests scripts"]
    assert runs.commands == [[*first, "--native", "tests/limits"]]
    assert runs.paths == [str(script.environment.ROOT / "build" / "native")]


@pytest.mark.parametrize("more", [[], ["-x", "-k", "bucket"]])
def test_native_without_a_path_tests_all_that_is_compiled(
    script: ModuleType, runs: Runs, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    monkeypatch.setattr(script.native, "make", lambda: script.environment.ROOT / "build" / "native")
    monkeypatch.setattr(script.sys, "argv", ["test.py", "--native", *more])
    runs.codes = [1]
    assert script.main() == 1
    (command,) = runs.commands
    assert ("-n" in command) == (not more)
    assert {"tests/access", "tests/gateway", "tests/observe", "tests/web"} < set(command)


def test_what_does_not_compile_is_not_tested(
    script: ModuleType, runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make() -> Path:
        raise script.native.NativeError("the reason")

    monkeypatch.setattr(script.native, "make", make)
    monkeypatch.setattr(script.sys, "argv", ["test.py", "--native"])
    assert script.main() == 1
    assert runs.commands == []
    assert capsys.readouterr().err == "the reason\n"


def test_the_checkout_is_not_taken_for_native() -> None:
    command = [sys.executable, "-m", "pytest", "--native", "tests/limits/test_limits_bucket.py"]
    done = subprocess.run(
        command, cwd=environment.ROOT, env=os.environ | {"PYTHONPATH": ""},
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "gateway.py is not native; run scripts/test.py --native" in done.stderr


INTERPRETED = """
import pytest

@pytest.mark.interpreted
def test_one(): ...

@pytest.mark.interpreted("it hands in a fake")
def test_two(): ...

def test_three(): ...
"""


@pytest.mark.parametrize(("options", "ended"), [([], "3 passed"), (["--native"], "1 passed, 2 skipped")])
def test_what_holds_in_plain_python_alone_is_skipped_natively(
    tmp_path: Path, options: list[str], ended: str
) -> None:
    """The conftest stands with a package of its own, whose gateway is an extension by its name."""
    (tmp_path / "tests").mkdir()
    shutil.copy(environment.ROOT / "tests" / "conftest.py", tmp_path / "tests")
    shutil.copy(environment.ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests" / "test_it.py").write_text(INTERPRETED, "utf-8")
    package = tmp_path / "chatgpt_platform" / "gateway"
    package.mkdir(parents=True)
    (package / "gateway.py").write_text("__file__ = 'gateway.so'\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", *options], cwd=tmp_path, env=os.environ | {"PYTHONPATH": ""},
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert ended in done.stdout, done.stdout
    if options:
        assert "interpreted: it hands in a fake" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there these tests run, and change the machine")
@pytest.mark.parametrize(("options", "code"), [([], 0), (["--no-skips"], 1)])
def test_a_skip_is_a_failure_where_none_is_expected(options: list[str], code: int) -> None:
    command = [sys.executable, "-m", "pytest", "-rs", "--packaging", *options]
    done = subprocess.run(
        [*command, "-k", "ctrl_break", "tests/packaging/test_packaging_windows.py"],
        cwd=environment.ROOT, capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    assert "needs Windows" in done.stdout
