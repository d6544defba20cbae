"""Packs what a build left in `dist` for one platform of a release, under names that do not change with versions:

    python3 scripts/archive.py --platform linux-x86-64 dist out

`out` gets the bare executable, an archive of it with what installs it (tar.gz; for Windows zip), and the bill of
materials. What lies in the checkout but not under version control, such as a key, is left out. The same inputs
give the same archive: its times are SOURCE_DATE_EPOCH, and its owner is nobody.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import argparse
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

NAME = "chatgpt-platform"
TEXTS = ("LICENSE", "README.md", "README.zh-CN.md", "CHANGELOG.md")
# Each with its place in the archive: what installs the executable looks for it beside itself.
FOLDERS = {
    "linux": {"packaging/systemd": "", "packaging/docker": "docker"},
    "windows": {"packaging/windows": ""},
}
EARLIEST = 315_532_800  # 1980-01-01, where a zip's times begin


def main(argv: Sequence[str] | None = None, root: Path = environment.ROOT) -> int:
    parser = argparse.ArgumentParser(description="Packs a build for a release.")
    parser.add_argument("--platform", required=True, metavar="P", help="such as linux-x86-64 or windows-x86-64")
    parser.add_argument("dist", type=Path, help="the folder with the build")
    parser.add_argument("out", type=Path, help="the folder for the files of the release")
    arguments = parser.parse_args(argv)
    system = arguments.platform.partition("-")[0]
    suffix = ".exe" if system == "windows" else ""
    executable = arguments.dist / f"{NAME}{suffix}"
    bill = arguments.dist / f"{NAME}.cdx.json"
    try:
        files = contents(root, system) | {executable.name: executable.read_bytes(), bill.name: bill.read_bytes()}
        arguments.out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bill, arguments.out / f"{NAME}-{arguments.platform}.cdx.json")
        bare = arguments.out / f"{NAME}-{arguments.platform}{suffix}"
        shutil.copyfile(executable, bare)
        bare.chmod(0o755)
    except (OSError, KeyError) as error:
        print(f"archive.py: {error}", file=sys.stderr)
        return 1
    version = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    inside = {f"{NAME}-{version}/{name}": data for name, data in sorted(files.items())}
    packed, ending = (zipped(inside), "zip") if system == "windows" else (tarred(inside), "tar.gz")
    (arguments.out / f"{NAME}-{arguments.platform}.{ending}").write_bytes(packed)
    return 0


def contents(root: Path, system: str) -> dict[str, bytes]:
    """What goes into a system's archive beside the executable, by its path there."""
    files = {name: root / name for name in TEXTS}
    for folder, place in FOLDERS[system].items():
        found = tracked(root, folder)
        if not found:
            raise FileNotFoundError(f"git knows no file in {folder}, and the archive for {system} needs them")
        files |= {Path(place, file.relative_to(root / folder)).as_posix(): file for file in found}
    return {name: file.read_bytes() for name, file in files.items()}


def tracked(root: Path, folder: str) -> list[Path]:
    """The files under version control in a folder of the checkout. Raises OSError where git cannot tell them."""
    asked = subprocess.run(["git", "ls-files", "-z", "--", folder], cwd=root, capture_output=True, check=False)
    if asked.returncode != 0:
        reason = asked.stderr.decode(errors="replace").partition("\n")[0]
        raise OSError(f"git ls-files failed: {reason}")
    return [root / os.fsdecode(name) for name in asked.stdout.split(b"\0") if name]


def tarred(files: Mapping[str, bytes]) -> bytes:
    """A tar.gz of the files, which belong to nobody."""
    buffer = io.BytesIO()
    packed = gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0)
    with packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(data), _time(), _mode(name)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of the files."""
    buffer = io.BytesIO()
    moment = datetime.fromtimestamp(_time(), UTC).timetuple()[:6]
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, moment)
            entry.create_system = 3  # the same on every system that packs it
            entry.external_attr = _mode(name) << 16
            packed.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _mode(name: str) -> int:
    return 0o755 if name.rpartition("/")[2] in (NAME, f"{NAME}.exe") or name.endswith(".sh") else 0o644


def _time() -> int:
    return max(EARLIEST, int(os.environ.get("SOURCE_DATE_EPOCH") or EARLIEST))


if __name__ == "__main__":
    sys.exit(main())
