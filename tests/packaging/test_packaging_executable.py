"""The executable by itself: what it unpacks, signals, and temporary directories that fail it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import requests
import trustme

from chatgpt_platform import __version__
from chatgpt_platform.cli.unpacked import ONLINE_PARTS
from support.gateway import wait_until
from support.program import PATIENCE, ROOT, Program, child_of, environment_of, serving, stream, tls_upstream

README: Final = (ROOT / "README.md").read_text("utf-8")
CHAT: Final = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two three"}]}
HEADERS: Final = {"Authorization": "Bearer placeholder"}
SHARED: Final = """
logging: {level: debug}
keys: [{name: alice, key: kkkkkkkkkkkkkkkk, budget: [0.000001/total]}]
budgets: {webhook: {url: "http://127.0.0.1:9/hook", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}
"""
"""Settings that need what was not needed without them."""
# Windows has none of them, and runs none of these tests.
KILL, STOP, HUP = (getattr(signal, name, signal.SIGTERM) for name in ("SIGKILL", "SIGSTOP", "SIGHUP"))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what Linux promises")
root_only = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root mounts file systems")


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The temporary directory that the executable gets."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    return folder


@contextmanager
def served(
    executable: Path, unpacked: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[Program]:
    given = {"TMPDIR": str(unpacked), **(environment or {})}
    with serving(*arguments, directory=unpacked.parent, environment=given, command=[str(executable)]) as program:
        yield program


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- what it is


def test_it_says_what_it_is(executable: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(executable), "version"],
        cwd=tmp_path, env={}, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert (done.returncode, lines["chatgpt-platform"]) == (0, __version__)
    assert re.fullmatch(r"[0-9a-f]{12}(-changed)?", lines["commit"])


def test_it_is_small(executable: Path) -> None:
    assert executable.stat().st_size <= 28_000_000


def test_it_knows_time_zones_where_the_system_has_none(executable: Path, tmp_path: Path) -> None:
    def check(zone: str) -> subprocess.CompletedProcess[str]:
        environment = {"PYTHONTZPATH": "", "CHATGPT_BUDGETS__TIME_ZONE": zone}
        return subprocess.run(
            [str(executable), "check"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    assert "budgets.time_zone = America/New_York " in check("America/New_York").stdout
    done = check("America/Nowhere")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_it_brings_the_prices(executable: Path, unpacked: Path) -> None:
    with served(executable, unpacked, "--demo"):
        (copy,) = unpacked.iterdir()
        prices = Path("chatgpt_platform", "accounts", "prices.yaml")
        assert (copy / prices).read_bytes() == (ROOT / prices).read_bytes()


def key(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def built_on_debian_12() -> bool:
    """Whether the README's figure is that of this build: not of another system's, nor of a file from elsewhere."""
    system = platform.freedesktop_os_release()
    here = (system["ID"], system.get("VERSION_ID")) == ("debian", "12")
    return here and not os.environ.get("CHATGPT_EXECUTABLE")


def test_it_needs_the_glibc_that_the_readme_names_and_nothing_else(executable: Path, unpacked: Path) -> None:
    def needed(file: Path) -> tuple[set[str], set[str]]:
        """The versions of glibc's symbols, and the libraries, that a file asks for."""
        said = subprocess.run(["objdump", "-p", str(file)], capture_output=True, text=True, check=True).stdout
        return set(re.findall(r"GLIBC_(\d+\.\d+(?:\.\d+)?)", said)), set(re.findall(r"NEEDED\s+(\S+)", said))

    with served(executable, unpacked, "--demo"):
        (copy,) = unpacked.iterdir()
        shutil.unpack_archive(copy / ONLINE_PARTS, copy)
        bundled = [file for file in copy.rglob("*") if ".so" in file.name]
        of_each = [needed(file) for file in [executable, *bundled]]
    versions = {version for each, _ in of_each for version in each}
    newest = max(versions, key=key)
    assert key(newest) <= key(platform.libc_ver()[1])
    if built_on_debian_12():
        assert f"glibc {newest}" in README

    libraries = {library for _, each in of_each for library in each} - {file.name for file in bundled}
    of_glibc = r"(lib(c|m|dl|pthread|rt|util)\.so\.\d|ld-linux.*\.so\.\d)"
    assert [library for library in libraries if not re.fullmatch(of_glibc, library)] == []


# --- what it unpacks


def test_nothing_is_left_after_the_end(executable: Path, unpacked: Path) -> None:
    with served(executable, unpacked, "--demo") as program:
        assert len(list(unpacked.iterdir())) == 1
        program.process.terminate()
        assert program.end() == 0
    assert list(unpacked.iterdir()) == []


def test_a_killed_launcher_ends_the_service_in_good_order(executable: Path, unpacked: Path) -> None:
    with served(executable, unpacked, "--demo") as program:
        service = child_of(program)
        with stream(program) as lines:
            program.process.kill()
            assert b"data: [DONE]" in lines
        wait_until(lambda: not lives(service))
    assert list(unpacked.iterdir()) == []
    assert program.lines[-1].endswith("stopped")


def test_a_killed_service_ends_the_launcher(executable: Path, unpacked: Path) -> None:
    with served(executable, unpacked, "--demo") as program:
        os.kill(child_of(program), KILL)
        assert program.end() == -KILL
    assert list(unpacked.iterdir()) == []


def test_the_next_start_clears_what_a_kill_left(executable: Path, unpacked: Path) -> None:
    other = unpacked / "_MEI0000abcd123456"
    other.mkdir()  # another program's
    with served(executable, unpacked, "--demo") as running, served(executable, unpacked, "--demo") as killed:
        service = child_of(killed)
        # Stopped first: each would clear up after the other.
        for pid in (killed.process.pid, service):
            os.kill(pid, STOP)
        for pid in (killed.process.pid, service):
            os.kill(pid, KILL)
        killed.process.wait(PATIENCE)
        wait_until(lambda: not lives(service))
        assert len(list(unpacked.iterdir())) == 3
        with served(executable, unpacked, "--demo") as next_one:
            assert any("had left were removed: 1" in line for line in next_one.lines)
            assert len(list(unpacked.iterdir())) == 3
            assert requests.get(f"{running.url}/v1/models", timeout=PATIENCE).status_code == 200
    assert other.exists()


def test_it_goes_on_when_its_files_are_cleaned_away(executable: Path, unpacked: Path, tmp_path: Path) -> None:
    """Everything that a gateway does is asked of it for the first time after its folder has gone, and another
    file stands in place of the executable."""
    program_file = Path(shutil.copy(executable, tmp_path / "chatgpt-platform"))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with tls_upstream(authority, tmp_path) as upstream:
        settings = tmp_path / "config" / "chatgpt.yaml"
        given = {
            "BASE_URL": f"{upstream.url}/v1", "API_KEY": "placeholder",
            "SSL_CERT_FILE": str(tmp_path / "authority.pem"),
        }  # fmt: skip
        with served(program_file, unpacked, environment=given) as program:
            (copy,) = unpacked.iterdir()
            wait_until(lambda: "yaml/_yaml" in Path(f"/proc/{child_of(program)}/maps").read_text("utf-8"))
            shutil.rmtree(copy)
            (tmp_path / "newer").write_bytes(b"x" * program_file.stat().st_size)
            (tmp_path / "newer").rename(program_file)
            _ask_everything(program)
            settings.parent.mkdir()
            settings.write_text(SHARED)
            os.kill(program.process.pid, HUP)
            program.wait_for("changed: ")
            answer = requests.get(f"{program.url}/chatgpt", {"prompt": "x", "api_key": "k" * 16}, timeout=PATIENCE)
            assert answer.status_code == 429, "a budget of nothing: what a model costs is known"
            settings.write_text("nonsense: [\n")
            os.kill(program.process.pid, HUP)
            program.wait_for("reload refused: the former settings stay in force")
            _ask_everything(program)
            program.process.terminate()
            assert program.end() == 0
    assert not [
        line for line in program.lines if "Traceback" in line or ("ERROR" in line and "reload" not in line)
    ]


def _ask_everything(program: Program) -> None:
    url = program.url
    for path, body in {
        "/v1/chat/completions": CHAT,
        "/v1/completions": {"model": "gpt-4o-mini", "prompt": "x"},
        "/v1/embeddings": {"model": "text-embedding-3-small", "input": "x"},
        "/v1/responses": {"model": "gpt-4o-mini", "input": "x"},
        "/v1/moderations": {"input": "x"},
        "/api": {"prompt": "Привет, 世界"},
    }.items():
        assert requests.post(url + path, json=body, timeout=PATIENCE).status_code == 200, path
    for path in ("/v1/models", "/v1/models/gpt-4o-mini", "/healthz", "/readyz", "/chatgpt?prompt=%D0%B4%E4%B8%96"):
        assert requests.get(url + path, timeout=PATIENCE).status_code == 200, path
    form = requests.post(f"{url}/chatgpt", data={"prompt": "世界"}, timeout=PATIENCE)
    parts = requests.post(f"{url}/chatgpt", files={"prompt": (None, "世界")}, timeout=PATIENCE)
    assert (form.status_code, parts.status_code) == (200, 200)
    told = set()
    for language in ("ru", "zh-CN", "zh-TW", "en"):
        denied = requests.get(f"{url}/chatgpt", headers={"Accept-Language": language}, timeout=PATIENCE)
        assert denied.status_code == 400
        told.add(denied.json()["data"]["response"])
    assert len(told) == 4, "each in its own language"
    for method, path, status in (("GET", "/nowhere", 404), ("PUT", "/chatgpt", 405), ("POST", "/api", 415)):
        answer = requests.request(method, url + path, data=b"x", headers={"Content-Type": "a/b"}, timeout=PATIENCE)
        assert answer.status_code == status
    with stream(program) as lines:
        assert b"data: [DONE]" in lines
    streamed = requests.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": True}, timeout=PATIENCE)
    assert streamed.text.rstrip().endswith("[DONE]")


# --- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_its_processes_is_one(executable: Path, unpacked: Path, number: signal.Signals) -> None:
    """From a terminal, pkill, a supervisor: both processes get it, and the launcher hands its own on."""
    with served(executable, unpacked, "--demo", environment={"CHATGPT_STATE__DIRECTORY": "state"}) as program:
        service = child_of(program)
        with stream(program) as lines:
            for pid in (service, program.process.pid):
                os.kill(pid, number)
            assert b"data: [DONE]" in lines, "the stream under way was cut"
        assert program.end() == 0
    assert sum("stopping:" in line for line in program.lines) == 1


@pytest.mark.parametrize("state", ["", "state"], ids=["without state", "with state"])
def test_a_reload_for_all_its_processes_is_one(executable: Path, unpacked: Path, state: str) -> None:
    """The ledger has a thread of its own, which must not take the signal."""
    with served(executable, unpacked, "--demo", environment={"CHATGPT_STATE__DIRECTORY": state}) as program:
        for pid in (child_of(program), program.process.pid):
            os.kill(pid, HUP)
        program.wait_for("read again")
        program.process.terminate()
        assert program.end() == 0
    assert sum("read again" in line for line in program.lines) == 1


@pytest.mark.parametrize("to_service", [False, True])
def test_a_second_signal_ends_at_once(executable: Path, unpacked: Path, *, to_service: bool) -> None:
    with served(executable, unpacked, "--demo") as program:
        pid = child_of(program) if to_service else program.process.pid
        with stream(program):
            os.kill(pid, signal.SIGTERM)
            program.wait_for("stopping:")
            os.kill(pid, signal.SIGTERM)
            assert program.end() == 1
    assert list(unpacked.iterdir()) == []


# --- temporary directories that fail it


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fails(executable: Path, folder: Path, *before: str) -> str:
    """What it complains of; it must not serve, nor hang."""
    done = subprocess.run(
        [*before, str(executable), "version"],
        env=environment_of({"TMPDIR": str(folder)}), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode not in (0, None)
    assert done.stdout == ""
    return done.stderr


def is_explained(said: str, words: str) -> None:
    """The loader's own words stand in the README, where users search for them."""
    assert words in said
    assert words in README


@root_only
def test_a_temporary_directory_that_is_full(executable: Path, unpacked: Path) -> None:
    with mounted(unpacked, "size=1m"):
        is_explained(fails(executable, unpacked), "No space left on device")
        # The launcher leaves what it had unpacked until then; the next one that starts clears it.
        subprocess.run(["mount", "-o", "remount,size=100m", str(unpacked)], check=True)
        (rest,) = unpacked.iterdir()
        with served(executable, unpacked, "--demo") as program:
            assert not rest.exists()
            program.process.terminate()
            assert program.end() == 0  # killed, it would leave a child that ends a moment later than its output


@root_only
def test_a_temporary_directory_that_forbids_programs(executable: Path, unpacked: Path) -> None:
    with mounted(unpacked, "noexec"):
        is_explained(fails(executable, unpacked), "failed to map segment from shared object")
        assert list(unpacked.iterdir()) == []


@root_only
def test_no_temporary_directory_at_all(executable: Path, unpacked: Path) -> None:
    """In a mount namespace of its own, in which the usual places are gone as well."""
    # The executable may lie in one of them: it gets another name first.
    script = (
        'mount --bind "$1" /bin/true; shift;'
        'for d in /tmp /var/tmp; do mount -t tmpfs -o ro,size=0 none $d; done; exec /bin/true "$@"'
    )
    alone = ("unshare", "--mount", "setpriv", "--bounding-set=-dac_override", "sh", "-c", script, "sh")
    is_explained(fails(executable, Path("/nowhere"), *alone), "Could not create temporary directory!")


def test_another_place_is_taken_where_tmpdir_is_missing(executable: Path, tmp_path: Path) -> None:
    with served(executable, tmp_path / "missing", "--demo") as program:
        assert requests.get(f"{program.url}/readyz", timeout=PATIENCE).status_code == 200
