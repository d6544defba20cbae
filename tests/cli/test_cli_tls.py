"""TLS at the command line: ``check`` and ``serve`` verify the files, ``healthcheck`` asks over TLS."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from chatgpt_platform.cli.main import main
from chatgpt_platform.settings.schema import Tls
from chatgpt_platform.settings.tls import server_context
from support.program import PATIENCE, environment_of, run, serving

AUTHORITY = trustme.CA()
MINE = AUTHORITY.issue_cert("gateway.example")
NAMES = {"CHATGPT_SERVER__TLS__CERTIFICATE": "server.pem", "CHATGPT_SERVER__TLS__KEY": "server.key"}
SIGHUP: Final = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none, and runs no test that sends it
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def _in_a_directory_with_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    issue(MINE)


def issue(leaf: trustme.LeafCert) -> None:
    Path("server.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    Path("server.key").write_bytes(leaf.private_key_pem.bytes())


# --- check and serve


def test_check_verifies_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"], NAMES) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "server.tls.key = server.key (environment variable CHATGPT_SERVER__TLS__KEY)" in lines
    Path("server.key").unlink()
    assert main(["check"], NAMES) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "server.tls.key: server.key: no such file, expected a PEM file with the certificate's private key\n"
    )


def test_serve_verifies_the_files(tmp_path: Path) -> None:
    Path("server.pem").write_bytes(AUTHORITY.cert_pem.bytes())
    for extra in ([], ["--demo"]):
        done = run("serve", "--port", "0", *extra, directory=tmp_path, environment=NAMES)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(
            "server.tls.key: server.key: does not match the first certificate in server.pem"
        )
        assert len(done.stderr.splitlines()) == 1


def test_serve_looks_at_the_authorities_of_upstreams(tmp_path: Path) -> None:
    says = (
        "upstreams[0].ca_file: none.pem: no such file, expected a PEM file with the certificates of authorities\n"
    )
    done = run(
        "serve", "--port", "0", directory=tmp_path, environment={"CHATGPT_UPSTREAMS": '[{"ca_file": "none.pem"}]'}
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", says)


@posix
def test_a_reload_with_no_authorities_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("", "utf-8")
    with serving("--config", "c.yaml", directory=tmp_path) as program:
        config.write_text("upstreams: [{}, {name: b, ca_file: server.key}]", "utf-8")
        program.process.send_signal(SIGHUP)
        assert "upstreams[1].ca_file: server.key: no -----BEGIN" in program.wait_for("reload refused")
        program.wait_for("the former settings stay in force")


def test_the_printed_address_is_that_of_tls(tmp_path: Path) -> None:
    with serving("--demo", directory=tmp_path, environment=NAMES) as program:
        assert program.url.startswith("https://")
    with serving("--demo", directory=tmp_path) as program:
        assert program.url.startswith("http://")


def test_it_serves_over_tls_and_shows_a_renewed_certificate(tmp_path: Path) -> None:
    """The same paths, other files: new connections see them after SIGHUP, and are checked as any client does."""
    first, second = AUTHORITY.issue_cert("127.0.0.1"), AUTHORITY.issue_cert("127.0.0.1")
    issue(first)
    trusted = ssl.create_default_context(cadata=AUTHORITY.cert_pem.bytes().decode())
    with serving("--demo", directory=tmp_path, environment=NAMES) as program:

        def serial() -> object:
            connection = http.client.HTTPSConnection("127.0.0.1", program.port, context=trusted, timeout=PATIENCE)
            with closing(connection):
                connection.request("GET", "/chatgpt?prompt=x")
                assert connection.getresponse().status == 200
                assert isinstance(connection.sock, ssl.SSLSocket)
                return (connection.sock.getpeercert() or {})["serialNumber"]

        before = serial()
        if hasattr(signal, "SIGHUP"):
            issue(second)
            program.process.send_signal(SIGHUP)
            program.wait_for("and the certificate were read again")
            assert serial() != before


@posix
def test_a_reload_reads_the_files_again(tmp_path: Path) -> None:
    with serving("--demo", directory=tmp_path, environment=NAMES) as program:
        issue(AUTHORITY.issue_cert("gateway.example"))
        program.process.send_signal(SIGHUP)
        program.wait_for("read again and are in force")
        Path("server.key").write_bytes(MINE.private_key_pem.bytes())
        program.process.send_signal(SIGHUP)
        assert "server.tls.key: server.key: does not match" in program.wait_for("reload refused")
        program.wait_for("the former settings stay in force")


@posix
def test_a_reload_names_the_restart_that_other_files_need(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("", "utf-8")
    with serving("--demo", "--config", "c.yaml", directory=tmp_path) as program:
        config.write_text("server: {tls: {certificate: server.pem, key: no.key}}", "utf-8")
        program.process.send_signal(SIGHUP)
        program.wait_for("server.tls.key: no.key: no such file")
        program.wait_for("the former settings stay in force")
        config.write_text("server: {tls: {certificate: server.pem, key: server.key}}", "utf-8")
        program.process.send_signal(SIGHUP)
        program.wait_for("server.tls.certificate has changed: this takes effect after a restart")
        program.wait_for("server.tls.key has changed: this takes effect after a restart")
        program.wait_for("read again and are in force")


@contextmanager
def silent_terminal() -> Iterator[str]:
    """The name of a terminal to which nothing may be written."""
    if sys.platform == "win32":
        pytest.skip("there are no such terminals")
    else:
        ours, theirs = os.openpty()
        try:
            yield os.ttyname(theirs)
            os.set_blocking(ours, False)
            with pytest.raises(BlockingIOError):
                os.read(ours, 1)
        finally:
            os.close(ours)
            os.close(theirs)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a terminal of its own")
@pytest.mark.parametrize(
    "format", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]
)
def test_nobody_is_asked_for_a_passphrase(format: serialization.PrivateFormat) -> None:  # noqa: A002
    key = serialization.load_pem_private_key(MINE.private_key_pem.bytes(), None)
    passphrase = serialization.BestAvailableEncryption(b"test-passphrase")
    Path("server.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, format, passphrase))
    with silent_terminal() as terminal:
        # The first terminal that a new session opens is the one where OpenSSL would ask.
        started = ["sh", "-c", 'exec "$@" <"$0"', terminal, sys.executable, "-m", "chatgpt_platform"]
        done = subprocess.run(
            [*started, "check"], env=environment_of(NAMES), start_new_session=True,
            capture_output=True, encoding="utf-8", timeout=PATIENCE, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("server.tls.key: server.key: is encrypted")
    assert len(done.stderr.splitlines()) == 1


# --- healthcheck


class Ready(BaseHTTPRequestHandler):
    """Says 200 to ``/readyz`` and 503 to all else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in http.server
        pass


