"""What a process and its descendants use, read from Linux's /proc."""

import contextlib
import mmap
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
USER_HZ = 100  # ticks a second in /proc; Linux keeps it whatever rate the kernel itself runs at


def cpu_seconds(root: int, proc: Path = PROC) -> float:
    """CPU time, user and system, that the tree under process `root` has used so far, in seconds."""
    used = 0.0
    for pid in tree(root, proc):
        if fields := _stat(pid, proc):
            # Own time, and what children that ended have left to this process: proc(5), fields 14 to 17.
            own = _clock(pid) if proc == PROC else None
            used += sum(map(int, fields[11:13])) / USER_HZ if own is None else own
            used += sum(map(int, fields[13:15])) / USER_HZ
    return used


def resident_bytes(root: int, proc: Path = PROC) -> int:
    """Resident memory of the tree under process `root`; pages that two of its processes share count twice."""
    pages = sum(int(fields[21]) for pid in tree(root, proc) if (fields := _stat(pid, proc)))
    return pages * mmap.PAGESIZE


def peak_bytes(root: int, proc: Path = PROC) -> int:
    """The most resident memory that each process of the tree has had, added up."""
    return sum(_peak(pid, proc) for pid in tree(root, proc))


def tree(root: int, proc: Path = PROC) -> list[int]:
    """The process and all its descendants that live now."""
    children: dict[int, list[int]] = {}
    for pid, fields in _all(proc):
        children.setdefault(int(fields[1]), []).append(pid)
    found = [root]
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


def _clock(pid: int) -> float | None:
    """A process's own CPU time to the nanosecond; None where there is no such clock.

    The ticks in /proc are hundredths of a second, too coarse for a single stream. The number of another
    process's clock is made as clock_getcpuclockid(3) makes it, which Python does not offer.
    """
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            return time.clock_gettime(~pid << 3 | 2)
    return None


def _peak(pid: int, proc: Path) -> int:
    try:
        text = (proc / str(pid) / "status").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    _, _, after = text.partition("VmHWM:")
    return int(after.split()[0]) * 1024 if after else 0


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
