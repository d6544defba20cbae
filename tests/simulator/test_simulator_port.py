"""Connections that are refused or not served, chance, keys, and what is remembered of each call."""

from __future__ import annotations

import socket
import ssl
from functools import partial
from random import Random

import pytest
import requests
import trustme

from chatgpt_platform.simulator.behaviour import Behaviour
from chatgpt_platform.simulator.server import Simulator
from support.background import Background
from support.gateway import wait_until
from support.simulated import CHAT, HEADERS, Simulated, request_bytes, simulated

SOUND = Behaviour()


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it waited to be accepted at the very moment
        return False
    return False


def until_the_end(connection: socket.socket) -> bytes:
    got = b""
    while piece := connection.recv(1 << 16):
        got += piece
    return got


def post(running: Simulated, key: str = "") -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else HEADERS
    return requests.post(running.base_url + "/chat/completions", json=CHAT, headers=headers, timeout=20)


def test_connections_are_refused_for_a_while() -> None:
    with simulated() as running, running.connect() as idle:
        for _ in range(2):
            assert post(running).ok
            running.simulator.behaviour = Behaviour(fail="refuse")
            wait_until(lambda: refuses(running.port))
            running.simulator.behaviour = SOUND
            wait_until(lambda: not refuses(running.port))
        assert post(running).ok
        assert idle.recv(1) == b"", "a connection on which nothing was under way is closed"


def test_what_is_under_way_comes_to_its_end_when_connections_are_refused() -> None:
    with simulated(Behaviour(latency=0.3)) as running, running.ask() as connection:
        wait_until(lambda: running.simulator.stats.under_way == 1)
        running.simulator.behaviour = Behaviour(fail="refuse")
        wait_until(lambda: refuses(running.port))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_port_that_nobody_listens_on_from_the_start() -> None:
    with simulated(Behaviour(fail="refuse")) as running:
        assert refuses(running.port)
        with socket.socket() as other, pytest.raises(OSError, match=r"in use|[Oo]nly one usage"):
            other.bind(("127.0.0.1", running.port))


def test_a_handshake_that_gets_an_alert_or_nothing() -> None:
    context = ssl.create_default_context()
    with simulated(Behaviour(fail="tls-wrong")) as running:
        with running.connect() as connection, pytest.raises(ssl.SSLError, match="ALERT"):
            context.wrap_socket(connection, server_hostname="localhost")
        running.simulator.behaviour = Behaviour(fail="tls-stall")
        with running.connect() as connection:
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                context.wrap_socket(connection, server_hostname="localhost")
        assert running.simulator.stats.calls == 0


def test_an_answer_before_the_request_was_read() -> None:
    with simulated(Behaviour(fail="early-answer")) as running, running.connect() as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        got = b""
        while piece := connection.recv(1 << 16):
            got += piece
        assert got.startswith(b"HTTP/1.1 413 ")
        assert got.endswith(b"}")


@pytest.mark.parametrize("fault", ["", "http10", "cut-mid"])
def test_a_simulator_that_speaks_tls(fault: str) -> None:
    authority = trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def listen(simulator: Simulator) -> int:
        return simulator.listen()

    with Background() as background:
        simulator = Simulator(Behaviour(fail=fault), tls=served)
        port = background.run(listen(simulator))
        raw = socket.create_connection(("127.0.0.1", port), timeout=20)
        trusting_wrap = partial(trusting.wrap_socket, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        with trusting_wrap(raw) as connection:
            connection.sendall(request_bytes("/v1/chat/completions", CHAT))
            assert connection.recv(1 << 16).startswith((b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n"))
            if fault == "http10":
                assert until_the_end(connection).endswith(b"}"), "an end that close_notify vouches for"
            elif fault:
                with pytest.raises(ssl.SSLEOFError):
                    until_the_end(connection)
        background.run(simulator.stop())


@pytest.mark.parametrize("kinds", ["503", "503,500,404"])
def test_a_share_of_the_calls_meets_a_fault(kinds: str) -> None:
    met: list[list[str]] = []
    for _ in range(2):
        behaviour, random = Behaviour(fail=kinds, share=0.3), Random(7)
        met.append([behaviour.draw(random) for _ in range(1000)])
    assert met[0] == met[1], "the same seed, the same faults"
    assert set(met[0]) == {"", *kinds.split(",")}
    assert 200 < sum(map(bool, met[0])) < 400


def test_faults_of_connections_and_of_calls_are_drawn_apart() -> None:
    behaviour, random = Behaviour(fail="tls-stall,503"), Random(7)
    assert {behaviour.draw(random) for _ in range(100)} == {"", "503"}
    assert {behaviour.draw(random, connection=True) for _ in range(100)} == {"", "tls-stall"}
    assert Behaviour(fail="refuse").draw(random) == ""


def test_each_call_tells_the_fault_that_it_met() -> None:
    with Background() as background:
        simulator = Simulator(Behaviour(fail="503,500", share=0.5), random=Random(7), remember=None)

        async def listen() -> int:
            return simulator.listen()

        running = Simulated(background, simulator, background.run(listen()))
        statuses = [post(running).status_code for _ in range(60)]
        assert [int(request.fault or 200) for request in simulator.seen] == statuses
        assert len(set(statuses)) == 3
        assert simulator.stats.calls == 60
        assert all(
            one.at <= other.at for one, other in zip(simulator.seen, list(simulator.seen)[1:], strict=False)
        )
        background.run(simulator.stop())


def test_keys_that_are_busy_or_broke() -> None:
    with simulated() as running:
        busy = post(running, "a-busy-key")
        assert (busy.status_code, busy.headers["retry-after"]) == (429, "7")
        assert busy.json()["error"]["code"] == "rate_limit_exceeded"
        for key in ("a-broke-key", "over-quota"):
            broke = post(running, key)
            assert (broke.status_code, broke.headers.get("retry-after")) == (429, None)
            assert broke.json()["error"]["code"] == "insufficient_quota"
        assert post(running, "a-wrong-key").status_code == 401


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"share": 1.5}, "share"),
        ({"fail": "503,nonsense"}, "nonsense"),
        ({"fail": "503,"}, "no such fault"),
        ({"fail": "refuse,503"}, "refuse"),
        ({"fail": "refuse", "share": 0.5}, "refuse"),
        ({"silence": -1}, "silence"),
    ],
)
def test_an_impossible_behaviour(wrong: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Behaviour(**wrong)  # type: ignore[arg-type]
