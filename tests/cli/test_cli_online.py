"""``check --online``: each key of each upstream in a line, and never the key."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import trustme

from chatgpt_platform.cli.main import main
from chatgpt_platform.settings.schema import SETTINGS
from support.tls import served

KEY = "test-key-1"
KEYS = ("test-key-1", "test-key-2", "test-key-3")
MODELS = json.dumps({"object": "list", "data": [{"id": "model-a"}]})


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def upstream(
    status: int, body: str, refused: tuple[str, ...] = (), tls: ssl.SSLContext | None = None, **headers: str
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An upstream that gives one answer to all but ``refused`` keys, which it quotes; yields its base_url and the
    headers of each request."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            request = {name.lower(): text for name, text in self.headers.items()}
            seen.append({"path": self.path, **request})
            key = request.get("api-key") or request.get("authorization", "").removeprefix("Bearer ")
            answer = json.dumps({"error": {"message": f"Incorrect API key: {key}"}}) if key in refused else body
            self.send_response(401 if key in refused else status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.send_header("content-length", str(len(answer.encode())))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in http.server
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.01,), name="upstream")
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check(
    capsys: pytest.CaptureFixture[str], *upstreams: Mapping[str, object], **environment: str
) -> tuple[int, list[str], list[str]]:
    """The exit code, what standard output has below the listing, and standard error; no key in either."""
    listed = {"CHATGPT_UPSTREAMS": json.dumps(upstreams)} if upstreams else {}
    code = main(["check", "--online"], listed | environment)
    captured = capsys.readouterr()
    assert not any(key in captured.out + captured.err for key in KEYS)
    lines = captured.out.splitlines()
    last = next(index for index, line in enumerate(lines) if line.startswith(f"{list(SETTINGS)[-1]} = "))
    return code, lines[last + 1 :], captured.err.splitlines()


def test_each_key_of_each_upstream_is_a_line_and_all_are_tried(capsys: pytest.CaptureFixture[str]) -> None:
    with upstream(200, MODELS, refused=KEYS[1:2]) as (one, seen_one), upstream(500, KEY) as (two, seen_two):
        code, said, failed = check(
            capsys,
            {"name": "one", "base_url": one, "api_keys": KEYS},
            {"name": "two", "base_url": two, "api_keys": KEYS[:1]},
            {"name": "three", "base_url": one},
            {"name": "four", "base_url": one, "api_keys": KEYS[2:]},
        )
    assert code == 1
    assert said == [
        "one, key 1: works; 1 model: model-a",
        "one, key 3: works; 1 model: model-a",
        "four, key 1: works; 1 model: model-a",
    ]
    assert failed == [
        "one, key 2: refused (401)",
        "two, key 1: answered 500, no list of models",
        "three: no key is configured (api_keys): each caller must bring one",
    ]
    assert [each["authorization"] for each in seen_one] == [f"Bearer {KEYS[n]}" for n in (0, 1, 2, 2)]
    assert len(seen_two) == 1


def test_all_that_work_is_a_success(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-sdk")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-the-sdk")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    body = json.dumps({"object": "list", "data": [{"id": f"model-{n}\x1b"} for n in range(7)]})
    with upstream(200, body) as (url, seen):
        code, (line,), failed = check(capsys, API_KEY=KEY, BASE_URL=url)
    assert (code, failed) == (0, [])
    assert line.startswith(r"openai, key 1: works; 7 models: model-0\u001b, model-1\u001b")
    assert line.endswith(", ...")
    assert [each["path"] for each in seen] == ["/v1/models"]
    assert seen[0]["authorization"] == f"Bearer {KEY}"
    assert not {"openai-organization", "openai-project"} & set(seen[0])


def test_no_models_are_fine(capsys: pytest.CaptureFixture[str]) -> None:
    with upstream(200, '{"data": []}') as (url, _):
        assert check(capsys, API_KEY=KEY, BASE_URL=url) == (0, ["openai, key 1: works; no models"], [])


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}), "refused (401)"),
        (403, json.dumps({"error": KEY}), "may not list models (403)"),
        (404, f"<html>{KEY}</html>", "there is no such path (404); is base_url right?"),
        (429, json.dumps({"error": KEY}), "too many requests, or no credit left (429)"),
        (500, KEY, "answered 500, no list of models"),
        (302, KEY, "answered 302, no list of models"),
        (200, f"<html>{KEY}</html>", "answered something that is no list of models; is base_url right?"),
        (200, json.dumps({"data": KEY}), "answered something that is no list of models; is base_url right?"),
        (200, json.dumps([KEY]), "answered something that is no list of models; is base_url right?"),
        (200, "[" * 100_000, "answered something that is no list of models; is base_url right?"),
    ],
)
def test_failures_are_one_line_without_the_key(
    capsys: pytest.CaptureFixture[str], status: int, body: str, says: str
) -> None:
    with upstream(status, body, Location="http://127.0.0.1:1/") as (url, seen):
        assert check(capsys, API_KEY=KEY, BASE_URL=url) == (1, [], [f"openai, key 1: {says}"])
    assert len(seen) == 1


def test_a_listed_secret_is_masked_whosever_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with upstream(200, json.dumps({"data": [{"id": f"{KEYS[0]}/{KEYS[1]}/{KEYS[2]}"}]})) as (url, _):
        code, said, _ = check(
            capsys,
            {"base_url": url, "api_keys": KEYS[:1]},
            {"name": "b", "base_url": url, "api_keys": KEYS[1:2], "headers": {"X-Password": KEYS[2]}},
        )
    assert (code, said[0]) == (0, "openai, key 1: works; 1 model: ***/***/***")


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    code, said, (line,) = check(capsys, API_KEY=KEY, BASE_URL=url)
    assert (code, said) == (1, [])
    assert line.startswith(f"openai, key 1: cannot be reached at {url}: [")


def test_an_upstream_without_a_key_cannot_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    line = "openai: no key is configured (api_keys): each caller must bring one"
    assert check(capsys) == (1, [], [line])


def test_azure_is_asked_as_azure(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "token-of-the-sdk")
    monkeypatch.setenv("OPENAI_API_VERSION", "version-of-the-sdk")
    with upstream(200, MODELS, refused=KEYS[1:2]) as (url, seen):
        azure = {"api": "azure", "api_version": "2024-10-21", "base_url": url.removesuffix("/v1")}
        code, said, failed = check(capsys, azure | {"api_keys": KEYS[:2]})
    assert (code, said, failed) == (
        1,
        ["openai, key 1: works; 1 model: model-a"],
        ["openai, key 2: refused (401)"],
    )
    assert [(each["path"], each["api-key"]) for each in seen] == [
        ("/openai/models?api-version=2024-10-21", key) for key in KEYS[:2]
    ]
    assert not any("authorization" in each for each in seen)


def test_headers_of_the_upstream_s_own_go_along(capsys: pytest.CaptureFixture[str]) -> None:
    headers = {"X-Team": "a b", "OpenAI-Organization": "org-1"}
    with upstream(200, MODELS) as (url, seen):
        assert check(capsys, {"base_url": url, "api_keys": KEYS[:1], "headers": headers})[0] == 0
    assert (seen[0]["x-team"], seen[0]["openai-organization"]) == ("a b", "org-1")


def test_an_authority_of_the_upstream_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    authority = trustme.CA()
    Path("ca.pem").write_bytes(authority.cert_pem.bytes())
    Path("other.pem").write_bytes(trustme.CA().cert_pem.bytes())
    with upstream(200, MODELS, tls=served(authority)) as (url, seen):
        url = url.replace("127.0.0.1", "localhost")
        code, said, (line,) = check(
            capsys,
            {"base_url": url, "api_keys": KEYS[:1], "ca_file": "ca.pem"},
            {"name": "b", "base_url": url, "api_keys": KEYS[:1], "ca_file": "other.pem"},
        )
    assert (code, said, len(seen)) == (1, ["openai, key 1: works; 1 model: model-a"], 1)
    assert line.startswith(f"b, key 1: cannot be reached at {url}: ")
    assert "certificate verify failed" in line


# --- proxies


def test_a_proxy_is_asked_with_its_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    with upstream(200, MODELS) as (proxy, seen):
        place = proxy.removeprefix("http://").removesuffix("/v1")
        through = {"base_url": "http://nowhere.invalid/v1", "api_keys": KEYS[:1]}
        code, said, _ = check(capsys, through | {"proxy": f"http://user:{KEYS[1]}@{place}"})
    assert (code, said) == (0, ["openai, key 1: works; 1 model: model-a"])
    assert seen[0]["path"] == "http://nowhere.invalid/v1/models"
    assert seen[0]["proxy-authorization"] == "Basic dXNlcjp0ZXN0LWtleS0y"


def test_a_proxy_that_refuses_is_told_from_the_upstream(capsys: pytest.CaptureFixture[str]) -> None:
    with closed_door() as place:
        through = {"base_url": "https://nowhere.invalid/v1", "api_keys": KEYS[:1]}
        code, said, failed = check(capsys, through | {"proxy": f"http://user:{KEYS[1]}@{place}"})
    line = f"openai, key 1: cannot be reached through the proxy {place}: the proxy refused (407)"
    assert (code, said, failed) == (1, [], [line])


def test_a_proxy_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    for scheme in ("http", "socks5"):
        through = {"api_keys": KEYS[:1], "proxy": f"{scheme}://user:{KEYS[1]}@{place}"}
        code, said, (line,) = check(capsys, through)
        assert (code, said) == (1, [])
        assert line.startswith(f"openai, key 1: cannot be reached through the proxy {place}: [")


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_gets_the_name_and_its_credentials(capsys: pytest.CaptureFixture[str], scheme: str) -> None:
    with upstream(200, MODELS) as (url, seen), socks(int(url.split(":")[2].split("/")[0])) as (place, asked):
        through = {"base_url": "http://nowhere.invalid/v1", "api_keys": KEYS[:1]}
        code, said, _ = check(capsys, through | {"proxy": f"{scheme}://user:{KEYS[1]}@{place}"})
    assert (code, said, len(seen)) == (0, ["openai, key 1: works; 1 model: model-a"], 1)
    assert asked == [(b"user", KEYS[1].encode(), b"nowhere.invalid")]


@contextmanager
def closed_door() -> Iterator[str]:
    """A proxy that wants other credentials, and quotes those it got; yields its place."""

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.send_response(407, f"not {KEYS[1]}")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in http.server
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), name="proxy")
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def socks(port: int) -> Iterator[tuple[str, list[tuple[bytes, bytes, bytes]]]]:
    """A SOCKS5 proxy (RFC 1928, 1929) for one connection, which goes to ``port`` here whatever was asked for;
    yields its place and the credentials and host that it was given."""
    asked: list[tuple[bytes, bytes, bytes]] = []

    def serve() -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", port)) as server, client.makefile("rb") as reader:
            client.settimeout(10)
            server.settimeout(10)
            _, methods = reader.read(2)
            assert 2 in reader.read(methods)
            client.sendall(b"\5\2")
            user = reader.read(reader.read(2)[1])
            password = reader.read(reader.read(1)[0])
            client.sendall(b"\1\0")
            assert reader.read(4) == b"\5\1\0\3", "a name"
            asked.append((user, password, reader.read(reader.read(1)[0])))
            reader.read(2)
            client.sendall(b"\5\0\0\1" + bytes(6))
            server.sendall(client.recv(65536))
            while data := server.recv(65536):
                client.sendall(data)
                if data.endswith(b"}"):
                    break

    listener = socket.create_server(("127.0.0.1", 0))
    thread = Thread(target=serve, name="socks")
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        thread.join(20)
        listener.close()
