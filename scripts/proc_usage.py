"""What a process and its descendants use, read from Linux's /proc."""

import mmap
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
USER_HZ = 100  # ticks a second in /proc; Linux keeps it whatever rate the kernel itself runs at


def cpu_seconds(root: int, proc: Path = PROC) -> float:
    """CPU time, user and system, that the tree under process `root` has used so far, in seconds."""
    ticks = 0
    for pid in tree(root, proc):
        fields = _stat(pid, proc)
        # utime and stime, and what children that ended have left to this process: proc(5), fields 14 to 17.
        ticks += sum(map(int, fields[11:15]))
    return ticks / USER_HZ


def resident_bytes(root: int, proc: Path = PROC) -> int:
    """Resident memory of the tree under process `root`; pages that two of its processes share count twice."""
    pages = sum(int(fields[21]) for pid in tree(root, proc) if (fields := _stat(pid, proc)))
    return pages * mmap.PAGESIZE


def tree(root: int, proc: Path = PROC) -> list[int]:
    """The process and all its descendants that live now."""
    children: dict[int, list[int]] = {}
    for pid, fields in _all(proc):
        children.setdefault(int(fields[1]), []).append(pid)
    found = [root]
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


def _all(proc: Path) -> Iterator[tuple[int, list[str]]]:
    for entry in proc.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name), proc)):
            yield int(entry.name), fields


def _stat(pid: int, proc: Path) -> list[str]:
    """The fields of /proc/PID/stat from the third on (state, parent, ...); none when the process has gone."""
    try:
        text = (proc / str(pid) / "stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The second field, the program's name in brackets, may hold spaces and brackets itself.
    return text.rpartition(")")[2].split()
