"""The life of the program: start, drain, reload, a second signal, a port in use, its logs, its secrets."""

from __future__ import annotations

import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import requests

from chatgpt_platform.simulator.server import Behaviour, Simulator
from support.background import Background
from support.gateway import wait_until
from support.program import ROOT, Reader, environment_of, run, serving

SIGHUP: Final = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none, and runs no test that sends it
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
STOPPED = "cut off: the gateway stopped"
STREAM = {
    "model": "gpt-4o-mini",
    "stream": True,
    "messages": [{"role": "user", "content": "a b c d e f g h " * 20}],
}


@contextmanager
def endless() -> Iterator[dict[str, str]]:
    """The environment of a gateway whose upstream streams for minutes."""
    with Background() as background:
        simulator = Simulator(Behaviour(interval=0.05, tokens=10_000))

        async def listen() -> int:
            return simulator.listen()

        port = background.run(listen())
        try:
            yield {"BASE_URL": f"http://127.0.0.1:{port}/v1", "API_KEY": "test-key-1"}
        finally:
            background.run(simulator.stop())


def test_it_serves_and_stops(tmp_path: Path) -> None:
    with serving("--demo", directory=tmp_path) as program:
        assert requests.get(program.url + "/chatgpt", params={"prompt": "Hello"}).json()["code"] == 200
        program.process.terminate()
        if sys.platform != "win32":
            assert program.end() == 0
            assert "stopped" in program.lines[-1]


def test_neither_openai_nor_pydantic_is_imported_on_the_way_to_serve() -> None:
    code = (
        "import sys; import chatgpt_platform.cli.main; "
        "print([name for name in ('openai', 'pydantic', 'httpx2') if name in sys.modules])"
    )
    asked = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "[]"


@posix
def test_a_drain_lets_streams_finish_and_refuses_new_calls(tmp_path: Path) -> None:
    with serving("--demo", directory=tmp_path) as program, requests.Session() as idle:
        assert idle.get(program.url + "/readyz").status_code == 200
        reader = Reader(program.url)
        program.process.send_signal(signal.SIGTERM)
        program.wait_for("stopping")
        ready = requests.get(program.url + "/readyz")
        assert ready.status_code == 503
        assert ready.headers["connection"].lower() == "close"
        refused = requests.get(program.url + "/chatgpt", params={"prompt": "x"})
        assert refused.status_code == 503
        assert refused.json()["code"] == 503
        assert refused.headers["connection"].lower() == "close"
        assert requests.get(program.url + "/healthz").status_code == 200
        assert reader.whole()
        assert program.end() == 0


@posix
def test_a_drain_ends_at_its_timeout(tmp_path: Path) -> None:
    drain = {"CHATGPT_SERVER__TIMEOUTS__DRAIN": "200ms"}
    with endless() as upstream, serving(directory=tmp_path, environment={**upstream, **drain}) as program:
        with requests.post(program.url + "/v1/chat/completions", json=STREAM, stream=True) as answer:
            pieces = answer.iter_content(None)
            next(pieces)
            program.process.send_signal(signal.SIGINT)
            assert program.end() == 0
        assert any("1 calls were still under way" in line for line in program.lines)
        access = [json.loads(line) for line in program.lines if line.startswith("{")]
        assert [(record["status"], record["error"]) for record in access] == [
            (499, "cut off: the gateway stopped")
        ]


@posix
def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with (
        endless() as upstream,
        serving(directory=tmp_path, environment=upstream) as program,
        requests.post(program.url + "/v1/chat/completions", json=STREAM, stream=True) as answer,
    ):
        pieces = answer.iter_content(None)
        next(pieces)
        program.process.send_signal(signal.SIGTERM)
        program.wait_for("stopping")
        program.process.send_signal(signal.SIGTERM)
        assert program.end() == 1


