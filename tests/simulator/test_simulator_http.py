"""The simulator on the wire: who leaves, what is counted, what is remembered, how much it holds."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable

import pytest
import requests

from chatgpt_platform.simulator.server import Behaviour, Simulator
from support.background import Background
from support.simulated import CHAT, HEADERS, request_bytes, simulated

STREAMS = 500


def wait_until(condition: Callable[[], bool]) -> None:
    """Polls for what no event tells; the deadline only guards against hanging."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def leave(connection: socket.socket, how: str) -> None:
    if how == "half-close":
        connection.shutdown(socket.SHUT_WR)
    else:
        connection.close()


@pytest.mark.parametrize("how", ["close", "half-close"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_who_leaves_before_the_first_byte(how: str, stream: bool) -> None:
    with simulated(Behaviour(latency=600)) as running, running.ask(stream=stream) as connection:
        stats = running.simulator.stats
        wait_until(lambda: stats.under_way == 1)
        leave(connection, how)
        wait_until(lambda: (stats.cancelled, stats.under_way) == (1, 0))
        assert (stats.served, stats.tokens) == (0, 0)


@pytest.mark.parametrize("how", ["close", "half-close"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_who_leaves_in_mid_answer_stops_the_generation(how: str, stream: bool) -> None:
    with simulated(Behaviour(interval=0.005, tokens=500_000)) as running, running.ask(stream=stream) as connection:
        stats = running.simulator.stats
        wait_until(lambda: stats.tokens > 5)
        leave(connection, how)
        wait_until(lambda: (stats.cancelled, stats.under_way) == (1, 0))
        wait_until(lambda: not running.simulator.under_way)  # no task is left that could generate
        assert stats.served == 0
        assert stats.tokens < 500_000


@pytest.mark.parametrize("fault", ["no-answer", "stall"])
def test_a_caller_who_gives_up_on_silence(fault: str) -> None:
    with simulated(Behaviour(fail=fault)) as running, running.ask(stream=True) as connection:
        stats = running.simulator.stats
        wait_until(lambda: stats.under_way == 1)
        connection.close()
        wait_until(lambda: (stats.cancelled, stats.under_way) == (1, 0))


def test_a_caller_who_does_not_read_slows_the_generation() -> None:
    with simulated(Behaviour(tokens=1_000_000)) as running, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", running.port))
        connection.sendall(request_bytes("/v1/chat/completions", {**CHAT, "stream": True}))
        counts = [-1] * 50

        def stands_still() -> bool:
            counts.append(running.simulator.stats.tokens)
            return counts[-1] > 0 and len(set(counts[-50:])) == 1

        wait_until(stands_still)
        assert counts[-1] < 500_000


def test_the_counts() -> None:
    with simulated(Behaviour(tokens=5)) as running:
        for _ in range(2):
            assert requests.post(running.base_url + "/chat/completions", json=CHAT, headers=HEADERS).ok
        assert not requests.post(running.base_url + "/chat/completions", json=CHAT).ok
        counts = requests.get(running.url + "/stats").json()
        assert counts == {
            "calls": 3, "served": 3, "under_way": 0, "cancelled": 0, "tokens": 10, "prompt_tokens": 2,
            "completion_tokens": 10,
        }  # fmt: skip
        assert requests.get(running.url + "/healthz").status_code == 200


def test_what_a_fault_breaks_off_is_neither_served_nor_cancelled() -> None:
    with simulated(Behaviour(fail="cut-mid")) as running:
        with running.ask() as connection:
            while connection.recv(1 << 16):
                pass
        stats = running.simulator.stats
        assert (stats.served, stats.under_way, stats.cancelled) == (0, 0, 0)


def test_the_last_requests_are_remembered() -> None:
    with simulated() as running:
        seen = running.simulator.seen
        requests.post(running.base_url + "/moderations?a=b", json={"input": "a wish"}, headers=HEADERS)
        assert (seen[-1].method, seen[-1].path) == ("POST", "/v1/moderations")
        assert seen[-1].headers["authorization"] == seen[-1].headers["Authorization"] == "Bearer test-key-1"
        assert json.loads(seen[-1].body) == {"input": "a wish"}
        assert "test-key-1" not in repr(seen[-1])
        with requests.Session() as session:
            for _ in range(60):
                session.get(running.base_url + "/models", headers=HEADERS)
        assert len(seen) == 50


def test_keep_alive_and_the_headers_of_openai() -> None:
    with simulated(Behaviour(tokens=3)) as running, running.connect() as connection:
        reader = connection.makefile("rb")
        for stream in (False, True, False):
            connection.sendall(request_bytes("/v1/chat/completions", {**CHAT, "stream": stream}))
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            head: dict[str, str] = {}
            while (line := reader.readline()) != b"\r\n":
                name, _, value = line.decode().partition(":")
                head[name.lower()] = value.strip()
            assert head["x-request-id"].startswith("req_")
            assert head["openai-processing-ms"].isdigit()
            assert {"openai-version", "x-ratelimit-limit-requests"} <= head.keys()
            if stream:
                assert head["content-type"].startswith("text/event-stream")
                chunks = 0
                while size := int(reader.readline(), 16):
                    assert reader.read(size + 2).endswith(b"\n\n\r\n"), "an event is a chunk"
                    chunks += 1
                reader.readline()
                assert chunks == 1 + 3 + 1 + 1
            else:
                reader.read(int(head["content-length"]))


def test_each_event_is_sent_at_once() -> None:
    with simulated(Behaviour(interval=600)) as running, running.ask(stream=True) as connection:
        got = b""
        while b'"content":"Hello!"' not in got:
            got += connection.recv(1 << 16)
        assert running.simulator.stats.tokens == 1


def test_a_behaviour_can_be_replaced() -> None:
    with simulated() as running:
        url = running.base_url + "/chat/completions"
        assert requests.post(url, json=CHAT, headers=HEADERS).ok
        running.simulator.behaviour = Behaviour(fail="500")
        assert requests.post(url, json=CHAT, headers=HEADERS).status_code == 500
        assert requests.get(running.base_url + "/models", headers=HEADERS).ok, "faults are for POST"


@pytest.mark.parametrize("wrong", [{"fail": "nonsense"}, {"latency": -1}, {"tokens": -1}])
def test_an_impossible_behaviour(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"nonsense|negative"):
        Behaviour(**wrong)  # type: ignore[arg-type]


def test_many_streams_at_once() -> None:
    with simulated(Behaviour(interval=600)) as running:
        stats = running.simulator.stats

        async def hold() -> None:
            opened = await asyncio.gather(
                *(asyncio.open_connection("127.0.0.1", running.port) for _ in range(STREAMS))
            )
            for _, writer in opened:
                writer.write(request_bytes("/v1/chat/completions", {**CHAT, "stream": True}))
            for reader, _ in opened:
                await reader.readuntil(b"Hello!")
            assert stats.under_way == STREAMS
            for _, writer in opened:
                writer.close()
                await writer.wait_closed()

        asyncio.run(hold())
        wait_until(lambda: (stats.cancelled, stats.under_way) == (STREAMS, 0))


def test_stopping_ends_what_is_under_way() -> None:
    with (
        simulated(Behaviour(fail="silence-after-done")) as running,
        running.ask(stream=True) as streamed,
        running.ask(stream=False) as plain,
    ):
        wait_until(lambda: running.simulator.stats.served == 2)
        running.background.run(running.simulator.stop())
        for connection in (streamed, plain):
            while connection.recv(1 << 16):
                pass


def test_a_port_in_use() -> None:
    async def listen(simulator: Simulator, port: int) -> int:
        return simulator.listen(port)

    with simulated() as running, pytest.raises(OSError, match=str(running.port) + "|in use|only one usage"):
        running.background.run(listen(Simulator(), running.port))


def test_a_lost_task_fails_the_background() -> None:
    async def lose() -> asyncio.Task[None]:
        return asyncio.create_task(asyncio.sleep(600), name="the lost one")

    def use() -> None:
        with Background() as background:
            background.run(lose())

    with pytest.raises(AssertionError, match="the lost one"):
        use()


def test_the_background_passes_on_results_and_errors() -> None:
    async def fail() -> None:
        raise LookupError("not here")

    with Background() as background:
        assert background.run(asyncio.sleep(0, "done")) == "done"
        with pytest.raises(LookupError, match="not here"):
            background.run(fail())
        with pytest.raises(TimeoutError):
            background.run(asyncio.sleep(600), timeout=0.01)


def test_paths_and_methods() -> None:
    with simulated() as running:
        base = running.base_url
        assert requests.get(running.url + "/nowhere").json()["error"]["message"].startswith("Invalid URL")
        wrong = requests.get(base + "/chat/completions", headers=HEADERS)
        assert wrong.status_code == 405
        assert wrong.json()["error"]["code"] == "method_not_supported"
        assert requests.post(base + "/models", headers=HEADERS).status_code == 405
        assert requests.get(base + "/models").status_code == 401
