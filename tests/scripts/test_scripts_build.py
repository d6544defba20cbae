"""scripts/build.py, bundle.py, selftest.py: what they decide; the build itself is run by tests/packaging."""

import shutil
import ssl
import sys
import sysconfig
from pathlib import Path

import pytest

import build
import bundle
import environment
import native
import selftest


def test_a_pin_is_taken_out_of_the_lock_with_its_hashes() -> None:
    alpha = "alpha==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
    beta = "beta==2.0 \\\n    --hash=sha256:cc\n"
    lock = f"# by lock.py\n{alpha}{beta}"
    assert (build.pinned("alpha", lock), build.pinned("beta", lock)) == (alpha, beta)


def test_the_build_lock_pins_what_is_compiled_here() -> None:
    lock = (environment.ROOT / "packaging" / "locks" / "build.txt").read_text("utf-8")
    assert build.pinned("pyinstaller", lock).count("--hash=sha256:") > 1
    for builder in ("hatchling", "setuptools"):
        assert build.pinned(builder, lock).startswith(f"{builder}==")


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux a launcher is compiled")
def test_what_is_missing_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: 0)
    monkeypatch.setattr(ssl, "OPENSSL_VERSION_INFO", (1, 1, 1, 23, 15))
    monkeypatch.setattr(native, "has_headers", lambda: False)
    shared, openssl, compiler, binutils, headers = build.what_is_missing().splitlines()
    assert "--enable-shared" in shared
    assert "OpenSSL 3" in openssl
    assert compiler.endswith("apt install gcc libc6-dev")
    assert binutils.endswith("apt install binutils")
    assert headers.endswith("apt install python3-dev")
    assert headers not in build.what_is_missing(interpreted=True)  # then the launcher alone is compiled
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: 1)
    assert build.what_is_missing() == ""


def test_on_windows_a_compiler_is_optional(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(native, "make", lambda: tmp_path)
    monkeypatch.setattr(native, "what_is_missing", lambda: "the C compiler is missing: install it")
    monkeypatch.setattr(sys, "platform", "win32")
    assert build.native_modules() is None
    assert capsys.readouterr().out == (
        "The executable is made of plain Python, which is slower: the C compiler is missing: install it\n"
    )
    monkeypatch.setattr(native, "what_is_missing", lambda: "")
    assert build.native_modules() == tmp_path


def test_modules_that_do_not_compile_fail_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Path:
        raise native.NativeError("the reason")

    monkeypatch.setattr(native, "make", make)
    monkeypatch.setattr(native, "what_is_missing", lambda: "")
    with pytest.raises(build.BuildError, match="the reason"):
        build.native_modules()


def test_the_commit_that_is_given_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COMMIT", "0123456789ab")
    assert build.commit() == "0123456789ab"
    monkeypatch.delenv("COMMIT")
    monkeypatch.setattr(environment, "ROOT", tmp_path)  # no checkout
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert build.commit() == "unknown"


def test_versions_are_compared_as_numbers() -> None:
    assert max(["2.4", "2.31", "2.3.4"], key=bundle.version_key) == "2.31"


def test_distributions_are_found_by_module_and_by_file() -> None:
    names = ["yaml.loader", "msgspec/_core.so", "tornado", "json.decoder", "libssl.so.3", "nothing.of.ours"]
    assert bundle.distributions_of(names) == ["PyYAML", "msgspec", "tornado"]


def test_what_is_no_executable_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive", "utf-8")
    for name in ("text", "missing"):
        with pytest.raises(bundle.BundleError, match="cannot be read as an executable"):
            bundle.Bundle(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for the executable")
@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 3", "failed version: version ended with exit code 3"),
        ("echo something else", "failed version: version said 'something else"),
        ("echo; echo reason >&2; exit 1", "failed version: version ended with exit code 1: reason"),
        ("echo 'chatgpt-platform 1'; echo commit x", "failed version --licenses: the notices do not mention GNU"),
    ],
)
def test_the_self_test_fails_at_the_first_step_that_does(
    script: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    program.chmod(0o755)
    assert selftest.main([str(program)]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith(told)


def test_the_self_test_wants_an_executable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert selftest.main([str(tmp_path / "missing")]) == 2
    assert capsys.readouterr().err.endswith("no executable there\n")
