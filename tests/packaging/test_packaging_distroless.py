"""The executable on just what distroless's cc-debian12 holds: read-only, no shell, nobody but user 65532."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import requests
import trustme

from support import debian
from support.program import PATIENCE, ROOT, Program, child_of, serving, stream, tls_upstream
from support.tools import Unavailable

NONROOT: Final = 65532
# Runs in a mount namespace of its own, which ends with it. Two lower layers and no upper one cannot be written.
ENTER: Final = f"""
set -eu
given=$1 tree=$2 root=$3
shift 3
mount -t overlay -o "lowerdir=$given:$tree" none "$root"
mount -t tmpfs -o size=64m,mode=1777,nosuid,nodev none "$root/tmp"
mount -t proc none "$root/proc"
mount --bind /dev "$root/dev"
exec chroot --userspec={NONROOT}:{NONROOT} --groups= "$root" /chatgpt-platform "$@"
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="root on Linux changes the root directory"
)


@pytest.fixture(scope="module")
def tree() -> Path:
    try:
        return debian.distroless(ROOT / "build" / "debian" / "distroless")
    except Unavailable as reason:
        pytest.skip(str(reason))


@contextmanager
def served(
    executable: Path, tree: Path, folder: Path, authority: trustme.CA, *arguments: str
) -> Iterator[Program]:
    """The executable in there, where ``authority`` is known besides the usual ones."""
    given, root = folder / "given", folder / "root"
    root.mkdir()
    bundle = given / debian.CERTIFICATES
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_bytes((tree / debian.CERTIFICATES).read_bytes() + authority.cert_pem.bytes())
    shutil.copy(executable, given)
    for path in (folder, given, *given.rglob("*")):
        path.chmod(path.stat().st_mode | 0o555)
    enter = ["unshare", "--mount", "sh", "-c", ENTER, "sh", str(given), str(tree), str(root)]
    with serving(*arguments, directory=folder, command=enter) as program:
        yield program


def test_there_is_no_shell(tree: Path) -> None:
    assert [
        name for name in ("bin/sh", "usr/bin/sh", "bin/bash", "usr/bin/python3") if (tree / name).exists()
    ] == []


def test_it_serves_and_drains(executable: Path, tree: Path, tmp_path: Path) -> None:
    with served(executable, tree, tmp_path, trustme.CA(), "--demo") as program:
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{child_of(program)}/status").read_text("ascii").splitlines()
            if ":\t" in line
        )
        assert status["Uid"].split() == [str(NONROOT)] * 4
        assert requests.get(f"{program.url}/chatgpt?prompt=x", timeout=PATIENCE).status_code == 200
        with stream(program) as lines:
            program.process.terminate()
            assert b"data: [DONE]" in lines
        assert program.end() == 0


def test_it_verifies_an_upstream(executable: Path, tree: Path, tmp_path: Path) -> None:
    known, unknown = trustme.CA(), trustme.CA()
    for number, (authority, status) in enumerate(((known, 200), (unknown, 502))):
        folder = tmp_path / str(number)
        folder.mkdir()
        with tls_upstream(authority, folder) as upstream:
            settings = folder / "given" / "config" / "chatgpt.yaml"
            settings.parent.mkdir(parents=True)
            settings.write_text(
                f"upstreams: [{{base_url: '{upstream.url}/v1', api_keys: [placeholder]}}]\n", "utf-8"
            )
            with served(executable, tree, folder, known) as program:
                answer = requests.get(f"{program.url}/chatgpt?prompt=x", timeout=PATIENCE)
                assert answer.status_code == status, answer.text
                program.process.terminate()
                assert program.end() == 0
            assert any("certificate verify failed" in line for line in program.lines) is (status == 502)
