"""The OpenAPI document of /admin and /api/usage: whole, and held by what is answered, as schemathesis finds it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import requests

from chatgpt_platform.web import openapi, reports
from chatgpt_platform.web.operations import OPERATIONS
from support.gateway import Running, gateway
from support.program import environment_of
from support.recorded import row, write
from support.ways import WAYS as ALL_WAYS

WAYS = ALL_WAYS[:1]  # what is tested is the same on all

TOKEN, KEY = "the-owner-of-the-tests", "anna-key-of-the-tests"
KEYS = [{"name": "anna", "key": KEY, "budget": ["5.00/month", "1/7d"], "tokens": ["100k/day", "1k/minute"]}]
EXAMPLES = 30
"""For each operation, besides those that schemathesis makes of the document's bounds."""
PATIENCE = 100


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(reports, "REFUSALS_A_MINUTE", 1_000_000)  # it tries what is refused again and again
    now = time.time()
    rows = [
        row(time=now - n * 3600, model=f"m{n}", client=f"192.0.2.{n}", upstream=f"u{n % 3}") for n in range(40)
    ]
    write(tmp_path / "state", rows)
    environment = {
        "CHATGPT_STATE__DIRECTORY": str(tmp_path / "state"),
        "CHATGPT_ADMIN__TOKEN": TOKEN,
        "CHATGPT_KEYS": json.dumps(KEYS),
    }
    with gateway(environment) as running:
        yield running


def test_each_operation_is_served_and_in_the_document(running: Running) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "ApiKey": KEY}
    document = requests.get(f"{running.url}/admin/openapi.json", headers=headers, timeout=20).json()
    assert document == openapi.document()
    assert [*document["paths"]] == [each.path for each in OPERATIONS]
    for operation in OPERATIONS:
        answer = requests.get(running.url + operation.path, headers=headers, timeout=20)
        assert answer.status_code == 200
        told = document["paths"][operation.path]["get"]["responses"]["200"]["content"]
        schema = {**told["application/json"]["schema"], "components": document["components"]}
        jsonschema_rs.Draft202012Validator(schema).validate(answer.json())


def test_every_reference_leads_somewhere_and_all_is_described() -> None:
    document = openapi.document()
    schemas = document["components"]["schemas"]
    references = {value["$ref"] for value in objects(document) if "$ref" in value}
    assert {name.rpartition("/")[2] for name in references} == {*schemas, "Retry-After"}
    for path in document["paths"].values():
        assert all(parameter["description"] for parameter in path["get"]["parameters"])


def test_what_is_answered_is_what_is_documented(running: Running, tmp_path: Path) -> None:
    done = schemathesis(running, tmp_path, openapi.document(), EXAMPLES)
    assert done.returncode == 0, done.stdout
    assert "4 selected / 4 total" in done.stdout


def test_it_would_be_seen_if_it_were_not(running: Running, tmp_path: Path) -> None:
    document = openapi.document()
    by = document["paths"]["/admin/usage"]["get"]["parameters"][2]["schema"]
    by["enum"].append("colour")
    document["components"]["schemas"]["Keys"]["required"].append("more")
    document["paths"] = {path: document["paths"][path] for path in ("/admin/usage", "/admin/keys")}
    done = schemathesis(running, tmp_path, document, 5)
    assert done.returncode == 1, done.stdout
    assert "Schema-valid request rejected" in done.stdout
    assert '"more" is a required property' in done.stdout


def schemathesis(
    running: Running, directory: Path, document: dict[str, Any], examples: int
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Compare the gateway with a document, by all checks there are."""
    (directory / "openapi.json").write_text(json.dumps(document), "utf-8")
    (directory / "schemathesis.toml").write_text(
        "".join(
            f'[[operations]]\ninclude-path-regex = "^{path}"\nheaders = {{ Authorization = "Bearer {token}" }}\n'
            for path, token in (("/admin/", TOKEN), ("/api/", KEY))
        ),
        "utf-8",
    )
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    options = ["--url", running.url, "--checks", "all", "--max-examples", str(examples), "--seed", "1"]
    return subprocess.run(
        [sys.executable, "-c", program, "run", "openapi.json", *options, "--no-color"],
        cwd=directory, env=environment_of({"PYTHONUTF8": "1"}), capture_output=True, encoding="utf-8",
        timeout=PATIENCE, check=False,
    )  # fmt: skip


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a JSON value, itself included."""
    if isinstance(value, dict):
        yield value
        value = [*value.values()]
    if isinstance(value, list):
        for each in value:
            yield from objects(each)
