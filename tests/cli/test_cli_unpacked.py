"""The unpacked copies of the executable: which are waste, and which are not touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatgpt_platform.cli import unpacked
from chatgpt_platform.cli.unpacked import ONLINE_PARTS, Copy

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes and locks of POSIX")


@pytest.fixture
def dead() -> int:
    """The process id of a launcher that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.fixture
def launcher() -> Iterator[int]:
    """The process id of a launcher that lives."""
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as process:
        yield process.pid


def copy_of(launcher: int, folder: Path, end: str = "abcdef") -> Copy:
    home = folder / f"_MEI{launcher:08x}{end}"
    home.mkdir()
    with zipfile.ZipFile(home / ONLINE_PARTS, "w") as parts:
        parts.writestr("online_part_of_a_test.py", "here = True")
    (home / "library.so").write_bytes(b"x")
    return Copy(home)


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def test_what_a_dead_launcher_left_is_cleared(tmp_path: Path, dead: int, launcher: int) -> None:
    ours = copy_of(launcher, tmp_path)
    left = [copy_of(dead, tmp_path, end) for end in ("aaaaaa", "bbbbbb")]
    (left[0].folder / "library.so").unlink()  # killed while it unpacked
    assert ours.clear_others() == 2
    assert names(tmp_path) == {ours.folder.name}


def test_what_a_process_holds_is_not(tmp_path: Path, dead: int, launcher: int) -> None:
    ours, others = copy_of(launcher, tmp_path), copy_of(dead, tmp_path)
    others.hold()
    assert ours.clear_others() == 0
    assert others.folder.exists()
    others.leave()


def test_what_a_launcher_still_unpacks_is_not(tmp_path: Path, dead: int, launcher: int) -> None:
    ours, others = copy_of(dead, tmp_path), copy_of(launcher, tmp_path)
    assert ours.clear_others() == 0
    assert others.folder.exists()


def test_a_process_that_began_later_is_no_launcher(tmp_path: Path, dead: int, launcher: int) -> None:
    """Process ids come again, and after a restart of the machine soon."""
    ours, left = copy_of(dead, tmp_path), copy_of(launcher, tmp_path)
    make_older(left)
    assert ours.clear_others() == 1


def test_in_a_container_the_launcher_had_the_same_process_id_before(tmp_path: Path, launcher: int) -> None:
    ours, left, of_another_container = (copy_of(launcher, tmp_path, end) for end in ("ours00", "before", "others"))
    make_older(left)
    assert ours.clear_others() == 1
    assert names(tmp_path) == {ours.folder.name, of_another_container.folder.name}


def test_a_removal_that_was_cut_short_is_taken_up_again(tmp_path: Path, dead: int, launcher: int) -> None:
    ours, left = copy_of(launcher, tmp_path), copy_of(dead, tmp_path)
    (left.folder / ONLINE_PARTS).unlink()
    left.folder.rename(f"{left.folder}-left")
    assert ours.clear_others() == 1
    assert names(tmp_path) == {ours.folder.name}


def make_older(copy: Copy) -> None:
    long_ago = copy.folder.stat().st_mtime - 60
    os.utime(copy.folder, (long_ago, long_ago))


def test_other_programs_copies_are_left_alone(tmp_path: Path, dead: int, launcher: int) -> None:
    ours = copy_of(launcher, tmp_path)
    others = tmp_path / f"_MEI{dead:08x}zzzzzz"
    others.mkdir()
    (tmp_path / f"_MEI{dead:08x}file").write_text(ONLINE_PARTS, "utf-8")
    (tmp_path / "elsewhere").mkdir()
    elsewhere = copy_of(dead, tmp_path / "elsewhere", "linked")
    (tmp_path / f"_MEI{dead:08x}link").symlink_to(elsewhere.folder)
    before = names(tmp_path)
    assert ours.clear_others() == 0
    assert names(tmp_path) == before
    assert elsewhere.folder.exists()


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root gives folders away")
def test_other_users_copies_are_left_alone(tmp_path: Path, dead: int, launcher: int) -> None:
    ours, others = copy_of(launcher, tmp_path), copy_of(dead, tmp_path)
    shutil.chown(others.folder, 65532, 65532)
    assert ours.clear_others() == 0


def test_a_folder_that_was_cleaned_away_does_no_harm(tmp_path: Path, dead: int) -> None:
    copy = Copy(tmp_path / "gone" / f"_MEI{dead:08x}abcdef")
    copy.hold()
    assert copy.clear_others() == 0
    copy.leave()


def test_the_service_removes_the_folder_when_the_launcher_cannot(tmp_path: Path, dead: int) -> None:
    orphaned, cared_for = copy_of(dead, tmp_path), copy_of(os.getppid(), tmp_path)
    for copy in (orphaned, cared_for):
        copy.leave()
    assert names(tmp_path) == {cared_for.folder.name}


def test_online_parts_can_be_imported_once_they_are_added(
    tmp_path: Path, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copy_of(dead, tmp_path)
    monkeypatch.setattr(sys, "_MEIPASS", str(copy.folder), raising=False)
    monkeypatch.syspath_prepend(copy.folder)
    with pytest.raises(ModuleNotFoundError):
        __import__("online_part_of_a_test")
    unpacked.add_online_parts()
    assert __import__("online_part_of_a_test").here


def test_outside_of_the_executable_there_is_no_copy() -> None:
    assert unpacked.current() is None
    assert unpacked.clear_others() == ()
    unpacked.add_online_parts()