class QuietServer(ThreadingHTTPServer):
    """Keeps to itself what goes wrong with a connection: a client that leaves in the handshake is meant to."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def gateway(tls: ssl.SSLContext | None) -> Iterator[int]:
    """Something that is ready, with or without TLS; yields its port."""
    server = QuietServer(("127.0.0.1", 0), Ready)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=server.serve_forever, args=(0.01,), name="gateway")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(name="port")
def _port() -> Iterator[int]:
    with gateway(server_context(Tls("server.pem", "server.key"))) as port:
        yield port


def test_healthcheck_over_tls_takes_its_own_certificate(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["healthcheck"], {**NAMES, "PORT": str(port)}) == 0
    assert capsys.readouterr() == ("ready\n", "")


def test_healthcheck_verifies_whom_a_flag_names(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    for environment in ({}, NAMES):
        assert main(["healthcheck", "--url", f"https://127.0.0.1:{port}"], environment) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"healthcheck: https://127.0.0.1:{port} does not answer: ")
        assert "CERTIFICATE_VERIFY_FAILED" in line


def test_healthcheck_says_in_one_line_that_only_one_side_has_tls(
    port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["healthcheck"], {"PORT": str(port)}) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    with gateway(None) as plain:
        assert main(["healthcheck"], {**NAMES, "PORT": str(plain)}) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"healthcheck: https://127.0.0.1:{plain} does not answer: ")
