"""Whose certificates are believed on systems that keep their authorities in other places."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from chatgpt_platform.upstream import authorities

CERTIFICATE = trustme.CA().cert_pem.bytes()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """OpenSSL finds no authority of its own."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "empty"))
    return tmp_path


def known(*bundles: Path) -> int:
    return authorities.context(str(bundle) for bundle in bundles).cert_store_stats()["x509_ca"]


def test_the_first_bundle_that_can_be_read_counts(nowhere: Path) -> None:
    odd, good, other = (nowhere / name for name in ("odd.pem", "good.pem", "other.pem"))
    odd.write_text("no certificate", "ascii")
    good.write_bytes(CERTIFICATE)
    other.write_bytes(CERTIFICATE + trustme.CA().cert_pem.bytes())
    assert known(nowhere / "missing.pem", nowhere, odd, good, other) == 1
    assert known(nowhere / "missing.pem") == 0


def test_what_openssl_finds_itself_is_enough(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, own = nowhere / "bundle.pem", nowhere / "own.pem"
    bundle.write_bytes(CERTIFICATE + trustme.CA().cert_pem.bytes())
    own.write_bytes(CERTIFICATE)
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    assert known(bundle) == 1


def test_a_folder_of_authorities_is_enough(nowhere: Path) -> None:
    (nowhere / "empty" / "12345678.0").write_bytes(CERTIFICATE)
    (nowhere / "bundle.pem").write_bytes(CERTIFICATE)
    assert known(nowhere / "bundle.pem") == 0  # which OpenSSL has not looked at yet


def test_a_folder_that_openssl_cannot_search_is_not(nowhere: Path) -> None:
    """As on RHEL 8: the bundle lies in the folder, under a name that is no hash."""
    bundle = nowhere / "empty" / "ca-bundle.crt"
    bundle.write_bytes(CERTIFICATE)
    assert known(bundle) == 1


def test_a_folder_that_is_none_is_not(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "bundle.pem").write_bytes(CERTIFICATE)
    monkeypatch.setenv("SSL_CERT_DIR", str(nowhere / "bundle.pem"))
    assert known(nowhere / "bundle.pem") == 1


def test_checks_are_on(nowhere: Path) -> None:
    made = authorities.context(())
    assert made.check_hostname
    assert made.verify_mode.name == "CERT_REQUIRED"
