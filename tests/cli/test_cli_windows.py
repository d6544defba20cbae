"""The program as on Windows: without what POSIX alone has, on a proactor, under a service manager.

Another platform can show it only with stand-ins; the release workflow runs the real thing, tests/packaging.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from chatgpt_platform.cli import life
from chatgpt_platform.cli.unpacked import Copy
from chatgpt_platform.simulator.server import Behaviour, Simulator
from support.background import Background
from support.gateway import wait_until
from support.program import PATIENCE, ROOT, Program, Reader, environment_of, run, serving
from support.windows import SIGBREAK

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="takes away what Windows does not have")
WINDOWS: Final = (sys.executable, str(ROOT / "tests" / "support" / "windows.py"))


@pytest.mark.parametrize(
    "call", ["os.getuid()", "import fcntl", "signal.SIGHUP", "loop.add_reader(0, print)", "socket.AF_UNIX"]
)
def test_the_stand_in_lacks_what_windows_lacks(call: str) -> None:
    code = (
        "import asyncio, os, signal, socket; from support.windows import take_posix_away; take_posix_away()\n"
        "with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:\n"
        f" loop = runner.get_loop(); print('here'); {call}"
    )
    environment = environment_of({"PYTHONPATH": str(ROOT / "tests")})
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "here\n"
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith(("AttributeError", "ModuleNotFoundError", "NotImplementedError"))


@pytest.mark.parametrize(
    "wish", [signal.SIGINT, signal.SIGTERM, SIGBREAK], ids=["Ctrl-C", "SIGTERM", "Ctrl-Break"]
)
def test_it_serves_and_drains(tmp_path: Path, wish: int) -> None:
    with serving("--demo", directory=tmp_path, command=WINDOWS) as program:
        assert requests.get(program.url + "/chatgpt", params={"prompt": "Hello"}).json()["code"] == 200
        reader = Reader(program.url)
        program.process.send_signal(wish)
        program.wait_for("stopping")
        assert requests.get(program.url + "/readyz").status_code == 503
        assert reader.whole()
        assert program.end() == 0
        assert "stopped" in program.lines[-1]


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    with serving("--demo", directory=tmp_path, command=WINDOWS) as program:
        Reader(program.url)
        program.process.send_signal(signal.SIGINT)
        program.wait_for("stopping")
        program.process.send_signal(SIGBREAK)
        assert program.end() == 1


def test_large_bodies_pass_both_ways(tmp_path: Path) -> None:
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "word " * 100_000}]}
    with Background() as background:
        simulator = Simulator(Behaviour(tokens=100_000))

        async def listen() -> int:
            return simulator.listen()

        upstream = {"BASE_URL": f"http://127.0.0.1:{background.run(listen())}/v1", "API_KEY": "test-key-1"}
        try:
            with serving(directory=tmp_path, environment=upstream, command=WINDOWS) as program:
                for stream in (False, True):
                    answer = requests.post(
                        program.url + "/v1/chat/completions", json={**asked, "stream": stream}, timeout=PATIENCE
                    )
                    assert answer.status_code == 200
                    assert len(answer.content) > 200_000
        finally:
            background.run(simulator.stop())


def test_clients_that_reset_leave_no_trace_and_no_socket(tmp_path: Path) -> None:
    with serving("--demo", directory=tmp_path, command=WINDOWS) as program:
        for _ in range(20):
            client = socket.create_connection(("127.0.0.1", program.port))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        open_files = Path(f"/proc/{program.process.pid}/fd")
        if open_files.exists():
            wait_until(lambda: sum(each.is_symlink() for each in open_files.iterdir()) < 25)
        program.process.send_signal(signal.SIGINT)
        assert program.end() == 0
        assert [line for line in program.lines if "ERROR" in line or "Traceback" in line] == []


def test_faults_of_other_kinds_are_still_told() -> None:
    told: list[dict[str, Any]] = []

    class Loop:
        def default_exception_handler(self, context: dict[str, Any]) -> None:
            told.append(context)

    for context in (
        {"message": "Exception in callback T._call_connection_lost(None)", "exception": ValueError()},
        {"message": "Exception in callback other()", "exception": OSError()},
        {"message": "Task was destroyed"},
    ):
        life.let_go(Loop(), context)  # type: ignore[arg-type] # all that is asked of it
        assert told[-1] is context


def test_logs_rotate(tmp_path: Path) -> None:
    environment = {
        "CHATGPT_LOGGING__DIRECTORY": "logs",
        "CHATGPT_LOGGING__ROTATE__SIZE": "1KiB",
        "CHATGPT_LOGGING__ROTATE__KEEP": "2",
    }
    with serving("--demo", directory=tmp_path, environment=environment, command=WINDOWS) as program:

        def rotated() -> bool:
            requests.get(program.url + "/healthz")
            return (tmp_path / "logs" / "access.log.2").exists()

        wait_until(rotated)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["version"], 0, "chatgpt-platform "),
        (["check"], 0, "server.port"),
        (["init"], 0, "is written"),
        (["healthcheck", "--url", "http://127.0.0.1:9"], 1, "does not answer"),
        (["ask", "--url", "http://127.0.0.1:9", "Hello"], 1, "cannot be reached"),
        (["simulate", "--fail", "help"], 0, "key is refused"),
        (["serve", "--port", "x"], 2, "--port"),
    ],
)
def test_each_command_runs(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = run(*arguments, directory=tmp_path, command=WINDOWS)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_simulator_runs(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*WINDOWS, "simulate", "--port", "0"],
        cwd=tmp_path, env=environment_of({}), stdout=subprocess.PIPE, encoding="utf-8",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert "Simulating" in process.stdout.readline()
        process.send_signal(SIGBREAK)
        assert process.wait(PATIENCE) == 0


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", "--demo", "--host", "127.0.0.1", "--port", port, directory=tmp_path, command=WINDOWS)
    assert done.returncode == 1
    assert done.stderr.startswith(f"port {port} is in use")
    assert len(done.stderr.splitlines()) == 1


def test_the_system_s_configuration_lies_in_program_data(tmp_path: Path) -> None:
    # A folder and a name with a backslash between them are one name here.
    (tmp_path / r"chatgpt-platform\chatgpt.yaml").write_text("server: {port: 5123}\n", "utf-8")
    done = run("check", directory=tmp_path, environment={"PROGRAMDATA": str(tmp_path)}, command=WINDOWS)
    assert "5123" in done.stdout
    assert run("check", directory=tmp_path, command=WINDOWS).stdout.splitlines()[0] == "configuration file: none"


# The service.


@contextmanager
def service(*arguments: str, directory: Path, environment: dict[str, str] | None = None) -> Iterator[Program]:
    started = ("--service", "--demo", *arguments)
    with serving(*started, directory=directory, environment=environment, command=WINDOWS) as program:
        assert reported(program, "running")["accepts"] == 1 | 4 | 8 | 256
        yield program


def reported(program: Program, state: str) -> dict[str, Any]:
    """The next status that the manager hears with this state."""
    line = program.wait_for(f'"state": "{state}"')
    found: dict[str, Any] = json.loads(line.removeprefix("scm "))
    return found


def control(program: Program, name: str) -> int:
    assert program.process.stdin is not None
    program.process.stdin.write(name + "\n")
    program.process.stdin.flush()
    answer: int = json.loads(program.wait_for('"control"').removeprefix("scm "))["answer"]
    return answer


def states(program: Program) -> list[str]:
    told = [json.loads(line.removeprefix("scm ")) for line in program.lines if line.startswith("scm ")]
    return [each["state"] for each in told if "state" in each]


def turned_away(program: Program) -> bool:
    try:
        return requests.get(program.url + "/readyz", timeout=PATIENCE).status_code == 503
    except requests.ConnectionError:  # it came just before the drain, and was closed as idle
        return False


@pytest.mark.parametrize("wish", ["STOP", "SHUTDOWN", "PRESHUTDOWN"])
def test_a_service_drains(tmp_path: Path, wish: str) -> None:
    drain = {"CHATGPT_SERVER__TIMEOUTS__DRAIN": "20s"}
    with service(directory=tmp_path, environment=drain) as program:
        reader = Reader(program.url)
        assert program.process.stdin is not None
        program.process.stdin.write(wish + "\n")
        program.process.stdin.flush()
        first, second = reported(program, "stop pending"), reported(program, "stop pending")
        assert first["checkpoint"] < second["checkpoint"]
        assert second["wait"] >= 20_000, "the manager waits for the drain"
        wait_until(lambda: turned_away(program))
        assert reader.whole()
        assert reported(program, "stopped")["error"] == 0
        assert program.end() == 0
        assert states(program)[:2] == ["start pending"] * 2
        assert states(program)[-1] == "stopped"


def test_a_service_reloads_and_answers_its_manager(tmp_path: Path) -> None:
    config = tmp_path / "here" / "chatgpt.yaml"
    config.parent.mkdir()
    config.write_text("limits: {day: 2}\n", "utf-8")
    with service("--config", str(config), directory=tmp_path) as program:
        config.write_text("limits: {day: 9}\nlogging: {directory: logs}\n", "utf-8")
        assert control(program, "PARAMCHANGE") == 0
        wait_until((config.parent / "logs" / "app.log").exists)  # relative paths start beside the file
        assert control(program, "INTERROGATE") == 0
        assert control(program, "PAUSE") == 120
        assert states(program)[-1] == "running"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--port", "x"], "--port"), (["--config", "missing.yaml"], "missing.yaml"), (["--port", "TAKEN"], "in use")],
)
def test_a_service_that_cannot_start_says_why_and_is_tried_again(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = [port if each == "TAKEN" else each for each in arguments]
        done = run(
            "serve", "--service", "--demo", "--host", "127.0.0.1", *given, directory=tmp_path, command=WINDOWS
        )
    assert done.returncode != 0
    told = [json.loads(line.removeprefix("scm ")) for line in done.stdout.splitlines() if line.startswith("scm ")]
    logged = [each["log"] for each in told if "log" in each]
    assert said in logged[0]
    assert "exit code" in logged[-1]
    assert told[-1]["state"] == "stopped"
    assert told[-1]["error"] != 0, "recovery actions are taken for errors alone"
    assert "running" not in [each.get("state") for each in told]


def test_a_service_without_its_manager_is_one_line(tmp_path: Path) -> None:
    done = run("serve", "--service", directory=tmp_path, environment={"NO_MANAGER": "1"}, command=WINDOWS)
    assert done.returncode == 2
    assert "leave --service out" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_there_is_no_service_elsewhere(tmp_path: Path) -> None:
    done = run("serve", "--service", directory=tmp_path)
    assert done.returncode == 2
    assert "--service" in done.stderr


def test_it_ends_with_its_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    waited: list[object] = []

    def open_process(access: int, inherit: bool, number: int) -> str:
        waited.append((access, number))
        return "launcher"

    for name, module in {
        "pywintypes": types.SimpleNamespace(error=OSError),
        "win32api": types.SimpleNamespace(OpenProcess=open_process),
        "win32event": types.SimpleNamespace(INFINITE=-1, WaitForSingleObject=lambda *_: ended.wait(PATIENCE)),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "platform", "win32")

    async def follow() -> life.Stop:
        stop = life.Stop()
        Copy(Path("/tmp/_internal")).on_orphaned(asyncio.get_running_loop(), stop)
        assert waited == [], "no launcher"
        Copy(Path("/tmp/_MEI0000abcdXYZ")).on_orphaned(asyncio.get_running_loop(), stop)
        assert len(waited) == 1
        ended.set()
        await stop.at_once.wait()
        return stop

    with Background() as background:
        assert background.run(follow()).wanted.is_set()
