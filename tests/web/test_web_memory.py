"""What a call held is free when it is over: the garbage collector looks seldom, and thousands may be large."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from chatgpt_platform.gateway.call import Call, Stream
from chatgpt_platform.gateway.openai_api import MAX_HELD
from chatgpt_platform.simulator.server import Behaviour
from chatgpt_platform.upstream.connection import Request
from chatgpt_platform.web.transaction import Transaction
from support.gateway import Running, gateway, wait_until
from support.ways import WAYS as ALL_WAYS

WAYS = ALL_WAYS[:1]  # Tornado's handlers make circles of their own

CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


def of(*kinds: type[Any]) -> list[Any]:
    return [each for each in gc.get_objects() if isinstance(each, kinds)]


@contextmanager
def uncollected(kept: Callable[[], list[Any]]) -> Iterator[None]:
    """What the block leaves goes away by itself."""
    gc.collect()
    assert kept() == []
    gc.disable()
    try:
        yield
        wait_until(lambda: not kept())
    finally:
        gc.enable()


def ask(running: Running, path: str, body: dict[str, Any]) -> int:
    return requests.post(running.url + path, json=body, timeout=30).status_code


@pytest.mark.parametrize(
    ("path", "tokens", "stream"),
    [
        ("/v1/chat/completions", 3, False),
        ("/v1/chat/completions", 3, True),
        ("/v1/chat/completions", MAX_HELD // 4, False),  # too long to be held as a whole
        ("/chatgpt", 3, False),
        ("/chatgpt", 3, True),
    ],
)
def test_a_call_that_was_answered(path: str, tokens: int, stream: bool) -> None:
    with (
        gateway(behaviour=Behaviour(tokens=tokens)) as running,
        uncollected(lambda: of(Call, Stream, Transaction)),
    ):
        assert ask(running, path, {**CHAT, "prompt": "hi", "stream": stream}) == 200


@pytest.mark.parametrize("path", ["/chatgpt", "/v1/chat/completions"])
@pytest.mark.parametrize("fault", ["404", "500", "reset", "bad-head", "html", "error-first"])
def test_the_body_of_a_call_that_failed(path: str, fault: str) -> None:
    with gateway(behaviour=Behaviour(fail=fault)) as running:
        running.expected = ["upstream", "bad_upstream", "answered", "error"]
        with uncollected(lambda: [each for each in of(Call, Request) if each.body]):
            assert ask(running, path, {**CHAT, "prompt": "hi", "stream": True}) >= 400
