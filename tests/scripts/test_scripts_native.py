"""scripts/native.py: a small package is compiled for real; what is compiled, when it is again, and what fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import environment
import native
import programs
import whole
from native import NativeError, Plan

SOURCES = {
    "tiny/__init__.py": "",
    "tiny/table.yaml": "a: 1\n",
    "tiny/inner/__init__.py": '"""Docs."""\n',
    "tiny/inner/a.py": "from tiny.inner import b\n\ndef twice(one: int) -> int:\n    return b.add(one, one)\n",
    "tiny/inner/b.py": "def add(one: int, other: int) -> int:\n    assert one < 100\n    return one + other\n",
    "tiny/inner/plain.py": "VALUE = 1\n",
    "tiny/outer/__init__.py": "",
    "tiny/outer/far.py": "VALUE = 1\n",
}
TELL = """
import sys, traceback
from tiny.inner import a, b, plain
print(*(module.__file__.rpartition(".")[2] for module in (a, b, plain)))
print(a.twice(200), *sorted({name.partition(".")[0] for name in sys.modules} & {"mypy_extensions", "librt"}))
try:
    a.twice("x")
except TypeError:
    print(traceback.format_exc().replace(chr(92), "/").count('File "tiny/inner/a.py", line 3'))
"""
needs_compiler = pytest.mark.skipif(bool(native.what_is_missing()), reason="there is no C compiler, or no headers")


def small(root: Path) -> Plan:
    for name, text in SOURCES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return Plan(root, root / "build" / "native", "tiny", ("inner",), {"inner/plain": "a reason"}, ("outer",))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A plan that was carried out; no test may change its sources."""
    plan = small(tmp_path_factory.mktemp("compiled"))
    native.make(plan)
    return plan


@pytest.fixture
def plan(compiled: Plan, tmp_path: Path) -> Plan:
    """A copy of it."""
    shutil.copytree(compiled.root, tmp_path, dirs_exist_ok=True)
    return small(tmp_path)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """What is compiled, which is only noted."""
    noted: list[Plan] = []
    monkeypatch.setattr(native, "_compile", lambda plan, target: noted.append(plan))
    return noted


@needs_compiler
def test_the_native_modules_are_those_that_python_takes(compiled: Plan, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TELL], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(compiled.folder)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    suffix = native.SUFFIX.rpartition(".")[2]
    # Asserts are left out, and nothing of mypy's is needed.
    assert done.stdout.splitlines() == [f"{suffix} {suffix} py", "400", "1"]
    assert (compiled.folder / "tiny" / "table.yaml").read_text("utf-8") == "a: 1\n"
    assert sorted(native.files_of(compiled.folder)) == ["tiny.inner.a", "tiny.inner.b", "tiny__mypyc"]


@needs_compiler
def test_the_same_sources_give_the_same_bytes_elsewhere(compiled: Plan, tmp_path: Path) -> None:
    other = small(tmp_path / "a longer" / "päth")
    native.make(other)
    mine, others = native.files_of(compiled.folder), native.files_of(other.folder)
    assert {name: file.read_bytes() for name, file in mine.items()} == {
        name: file.read_bytes() for name, file in others.items()
    }
    assert not any(str(compiled.root).encode() in file.read_bytes() for file in mine.values())


@needs_compiler
def test_only_what_concerns_them_compiles_them_again(plan: Plan, compilations: list[Plan]) -> None:
    assert native.make(plan) == plan.folder
    (plan.root / "tiny/outer/far.py").write_text("VALUE = 2\n", "utf-8")
    native.make(plan)
    assert (plan.folder / "tiny/outer/far.py").read_text("utf-8") == "VALUE = 2\n"
    assert len(native.files_of(plan.folder)) == 3
    assert compilations == []
    (plan.root / "tiny/inner/plain.py").write_text("VALUE = 2.5\n", "utf-8")  # its types may count
    native.make(plan)
    assert compilations == [plan]


@needs_compiler
@pytest.mark.parametrize("folder", ["native", "native-work/modules"])
def test_what_was_not_finished_is_made_anew(plan: Plan, compilations: list[Plan], folder: str) -> None:
    shutil.rmtree(plan.folder)
    plan.folder.mkdir()
    left = plan.folder.parent / f"{folder}-unfinished-1"
    left.mkdir()
    (plan.folder.parent / folder / whole.STAMP).unlink(missing_ok=True)
    native.make(plan)
    assert (plan.folder / "tiny/inner/a.py").exists()
    assert len(compilations) == (folder != "native")
    assert not left.exists()


