"""scripts/archive.py: what a user unpacks."""

import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

import archive


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a build of everything."""
    for name in (
        *archive.TEXTS, "packaging/systemd/install.sh", "packaging/systemd/chatgpt-platform.service",
        "packaging/docker/compose.yaml", "packaging/windows/install.ps1",
        "dist/chatgpt-platform", "dist/chatgpt-platform.exe", "dist/chatgpt-platform.cdx.json",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"this is {name}", "utf-8")
    for command in (["init", "--quiet"], ["add", "packaging"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n', "utf-8")
    return tmp_path


def pack(root: Path, platform: str) -> int:
    return archive.main(["--platform", platform, str(root / "dist"), str(root / "out")], root)


def test_linux_gets_a_tar_with_what_installs_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert pack(root, "linux-arm64") == 0
    assert {file.name for file in (root / "out").iterdir()} == {
        "chatgpt-platform-linux-arm64", "chatgpt-platform-linux-arm64.tar.gz",
        "chatgpt-platform-linux-arm64.cdx.json",
    }  # fmt: skip
    assert (root / "out/chatgpt-platform-linux-arm64").read_text("utf-8") == "this is dist/chatgpt-platform"
    with tarfile.open(root / "out/chatgpt-platform-linux-arm64.tar.gz") as tar:
        entries = {entry.name.removeprefix("chatgpt-platform-1.2.3/"): entry for entry in tar}
        program = tar.extractfile(entries["chatgpt-platform"])
        assert program is not None
        assert program.read() == b"this is dist/chatgpt-platform"
    assert set(entries) == {
        *archive.TEXTS, "chatgpt-platform", "chatgpt-platform.cdx.json", "install.sh",
        "chatgpt-platform.service", "docker/compose.yaml",
    }  # fmt: skip
    assert {name for name, entry in entries.items() if entry.mode == 0o755} == {
        "chatgpt-platform", "install.sh",
    }  # fmt: skip
    assert {(entry.uid, entry.uname, entry.mtime) for entry in entries.values()} == {(0, "", 1_700_000_000)}


def test_what_git_does_not_know_is_not_packed(root: Path) -> None:
    for name in ("packaging/docker/api_key.txt", "packaging/docker/logs/app.log", "packaging/systemd/notes"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("sk-of-mine", "utf-8")
    assert pack(root, "linux-x86-64") == 0
    with tarfile.open(root / "out/chatgpt-platform-linux-x86-64.tar.gz") as tar:
        assert [name for name in tar.getnames() if name.endswith(("api_key.txt", "app.log", "notes"))] == []


def test_without_git_nothing_is_packed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / ".git").rename(root / "elsewhere")
    assert pack(root, "linux-x86-64") == 1
    assert "git ls-files failed" in capsys.readouterr().err


def test_windows_gets_a_zip(root: Path) -> None:
    assert pack(root, "windows-x86-64") == 0
    assert (root / "out/chatgpt-platform-windows-x86-64.exe").is_file()
    with zipfile.ZipFile(root / "out/chatgpt-platform-windows-x86-64.zip") as packed:
        assert {name.removeprefix("chatgpt-platform-1.2.3/") for name in packed.namelist()} == {
            *archive.TEXTS, "chatgpt-platform.exe", "chatgpt-platform.cdx.json", "install.ps1",
        }  # fmt: skip
        assert packed.testzip() is None


@pytest.mark.parametrize("platform", ["linux-x86-64", "windows-x86-64"])
def test_the_same_build_gives_the_same_archive(root: Path, platform: str) -> None:
    def packed() -> dict[str, bytes]:
        assert pack(root, platform) == 0
        return {file.name: file.read_bytes() for file in (root / "out").iterdir()}

    first = packed()
    (root / "LICENSE").touch()
    assert packed() == first


@pytest.mark.parametrize(
    "missing", ["dist/chatgpt-platform", "dist/chatgpt-platform.cdx.json", "LICENSE", "packaging/docker"]
)
def test_what_is_missing_is_named(root: Path, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    gone = root / missing
    if gone.is_dir():
        (gone / "compose.yaml").unlink()
    else:
        gone.unlink()
    assert pack(root, "linux-x86-64") == 1
    told = capsys.readouterr().err
    assert missing in told
    assert len(told.splitlines()) == 1
