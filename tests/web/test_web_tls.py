"""Calls under TLS, through the shortcut and through the handlers."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import requests
import trustme

from chatgpt_platform.settings.tls import Certificate
from chatgpt_platform.simulator.server import Behaviour
from chatgpt_platform.web.server import Server
from chatgpt_platform.web.service import Service
from support.gateway import gateway
from support.loops import LOOPS
from support.tls import served
from support.ways import Way

AUTHORITY = trustme.CA()


class Issued(Certificate):
    """One that needs no files."""

    def __init__(self) -> None:
        self.context = served(AUTHORITY)


def _server(service: Service, *, direct: bool) -> Server:
    return Server(service, tls=Issued(), direct=direct)


WAYS = [
    Way(f"{name}-{loop}", functools.partial(_server, direct=name == "shortcut"), factory)
    for name in ("shortcut", "handlers")
    for loop, factory in LOOPS.items()
]


@pytest.fixture
def authority(tmp_path: Path) -> str:
    """The file to verify by."""
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    return str(file)


def test_an_answer_and_a_stream(authority: str) -> None:
    with gateway() as running:
        url = f"https://localhost:{running.port}/chatgpt"
        assert requests.get(url, params={"prompt": "x"}, verify=authority).status_code == 200
        streamed = requests.get(url, params={"prompt": "x", "stream": "true"}, verify=authority)
        assert streamed.text.endswith("data: [DONE]\n\n")


def test_a_stream_that_breaks_off_does_not_look_whole(authority: str) -> None:
    with gateway(behaviour=Behaviour(fail="cut-mid", tokens=20)) as running:
        running.expected = ["upstream_"]
        url = f"https://localhost:{running.port}/chatgpt"
        given = {"prompt": "x", "stream": "true"}
        with (
            requests.get(url, params=given, verify=authority, stream=True, timeout=2) as answer,
            pytest.raises(requests.exceptions.ChunkedEncodingError),
        ):
            for _ in answer.iter_content(None):
                pass
        assert running.record()["status"] == 200
