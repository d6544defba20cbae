"""GET /metrics at the gateway's own port: who may read it, and that it tells of real calls, failed ones too."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
from collections.abc import Mapping

import pytest
import requests

from chatgpt_platform.observe.logs import Logs
from chatgpt_platform.observe.redact import Redactor
from chatgpt_platform.simulator.server import Behaviour
from chatgpt_platform.upstream.breaker import FAILURES
from chatgpt_platform.web import scraping
from support.gateway import KEY, Running, gateway, settings_of, wait_until
from support.scraped import Scraped, alert_expressions, dashboard_expressions

ALLOW = "CHATGPT_METRICS__ALLOW"
OPEN = {ALLOW: "127.0.0.1"}
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two three"}]}


def get(running: Running, headers: Mapping[str, str] | None = None) -> requests.Response:
    return requests.get(running.url + "/metrics", headers=headers, timeout=10)


def scraped(running: Running) -> Scraped:
    answer = get(running)
    assert answer.status_code == 200
    return Scraped(answer.text)


def ask(running: Running, **members: object) -> requests.Response:
    return requests.post(running.url + "/v1/chat/completions", json={**CHAT, **members}, timeout=10)


def test_it_is_nowhere_while_nobody_may_read_it() -> None:
    with gateway() as running:
        nowhere = requests.get(running.url + "/nowhere", timeout=10).json()
        answer = get(running)
        assert answer.status_code == 404
        assert answer.json() == {**nowhere, "data": {"response": "There is nothing at /metrics."}}
        assert not running.service.scraping.wanted


def test_others_are_refused_in_the_usual_shape() -> None:
    with gateway({ALLOW: "192.0.2.0/24,2001:db8::/32", "CHATGPT_SERVER__TRUSTED_PROXIES": "127.0.0.1"}) as running:
        answer = get(running)
        assert answer.status_code == 403
        assert answer.json()["code"] == 403
        for forwarded, status in (("192.0.2.9", 200), ("2001:db8::1", 200), ("198.51.100.1", 403), ("junk", 403)):
            assert get(running, {"X-Forwarded-For": forwarded}).status_code == status, forwarded


def test_who_may_call_does_not_matter_to_it() -> None:
    with gateway({**OPEN, "CHATGPT_ACCESS__DENY": "127.0.0.1"}) as running:
        assert ask(running).status_code == 403
        assert scraped(running).value("chatgpt_calls_total", status="403") == 1
    with gateway({ALLOW: "192.0.2.1", "CHATGPT_ACCESS__ALLOW": "127.0.0.1"}) as running:
        assert get(running).status_code == 403


def test_methods() -> None:
    with gateway(OPEN) as running:
        whole = get(running)
        head = requests.head(running.url + "/metrics", timeout=10)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
        assert int(head.headers["content-length"]) > 5000
        for method in ("POST", "PUT", "OPTIONS", "FOO"):
            refused = requests.request(method, running.url + "/metrics", data=b"x" * 1000, timeout=10)
            assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD"), method
            assert refused.json()["code"] == 405


def test_no_page_of_another_origin_may_read_it() -> None:
    with gateway({**OPEN, "CHATGPT_SERVER__CORS": "*"}) as running:
        asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "GET"}
        assert requests.options(running.url + "/metrics", headers=asked, timeout=10).status_code == 405


def test_it_counts_against_no_limit() -> None:
    with gateway({**OPEN, "DAY_LIMIT": "1"}) as running:
        for _ in range(3):
            assert get(running).status_code == 200
            assert requests.post(running.url + "/metrics", timeout=10).status_code == 405
        assert ask(running).status_code == 200
        assert ask(running).status_code == 429
        told = scraped(running)
        assert told.value("chatgpt_limiter_decisions_total", decision="admitted") == 1
        assert told.value("chatgpt_limiter_decisions_total", decision="denied") == 1
        assert told.value("chatgpt_limiter_clients") == 1


def test_openmetrics() -> None:
    with gateway(OPEN) as running:
        assert get(running).headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        wanted = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        answer = get(running, {"Accept": wanted})
        assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert answer.text.endswith("# EOF\n")


def test_calls_are_told_as_they_ended() -> None:
    with gateway({**OPEN, "MINUTE_LIMIT": "6"}) as running:
        told = scraped(running)
        assert told.value("chatgpt_calls_total") == 0, "itself not among them"
        assert told.value("chatgpt_call_duration_seconds_count") == 0
        assert requests.get(running.url + "/chatgpt", params={"prompt": "x"}, timeout=10).status_code == 200
        whole, streamed = ask(running), ask(running, stream=True)
        events = streamed.text.count("data: ")
        assert ask(running, stream=1).status_code == 400
        assert requests.get(running.url + "/v1/models/x", timeout=10).status_code in (200, 404)
        for path in ("/nowhere", "/v1/nowhere", "/healthz"):
            requests.get(running.url + path, timeout=10)
        told = scraped(running)
        name = "chatgpt_calls_total"
        assert told.value(name, api="platform", endpoint="chatgpt", upstream="openai", status="200") == 1
        assert told.value(name, api="openai", endpoint="chat/completions", upstream="openai", status="200") == 2
        assert told.value(name, endpoint="chat/completions", upstream="", status="400") == 1
        assert told.value(name, endpoint="models", upstream="openai") == 1
        assert told.value(name, api="platform", endpoint="unknown", status="404") == 1
        assert told.value(name, api="openai", endpoint="unknown", status="404") == 1
        assert told.value(name, api="gateway", endpoint="healthz", status="200") == 1
        assert told.value(name, api="gateway", endpoint="metrics", status="200") == 1, "the first one"
        assert told.value("chatgpt_call_duration_seconds_count", api="openai") == 5
        assert told.value("chatgpt_time_to_first_byte_seconds_count", upstream="openai") >= 3
        assert told.value("chatgpt_stream_events_total") == events
        usage = whole.json()["usage"]
        tokens = "chatgpt_tokens_total"
        assert told.value(tokens, upstream="openai", kind="prompt") == 2 * usage["prompt_tokens"] + 1, (
            "of /chatgpt"
        )
        assert told.value(tokens, upstream="openai", kind="completion") > 2 * usage["completion_tokens"]
        assert told.value("chatgpt_calls_under_way") == 0


def test_a_call_under_way_is_told_and_gone_when_its_client_leaves() -> None:
    with gateway(OPEN, Behaviour(latency=30)) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"GET /chatgpt?prompt=x HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda: running.simulator.stats.under_way == 1)
            told = scraped(running)
            assert told.value("chatgpt_calls_under_way") == 1
            assert told.value("chatgpt_upstream_calls_under_way", upstream="openai") == 1
            assert told.value("chatgpt_open_connections", side="upstream", upstream="openai") == 1
            if not running.way.is_stock:
                assert told.value("chatgpt_open_connections", side="client") >= 2
        wait_until(lambda: scraped(running).value("chatgpt_clients_left_total") == 1)
        wait_until(lambda: scraped(running).value("chatgpt_open_connections", side="upstream") == 0)
        told = scraped(running)
        assert told.value("chatgpt_calls_total", endpoint="chatgpt", status="499") == 1
        assert told.value("chatgpt_calls_under_way") == 0
        assert told.value("chatgpt_upstream_calls_under_way") == 0


def test_no_request_is_left_under_way_whatever_it_was() -> None:
    requests_ = [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /chatgpt HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /api HTTP/1.1\r\n\r\n",
        b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{",
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n",
        b"FOO /v1/x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 3,
    ]
    with gateway(OPEN) as running:
        for request in requests_:
            with socket.create_connection(("127.0.0.1", running.port), timeout=10) as client:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    while client.recv(65536):
                        pass
        wait_until(lambda: scraped(running).value("chatgpt_calls_under_way") == 0)


@pytest.mark.parametrize("fault", ["401", "500", "reset", "cut-mid"])
def test_failures_are_told(fault: str) -> None:
    with gateway(OPEN, Behaviour(fail=fault)) as running:
        running.expected = ["openai", "upstream", "127.0.0.1"]
        status = ask(running).status_code
        told = scraped(running)
        assert told.value("chatgpt_calls_total", upstream="openai", status=str(status)) == 1
        assert told.value("chatgpt_key_state", key="1") == (2 if fault == "401" else 0)
        assert KEY not in get(running).text


def test_streams_that_end_with_an_error_are_told_though_their_status_is_200() -> None:
    with gateway({**OPEN, "CHATGPT_SERVER__HEARTBEAT": "100ms"}, Behaviour(fail="cut-mid")) as running:
        running.expected = ["upstream_broke_off", "upstream_failed"]
        asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        for behaviour in (Behaviour(fail="cut-mid"), Behaviour(fail="html-error", latency=0.3), Behaviour()):
            running.simulator.behaviour = behaviour
            with contextlib.suppress(requests.exceptions.ChunkedEncodingError):
                answer = requests.post(running.url + "/v1/chat/completions", json=asked, timeout=20)
                assert answer.status_code == 200
        wait_until(lambda: len(running.records()) == 3)
        told = scraped(running)
        assert told.value("chatgpt_answers_broken_total", upstream="openai") == 2
        assert told.value("chatgpt_calls_total", upstream="openai", status="200") == 3


def test_calls_that_are_sent_again_are_told() -> None:
    with gateway({**OPEN, "CHATGPT_RETRIES__ATTEMPTS": "3"}, Behaviour(fail="503-bare")) as running:
        running.expected = ["openai", "upstream"]
        assert ask(running).status_code == 503
        told = scraped(running)
        assert told.value("chatgpt_retries_total", upstream="openai", reason="503") == 2
        assert told.value("chatgpt_retries_total") == 2
        assert told.value("chatgpt_breaker_state", upstream="openai") == 0
        for _ in range(FAILURES):
            assert ask(running).status_code == 503
        assert scraped(running).value("chatgpt_breaker_state", upstream="openai") == 2


def test_a_key_that_rests_is_told() -> None:
    with gateway(OPEN, Behaviour(fail="429")) as running:
        assert ask(running).status_code == 429
        assert scraped(running).value("chatgpt_key_state", upstream="openai", key="1") == 1


@pytest.mark.parametrize(("queue", "reason"), [("1", "queue"), ("4", "client")])
def test_calls_that_wait_and_those_that_are_turned_away_are_told(queue: str, reason: str) -> None:
    full = {"CHATGPT_LOAD__CALLS": "1", "CHATGPT_LOAD__QUEUE": queue, "CHATGPT_LOAD__WAIT": "30s"}
    with gateway({**OPEN, **full}, Behaviour(latency=30)) as running, contextlib.ExitStack() as stack:

        def begin() -> None:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            client.sendall(b"GET /chatgpt?prompt=x HTTP/1.1\r\nHost: x\r\n\r\n")

        begin()
        wait_until(lambda: scraped(running).value("chatgpt_calls_under_way") == 1)
        begin()
        wait_until(lambda: scraped(running).value("chatgpt_calls_waiting") == 1)
        assert ask(running).status_code == 503
        told = scraped(running)
        assert told.value("chatgpt_shed_total", reason=reason) == told.value("chatgpt_shed_total") == 1
        assert told.value("chatgpt_calls_under_way") == 1


def test_each_upstream_is_told() -> None:
    both = [
        {"name": "one", "base_url": "http://127.0.0.1:9/v1", "api_keys": ["test-key-1"], "models": ["a"]},
        {"name": "two", "base_url": "http://127.0.0.1:9/v1", "api_keys": ["test-key-2", "test-key-3"]},
    ]
    with gateway() as running:

        async def apply() -> None:
            given = {**OPEN, "CHATGPT_UPSTREAMS": json.dumps(both)}
            running.service.apply(settings_of(given), running.logs)
            running.server.rebuild()

        running.background.run(apply())
        running.expected = ["unreachable", "127.0.0.1:9", "two"]
        assert ask(running).status_code in (502, 503)
        told = scraped(running)
        assert told.value("chatgpt_calls_total", upstream="two") == 1
        assert told.value("chatgpt_retries_total", upstream="two", reason="unsent") >= 1
        keys = [(labels["upstream"], labels["key"]) for labels, _ in told.samples["chatgpt_key_state"]]
        assert keys == [("one", "1"), ("two", "1"), ("two", "2")]
        assert "test-key" not in get(running).text


def test_it_is_answered_while_the_gateway_drains() -> None:
    with gateway(OPEN, Behaviour(tokens=10_000, interval=0.01)) as running:
        with (
            socket.create_connection(("127.0.0.1", running.port), timeout=20) as busy,
            socket.create_connection(("127.0.0.1", running.port), timeout=20) as idle,
        ):
            busy.sendall(b"GET /chatgpt?prompt=x&stream=true HTTP/1.1\r\nHost: x\r\n\r\n")
            assert busy.recv(1)
            draining = asyncio.run_coroutine_threadsafe(running.server.drain(10), running.background._loop)
            assert idle.recv(1) == b"", "it has begun"
            assert scraped(running).value("chatgpt_calls_under_way") == 1
        assert draining.result(10) == 0


def test_a_reload_opens_it_and_closes_it() -> None:
    with gateway() as running:

        def reload(**more: str) -> None:
            async def apply() -> None:
                running.service.apply(settings_of({**running.environment, **more}), running.logs)
                running.server.rebuild()

            running.background.run(apply())

        assert ask(running).status_code == 200
        assert get(running).status_code == 404
        name = "chatgpt_calls_total"
        reload(**OPEN)
        assert scraped(running).value(name, endpoint="chat/completions") == 0, "counted from now on"
        assert ask(running).status_code == 200
        assert scraped(running).value(name, endpoint="chat/completions") == 1
        reload(**{ALLOW: "192.0.2.1"})
        assert get(running).status_code == 403
        reload()
        assert get(running).status_code == 404
        reload(**OPEN)
        assert scraped(running).value(name, endpoint="chat/completions") == 1, "as before"


def test_log_lines_that_were_lost_stay_counted_after_a_reload() -> None:
    with gateway(OPEN) as running:
        former = running.logs
        former._console._buffer.lost = 3

        async def apply() -> None:
            running.logs = Logs("", "info", 0, 0, Redactor([KEY]), io.StringIO())
            running.service.apply(settings_of(running.environment), running.logs)
            running.server.rebuild()
            former.close()

        lost = "chatgpt_log_lines_lost_total"
        assert scraped(running).value(lost) == 3
        running.background.run(apply())
        assert scraped(running).value(lost) == 3
        running.logs._console._buffer.lost = 4
        assert scraped(running).value(lost) == 7


def test_a_library_that_cannot_be_loaded_is_a_500_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ImportError("no such module")

    with gateway(OPEN) as running:
        running.expected = ["a fault of this gateway: ImportError: no such module"]
        with monkeypatch.context() as patch:
            patch.setattr(scraping, "_exposition", missing)
            answer = get(running)
            assert (answer.status_code, answer.json()["code"]) == (500, 500)
            assert "module" not in answer.text
        assert scraped(running).value("chatgpt_calls_total", endpoint="metrics", status="500") == 1


def test_the_first_scrapes_wait_for_the_library_together() -> None:
    with gateway(OPEN) as running, contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=10))
            for _ in range(5)
        ]
        for client in clients:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        clients.pop().close()
        assert [client.recv(12) for client in clients] == [b"HTTP/1.1 200"] * 4
        assert scraped(running).value("chatgpt_calls_under_way") == 0


def test_the_lag_of_the_loop_is_measured() -> None:
    with gateway(OPEN) as running:
        counted = "chatgpt_event_loop_lag_seconds_count"
        wait_until(lambda: scraped(running).value(counted) >= 1)
        assert "measure the event loop's lag" in names_of_tasks(running)
    with gateway() as running:
        assert "measure the event loop's lag" not in names_of_tasks(running)


def names_of_tasks(running: Running) -> set[str]:
    async def names() -> set[str]:
        return {task.get_name() for task in asyncio.all_tasks()}

    return running.background.run(names())


@pytest.mark.skipif("sys.platform == 'win32'", reason="a process tells nothing of itself there")
def test_dashboard_and_alerts_ask_for_what_is_there() -> None:
    """Every name and label of their expressions, against a gateway that has answered, failed and been left."""
    with gateway({**OPEN, "MINUTE_LIMIT": "1"}) as running:
        requests.get(running.url + "/chatgpt", params={"prompt": "x", "stream": "true"}, timeout=10)
        assert ask(running).status_code == 429
        unreachable = settings_of(
            {**running.environment, "BASE_URL": "http://127.0.0.1:9/v1", "MINUTE_LIMIT": "9"}
        )

        async def apply() -> None:
            running.service.apply(unreachable, running.logs)
            running.server.rebuild()

        running.background.run(apply())
        running.expected = ["unreachable", "127.0.0.1:9"]
        assert ask(running).status_code in (502, 503)
        told = scraped(running)
        expressions = dashboard_expressions() + alert_expressions()
        assert len(expressions) > 40
        lacking = {each: told.lacks(each) for each in expressions if told.lacks(each)}
        assert lacking == {}
        assert told.lacks('rate(chatgpt_nothing{a="b"}[5m])') == ["chatgpt_nothing", "chatgpt_nothing: a"]
        assert told.lacks('chatgpt_open_connections{side="x"}') == ["chatgpt_open_connections: side = x"]
