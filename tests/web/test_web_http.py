"""HTTP itself: health, methods, the route table, refusals before the body."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from tornado.routing import PathMatches, Rule

from chatgpt_platform.gateway import parameters
from chatgpt_platform.gateway.platform_api import PlatformApi
from chatgpt_platform.simulator.server import Behaviour
from chatgpt_platform.web import app, base
from support.gateway import Running, gateway, wait_until


def exchange(running: Running, request: bytes) -> bytes:
    """What comes back until the gateway closes."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
        client.sendall(request)
        got = b""
        while data := client.recv(65536):
            got += data
        return got


def paths(running: Running) -> list[str]:
    """A path for each rule of the route table."""

    async def read() -> list[str]:
        rules: list[Rule] = app.build(running.service).wildcard_router.rules
        return [rule.matcher.regex.pattern for rule in rules if isinstance(rule.matcher, PathMatches)]

    samples = {r"/v1/models/.+$": "/v1/models/x", r"/v1(?:/.*)?$": "/v1/x"}
    found = running.background.run(read())
    return [samples.get(path, path.removesuffix("$").replace("\\", "")) for path in found]


def test_access_is_closed_by_default() -> None:
    """Every route but the public ones asks for an allowed address."""
    owned = {"CHATGPT_ADMIN__TOKEN": "the-owner-of-the-tests", "CHATGPT_ADMIN__ALLOW": "192.0.2.1"}
    with gateway({"CHATGPT_ACCESS__DENY": "127.0.0.1", "DAY_LIMIT": "1", **owned}) as running:
        checked = paths(running)
        assert {"/chatgpt", "/v1/chat/completions", "/v1/models/x", "/healthz", "/readyz"} <= set(checked)
        assert {"/api/usage", "/admin/usage", "/admin/keys", "/admin/openapi.json"} <= set(checked)
        for path in [*checked, "/nowhere"]:
            for method in ("GET", "POST"):
                status = requests.request(
                    method, running.url + path, json={} if method == "POST" else None
                ).status_code
                if path in base.PUBLIC:
                    assert status == (200 if method == "GET" else 405)
                else:
                    assert status == 403, path


def test_health() -> None:
    with gateway() as running:
        for path in ("/healthz", "/readyz"):
            assert requests.get(running.url + path).status_code == 200
            head = requests.head(running.url + path)
            assert (head.status_code, head.content) == (200, b"")


def test_keep_alive_serves_many_requests_on_one_connection() -> None:
    with gateway() as running:
        one = b"GET /chatgpt?prompt=x HTTP/1.1\r\nHost: x\r\n\r\n"
        last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert exchange(running, one * 3 + last).count(b"HTTP/1.1 200 OK") == 4


def test_a_refused_call_keeps_the_connection() -> None:
    with gateway() as running:
        refused = [b"GET /nowhere", b"GET /v1/chat/completions"]
        last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        got = exchange(running, b"".join(b"%b HTTP/1.1\r\nHost: x\r\n\r\n" % each for each in refused) + last)
        assert re.findall(rb"HTTP/1\.1 (\d+)", got) == [b"404", b"405", b"200"]


def test_methods_that_nobody_knows_get_round_no_rule() -> None:
    with gateway({"CHATGPT_ACCESS__DENY": "127.0.0.1"}) as running:
        assert requests.request("FOO", running.url + "/chatgpt").status_code == 403
    with gateway() as running:
        refused = requests.request("FOO", running.url + "/chatgpt")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")
        assert requests.request("FOO", running.url + "/nowhere").status_code == 404
        assert requests.put(running.url + "/api", data=b"x" * 100_000).status_code == 405


def test_an_http_1_0_client_gets_its_stream() -> None:
    with gateway() as running:
        got = exchange(running, b"GET /chatgpt?prompt=x&stream=true HTTP/1.0\r\n\r\n")
        assert b"chunked" not in got.lower()
        assert got.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("expect", [False, True])
