"""``check``: what is in force, and whether the upstream knows the key."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from chatgpt_platform.cli.main import main

KEY = "test-key-1"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def upstream(status: int, body: str, **headers: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An upstream that gives one answer to all; yields its base_url and the headers of each request."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({"path": self.path, **{name.lower(): text for name, text in self.headers.items()}})
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.send_header("content-length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in http.server
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), name="upstream")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_it_prints_every_value_with_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("server:\n  port: 8080\n")
    assert main(["check", "--config", "mine.yaml"], {"API_KEY": KEY, "HOUR_LIMIT": "50"}) == 0
    captured = capsys.readouterr()
    lines = [" ".join(line.split()) for line in captured.out.splitlines()]
    assert lines[0] == "configuration file: mine.yaml"
    for line in (
        "server.port = 8080 (mine.yaml:2)",
        "limits.hour = 50 (environment variable HOUR_LIMIT)",
        "upstreams[0].api_keys = [***] (environment variable API_KEY)",
        "limits.day = 0 (default)",
    ):
        assert line in lines
    assert KEY not in captured.out + captured.err


def test_no_file_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"], {}) == 0
    assert capsys.readouterr().out.startswith("configuration file: none\n")


def test_problems_are_a_line_each_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "none.yaml"], {"HOUR_LIMIT": "fifty"}) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "none.yaml: no such file, expected the one that --config names",
        'HOUR_LIMIT: found "fifty", expected a whole number, 0 or more',
    ]


def test_online_lists_the_models(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-sdk")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    body = json.dumps({"object": "list", "data": [{"id": f"model-{n}\x1b"} for n in range(7)]})
    with upstream(200, body) as (url, seen):
        assert main(["check", "--online"], {"API_KEY": KEY, "BASE_URL": url}) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(rf"{url}: 7 models: model-0\u001b, model-1\u001b")
    assert last.endswith(", ...")
    assert [each["path"] for each in seen] == ["/v1/models"]
    assert seen[0]["authorization"] == f"Bearer {KEY}"
    assert "openai-organization" not in seen[0]


def test_online_with_no_models(capsys: pytest.CaptureFixture[str]) -> None:
    with upstream(200, '{"data": []}') as (url, _):
        assert main(["check", "--online"], {"API_KEY": KEY, "BASE_URL": url}) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{url}: no models"


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (
            401,
            json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}),
            "401: the key was refused",
        ),
        (404, f"<html>{KEY}</html>", "404: there is no such path; is base_url right?"),
        (429, json.dumps({"error": KEY}), "429: too many requests"),
        (500, KEY, "500: no list of models"),
        (302, KEY, "302: no list of models"),
        (200, f"<html>{KEY}</html>", "no list of models; is base_url right?"),
        (200, json.dumps({"data": KEY}), "no list of models; is base_url right?"),
        (200, json.dumps([KEY]), "no list of models; is base_url right?"),
        (200, "[" * 100_000, "no list of models; is base_url right?"),
    ],
)
def test_online_failures_are_one_line_without_the_key(
    capsys: pytest.CaptureFixture[str], status: int, body: str, says: str
) -> None:
    with upstream(status, body, Location="http://127.0.0.1:1/") as (url, seen):
        assert main(["check", "--online"], {"API_KEY": KEY, "BASE_URL": url}) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith(f"{url}: ")
    assert says in line
    assert KEY not in captured.out + captured.err
    assert len(seen) == 1


def test_online_a_listed_key_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    with upstream(200, json.dumps({"data": [{"id": KEY}]})) as (url, _):
        assert main(["check", "--online"], {"API_KEY": KEY, "BASE_URL": url}) == 0
    assert KEY not in capsys.readouterr().out


def test_online_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert main(["check", "--online"], {"API_KEY": KEY, "BASE_URL": f"http://127.0.0.1:{port}/v1"}) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"http://127.0.0.1:{port}/v1: cannot be reached: ")


def test_online_needs_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--online"], {}) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no key is configured" in line