@posix
def test_reload_takes_new_settings_and_refuses_bad_ones(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("limits: {day: 2}\n", "utf-8")
    with serving("--demo", "--config", str(config), directory=tmp_path) as program:

        def ask(path: str = "/chatgpt") -> requests.Response:
            return requests.get(program.url + path, params={"prompt": "x"})

        assert ask().headers["ratelimit"].startswith('"day";r=1;')
        config.write_text("limits: {day: 10}\nserver: {route: talk, port: 5001}\n", "utf-8")
        program.process.send_signal(SIGHUP)
        program.wait_for("read again")
        assert any("server.port" in line and "restart" in line for line in program.lines) is False, "--port wins"
        assert ask("/talk").headers["ratelimit"].startswith('"day";r=8;'), "what was used stays used"
        config.write_text("limits: {day: many}\nunknown: 1\n", "utf-8")
        program.process.send_signal(SIGHUP)
        program.wait_for("former settings stay")
        assert any("c.yaml:1: limits.day" in line for line in program.lines)
        assert any("c.yaml:2" in line and "unknown" in line for line in program.lines)
        assert ask("/talk").status_code == 200
        config.write_text("server: {timeouts: {idle: 9s}}\n", "utf-8")
        program.process.send_signal(SIGHUP)
        program.wait_for("server.timeouts.idle")
        assert not any("restart" in line for line in program.lines), "timeouts need none"
        assert ask("/talk").status_code == 404


@posix
def test_a_virtual_key_that_came_with_a_reload_is_hidden_from_then_on(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("", "utf-8")
    with serving("--demo", "--config", str(config), directory=tmp_path) as program:
        requests.get(f"{program.url}/test-virtual-1234")
        program.wait_for("test-virtual-1234")
        config.write_text("keys: [{name: alice, key: test-virtual-1234}]\n", "utf-8")
        program.process.send_signal(SIGHUP)
        assert "changed: keys[0]" in program.wait_for("read again")
        before = len(program.lines)
        requests.get(f"{program.url}/test-virtual-1234")
        program.wait_for("/***")
        assert not any("test-virtual" in line for line in program.lines[before:])


@posix
def test_no_request_fails_while_settings_are_reloaded(tmp_path: Path) -> None:
    with serving("--demo", directory=tmp_path) as program:
        codes: list[int] = []

        def load() -> None:
            with requests.Session() as session:
                codes.extend(
                    session.get(program.url + "/chatgpt", params={"prompt": "x y z"}).status_code
                    for _ in range(10)
                )

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            program.process.send_signal(SIGHUP)
            program.wait_for("read again")
        for thread in threads:
            thread.join(30)
        assert codes == [200] * 40


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", "--demo", "--host", "127.0.0.1", "--port", port, directory=tmp_path)
    assert done.returncode == 1
    assert port in done.stderr
    assert "--port" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "parts"),
    [
        (["serve", "--port", "x"], {}, ["--port", "x"]),
        (["serve", "--config", "missing.yaml"], {}, ["missing.yaml"]),
        (["serve"], {"HOUR_LIMIT": "fifty"}, ["HOUR_LIMIT", "fifty"]),
        (["nonsense"], {}, ["nonsense"]),
        ([], {}, ["COMMAND"]),
        (["check"], {"CHATGPT_SERVER__PROT": "1"}, ["CHATGPT_SERVER__PROT"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], parts: list[str]
) -> None:
    done = run(*arguments, directory=tmp_path, environment=environment)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert all(part in done.stderr for part in parts)
    assert done.stdout == ""


def test_a_variable_that_looks_like_a_setting_is_told_of(tmp_path: Path) -> None:
    for name, meant in (
        ("CHATGPT_LIMITS_MINUTE", "CHATGPT_LIMITS__MINUTE"),
        ("CHATGPT_MINUTE_LIMIT", "MINUTE_LIMIT"),
    ):
        checked = run("check", directory=tmp_path, environment={name: "3", "CHATGPT_SERVICE_HOST": "10.0.0.1"})
        assert checked.returncode == 0
        assert checked.stderr == f"{name} is not a setting and is ignored; did you mean {meant}?\n"
        with serving("--demo", directory=tmp_path, environment={name: "3"}) as program:
            assert meant in program.wait_for("is ignored")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(["--url", "foo", "hi"], "foo"), (["--url", "http://[", "hi"], "http://["), (["--key", "ключ", "hi"], "key")],
)
def test_wrong_options_of_ask_are_one_line(tmp_path: Path, arguments: list[str], part: str) -> None:
    done = run("ask", *arguments, directory=tmp_path)
    assert done.returncode == 2
    assert part in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "ключ" not in done.stderr