@needs_compiler
def test_other_settings_or_packages_compile_again(
    plan: Plan, compilations: list[Plan], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert {file.name for file in native.DECIDING} == {"pyproject.toml", "build.txt"}
    changed = tmp_path / "pyproject.toml"
    changed.write_text(native.DECIDING[0].read_text("utf-8") + "# More.\n", "utf-8")
    monkeypatch.setattr(native, "DECIDING", (changed, *native.DECIDING[1:]))
    native.make(plan)
    assert compilations == [plan]


def test_sources_that_change_meanwhile_are_not_taken_for_what_was_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = small(tmp_path)

    def compile_slowly(plan: Plan, target: Path) -> None:
        (plan.root / "tiny/inner/a.py").write_text("VALUE = 2\n", "utf-8")

    monkeypatch.setattr(native, "what_is_missing", lambda: "")
    monkeypatch.setattr(native, "_compile", compile_slowly)
    with pytest.raises(NativeError, match="the sources changed meanwhile"):
        native.make(plan)
    assert [path.name for path in plan.work.iterdir()] == ["lock"]
    assert not plan.folder.exists()


def test_of_two_at_once_one_waits_and_finds_it_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, begun, go_on = small(tmp_path), threading.Event(), threading.Event()
    compilations: list[Path] = []

    def compile_slowly(plan: Plan, target: Path) -> None:
        compilations.append(target)
        begun.set()
        assert go_on.wait(30)

    monkeypatch.setattr(native, "what_is_missing", lambda: "")
    monkeypatch.setattr(native, "_compile", compile_slowly)
    monkeypatch.setattr(time, "sleep", lambda _: go_on.set())
    first = threading.Thread(target=native.make, args=(plan,))
    first.start()
    assert begun.wait(30)
    native.make(plan)
    first.join(30)
    assert len(compilations) == 1
    assert "The native modules are being compiled already; waiting for it ...\n" in capsys.readouterr().out


@needs_compiler
def test_what_a_killed_one_left_behind_compiling_is_waited_for(plan: Plan, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, native.CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        with whole.holding(plan.work / "compiling", ""):
            child.stdin.write(native._task(plan, tmp_path / "target"))
            child.stdin.close()
            assert child.stdout.readline() == "An earlier compilation goes on; waiting for it ...\n"
            assert not (tmp_path / "target").exists()
        assert child.wait(60) == 0
    assert len(list((tmp_path / "target").rglob(f"*{native.SUFFIX}"))) == 3


def test_a_place_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan = small(tmp_path)
    plan.folder.parent.write_text("a file, where the folder should be", "utf-8")
    with pytest.raises(NativeError, match=f"cannot be made: .*{plan.work.name}"):
        native.make(plan)


@needs_compiler
def test_another_compiler_compiles_again(
    plan: Plan, compilations: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "_compiler_version", lambda: "another")
    native.make(plan)
    assert compilations == [plan]


@needs_compiler
def test_a_module_that_does_not_compile_is_named_and_changes_nothing(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    (plan.root / "tiny/inner/b.py").write_text(
        "class Name(str):\n    pass\n" + SOURCES["tiny/inner/b.py"], "utf-8"
    )
    with pytest.raises(NativeError, match=r"could not be compiled.*INTERPRETED"):
        native.make(plan)
    assert "tiny/inner/b.py:1: error: " in capsys.readouterr().err.replace("\\", "/")
    assert (plan.folder / "tiny/inner/b.py").read_text("utf-8") == SOURCES["tiny/inner/b.py"]
    assert sorted(file.name for file in plan.folder.parent.iterdir()) == ["native", "native-work"]


def test_what_the_exceptions_name_is_there_and_has_a_reason() -> None:
    names = {file.as_posix() for file in Plan().sources()}
    assert "chatgpt_platform/gateway/gateway.py" in names
    assert not names & {f"chatgpt_platform/{name}.py" for name in native.INTERPRETED}
    assert all(native.INTERPRETED.values())
    assert not any("/cli/" in name or name.endswith("__init__.py") for name in names)


def test_an_exception_that_is_no_module_is_told(tmp_path: Path) -> None:
    plan = small(tmp_path)
    with pytest.raises(NativeError, match="names inner/gone, which is no module"):
        native.make(Plan(plan.root, plan.folder, "tiny", ("inner",), {"inner/gone": "a reason"}))


@pytest.mark.skipif(sys.platform == "win32", reason="the lines name Debian's packages")
def test_what_is_missing_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    compiler, headers = native.what_is_missing().splitlines()
    assert compiler.endswith("apt install gcc libc6-dev")
    assert headers.endswith("apt install python3-dev")
    with pytest.raises(NativeError, match="apt install"):
        native.make(small(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="there it is Microsoft's")
def test_the_compiler_is_one_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def there(*names: str) -> Callable[[str], str | None]:
        return lambda name: name if name in names else None

    monkeypatch.setenv("CC", "clang -m64")
    monkeypatch.setattr(shutil, "which", there("clang", "cc"))
    assert native._compiler() == ["clang", "-m64"]
    monkeypatch.setattr(shutil, "which", there("cc"))
    assert native._compiler() == ["cc"]
    monkeypatch.setenv("CC", " ")
    assert native._compiler() == ["cc"]


def test_what_the_benchmark_measures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native, "make", lambda: tmp_path)
    module = ("-m", "chatgpt_platform")
    as_shipped = programs.chosen(interpreted=False, executable=None)
    assert (as_shipped.command, as_shipped.path) == ((sys.executable, "-OO", *module), tmp_path)
    plain = programs.chosen(interpreted=True, executable=None)
    assert (plain.command, plain.path) == ((sys.executable, *module), environment.ROOT)
    given = programs.chosen(interpreted=False, executable=tmp_path / "program")
    assert given.command == (str(tmp_path / "program"),)
    assert len({as_shipped.about, plain.about, given.about}) == 3
    assert programs.lock(interpreted=False, executable=None) == "dev"
    assert programs.lock(interpreted=True, executable=None) == "run"
