"""Faults of the upstream, and callers who leave: what each side gets to see."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

import openai
import pytest
import requests
from openai import OpenAI

from chatgpt_platform.simulator.server import Behaviour
from support.gateway import KEY, Running, gateway, wait_until

CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
QUICK = {
    "CHATGPT_UPSTREAMS": json.dumps(
        [{"timeouts": {"connect": "2s", "first_byte": "500ms", "idle": "500ms", "total": "20s"}}]
    )
}
NO_ANSWER = {
    "no-answer": 504, "reset": 502, "close": 502, "html": 502, "html-error": 502, "redirect": 502,
    "gzip-bomb": 502, "bad-json": 502, "408": 504,
}  # fmt: skip
BROKEN = ("stall", "reset-mid", "cut-mid", "cut-event", "no-done")
WHOLE = ("split-utf8", "u2028", "comments", "crlf", "no-usage", "silence-after-done")


def platform(running: Running, *, stream: bool) -> requests.Response:
    return requests.post(running.url + "/api", json={"prompt": "hi", "stream": stream}, timeout=30)


def openai_chat(running: Running, *, stream: bool) -> requests.Response:
    return requests.post(running.url + "/v1/chat/completions", json={**CHAT, "stream": stream}, timeout=30)


def received(answer: requests.Response) -> str:
    """All that came, also of an answer that broke off."""
    got = b""
    with contextlib.suppress(requests.exceptions.ChunkedEncodingError):
        for piece in answer.iter_content(None):
            got += piece
    return got.decode()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", [fault for fault in NO_ANSWER if fault != "bad-json"])
def test_an_upstream_without_an_answer(fault: str, stream: bool) -> None:
    with gateway(QUICK, Behaviour(fail=fault)) as running:
        running.expected = ["upstream", "bad_upstream", "answered"]
        status = NO_ANSWER[fault]
        answer = platform(running, stream=stream)
        assert answer.status_code == status
        assert answer.json()["code"] == status
        answer = openai_chat(running, stream=stream)
        assert answer.status_code == (408 if fault == "408" else status)
        assert answer.json()["error"]["message"]
        assert len(running.simulator.seen) == 2, "nothing is sent again"
        assert all(record["error"] for record in running.records())


def test_broken_json_is_502() -> None:
    with gateway(QUICK, Behaviour(fail="bad-json")) as running:
        running.expected = ["bad_upstream"]
        assert platform(running, stream=False).status_code == 502
        assert openai_chat(running, stream=False).status_code == 502


def test_an_upstream_that_refuses_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    once = {"CHATGPT_RETRIES__ATTEMPTS": "1"}
    with gateway({"BASE_URL": f"http://127.0.0.1:{port}/v1", **once}) as running:
        running.expected = ["upstream_unreachable"]
        assert platform(running, stream=False).status_code == 502
        assert openai_chat(running, stream=True).status_code == 502


@pytest.mark.parametrize("fault", BROKEN)
def test_a_stream_that_breaks_off_ends_with_an_error_event(fault: str) -> None:
    with gateway(QUICK, Behaviour(fail=fault, tokens=20)) as running:
        running.expected = ["openai: upstream_"]
        for path, body in (
            ("/api", {"prompt": "hi", "stream": True}),
            ("/v1/chat/completions", {**CHAT, "stream": True}),
        ):
            with requests.post(running.url + path, json=body, stream=True, timeout=30) as answer:
                assert answer.status_code == 200
                got = b""
                with pytest.raises(requests.exceptions.ChunkedEncodingError):
                    for piece in answer.iter_content(None):
                        got += piece
            *events, last, rest = got.decode().split("\n\n")
            assert rest == ""
            assert len(events) >= 1
            assert "[DONE]" not in got.decode()
            for event in events:
                json.loads(event.removeprefix("data: "))
            error = json.loads(last.removeprefix("data: "))
            if path == "/api":
                assert error["msg"] == "failed"
                assert error["code"] in (502, 504)
            else:
                assert error["error"]["message"]
        with (
            OpenAI(base_url=running.url + "/v1", api_key="x", max_retries=0) as made,
            pytest.raises(openai.APIError),
        ):
            list(made.chat.completions.create(**CHAT, stream=True))
        wait_until(lambda: len(running.records()) == 3)
        assert all("upstream" in record["error"] for record in running.records())


@pytest.mark.parametrize("fault", ["stall", "reset-mid", "cut-mid"])
def test_a_body_that_breaks_off_is_an_error(fault: str) -> None:
    with gateway(QUICK, Behaviour(fail=fault, tokens=20)) as running:
        running.expected = ["upstream"]
        assert platform(running, stream=False).status_code in (502, 504)
        assert openai_chat(running, stream=False).status_code in (502, 504)


@pytest.mark.parametrize("fault", WHOLE)
def test_odd_but_whole_streams_arrive_whole(fault: str) -> None:
    with gateway(QUICK, Behaviour(fail=fault, tokens=8)) as running:
        answer = platform(running, stream=True)
        *_, success, done = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
        assert done == "[DONE]"
        text = json.loads(success)["current_response"]
        assert text
        assert "\ufffd" not in text
        with OpenAI(base_url=running.url + "/v1", api_key="x", max_retries=0) as made:
            chunks = made.chat.completions.create(**CHAT, stream=True)
            said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert said == text
        wait_until(lambda: len(running.records()) == 2)
        assert [record["status"] for record in running.records()] == [200, 200]
        assert all(record["completion_tokens"] for record in running.records())


def test_broken_events_on_the_platform_api() -> None:
    for fault in ("bad-json", "bad-utf8", "error-later", "named-error", "flat-error"):
        with gateway(QUICK, Behaviour(fail=fault, tokens=8)) as running:
            running.expected = ["openai: "]
            with requests.post(running.url + "/api", json={"prompt": "x", "stream": True}, stream=True) as answer:
                got = b""
                with pytest.raises(requests.exceptions.ChunkedEncodingError):
                    for piece in answer.iter_content(None):
                        got += piece
            events = [json.loads(event.removeprefix("data: ")) for event in got.decode().split("\n\n") if event]
            assert events[-1]["msg"] == "failed"
            assert all("delta" in event for event in events[:-1])


@pytest.mark.parametrize("stream", [False, True])
def test_no_choices_and_no_content(stream: bool) -> None:
    for fault in ("empty-choices", "null-content"):
        with gateway(QUICK, Behaviour(fail=fault)) as running:
            running.expected = ["no choices"]
            body = {"prompt": "hi", "stream": stream}
            with requests.post(running.url + "/api", json=body, stream=True) as answer:
                shown = received(answer)
            failed = fault == "empty-choices"
            assert answer.status_code == (502 if failed and not stream else 200)
            assert ('"msg":"failed"' in shown) is failed
            assert ('"msg":"success"' in shown) is not failed


def test_an_error_as_the_first_event_becomes_a_real_status() -> None:
    with gateway(QUICK, Behaviour(fail="error-first")) as running:
        running.expected = ["upstream"]
        for answer in (platform(running, stream=True), openai_chat(running, stream=True)):
            assert answer.status_code >= 400
            assert answer.headers["content-type"].startswith("application/json")
        with (
            OpenAI(base_url=running.url + "/v1", api_key="x", max_retries=0) as made,
            pytest.raises(openai.APIStatusError),
        ):
            made.chat.completions.create(**CHAT, stream=True)


def test_a_flat_error_event_becomes_an_error_in_openais_shape() -> None:
    with gateway(QUICK, Behaviour(fail="error-first")) as running:
        running.expected = ["upstream"]
        body = {"model": "gpt-4o-mini", "input": "hi", "stream": True}
        answer = requests.post(running.url + "/v1/responses", json=body)
        assert answer.status_code >= 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_the_log_tells_of_a_flat_error_in_mid_stream() -> None:
    with gateway(QUICK, Behaviour(fail="flat-error", tokens=8)) as running:
        running.expected = ["upstream"]
        assert '"object":"error"' in openai_chat(running, stream=True).text
        assert running.record()["error"] == "the upstream sent an error event"


def test_an_error_event_in_mid_stream_reaches_the_sdk() -> None:
    with (
        gateway(QUICK, Behaviour(fail="error-later", tokens=8)) as running,
        OpenAI(base_url=running.url + "/v1", api_key="x", max_retries=0) as made,
        pytest.raises(openai.APIError),
    ):
        list(made.chat.completions.create(**CHAT, stream=True))


def test_an_echoed_key_is_masked_everywhere() -> None:
    with gateway(QUICK, Behaviour(fail="echo-key")) as running:
        running.expected = ["upstream"]
        for stream in (False, True):
            for path, body in (("/api", {"prompt": "hi"}), ("/v1/chat/completions", CHAT)):
                url, asked = running.url + path, {**body, "stream": stream}
                with requests.post(url, json=asked, stream=True) as answer:
                    shown = received(answer)
                    assert KEY not in shown + str(answer.headers)
                    assert "*" in shown
        assert KEY not in running.output()


def test_the_upstreams_429_on_the_platform_api() -> None:
    for fault, wait in (("429", "7"), ("429-bare", "1")):
        with gateway(behaviour=Behaviour(fail=fault)) as running:
            answer = platform(running, stream=False)
            assert answer.status_code == 429
            assert answer.headers.get("retry-after") == wait


@pytest.mark.parametrize("path", ["/api", "/v1/chat/completions"])
@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
@pytest.mark.parametrize("when", ["before the first byte", "in mid-stream"])
def test_a_client_that_leaves_ends_the_upstream_call(path: str, how: str, when: str) -> None:
    behaviour = (
        Behaviour(latency=30) if when == "before the first byte" else Behaviour(interval=0.02, tokens=10_000)
    )
    with gateway(behaviour=behaviour) as running:
        body = json.dumps({**CHAT, "prompt": "hi", "stream": when == "in mid-stream"}).encode()
        stats = running.simulator.stats
        client = socket.create_connection(("127.0.0.1", running.port))
        client.sendall(
            b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (path.encode(), len(body), body)
        )
        if when == "in mid-stream":
            client.recv(100)
        wait_until(lambda: stats.under_way == 1)
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        if how == "half-close":
            client.shutdown(socket.SHUT_WR)
        else:
            client.close()
        wait_until(lambda: stats.cancelled == 1)
        record = running.record()
        client.close()
        assert stats.under_way == 0
        assert record["status"] == 499
        assert (record["completion_tokens"] is not None) == (when == "in mid-stream")


@pytest.mark.parametrize("path", ["/api", "/v1/chat/completions"])
@pytest.mark.parametrize("how", ["the client leaves", "the gateway stops"])
def test_the_end_while_an_answer_is_awaited_on_an_upstream_connection_of_before(path: str, how: str) -> None:
    with gateway() as running:
        simulator = running.simulator
        assert requests.post(running.url + path, json={**CHAT, "prompt": "hi"}, timeout=10).status_code == 200
        simulator.behaviour = Behaviour(latency=30)
        body = json.dumps({**CHAT, "prompt": "hi"}).encode()
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(
                b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (path.encode(), len(body), body)
            )
            wait_until(lambda: simulator.stats.under_way == 1)
            if how == "the gateway stops":
                running.background.run(running.server.close())
        wait_until(lambda: simulator.stats.cancelled == 1)
        wait_until(lambda: len(running.records()) == 2)
        left = running.records()[1]
        assert left["status"] == 499
        assert left["error"] == (None if how == "the client leaves" else "cut off: the gateway stopped")


def test_a_client_that_does_not_read_slows_the_upstream() -> None:
    with gateway(behaviour=Behaviour(tokens=3_000_000)) as running:
        body = json.dumps({**CHAT, "stream": True}).encode()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", running.port))
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            counts = [-1, running.simulator.stats.tokens]

            def stands_still() -> bool:
                counts.append(running.simulator.stats.tokens)
                return counts[-1] > 0 and len(counts) > 100 and len(set(counts[-50:])) == 1

            wait_until(stands_still, 30)
            assert counts[-1] < 1_000_000
        wait_until(lambda: running.simulator.stats.cancelled == 1)


def test_a_long_line_stays_flat_and_ends_well() -> None:
    resource: Any = pytest.importorskip("resource", reason="Windows tells the peak of memory elsewhere")
    with gateway(behaviour=Behaviour(fail="long-line")) as running:
        running.expected = ["upstream_too_large"]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for stream in (False, True):
            answer = platform(running, stream=stream)
            assert answer.status_code == 502
            with requests.post(
                running.url + "/v1/chat/completions", json={**CHAT, "stream": stream}, stream=True
            ) as passed:
                length = sum(len(piece) for piece in passed.iter_content(1 << 16))
            assert length > 100_000_000
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 200_000, f"{grown} KiB more"


def test_a_healthy_call_after_each_fault() -> None:
    with gateway(QUICK) as running:
        running.expected = ["upstream", "no choices"]
        for fault in (*NO_ANSWER, *BROKEN, *WHOLE):
            running.simulator.behaviour = Behaviour(fail=fault, tokens=3)
            with requests.post(running.url + "/api", json={"prompt": "x"}, timeout=30):
                running.simulator.behaviour = Behaviour()
            assert platform(running, stream=False).status_code == 200
