"""A compose file of ours brought up, as it is, by podman-compose.

with up(engine, installed(folder), tmp_path, "compose.yaml") as project:
    project.ask()
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import requests

from processes import free_port
from support.containers import Container, Engine
from support.gateway import wait_until
from support.program import PATIENCE, ROOT
from support.simulated import KEY, simulated
from support.tools import Unavailable

FILES: Final = ROOT / "packaging" / "docker"
_RELEASE: Final = "podman-compose==1.6.0"


class Project:
    """A compose file that was brought up in a folder of its own."""

    def __init__(self, engine: Engine, command: Sequence[str], folder: Path, file: str, port: int) -> None:
        self._engine: Final = engine
        self._command: Final = command
        self._folder: Final = folder
        self._file: Final = file
        self.url: Final = f"http://127.0.0.1:{port}"

    def run(self, *arguments: str) -> str:
        files = ("-f", self._file, "-f", "upstream.yaml")
        return self._engine.run(*self._command, *files, *arguments, folder=self._folder, patience=120)

    def container(self) -> Container:
        (name,) = self._engine.podman(
            "ps", "--quiet", "--filter", f"label=com.docker.compose.project={self._folder.name}"
        ).split()
        return Container(self._engine, name)

    def ask(self) -> dict[str, Any]:
        """Asked until it serves: compose does not wait for that."""
        answers: list[requests.Response] = []

        def ask() -> bool:
            try:
                answers.append(requests.get(self.url + "/api", params={"prompt": "Hello"}, timeout=PATIENCE))
            except requests.ConnectionError:
                return False
            return True

        wait_until(ask, PATIENCE)
        body: dict[str, Any] = answers[0].json()
        return body


def installed(folder: Path) -> list[str]:
    """The command; its release comes from where this host's pip has its packages from. Raises ``Unavailable``."""
    place = folder / _RELEASE
    if not (place / "podman_compose.py").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(place), _RELEASE]
        done = subprocess.run(pip, capture_output=True, encoding="utf-8", check=False)
        if done.returncode != 0:
            raise Unavailable(f"podman-compose cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return ["env", f"PYTHONPATH={place}", sys.executable, "-m", "podman_compose"]


@contextmanager
def up(engine: Engine, command: Sequence[str], folder: Path, file: str) -> Iterator[Project]:
    """The file as it is, but for the key and for a port that is free here, with a model service on this host."""
    port = free_port()
    text = (FILES / file).read_text("utf-8")
    changed = text.replace('"5000:5000"', f'"127.0.0.1:{port}:5000"').replace("YourOpenAIApiKey", KEY)
    assert changed.count(f":{port}:") == 1
    (folder / file).write_text(changed, "utf-8")
    with simulated(host="0.0.0.0") as upstream:
        address = {"BASE_URL": f"http://host.containers.internal:{upstream.port}/v1"}
        (folder / "upstream.yaml").write_text(json.dumps({"services": {"web": {"environment": address}}}), "utf-8")
        made = Project(engine, command, folder, file, port)
        try:
            made.run("up", "--detach")
            yield made
            assert {call.headers["authorization"] for call in upstream.simulator.seen} == {f"Bearer {KEY}"}
        finally:
            made.run("down", "--volumes")
