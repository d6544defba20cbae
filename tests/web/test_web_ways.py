"""What a server does around its calls, alike on each way to the gateway: drain, reload, unreadable requests."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import requests

from chatgpt_platform.simulator.server import Behaviour
from support.gateway import Running, gateway, settings_of, wait_until

STREAM = b"GET /chatgpt?prompt=x&stream=true HTTP/1.1\r\nHost: x\r\n\r\n"


def rest(client: socket.socket) -> bytes:
    """What comes until the gateway closes."""
    got = b""
    while data := client.recv(65536):
        got += data
    return got


def status(running: Running, path: str) -> int:
    return requests.get(running.url + path, timeout=10).status_code


def test_a_drain_lets_what_is_under_way_finish_and_refuses_new_calls() -> None:
    with gateway(behaviour=Behaviour(tokens=30, interval=0.01)) as running:
        with (
            socket.create_connection(("127.0.0.1", running.port), timeout=20) as busy,
            socket.create_connection(("127.0.0.1", running.port), timeout=20) as idle,
        ):
            busy.sendall(STREAM)
            got = busy.recv(1)
            drained = asyncio.run_coroutine_threadsafe(running.server.drain(10), running.background._loop)
            assert rest(idle) == b""
            assert status(running, "/chatgpt?prompt=x") == 503
            assert status(running, "/readyz") == 503
            assert status(running, "/healthz") == 200
            got += rest(busy)
            assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
            assert drained.result(10) == 0
        wait_until(lambda: len(running.records()) == 4)


def test_a_drain_that_takes_too_long_and_the_end() -> None:
    with gateway(behaviour=Behaviour(tokens=10_000, interval=0.01)) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as busy:
            busy.sendall(STREAM)
            got = busy.recv(1)
            assert running.background.run(running.server.drain(0.05)) == 1
            running.background.run(running.server.close())
            with contextlib.suppress(ConnectionError):
                got += rest(busy)
            assert b"[DONE]" not in got
            assert not got.endswith(b"0\r\n\r\n"), "the client sees that it is not whole"
        record = running.record()
        assert (record["status"], record["error"]) == (499, "cut off: the gateway stopped")
        wait_until(lambda: running.simulator.stats.cancelled == 1)


def test_a_reload_holds_for_the_calls_that_come() -> None:
    with (
        gateway(behaviour=Behaviour(tokens=30, interval=0.01)) as running,
        socket.create_connection(("127.0.0.1", running.port), timeout=20) as busy,
    ):
        busy.sendall(STREAM)
        got = busy.recv(1)

        async def reload() -> None:
            running.service.apply(settings_of({**running.environment, "ROUTE": "talk"}), running.logs)
            running.server.rebuild()

        running.background.run(reload())
        assert [status(running, f"{path}?prompt=x") for path in ("/talk", "/api")] == [200, 404]
        busy.sendall(b"GET /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        first, _, second = (got + rest(busy)).partition(b"0\r\n\r\n")
        assert first.endswith(b"data: [DONE]\n\n\r\n")
        assert second.startswith(b"HTTP/1.1 404 "), "on a connection of before"


def test_a_body_that_cannot_be_read_is_one_line_in_the_access_log() -> None:
    """Tornado's own server answers it in its own words, and the handler takes the client for gone."""
    with gateway({"DAY_LIMIT": "2"}) as running:
        for path in ("/api", "/v1/chat/completions"):
            with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
                client.sendall(
                    b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" % path.encode()
                    + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\nno size\r\n"
                )
                assert rest(client).startswith(b"HTTP/1.1 400 ")
        running.background.run(asyncio.sleep(0.05))  # for a line too many
        assert [record["status"] for record in running.records()] == [499 if running.way.is_stock else 400] * 2
        assert status(running, "/chatgpt?prompt=x") == 429, "each counted once"