def test_ask_at_something_that_is_no_gateway(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for extra in ([], ["--stream"]):
            url = f"http://127.0.0.1:{server.server_address[1]}"
            done = run("ask", "--url", url, *extra, "hi", directory=tmp_path)
            assert done.returncode == 1
            assert len(done.stderr.splitlines()) == 1
        server.shutdown()


class Page(http.server.BaseHTTPRequestHandler):
    """A web page where a gateway should be."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, *_: object) -> None:
        pass


def test_an_open_key_is_warned_of_in_one_line(tmp_path: Path) -> None:
    environment = environment_of({"API_KEY": "test-key-1", "BASE_URL": "http://127.0.0.1:9/v1"})
    for extra, warned in (
        ({}, True),
        ({"CHATGPT_ACCESS__ALLOW": "10.0.0.0/8"}, False),
        ({"CHATGPT_SERVER__HOST": "127.0.0.1"}, False),
    ):
        command = [sys.executable, "-m", "chatgpt_platform", "serve", "--port", "0"]
        with subprocess.Popen(
            command, cwd=tmp_path, env={**environment, **extra}, stdout=subprocess.PIPE, encoding="utf-8"
        ) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            process.terminate()
            rest = process.stdout.read()
        assert "serves http://" in first
        assert ("access.allow" in rest) is warned
        assert "test-key-1" not in first + rest


def test_logs_go_to_files_and_hold_no_key(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    environment = {"CHATGPT_LOGGING__DIRECTORY": str(logs), "API_KEY": "test-key-1", "MINUTE_LIMIT": "2"}
    with serving("--demo", directory=tmp_path, environment=environment) as program:
        headers = {"ApiKey": "test-key-invalid-0123456789"}
        requests.get(
            program.url + "/chatgpt", params={"prompt": "x", "api_key": "test-key-wrong-987"}, headers=headers
        )
        for _ in range(3):
            requests.get(program.url + "/chatgpt/sk-abcdefghijklmnop", headers=headers)
        wait_until(lambda: len((logs / "access.log").read_text("utf-8").splitlines()) == 4)
        (logs / "access.log").replace(logs / "moved.log")
        requests.get(program.url + "/healthz")
        wait_until(lambda: (logs / "access.log").exists() and bool((logs / "access.log").read_text("utf-8")))
        written = "".join(path.read_text("utf-8") for path in logs.iterdir()) + "\n".join(program.lines)
    assert "serves http://" in written
    for secret in ("test-key-invalid", "test-key-wrong", "test-key-1", "abcdefghijklmnop"):
        assert secret not in written


def test_a_log_directory_that_cannot_be_made_is_one_warning(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", "utf-8")
    environment = {"CHATGPT_LOGGING__DIRECTORY": str(blocked / "logs")}
    with serving("--demo", directory=tmp_path, environment=environment) as program:
        requests.get(program.url + "/healthz")
        program.wait_for('"path":"/healthz"')
        warnings = [line for line in program.lines if "WARNING" in line]
        assert len(warnings) == 1
        assert "logging.directory" in warnings[0]


def test_healthcheck(tmp_path: Path) -> None:
    with serving("--demo", directory=tmp_path) as program:
        assert run("healthcheck", "--url", program.url, directory=tmp_path).returncode == 0
        by_port = run(
            "healthcheck",
            directory=tmp_path,
            environment={"PORT": str(program.port), "HTTP_PROXY": "http://127.0.0.1:9"},
        )
        assert (by_port.returncode, by_port.stderr) == (0, "")
    down = run("healthcheck", "--url", program.url, directory=tmp_path)
    assert down.returncode == 1
    assert len(down.stderr.splitlines()) == 1


@linux
def test_the_end_of_file_descriptors_is_survived_without_spinning(tmp_path: Path) -> None:
    few = ("sh", "-c", 'ulimit -n 48; exec "$@"', "sh", sys.executable, "-m", "chatgpt_platform")
    with serving("--demo", directory=tmp_path, command=few) as program:
        crowd = [socket.create_connection(("127.0.0.1", program.port)) for _ in range(60)]
        program.wait_for("open files")
        before = cpu_seconds(program.process.pid)
        time.sleep(1)
        assert cpu_seconds(program.process.pid) - before < 0.5
        for each in crowd:
            each.close()
        assert requests.get(program.url + "/chatgpt", params={"prompt": "x"}, timeout=20).status_code == 200
        assert sum("open files" in line for line in program.lines) == 1


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100  # ticks a second in /proc, whatever the kernel's own


def test_version(tmp_path: Path) -> None:
    from chatgpt_platform import __version__

    done = run("version", directory=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == f"chatgpt-platform {__version__}"
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["Python", "platform", "commit"]


def test_ask_and_chat(tmp_path: Path) -> None:
    with serving("--demo", directory=tmp_path, environment={"DAY_LIMIT": "5"}) as program:
        plain = run("ask", "--url", program.url, "Hello", directory=tmp_path)
        streamed = run("ask", "--url", program.url, "--stream", "Hello", directory=tmp_path)
        assert plain.returncode == 0
        assert "Hello" in plain.stdout
        assert streamed.stdout == plain.stdout
        said = run("chat", "--url", program.url, directory=tmp_path, text="one\n\ntwo\nexit\nthree\n")
        assert said.returncode == 0
        assert len(said.stdout.splitlines()) == 2
        last = run("ask", "--url", program.url, "Hello", directory=tmp_path)
        denied = run("ask", "--url", program.url, "Hello", directory=tmp_path)
        assert (last.returncode, denied.returncode) == (0, 1)
        assert denied.stderr.startswith("429: ")
        assert len(denied.stderr.splitlines()) == 1
    gone = run("ask", "--url", program.url, "Hello", directory=tmp_path)
    assert gone.returncode == 1
    assert len(gone.stderr.splitlines()) == 1
    assert run("ask", " ", directory=tmp_path).returncode == 2
