"""Each call that counts has one row in the ledger, whatever becomes of it; what does not count has none."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import pytest
import requests

from chatgpt_platform.accounts import tokens
from chatgpt_platform.simulator.server import Behaviour
from support import truth
from support.gateway import Running, gateway, wait_until
from support.keyed import ALICE, bearer, sharing, virtual_key
from support.ways import WAYS as ALL_WAYS

WAYS = ALL_WAYS[:1]

Deed: TypeAlias = Callable[[Running], object]
CHAT: Final = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
ADDRESS: Final = {"X-Forwarded-For": "192.0.2.7"}


def post(path: str = "/v1/chat/completions", key: str = ALICE, **how: Any) -> Deed:
    """A call, to its end."""
    how = {"json": CHAT} | how if "data" not in how else how
    headers = {**bearer(key), **how.pop("headers", {})} if key else how.pop("headers", {})
    return lambda running: requests.post(running.url + path, headers=headers, timeout=20, **how).content


def get(path: str, method: str = "GET", **headers: str) -> Deed:
    return lambda running: (
        requests.request(method, running.url + path, headers={**bearer(), **headers}, timeout=20).content
    )


def raw(body: bytes, *, length: int | None = None, more: str = "", answer: bool = True) -> Deed:
    """Bytes behind a head; then wait for the answer, or leave."""

    def act(running: Running) -> None:
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
            framing = more or f"Content-Length: {len(body) if length is None else length}\r\n"
            connection.sendall(
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {ALICE}\r\n{framing}\r\n".encode()
                + body
            )
            if answer:
                assert connection.recv(65536)
            else:
                time.sleep(0.1)  # so that the head is seen before the end

    return act


def leaving(*, stream: bool) -> Deed:
    """A caller that leaves while its answer is under way."""

    def act(running: Running) -> None:
        body = json.dumps({**CHAT, "stream": stream}).encode()
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
            connection.sendall(
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {ALICE}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            wait_until(lambda: running.simulator.stats.under_way == 1)
            if stream:
                assert connection.recv(65536)
        wait_until(lambda: running.simulator.stats.cancelled == 1)

    return act


def draining(running: Running) -> None:
    running.service.draining = True
    post()(running)


def stopped(running: Running) -> None:
    """It is cut when the gateway stops, which is done behind the test."""
    body = json.dumps({**CHAT, "stream": True}).encode()
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=20)
    connection.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {ALICE}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    assert connection.recv(65536)
    running.background.run(running.stop())
    connection.close()


SETTINGS: Final = {
    "CHATGPT_SERVER__MAX_BODY": "2KiB",
    "CHATGPT_SERVER__TIMEOUTS__BODY": "300ms",
    "CHATGPT_SERVER__TRUSTED_PROXIES": "127.0.0.0/8",
    "CHATGPT_ACCESS__DENY": "192.0.2.7/32",
    "CHATGPT_METRICS__ALLOW": "127.0.0.0/8",
    "CHATGPT_SERVER__CORS": "https://example.org",
}
SLOW: Final = Behaviour(latency=0.05, interval=0.05, tokens=200)
CHATS: Final = "chat/completions"
PREFLIGHT: Final = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
NOT_MINE: Final = tokens.make()
"""A key of the right shape that nobody has."""

ONE: Final[dict[str, tuple[Deed, int, str, str, str]]] = {
    # What is done; the row's status, outcome, key and endpoint.
    "whole": (post(), 200, "complete", "alice", CHATS),
    "stream": (post(json={**CHAT, "stream": True}), 200, "complete", "alice", CHATS),
    "nobody's": (post(key=""), 200, "complete", "", CHATS),
    "platform": (get("/chatgpt?prompt=hi"), 200, "complete", "alice", "chatgpt"),
    "no prompt": (get("/chatgpt"), 400, "denied", "alice", "chatgpt"),
    "method": (get("/chatgpt", "DELETE"), 405, "denied", "", "chatgpt"),
    "get of a post": (get("/v1/chat/completions"), 405, "denied", "", CHATS),
    "post of a list": (post("/v1/models"), 405, "denied", "", "models"),
    "no path": (post("/v1/nowhere"), 404, "denied", "", "unknown"),
    "type": (post(data=b"<x/>", headers={"Content-Type": "text/xml"}), 415, "denied", "", CHATS),
    "encoding": (post(headers={"Content-Encoding": "gzip"}), 415, "denied", "", CHATS),
    "no json": (post(data=b"{", headers={"Content-Type": "application/json"}), 400, "denied", "alice", CHATS),
    "wrong member": (post(json={**CHAT, "stream": "yes"}), 400, "denied", "alice", CHATS),
    "override": (post(json={**CHAT, "base_url": "http://x"}), 400, "denied", "alice", CHATS),
    "too long": (post(json={**CHAT, "user": "x" * 4000}), 413, "denied", "", CHATS),
    "too long by length": (raw(b"{", length=10**9), 413, "denied", "", CHATS),
    "too long in chunks": (
        raw(b"fff\r\n" + b"x" * 4095 + b"\r\n0\r\n\r\n", more="Transfer-Encoding: chunked\r\n"),
        413, "denied", "alice", CHATS,
    ),
    "bad chunk": (raw(b"zz\r\n", more="Transfer-Encoding: chunked\r\n"), 400, "denied", "alice", CHATS),
    "body too slow": (raw(b"{", length=100), 408, "denied", "alice", CHATS),
    "left with half a body": (raw(b"{", length=100, answer=False), 499, "client_left", "alice", CHATS),
    "left a stream": (leaving(stream=True), 499, "client_left", "alice", CHATS),
    "left": (leaving(stream=False), 499, "client_left", "alice", CHATS),
    "wrong key": (post(key=NOT_MINE), 401, "denied", "", CHATS),
    "expired": (post(key=ALICE + "-expired"), 401, "denied", "expired", CHATS),
    "model": (post(key=ALICE + "-models"), 403, "denied", "models", CHATS),
    "budget": (post(key=ALICE + "-budget"), 429, "denied", "budget", CHATS),
    "address": (post(headers=ADDRESS), 403, "denied", "", CHATS),
    "address of the key": (post(key=ALICE + "-address"), 403, "denied", "address", CHATS),
    "draining": (draining, 503, "denied", "", CHATS),
    "stopped": (stopped, 499, "cut", "alice", CHATS),
}  # fmt: skip

NONE: Final[dict[str, Deed]] = {
    "models": get("/v1/models"),
    "a model": get("/v1/models/gpt-4o-mini"),
    "health": get("/healthz"),
    "ready": get("/readyz"),
    "metrics": get("/metrics"),
    "no path": get("/nowhere"),
    "preflight": get("/v1/chat/completions", "OPTIONS", **PREFLIGHT),
}

KEYS: Final = (
    virtual_key(tokens=["100k/total"]),
    {"name": "expired", "key": ALICE + "-expired", "expires": "2020-01-01"},
    {"name": "models", "key": ALICE + "-models", "models": ["other"]},
    {"name": "limit", "key": ALICE + "-limit", "limits": {"minute": 1}},
    {"name": "budget", "key": ALICE + "-budget", "tokens": ["1/total"]},
    {"name": "address", "key": ALICE + "-address", "addresses": ["198.51.100.0/24"]},
)


def rows_after(deed: Deed, directory: Path, behaviour: Behaviour, *expected: str) -> list[truth.Row]:
    """What the ledger has of it once the gateway is closed."""
    settings = sharing(*KEYS, directory=directory, **SETTINGS)
    with gateway(settings, behaviour) as running:
        running.expected += expected
        deed(running)
    return truth.rows_of(directory)


def short(row: truth.Row) -> tuple[int, str, str, str]:
    return row["status"], row["outcome"], row["key"], row["endpoint"]


@pytest.mark.parametrize("name", ONE)
def test_a_call_that_counts_has_one_row(name: str, tmp_path: Path, way: object) -> None:
    deed, *expected = ONE[name]
    behaviour = SLOW if name in ("left", "left a stream", "stopped") else Behaviour(tokens=3)
    found = rows_after(deed, tmp_path, behaviour, "under way")
    assert [short(row) for row in found] == [tuple(expected)]


def test_a_call_above_a_limit(tmp_path: Path, way: object) -> None:
    deed = post(key=ALICE + "-limit")
    found = rows_after(lambda running: [deed(running), deed(running)], tmp_path, Behaviour())
    assert [short(row)[:3] for row in found] == [(200, "complete", "limit"), (429, "denied", "limit")]


@pytest.mark.parametrize("name", NONE)
def test_what_does_not_count_has_none(name: str, tmp_path: Path, way: object) -> None:
    assert rows_after(NONE[name], tmp_path, Behaviour()) == []


@pytest.mark.parametrize(("fault", "status"), [("500", 500), ("reset", 502), ("html", 502), ("429-long", 429)])
def test_an_upstream_that_fails(fault: str, status: int, tmp_path: Path, way: object) -> None:
    (row,) = rows_after(post(), tmp_path, Behaviour(fail=fault), "openai")
    assert short(row) == (status, "upstream_failed", "alice", CHATS)


def test_a_fault_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: object) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("provoked")

    monkeypatch.setattr(msgspec.structs, "asdict", fail)
    (row,) = rows_after(post("/chatgpt", json={"prompt": "hi"}), tmp_path, Behaviour(), "a fault of this gateway")
    assert short(row) == (500, "cut", "alice", "chatgpt")