def test_a_wanted_body_is_invited_and_a_refused_one_is_not(expect: bool) -> None:
    with gateway({"CHATGPT_SERVER__MAX_BODY": "1KiB"}) as running:
        head = b"POST /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        if expect:
            head += b"Expect: 100-continue\r\n"
        body = b'{"prompt":"x"}'
        wanted = exchange(running, head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        assert wanted.startswith(b"HTTP/1.1 100 ") is expect
        assert b"HTTP/1.1 200 OK" in wanted
        refused = exchange(running, head + b"Content-Length: 2000\r\n\r\n" + (b"" if expect else b"x" * 2000))
        assert refused.startswith(b"HTTP/1.1 413 ")
        assert refused.count(b"HTTP/1.1") == 1


def test_a_client_that_leaves_in_the_middle_of_its_body_is_recorded() -> None:
    with gateway({"DAY_LIMIT": "1"}) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(
                b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"
            )
        assert running.record()["status"] == 499
        assert running.simulator.stats.served == 0
        assert requests.get(running.url + "/chatgpt", params={"prompt": "x"}).status_code == 429, "it counts"


def test_a_client_that_leaves_as_its_request_comes_is_recorded() -> None:
    body = b'{"prompt":"x"}'
    with gateway({"DAY_LIMIT": "1"}) as running:
        blocked, left = threading.Event(), threading.Event()

        async def block() -> None:
            blocked.set()
            left.wait(30)  # so that the loop sees the request and its client's leaving at once

        blocking = threading.Thread(target=running.background.run, args=(block(),))
        blocking.start()
        assert blocked.wait(30)
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            head = b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            client.sendall(head % len(body) + body)
        left.set()
        blocking.join(30)
        assert running.record()["status"] == 499
        assert requests.get(running.url + "/chatgpt", params={"prompt": "x"}).status_code == 429, "it counts"


def test_bytes_sent_ahead_do_not_hide_that_the_client_leaves() -> None:
    with gateway(behaviour=Behaviour(latency=30)) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"GET /chatgpt?prompt=x HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /")
            wait_until(lambda: running.simulator.stats.under_way == 1)
        wait_until(lambda: running.simulator.stats.cancelled == 1)
        assert running.record()["status"] == 499


def test_hostile_text_in_a_path_stays_on_one_line() -> None:
    with gateway() as running:
        exchange(running, b'GET /%1b[31m%e2%80%a8"evil HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        record: dict[str, Any] = running.record()
        assert record["status"] == 404
        assert len(running.output().splitlines()) == 1
        assert "\x1b" not in running.output()


@pytest.mark.interpreted("replaces functions of ours")
@pytest.mark.parametrize("step", ["prepare", "reply", "reply_at_once"])
def test_a_fault_in_a_step_of_the_gateway_is_a_500_too(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(PlatformApi, step, broken)
    with gateway() as running:
        running.expected = ["a fault of this gateway"]
        # On an upstream connection of before the reply comes at once, on a new one it is waited for.
        answers = (requests.get(running.url + "/chatgpt", params={"prompt": "x"}) for _ in range(20))
        answer = next(answer for answer in answers if answer.status_code != 200)
        assert_fault(running, answer)


def test_a_fault_of_the_gateway_is_a_500_without_its_details(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msgspec.structs, "asdict", broken)
    with gateway() as running:
        running.expected = ["a fault of this gateway"]
        answer = requests.post(running.url + "/chatgpt", json={"prompt": "x"})
        assert_fault(running, answer)


def test_where_a_fault_of_the_gateway_is_can_be_read_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msgspec.structs, "asdict", lambda _: None)
    with gateway() as running:
        running.expected = ["a fault of this gateway"]
        assert requests.post(running.url + "/chatgpt", json={"prompt": "x"}).status_code == 500
        told = re.search(r"a fault of this gateway: \w+Error: .* \(parameters\.py:(\d+)\)", running.output())
        assert told is not None
        source = Path(parameters.__file__).with_name("parameters.py").read_text("utf-8")
        assert "asdict(" in source.splitlines()[int(told[1]) - 1]


def broken(*_: object) -> None:
    raise RuntimeError("inner details")


def assert_fault(running: Running, answer: requests.Response) -> None:
    """It is told, but not to the caller, and the gateway lives on."""
    assert answer.status_code == 500
    assert "inner details" not in answer.text
    assert "inner details" in running.output()
    assert requests.get(running.url + "/healthz").status_code == 200
    wait_until(lambda: [record["status"] for record in running.records()][-2:] == [500, 200])
