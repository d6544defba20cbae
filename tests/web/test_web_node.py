"""The OpenAI API, proved with the official Node SDK."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from support.gateway import gateway

NODE = Path(__file__).parents[1] / "node"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (NODE / "node_modules").is_dir(), reason="npm could not install the SDK")
def test_the_node_sdk() -> None:
    with gateway() as running:
        done = subprocess.run(
            ["node", "sdk.mjs", running.url + "/v1"],
            cwd=NODE, capture_output=True, encoding="utf-8", timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert "Hello" in got["whole"]
    assert got["streamed"] == got["whole"]
    assert got["pieces"] > 2
    assert got["embedding"] > 1
    assert got["response"] == got["said"]
    assert "gpt-4o-mini" in got["models"]
    assert got["flagged"] is False
    assert {name: failure[0] for name, failure in got["failures"].items()} == {
        "NotFoundError": "NotFoundError",
        "BadRequestError": "BadRequestError",
    }
