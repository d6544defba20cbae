"""Log files: rotation, and everything that can happen to a file while it is written."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from chatgpt_platform.observe.logfile import LogFile

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows lets nobody rename or delete an open file")
BIG = 1024 * 1024


class Disk:
    """Stands in for os.write: takes so many bytes, then fails."""

    def __init__(self) -> None:
        self.room = 10**9
        self.error = errno.ENOSPC
        self._write = os.write

    def write(self, descriptor: int, data: bytes) -> int:
        if self.room == 0 and self.error:
            raise OSError(self.error, os.strerror(self.error))
        written = self._write(descriptor, bytes(data)[: self.room]) if self.room else 0
        self.room -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr("chatgpt_platform.observe.logfile.os.write", disk.write)
    return disk


class Logged:
    """A log file in a directory of its own, and what it said about trouble."""

    def __init__(self, folder: Path, size: int = BIG, keep: int = 3, limit: int = BIG) -> None:
        self.path = folder / "logs" / "app.log"
        self.said: list[str] = []
        self.file = LogFile(self.path, size, keep, self.said.append, limit=limit)

    def put(self, *lines: str) -> None:
        for line in lines:
            self.file.write(f"{line}\n".encode())
        self.file.flush()

    def read(self, number: int = 0) -> list[str]:
        path = self.path.with_name(f"{self.path.name}.{number}") if number else self.path
        return path.read_text().splitlines()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.parent.iterdir())


def test_lines_wait_for_the_flush(tmp_path: Path) -> None:
    log = Logged(tmp_path)
    log.file.open()
    log.file.write(b"one\n")
    assert log.read() == []
    log.file.flush()
    log.put("two")
    log.file.close()
    assert log.read() == ["one", "two"]
    assert log.said == []


def test_an_existing_file_is_continued(tmp_path: Path) -> None:
    for text in ("one", "two"):
        log = Logged(tmp_path)
        log.put(text)
        log.file.close()
    assert log.read() == ["one", "two"]


def test_a_line_that_a_kill_left_unfinished_is_ended(tmp_path: Path) -> None:
    log = Logged(tmp_path)
    log.path.parent.mkdir()
    log.path.write_text("half a li")
    log.put("one")
    log.file.close()
    assert log.read() == ["half a li", "one"]


def test_close_flushes_and_a_later_line_still_arrives(tmp_path: Path) -> None:
    log = Logged(tmp_path)
    log.file.write(b"one\n")
    log.file.close()
    log.put("late")
    log.file.close()
    assert log.read() == ["one", "late"]


def test_rotation_keeps_so_many_files(tmp_path: Path) -> None:
    log = Logged(tmp_path, size=10, keep=2)
    for text in ("aaaaaaa", "bbbbbbb", "ccccccc", "ddddddd"):
        log.put(text)
    log.file.close()
    assert log.names() == ["app.log", "app.log.1", "app.log.2"]
    assert [log.read(), log.read(1), log.read(2)] == [["ddddddd"], ["ccccccc"], ["bbbbbbb"]]
    assert log.said == []


def test_rotation_that_keeps_nothing(tmp_path: Path) -> None:
    log = Logged(tmp_path, size=10, keep=0)
    log.put("aaaaaaa")
    log.put("bbbbbbb")
    log.file.close()
    assert log.names() == ["app.log"]
    assert log.read() == ["bbbbbbb"]


def test_no_rotation_with_a_size_of_0(tmp_path: Path) -> None:
    log = Logged(tmp_path, size=0)
    for text in ("aaaaaaa", "bbbbbbb"):
        log.put(text)
    log.file.close()
    assert log.names() == ["app.log"]


def test_the_size_of_an_existing_file_counts(tmp_path: Path) -> None:
    log = Logged(tmp_path, size=10)
    log.path.parent.mkdir()
    log.path.write_text("before\n")
    log.put("after")
    log.file.close()
    assert (log.read(), log.read(1)) == (["after"], ["before"])


def test_a_file_that_cannot_be_rotated_grows_and_says_so_once(tmp_path: Path) -> None:
    log = Logged(tmp_path, size=10, keep=1)
    obstacle = tmp_path / "logs" / "app.log.1" / "in the way"
    obstacle.mkdir(parents=True)
    for text in ("aaaaaaa", "bbbbbbb", "ccccccc"):
        log.put(text)
    assert log.read() == ["aaaaaaa", "bbbbbbb", "ccccccc"]
    assert len(log.said) == 1
    assert "cannot be rotated" in log.said[0]
    shutil.rmtree(obstacle.parent)
    log.put("ddddddd")
    log.file.close()
    assert log.read() == ["ddddddd"]


@POSIX
def test_a_renamed_file_is_left_alone(tmp_path: Path) -> None:
    log = Logged(tmp_path)
    log.put("one")
    moved = log.path.rename(tmp_path / "moved")
    log.put("two")
    log.file.close()
    assert moved.read_text() == "one\n"
    assert log.read() == ["two"]


@POSIX
@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_was_deleted_is_made_again(tmp_path: Path, what: str) -> None:
    log = Logged(tmp_path)
    log.put("one")
    if what == "file":
        log.path.unlink()
    else:
        shutil.rmtree(log.path.parent)
    log.put("two")
    log.file.close()
    assert log.read() == ["two"]
    assert log.said == []


@POSIX
def test_a_replaced_file_is_continued(tmp_path: Path) -> None:
    log = Logged(tmp_path)
    log.put("one")
    log.path.unlink()
    log.path.write_text("other\n")
    log.put("two")
    log.file.close()
    assert log.read() == ["other", "two"]


def test_a_truncated_file_starts_anew(tmp_path: Path) -> None:
    log = Logged(tmp_path, size=10)
    log.put("aaaaaaa")
    os.truncate(log.path, 0)
    log.put("bbbbbbb")
    log.file.close()
    assert log.names() == ["app.log"]
    assert log.read() == ["bbbbbbb"]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, 0])
def test_a_full_disk_loses_nothing_while_the_buffer_holds(tmp_path: Path, disk: Disk, error: int) -> None:
    log = Logged(tmp_path)
    log.put("one")
    disk.room, disk.error = 0, error
    for text in ("two", "three"):
        log.put(text)
    assert len(log.said) == 1
    assert "cannot be written" in log.said[0]
    disk.room = 10**9
    log.put("four")
    log.put("five")
    log.file.close()
    assert log.read() == ["one", "two", "three", "four", "five"]
    assert len(log.said) == 2
    assert log.said[1].endswith("written again; lines lost: 0")


def test_lines_beyond_the_buffer_are_counted(tmp_path: Path, disk: Disk) -> None:
    log = Logged(tmp_path, limit=12)
    disk.room = 0
    for number in range(7):
        log.put(f"line{number}")
    disk.room = 10**9
    log.put("dropped")
    log.put("after")
    log.file.close()
    assert log.read() == ["line0", "line1", "after"]
    assert log.said[1].endswith("lines lost: 6")
    assert log.file.lost == 6, "which it goes on to know"


def test_a_burst_beyond_the_buffer_is_counted(tmp_path: Path) -> None:
    log = Logged(tmp_path, limit=8)
    log.put("one", "two", "three")
    log.file.close()
    assert log.read() == ["one", "two"]
    assert log.said == [f"{log.path}: more lines came than could be held; lines lost: 1"]


@pytest.mark.parametrize("room", range(1, 12))
def test_a_full_disk_leaves_no_partial_line(tmp_path: Path, disk: Disk, room: int) -> None:
    log = Logged(tmp_path)
    log.put("zero")
    disk.room = room
    log.put("one", "two", "three")
    whole = log.read()
    assert whole == ["zero", "one", "two"][: 1 + (room >= 4) + (room >= 8)]
    assert log.path.read_bytes().endswith(b"\n")
    disk.room = 10**9
    log.put("four")
    log.file.close()
    assert log.read() == ["zero", "one", "two", "three", "four"]


def test_a_partial_line_that_cannot_be_taken_back_is_ended(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, size: int) -> None:
        raise OSError(errno.EPERM, f"append only {descriptor} {size}")

    monkeypatch.setattr("chatgpt_platform.observe.logfile.os.ftruncate", refuse)
    log = Logged(tmp_path)
    disk.room = 2
    log.put("one")
    disk.room = 10**9
    log.put("two")
    log.file.close()
    assert log.read() == ["on", "one", "two"]


def test_close_on_a_full_disk_does_not_raise(tmp_path: Path, disk: Disk) -> None:
    log = Logged(tmp_path)
    log.file.open()
    log.file.write(b"one\n")
    disk.room = 0
    log.file.close()
    assert len(log.said) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_device_that_is_full(tmp_path: Path) -> None:
    log = Logged(tmp_path)
    log.path.parent.mkdir()
    log.path.symlink_to("/dev/full")
    log.put("one")
    log.put("two")
    assert len(log.said) == 1
    assert os.strerror(errno.ENOSPC) in log.said[0]
    log.path.unlink()
    log.put("three")
    log.file.close()
    assert log.read() == ["one", "two", "three"]
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_directory_in_the_files_place(tmp_path: Path) -> None:
    log = Logged(tmp_path)
    log.path.mkdir(parents=True)
    log.put("one")
    assert len(log.said) == 1
    log.path.rmdir()
    log.put("two")
    log.file.close()
    assert log.read() == ["one", "two"]


@POSIX
def test_a_pipe_that_nobody_reads_does_not_block(tmp_path: Path) -> None:
    log = Logged(tmp_path)
    log.path.parent.mkdir()
    if sys.platform != "win32":
        os.mkfifo(log.path)
    log.put("one")
    log.file.close()
    assert len(log.said) == 1
