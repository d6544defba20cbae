"""The certificate of ``server.tls``: real files, each mistake one line, renewal without a gap."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.schema import Tls, Upstream
from chatgpt_platform.settings.tls import Certificate, check_authorities, server_context

AUTHORITY = trustme.CA()
MINE = AUTHORITY.issue_cert("localhost")
OTHER = AUTHORITY.issue_cert("localhost")
OTHER_TYPE = AUTHORITY.issue_cert("localhost", key_type=trustme.KeyType.RSA)
CHAIN = b"".join(pem.bytes() for pem in MINE.cert_chain_pems)
KEY = MINE.private_key_pem.bytes()


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(certificate: bytes = CHAIN, key: bytes = KEY) -> Tls:
    """Both files, at relative paths."""
    Path("server.pem").write_bytes(certificate)
    Path("server.key").write_bytes(key)
    return Tls("server.pem", "server.key")


def issue(leaf: trustme.LeafCert) -> Tls:
    return write(b"".join(pem.bytes() for pem in leaf.cert_chain_pems), leaf.private_key_pem.bytes())


def problems(tls: Tls) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        server_context(tls)
    assert all(len(line.splitlines()) == 1 for line in caught.value.lines)
    return caught.value.lines


def problem(tls: Tls) -> str:
    (line,) = problems(tls)
    return line


def shown(server: ssl.SSLContext | None, *protocols: str) -> tuple[bytes, str | None]:
    """What a client that trusts the authority is shown: the certificate, and the protocol that is chosen."""
    assert server is not None
    client = ssl.create_default_context()
    AUTHORITY.configure_trust(client)
    client.set_alpn_protocols(protocols)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (ours, theirs, ours, theirs):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate = ours.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate, ours.selected_alpn_protocol()


def der(leaf: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())


# --- what is served


def test_nothing_configured_is_no_tls() -> None:
    assert server_context(Tls()) is None
    assert Certificate(Tls()).context is None


def test_a_certificate_and_its_key() -> None:
    context = server_context(write())
    assert context is not None
    assert shown(context, "h2", "http/1.1") == (der(MINE), "http/1.1")
    assert shown(context, "h2") == (der(MINE), None)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE, "callers need no certificate"
    assert context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        (CHAIN.replace(b"\n", b"\r\n"), KEY.replace(b"\n", b"\r\n")),
        ("# für uns\n".encode() + CHAIN, b"# ours\n" + KEY),
        (KEY + CHAIN, KEY + CHAIN),
        (CHAIN + AUTHORITY.cert_pem.bytes(), KEY),
    ],
    ids=["CRLF", "comments", "both in one file", "with the authority's own"],
)
def test_what_else_is_fine(certificate: bytes, key: bytes) -> None:
    assert shown(server_context(write(certificate, key))) == (der(MINE), None)


def test_the_secrets_of_connections_go_to_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "secrets.log")
    context = server_context(write())
    assert context is not None
    assert context.keylog_filename is None


# --- what is wrong


def test_missing_files_are_named_both() -> None:
    assert problems(Tls("no.pem", "no/no.key")) == [
        "server.tls.certificate: no.pem: no such file, expected a PEM file with the server's certificate",
        "server.tls.key: no/no.key: no such file, expected a PEM file with the certificate's private key",
    ]
    write()
    assert "no such file" in problem(Tls("server.pem", "server.pem/server.key"))
    assert problem(Tls("a\x1b\n.pem", "server.key")).startswith(
        r"server.tls.certificate: a\u001b\u000a.pem: no such"
    )


def test_a_directory_is_no_file() -> None:
    write()
    Path("directory").mkdir()
    assert problem(Tls("directory", "server.key")).startswith(
        "server.tls.certificate: directory: is a directory, e"
    )
    assert problem(Tls("server.pem", "directory")).startswith(
        "server.tls.key: directory: is a directory, expected a"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="pipes with names are of POSIX")
def test_a_pipe_is_not_waited_for() -> None:
    write()
    if sys.platform != "win32":
        os.mkfifo("pipe")
    assert problem(Tls("server.pem", "pipe")).startswith("server.tls.key: pipe: is not a regular file, expected a")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="this user may read every file")
def test_a_file_that_may_not_be_read() -> None:
    tls = write()
    Path("server.key").chmod(0)
    line = problem(tls)
    assert line.startswith("server.tls.key: server.key: cannot be read: Permission denied, expected a PEM file")
    assert line.endswith("that this user may read")


@pytest.mark.parametrize("content", [b"", b"\x30\x82\x01\x0a" * 99, b"\xff" * 99, CHAIN.decode().encode("utf-16")])
def test_what_is_not_pem(content: bytes) -> None:
    begin = "-----BEGIN CERTIFICATE----- in it, expected a PEM file with the server's certificate"
    assert problem(write(certificate=content)) == f"server.tls.certificate: server.pem: no {begin}"
    begin = "-----BEGIN PRIVATE KEY----- in it, expected a PEM file with the certificate's private key"
    assert problem(write(key=content)) == f"server.tls.key: server.key: no {begin}"


def test_a_large_file_is_not_read_to_its_end() -> None:
    assert "server.pem: is larger than 1 MiB" in problem(write(certificate=CHAIN + b"#" * 2**20))


def test_files_that_are_swapped_are_named_both() -> None:
    first, second = problems(write(KEY, CHAIN))
    assert "server.tls.certificate: server.pem: no -----BEGIN CERTIFICATE----- in it" in first
    assert "server.tls.key: server.key: no -----BEGIN PRIVATE KEY----- in it" in second


@pytest.mark.parametrize("leaf", [OTHER, OTHER_TYPE], ids=["same type", "other type"])
def test_the_key_of_another_certificate(leaf: trustme.LeafCert) -> None:
    assert problem(write(key=leaf.private_key_pem.bytes())) == (
        "server.tls.key: server.key: does not match the first certificate in server.pem, "
        "expected the key that belongs to it"
    )


def test_the_servers_certificate_stands_first() -> None:
    assert "the first certificate in server.pem" in problem(write(AUTHORITY.cert_pem.bytes() + CHAIN))


def damaged(content: bytes) -> Iterator[bytes]:
    lines = content.split(b"\n")
    yield b"\n".join([lines[0], b"!" * 64, *lines[2:]])
    yield b"\n".join([lines[0], b"A" * 64, *lines[2:]])
    yield b"\n".join(lines[:2])


def test_damaged_files() -> None:
    for content in [*damaged(CHAIN), *(CHAIN + each for each in damaged(CHAIN))]:
        line = problem(write(certificate=content))
        assert line.startswith("server.tls.certificate: server.pem: cannot be decoded")
        assert line.endswith(", expected a PEM file with the server's certificate that is whole and undamaged")
    for content in damaged(KEY):
        line = problem(write(key=content))
        assert line.startswith("server.tls.key: server.key: cannot be decoded")
        assert KEY.split(b"\n")[3].decode() not in line


def test_a_weak_key_is_said_to_be_weak() -> None:
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime.now(UTC))
        .not_valid_after(datetime.now(UTC) + timedelta(1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    line = problem(write(certificate.public_bytes(serialization.Encoding.PEM), pem))
    assert line.startswith("server.tls.certificate: server.pem: too weak for OpenSSL (ee key too small), expected")


# --- encrypted keys


def encrypted(format: serialization.PrivateFormat) -> bytes:  # noqa: A002 - as cryptography calls it
    key = serialization.load_pem_private_key(KEY, None)
    passphrase = serialization.BestAvailableEncryption(b"test-passphrase")
    return key.private_bytes(serialization.Encoding.PEM, format, passphrase)


@pytest.mark.parametrize(
    "format", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]
)
def test_an_encrypted_key(format: serialization.PrivateFormat) -> None:  # noqa: A002
    assert problem(write(key=encrypted(format))) == (
        "server.tls.key: server.key: is encrypted, expected a key without a passphrase: "
        "openssl pkey -in FILE -out NEWFILE makes one"
    )


# --- renewal


@pytest.mark.parametrize("leaf", [OTHER, OTHER_TYPE], ids=["same type", "other type"])
def test_a_renewal_takes_what_the_files_hold_now(leaf: trustme.LeafCert) -> None:
    for first, second in ((MINE, leaf), (leaf, MINE)):
        tls = issue(first)
        certificate = Certificate(tls)
        former = certificate.context
        certificate.renew(issue(second))
        assert shown(certificate.context, "http/1.1") == (der(second), "http/1.1")
        assert shown(former) == (der(first), None), "connections in their handshake keep theirs"


@pytest.mark.parametrize(
    ("certificate", "key"), [(CHAIN, OTHER.private_key_pem.bytes()), (CHAIN[:200], KEY), (b"", KEY)]
)
def test_a_failed_renewal_changes_nothing(certificate: bytes, key: bytes) -> None:
    tls = write()
    running = Certificate(tls)
    former = running.context
    write(certificate, key)
    with pytest.raises(ConfigurationError):
        running.renew(tls)
    assert running.context is former
    assert shown(running.context) == (der(MINE), None)
    issue(OTHER)
    running.renew(tls)
    assert shown(running.context) == (der(OTHER), None)


def test_other_paths_are_only_verified() -> None:
    tls = write()
    running = Certificate(tls)
    issue(OTHER)
    Path("new.pem").write_bytes(Path("server.pem").read_bytes())
    Path("server.pem").unlink()
    running.renew(Tls("new.pem", "server.key"))
    assert shown(running.context) == (der(MINE), None)
    with pytest.raises(ConfigurationError, match=r"none\.pem: no such file"):
        running.renew(Tls("none.pem", "server.key"))
    running.renew(Tls())
    assert shown(running.context) == (der(MINE), None)
    off = Certificate(Tls())
    off.renew(Tls("new.pem", "server.key"))
    assert off.context is None


# --- the authorities of upstreams


def authorities(*names: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        check_authorities([Upstream(name=f"a{index}", ca_file=name) for index, name in enumerate(names)])
    return caught.value.lines


def test_files_of_authorities_are_looked_at() -> None:
    Path("ca.pem").write_bytes(AUTHORITY.cert_pem.bytes() * 2)
    check_authorities([Upstream(), Upstream(ca_file="ca.pem")])


def test_each_file_that_holds_no_authorities_is_one_line() -> None:
    Path("ca.pem").write_bytes(AUTHORITY.cert_pem.bytes())
    Path("key.pem").write_bytes(KEY)
    Path("cut.pem").write_bytes(AUTHORITY.cert_pem.bytes()[:-80])
    Path("damaged.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    Path("folder").mkdir()
    wanted = "expected a PEM file with the certificates of authorities"
    assert authorities("", "none.pem", "ca.pem", "key.pem", "cut.pem", "damaged.pem", "folder") == [
        f"upstreams[1].ca_file: none.pem: no such file, {wanted}",
        f"upstreams[3].ca_file: key.pem: no -----BEGIN CERTIFICATE----- in it, {wanted}",
        f"upstreams[4].ca_file: cut.pem: cannot be decoded, {wanted} that is whole and undamaged",
        f"upstreams[5].ca_file: damaged.pem: cannot be decoded, {wanted} that is whole and undamaged",
        f"upstreams[6].ca_file: folder: is a directory, {wanted}",
    ]
