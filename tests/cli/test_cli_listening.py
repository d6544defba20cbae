"""Where `serve` listens: the port for /metrics beside the gateway's own, what is said where one cannot be had."""

from __future__ import annotations

import errno
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import requests

import processes
from chatgpt_platform.cli import listening
from support.program import PATIENCE, ROOT, Program, Reader, run, serving
from support.scraped import Scraped

SIGHUP: Final = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none, and runs no test that sends it
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
PORT: Final = "CHATGPT_METRICS__PORT"


@contextmanager
def measured(directory: Path, **environment: str) -> Iterator[tuple[Program, str]]:
    """A gateway with a port for its metrics, and their URL."""
    port = str(processes.free_port())
    with serving("--demo", directory=directory, environment={PORT: port, **environment}) as program:
        url = f"http://127.0.0.1:{port}/metrics"
        assert url in program.wait_for("metrics are at")
        yield program, url


def get(url: str) -> requests.Response:
    return requests.get(url, timeout=PATIENCE)


def test_the_metrics_have_a_port_of_their_own(tmp_path: Path) -> None:
    with measured(tmp_path) as (program, url):
        assert get(f"{program.url}/chatgpt?prompt=x").status_code == 200
        told = Scraped(get(url).text)
        assert told.value("chatgpt_calls_total", endpoint="chatgpt", status="200") == 1
        assert told.value("chatgpt_calls_under_way") == 0
        assert get(f"{program.url}/metrics").status_code == 404, "at the gateway's own"
        assert requests.head(url, timeout=PATIENCE).status_code == 200
        refused = requests.post(url, data=b"x" * 100_000, timeout=PATIENCE)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/chatgpt?prompt=x", "/healthz", "/v1/models", "/v1/models/x", "/metrics/"])
def test_nothing_else_is_at_that_port(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    with measured(tmp_path_factory.mktemp("run")) as (_, url):
        answer = get(url.replace("/metrics", path))
        assert (answer.status_code, answer.json()["code"]) == (404, 404)
        answer = requests.post(url.replace("/metrics", path), json={}, timeout=PATIENCE)
        assert answer.status_code == 404


def test_who_may_call_and_how_often_does_not_matter_there(tmp_path: Path) -> None:
    with measured(tmp_path, CHATGPT_ACCESS__DENY="127.0.0.1", DAY_LIMIT="1") as (program, url):
        assert get(f"{program.url}/chatgpt?prompt=x").status_code == 403
        assert [get(url).status_code for _ in range(3)] == [200] * 3


def test_what_is_no_http_and_what_dribbles_ends_there_too(tmp_path: Path) -> None:
    with measured(tmp_path, CHATGPT_SERVER__TIMEOUTS__HEADER="100ms") as (_, url):
        port = int(url.split(":")[2].partition("/")[0])
        for sent, status in ((b"nonsense\r\n\r\n", b"400"), (b"GET /metrics HT", b"408")):
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
                client.sendall(sent)
                got = b""
                while data := client.recv(65536):
                    got += data
            assert got.startswith(b"HTTP/1.1 " + status)


@posix
def test_they_are_told_to_the_end_of_a_drain(tmp_path: Path) -> None:
    with measured(tmp_path) as (program, url):
        reader = Reader(program.url)
        program.process.terminate()
        program.wait_for("stopping")
        told = Scraped(get(url).text)
        assert told.value("chatgpt_calls_under_way") == 1
        assert reader.whole()
        assert program.end() == 0
        with pytest.raises(requests.ConnectionError):
            get(url)


@posix
def test_a_reload_keeps_the_port_and_says_what_needs_a_restart(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("server: {timeouts: {header: 9s}}\n", "utf-8")
    with measured(tmp_path, CHATGPT_CONFIG=str(config)) as (program, url):
        get(f"{program.url}/chatgpt?prompt=x")
        config.write_text("metrics: {host: 0.0.0.0, allow: [127.0.0.1]}\n", "utf-8")
        program.process.send_signal(SIGHUP)
        assert "metrics.host" in program.wait_for("restart")
        assert "metrics.allow" in program.wait_for("read again")
        for place in (url, f"{program.url}/metrics"):
            assert Scraped(get(place).text).value("chatgpt_calls_total", endpoint="chatgpt") == 1
        assert sum("restart" in line for line in program.lines) == 1


def test_a_port_for_metrics_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ("serve", "--demo", "--host", "127.0.0.1", "--port", "0")
        done = run(*arguments, directory=tmp_path, environment={PORT: port})
    assert done.returncode == 1
    expected = f"port {port} is in use: stop the other program, or choose another port (metrics.port)\n"
    assert (done.stderr, done.stdout) == (expected, "")


def test_an_address_for_metrics_that_is_not_ours_is_one_line(tmp_path: Path) -> None:
    given = {PORT: "9464", "CHATGPT_METRICS__HOST": "192.0.2.1"}
    done = run("serve", "--demo", "--host", "127.0.0.1", "--port", "0", directory=tmp_path, environment=given)
    assert done.returncode == 1
    assert re.fullmatch(
        r"cannot listen on 192\.0\.2\.1:9464: .*; check metrics\.host and metrics\.port\n", done.stderr
    )


def modules_of(directory: Path, *, wanted: bool) -> set[str]:
    """What a gateway has imported once it has settled in."""
    code = """
import asyncio, sys
from chatgpt_platform.cli import main, serve
def settled():
    print("imported", *(name for name in ("prometheus_client", "wsgiref") if name in sys.modules), flush=True)
serve._settle_in = settled
sys.exit(main.main())
"""
    given = {PORT: str(processes.free_port())} if wanted else {}
    command = (sys.executable, "-c", code)
    with serving("--demo", directory=directory, environment=given, command=command) as program:
        return set(program.wait_for("imported").split()[1:])


def test_their_library_is_imported_only_where_they_are_wanted(tmp_path: Path) -> None:
    assert modules_of(tmp_path, wanted=False) == set()
    assert modules_of(tmp_path, wanted=True) == {"prometheus_client", "wsgiref"}


def test_their_library_is_not_imported_on_the_way_to_ready() -> None:
    code = "import sys; import chatgpt_platform.cli.serve; print('prometheus_client' in sys.modules)"
    asked = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "False"


def test_each_failure_to_listen_names_its_cure() -> None:
    def failure(number: int, section: str = "server") -> str:
        return listening.failure(OSError(number, "why"), "::1", 80, section)

    assert "choose another" in failure(errno.EACCES)
    assert "(--port, PORT, server.port)" in failure(errno.EACCES)
    assert "(metrics.port)" in failure(errno.EACCES, "metrics")
    assert "(metrics.port)" in failure(errno.EADDRINUSE, "metrics")
    assert failure(errno.EADDRNOTAVAIL) == "cannot listen on ::1:80: why; check server.host and server.port"


def test_hosts() -> None:
    assert [listening.in_url(host) for host in ("::1", "127.0.0.1", "localhost")] == [
        "[::1]",
        "127.0.0.1",
        "localhost",
    ]
    loopback = ("::1", "127.0.0.1", "127.1.2.3", "localhost")
    assert all(map(listening.is_loopback, loopback))
    assert not any(map(listening.is_loopback, ("0.0.0.0", "::", "192.0.2.1", "example.org")))
