"""The bill of materials: what is in it, that it holds together, and that it can be made again."""

import json
import platform
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import environment
import notices
import sbom

DISTRIBUTIONS = ["tornado", "openai", "pydantic", "pydantic-core", "PyYAML", "typing-extensions"]


def made(libraries: list[str | Path] | None = None, commit: str = "none") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sbom.bom(DISTRIBUTIONS, libraries or [], "1.2.3", commit))
    return found


def components(bill: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {component["bom-ref"]: component for component in bill["components"]}


def test_it_names_the_application_and_all_it_holds() -> None:
    bill = made(["libssl.so.3", "speedups.abi3.so"], commit="0123456")
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    application = bill["metadata"]["component"]
    assert (application["name"], application["version"]) == ("chatgpt-platform", "1.2.3")
    assert application["licenses"] == [{"license": {"id": "GPL-3.0-or-later"}}]
    assert {"name": "commit", "value": "0123456"} in application["properties"]
    found = components(bill)
    tornado = notices.installed("tornado").version
    assert found[f"pkg:pypi/tornado@{tornado}"]["purl"] == f"pkg:pypi/tornado@{tornado}"
    assert found[f"pkg:pypi/tornado@{tornado}"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert f"pkg:generic/python@{platform.python_version()}" in found
    assert any(reference.startswith("pkg:pypi/pyinstaller@") for reference in found)
    assert any(reference.startswith("pkg:cargo/ahash@") for reference in found)
    assert found["file:libssl.so.3"]["purl"] == f"pkg:generic/openssl@{sbom.VERSIONS['openssl']}"
    assert not any("speedups" in reference for reference in found)


def test_its_dependencies_hold_together() -> None:
    bill = made(["libssl.so.3"])
    known = {*components(bill), "chatgpt-platform"}
    edges = {entry["ref"]: set(entry.get("dependsOn", ())) for entry in bill["dependencies"]}
    assert len(components(bill)) == len(bill["components"])
    assert set(edges) == known
    assert set.union(*edges.values()) < known
    reached, waiting = set(), ["chatgpt-platform"]
    while waiting:
        reached.add(here := waiting.pop())
        waiting += edges[here] - reached
    assert reached == known
    pydantic = f"pkg:pypi/pydantic@{notices.installed('pydantic').version}"
    assert f"pkg:pypi/pydantic-core@{notices.installed('pydantic-core').version}" in edges[pydantic]
    assert pydantic not in edges["chatgpt-platform"]  # openai's business


def test_the_same_build_gives_the_same_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first = sbom.bom(DISTRIBUTIONS, ["libssl.so.3", "libz.so.1"], "1.2.3", "none")
    assert sbom.bom(reversed(DISTRIBUTIONS), ["libz.so.1", "libssl.so.3"], "1.2.3", "none") == first
    assert json.loads(first)["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    other = json.loads(sbom.bom(DISTRIBUTIONS, ["libssl.so.3"], "1.2.3", "none"))
    assert other["serialNumber"] != json.loads(first)["serialNumber"]


def test_its_time_is_that_of_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    shown = subprocess.run(
        ["git", "log", "-1", "--format=%H %cI"], cwd=environment.ROOT, capture_output=True, text=True, check=True
    )
    commit, time = shown.stdout.split()
    told = datetime.fromisoformat(made(commit=commit)["metadata"]["timestamp"])
    assert told == datetime.fromisoformat(time)


def test_a_library_on_disk_has_a_hash_and_its_package(tmp_path: Path) -> None:
    copy = tmp_path / "libz.so.1"
    copy.write_bytes(b"z")
    bill = components(made([copy]))["file:libz.so.1"]
    assert bill["hashes"] == [
        {"alg": "SHA-256", "content": "594e519ae499312b29433b7dd8a97ff068defcba9755b6d5d00e84c524d67b06"}
    ]
    assert bill["purl"] == f"pkg:generic/zlib@{sbom.VERSIONS['zlib']}"
    packed = Path("/bin/sh").resolve()
    package = sbom.debian_package(packed)
    if package is None:
        pytest.skip("dpkg-query is not here, or does not know the shell")
    assert package[0] in packed.name or packed.name in package[0]
    assert package[1][:1].isdigit()


def test_what_has_no_notice_is_no_component_either() -> None:
    with pytest.raises(notices.NoticeError, match=r"^libfoo\.so\.1 is bundled"):
        made(["libfoo.so.1"])
    with pytest.raises(notices.NoticeError, match="not installed"):
        sbom.bom(["no-such-thing"], [], "1.2.3", "none")
