"""The executable on Windows for real: in a console, and as the service that install.ps1 makes of it.

Changes the machine it runs on (a service, a folder in ProgramData), so it is for the release workflow.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import requests

from processes import free_port
from support.gateway import wait_until
from support.program import PATIENCE, ROOT, Reader, environment_of

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="needs Windows, and an elevated shell there")

NAME: Final = "chatgpt-platform"
INSTALL: Final = ROOT / "packaging" / "windows" / "install.ps1"
GROUP: Final[int] = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
CTRL_BREAK: Final = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)
KEY: Final = "test-key-windows-1"

until = partial(wait_until, patience=60, pause=0.1)  # many a look is a process of its own


def data() -> Path:
    return Path(os.environ["PROGRAMDATA"]) / NAME


def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One command of the system."""
    return subprocess.run(arguments, capture_output=True, text=True, errors="replace", timeout=180, check=False)


def install(*arguments: str) -> subprocess.CompletedProcess[str]:
    started = ("powershell", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File", str(INSTALL))
    return shell(*started, *arguments)


def answers(port: int) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    return False


def processes() -> list[int]:
    """The launcher's and the program's own, wherever they come from."""
    listed = shell("tasklist", "/fi", f"imagename eq {NAME}.exe", "/fo", "csv", "/nh").stdout
    return [int(number) for number in re.findall(r'^"[^"]+","(\d+)"', listed, re.MULTILINE)]


def service_process() -> int:
    """The launcher: what the service manager has started."""
    found = re.search(r"PID\s+: (\d+)", shell("sc.exe", "queryex", NAME).stdout)
    return int(found[1]) if found else 0


def state() -> str:
    found = re.search(r"STATE\s+: \d+\s+(\w+)", shell("sc.exe", "query", NAME).stdout)
    return found[1] if found else ""


@contextmanager
def console(executable: Path, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command of the executable in a group of its own, as Ctrl-Break needs it, unpacked to ``folder``."""
    environment = {**environment_of({}), "TEMP": str(folder), "TMP": str(folder)}
    with subprocess.Popen(
        [str(executable), *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
        creationflags=GROUP,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            shell("taskkill", "/f", "/t", "/pid", str(process.pid))


def unpacked(folder: Path) -> list[Path]:
    return list(folder.glob("_MEI*"))


def test_ctrl_break_drains_and_nothing_is_left(executable: Path, tmp_path: Path) -> None:
    port = free_port()
    with console(executable, tmp_path, "serve", "--demo", "--host", "127.0.0.1", "--port", str(port)) as process:
        until(lambda: answers(port))
        assert len(unpacked(tmp_path)) == 1
        reader = Reader(f"http://127.0.0.1:{port}")
        process.send_signal(CTRL_BREAK)
        assert reader.whole()
        assert process.wait(PATIENCE) == 0
    assert unpacked(tmp_path) == []


def test_the_program_ends_with_its_launcher(executable: Path, tmp_path: Path) -> None:
    port = free_port()
    with console(executable, tmp_path, "serve", "--demo", "--host", "127.0.0.1", "--port", str(port)) as process:
        until(lambda: answers(port))
        shell("taskkill", "/f", "/pid", str(process.pid))  # without /t: the launcher alone
        until(lambda: not answers(port))


@pytest.fixture
def upstream(executable: Path, tmp_path: Path) -> Iterator[int]:
    port = free_port()
    with console(executable, tmp_path, "simulate", "--port", str(port), "--interval", "20"):
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        yield port


@pytest.fixture
def clean() -> Iterator[None]:
    """A machine without the service, before and after."""
    assert not data().exists(), f"{data()} is in use on this machine"
    yield
    install("-Remove", "-Purge")


def written(upstream: int, port: int, more: str = "") -> None:
    data().mkdir(exist_ok=True)
    (data() / "chatgpt.yaml").write_text(
        f"server: {{host: 127.0.0.1, port: {port}{more}}}\n"
        f"state: {{directory: '{data() / 'state'}'}}\n"
        f"upstreams: [{{base_url: 'http://127.0.0.1:{upstream}/v1'}}]\n",
        "utf-8",
    )


@pytest.mark.usefixtures("clean")
def test_the_life_of_the_service(executable: Path, tmp_path: Path, upstream: int) -> None:
    port = free_port()
    written(upstream, port)
    (tmp_path / "key").write_text(KEY + "\n", "utf-8")
    done = install("-Executable", str(executable), "-KeyFile", str(tmp_path / "key"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert state() == "RUNNING"
    assert shell(str(executable), "healthcheck", "--config", str(data() / "chatgpt.yaml")).returncode == 0
    said = requests.get(f"http://127.0.0.1:{port}/chatgpt", params={"prompt": "Hello"}, timeout=PATIENCE)
    assert said.json()["code"] == 200, "the key reached the service"
    until(lambda: "/chatgpt" in (data() / "logs" / "access.log").read_text("utf-8"))
    assert "NT SERVICE" in shell("sc.exe", "qc", NAME).stdout
    rights = shell("icacls", str(data() / "api_key.txt")).stdout
    assert "BUILTIN\\Users" not in rights
    assert "Everyone" not in rights
    assert KEY not in shell("sc.exe", "qc", NAME).stdout

    reloads(upstream, port)
    keeps_keys(port)
    comes_back(port)
    upgrades(executable, port)
    drains(port)
    removes(tmp_path)


def reloads(upstream: int, port: int) -> None:
    written(upstream, port, ", route: talk")
    shell("sc.exe", "control", NAME, "paramchange")
    url = f"http://127.0.0.1:{port}/talk"
    until(lambda: requests.get(url, params={"prompt": "x"}, timeout=PATIENCE).status_code == 200)


def keeps_keys(port: int) -> None:
    """A key that the administrator makes is known to the service, also after a restart."""
    program = str(Path(os.environ["PROGRAMFILES"]) / NAME / f"{NAME}.exe")
    key = shell(program, "keys", "create", "--name", "alice").stdout.strip()

    def ask() -> int:
        answer = requests.get(
            f"http://127.0.0.1:{port}/chatgpt", params={"prompt": "x", "api_key": key}, timeout=PATIENCE
        )
        return answer.status_code

    until(lambda: ask() == 200)
    assert shell("powershell", "-NoProfile", "-Command", f"Restart-Service {NAME}").returncode == 0
    until(lambda: answers(port))
    assert ask() == 200
    assert "\nalice," in shell(program, "usage", "--format", "csv").stdout
    assert "BUILTIN\\Users" not in shell("icacls", str(data() / "state" / "keys.secret")).stdout


def comes_back(port: int) -> None:
    """Killed, it is started again, and the port is free for it."""
    former = service_process()
    shell("taskkill", "/f", "/pid", str(former))
    until(lambda: service_process() not in (0, former) and answers(port))


def upgrades(executable: Path, port: int) -> None:
    before = (data() / "chatgpt.yaml").read_bytes()
    done = install("-Executable", str(executable))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (data() / "chatgpt.yaml").read_bytes() == before
    assert answers(port)


def drains(port: int) -> None:
    reader = Reader(f"http://127.0.0.1:{port}")
    assert shell("powershell", "-NoProfile", "-Command", f"Stop-Service {NAME}").returncode == 0
    assert reader.whole()
    assert state() == "STOPPED"
    assert re.search(r"WIN32_EXIT_CODE\s+: 0 ", shell("sc.exe", "query", NAME).stdout)
    until(lambda: list((data() / "temp").glob("_MEI*")) == [] or service_process() == 0)


def removes(folder: Path) -> None:
    """A link that the service could have made leads nobody astray."""
    kept = folder / "kept"
    kept.mkdir()
    (kept / "file").touch()
    for place in ("logs", "state", "temp"):
        assert shell("cmd", "/c", "mklink", "/J", str(data() / place / "link"), str(kept)).returncode == 0
    done = install("-Remove")
    assert done.returncode == 0, done.stderr
    assert state() == ""
    assert (data() / "chatgpt.yaml").exists(), "the configuration stays"
    done = install("-Remove", "-Purge")
    assert done.returncode == 0, done.stderr
    assert not data().exists()
    assert (kept / "file").exists()


@pytest.mark.usefixtures("clean")
def test_a_configuration_of_somebody_else_s_is_refused(executable: Path, upstream: int) -> None:
    written(upstream, free_port())
    config = str(data() / "chatgpt.yaml")
    assert shell("icacls", config, "/setowner", "*S-1-5-32-545").returncode == 0  # the users
    for _ in range(2):  # also when the folder's rights have been set
        done = install("-Executable", str(executable), "-NoKey")
        assert done.returncode == 1
        assert "chatgpt.yaml was not made by an administrator" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.usefixtures("clean")
def test_a_bad_configuration_is_one_line(executable: Path) -> None:
    data().mkdir()
    (data() / "chatgpt.yaml").write_text("server: {prot: 1}\n", "utf-8")
    done = install("-Executable", str(executable), "-NoKey")
    assert done.returncode == 1
    assert "chatgpt.yaml:1" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-Purge"], "-Remove"),
        (["-Remove", "-NoKey"], "-Purge"),
        (["-NoKey", "-KeyFile", "x"], "exclude"),
        (["-Executable", "missing.exe"], "missing.exe"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], said: str) -> None:
    done = install(*arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
