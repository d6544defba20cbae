"""Limits and addresses, counted from outside."""

from __future__ import annotations

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

import pytest
import requests

from chatgpt_platform.simulator.server import Behaviour
from support.gateway import gateway, wait_until

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


def test_under_concurrency_exactly_the_allowed_number_pass() -> None:
    with gateway({"DAY_LIMIT": "7"}, Behaviour(latency=0.05)) as running, ThreadPoolExecutor(60) as pool:

        def ask(number: int) -> int:
            if number % 2:
                return requests.post(running.url + "/v1/chat/completions", json=CHAT).status_code
            return requests.get(running.url + "/chatgpt", params={"prompt": "x"}).status_code

        codes = list(pool.map(ask, range(60)))
        assert sorted(codes) == [200] * 7 + [429] * 53
        assert running.simulator.stats.served == 7


def test_a_denied_call_says_when_and_the_retry_succeeds() -> None:
    with gateway({"SECOND_LIMIT": "1"}) as running:
        url = running.url + "/chatgpt"
        first = requests.get(url, params={"prompt": "x"})
        denied = requests.get(url, params={"prompt": "x"})
        assert first.headers["ratelimit-policy"] == '"second";q=1;w=1'
        assert first.headers["ratelimit"] == '"second";r=0;t=1'
        assert denied.status_code == 429
        assert denied.json()["code"] == 429
        wait = int(denied.headers["retry-after"])
        assert wait == 1
        time.sleep(wait)  # the promise of Retry-After is about time itself
        assert requests.get(url, params={"prompt": "x"}).status_code == 200


def test_all_windows_or_none() -> None:
    with gateway({"MINUTE_LIMIT": "2", "HOUR_LIMIT": "50"}) as running:
        url = running.url + "/chatgpt"
        answers = [requests.get(url, params={"prompt": "x"}) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429, 429]
        assert re.fullmatch(r'"minute";r=0;t=\d+, "hour";r=48;t=\d+', answers[-1].headers["ratelimit"])
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 30


def test_every_call_counts_whatever_its_outcome() -> None:
    with gateway({"DAY_LIMIT": "100"}) as running:
        api, v1 = running.url + "/api", running.url + "/v1/chat/completions"
        counted = [
            requests.get(running.url + "/chatgpt"),  # 400: no prompt
            requests.post(api, data=b"{", headers={"Content-Type": "application/json"}),
            requests.post(api, data=b"x", headers={"Content-Type": "text/plain"}),  # 415, before the body
            requests.get(running.url + "/chatgpt", params={"prompt": "x"}, headers={"ApiKey": "a b"}),  # 401
            requests.post(v1, json={"model": "unknown-model", "messages": CHAT["messages"]}),  # the upstream's 404
            requests.post(v1, json=[]),
        ]
        left = [re.search(r"r=(\d+)", answer.headers["ratelimit"]) for answer in counted]
        assert [answer.status_code for answer in counted] == [400, 400, 415, 401, 404, 400]
        assert [match and int(match[1]) for match in left] == [99, 98, 97, 96, 95, 94]
        for path in ("/v1/models", "/v1/models/gpt-4o", "/healthz", "/readyz", "/nowhere"):
            assert "ratelimit" not in requests.get(running.url + path).headers
        for path in ("/v1/models", "/v1/nowhere"):  # each POST under /v1 counts
            assert "ratelimit" in requests.post(running.url + path).headers
        assert requests.delete(running.url + "/chatgpt").status_code == 405
        last = requests.get(running.url + "/chatgpt", params={"prompt": "x"})
        assert "r=90;" in last.headers["ratelimit"]


def test_a_denied_call_never_invites_its_body() -> None:
    with gateway({"DAY_LIMIT": "1"}) as running:
        requests.get(running.url + "/chatgpt", params={"prompt": "x"})
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(
                b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n"
            )
            assert client.recv(65536).startswith(b"HTTP/1.1 429 ")


def test_forged_forwarding_headers_change_nothing() -> None:
    with gateway({"DAY_LIMIT": "3"}) as running:
        names = (
            "X-Forwarded-For",
            "X-Real-IP",
            "Forwarded",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Client-IP",
        )
        codes = [
            requests.get(
                running.url + "/chatgpt",
                params={"prompt": "x"},
                headers=dict.fromkeys(names, f"10.0.0.{number}"),
            ).status_code
            for number in range(6)
        ]
        assert codes == [200] * 3 + [429] * 3
        assert {record["client"] for record in running.records()} == {"127.0.0.1"}


def test_behind_a_trusted_proxy_each_client_has_its_own_limits() -> None:
    with gateway({"DAY_LIMIT": "1", "CHATGPT_SERVER__TRUSTED_PROXIES": "127.0.0.0/8"}) as running:

        def ask(forwarded: str) -> int:
            headers = {"X-Forwarded-For": forwarded}
            return requests.get(running.url + "/chatgpt", params={"prompt": "x"}, headers=headers).status_code

        assert ask("203.0.113.1") == 200
        assert ask("198.51.100.7, 203.0.113.1") == 429, (
            "what the client wrote before the proxy's entry is not believed"
        )
        assert ask("203.0.113.2") == 200
        assert ask("2001:db8::1") == 200
        assert ask("2001:db8::ffff:1") == 429, "one /64 is one client"
        assert ask("2001:db8:0:1::1") == 200
        assert ask("::ffff:203.0.113.2") == 429
        assert ask("junk") == 200, "falls back to the proxy"
        assert ask("other junk") == 429


def test_denied_addresses_get_403_and_no_token_is_taken() -> None:
    environment = {
        "DAY_LIMIT": "1",
        "CHATGPT_SERVER__TRUSTED_PROXIES": "127.0.0.1",
        "CHATGPT_ACCESS__ALLOW": "203.0.113.0/24",
        "CHATGPT_ACCESS__DENY": "203.0.113.66",
    }
    with gateway(environment) as running:

        def ask(address: str, path: str = "/chatgpt?prompt=x") -> requests.Response:
            return requests.get(running.url + path, headers={"X-Forwarded-For": address})

        assert ask("198.51.100.1").status_code == 403
        assert ask("198.51.100.1", "/v1/models").json()["error"]["code"] == "address_not_allowed"
        assert ask("198.51.100.1", "/nowhere").status_code == 403
        assert ask("203.0.113.66").status_code == 403
        assert ask("198.51.100.1", "/healthz").status_code == 200
        assert ask("203.0.113.5").status_code == 200
        assert running.simulator.stats.served == 1


def test_caller_keys_auto_true_and_false() -> None:
    own = {"ApiKey": "test-key-own"}
    bearer = {"Authorization": "Bearer test-key-own"}
    table = [
        # caller_keys, path, headers, the key that pays
        ("auto", "/chatgpt", own, "test-key-own"),
        ("auto", "/chatgpt", bearer, "test-key-1"),
        ("auto", "/v1/chat/completions", bearer, "test-key-1"),
        ("true", "/chatgpt", bearer, "test-key-own"),
        ("true", "/v1/chat/completions", bearer, "test-key-own"),
        ("true", "/v1/chat/completions", {}, "test-key-1"),
        ("false", "/chatgpt", own, "test-key-1"),
        ("false", "/v1/chat/completions", bearer, "test-key-1"),
    ]
    for mode in ("auto", "true", "false"):
        with gateway({"CHATGPT_ACCESS__CALLER_KEYS": mode}) as running:
            for _, path, headers, key in (row for row in table if row[0] == mode):
                body = CHAT if path.startswith("/v1") else {"prompt": "x"}
                answer = requests.post(running.url + path, json=body, headers=headers)
                assert answer.status_code == 200
                assert running.simulator.seen[-1].headers["Authorization"] == f"Bearer {key}"


def test_newcomers_share_one_client_when_all_others_are_drained() -> None:
    environment = {
        "DAY_LIMIT": "1",
        "CHATGPT_LIMITS__MAX_CLIENTS": "2",
        "CHATGPT_SERVER__TRUSTED_PROXIES": "127.0.0.1",
    }
    with gateway(environment) as running:
        running.expected = ["limits.max_clients"]

        def ask(address: str) -> int:
            headers = {"X-Forwarded-For": address}
            return requests.get(running.url + "/chatgpt", params={"prompt": "x"}, headers=headers).status_code

        assert [ask(f"203.0.113.{number}") for number in (1, 2, 3, 4, 1, 2)] == [200, 200, 200, 429, 429, 429]
        assert "limits.max_clients" in running.output()


@pytest.mark.parametrize("path", ["/chatgpt", "/v1/chat/completions"])
def test_pages_of_named_origins_may_call(path: str) -> None:
    with gateway({"CHATGPT_SERVER__CORS": "https://school.example"}) as running:
        url = running.url + path
        asked = {"Origin": "https://school.example", "Access-Control-Request-Method": "POST"}
        preflight = requests.options(url, headers={**asked, "Access-Control-Request-Headers": "content-type"})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://school.example"
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert preflight.headers["access-control-allow-headers"] == "content-type"
        answer = requests.post(url, json={**CHAT, "prompt": "x"}, headers={"Origin": "https://school.example"})
        assert answer.headers["access-control-allow-origin"] == "https://school.example"
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
        other = requests.options(url, headers={**asked, "Origin": "https://evil.example"})
        assert other.status_code == 405
        assert "access-control-allow-origin" not in other.headers
        wait_until(lambda: len(running.records()) == 3)


def test_each_call_of_a_connection_is_its_own_callers() -> None:
    """Though the same head is read once only, and pipelined calls wait for each other."""
    environment = {
        "DAY_LIMIT": "2",
        "CHATGPT_SERVER__TRUSTED_PROXIES": "127.0.0.1",
        "CHATGPT_ACCESS__DENY": "198.51.100.3",
    }
    with gateway(environment) as running:
        calls = [(number, "x" * number) for number in (1, 1, 2, 3, 1, 22, 2, 2)]
        requests_of = [call_of(f"198.51.100.{number}", text) for number, text in calls]
        pipelined = b"".join(requests_of[:4])
        with (
            socket.create_connection(("127.0.0.1", running.port), timeout=20) as client,
            client.makefile("rb") as reader,
        ):
            client.sendall(pipelined)
            statuses = [answer_of(reader) for _ in range(4)]
            for request in requests_of[4:]:
                client.sendall(request)
                statuses.append(answer_of(reader))
        assert statuses == [200, 200, 200, 403, 429, 200, 200, 429]
        wait_until(lambda: len(running.records()) == len(calls))
        assert [record["client"] for record in running.records()] == [
            f"198.51.100.{number}" for number, _ in calls
        ]
        asked = [json.loads(seen.body)["messages"][0]["content"] for seen in running.simulator.seen]
        assert asked == [text for (_, text), status in zip(calls, statuses, strict=True) if status == 200]


def test_what_a_proxy_says_in_a_line_of_its_own_counts_each_time() -> None:
    """Also of a head that came before, and differs in the line that the caller wrote only."""
    environment = {"DAY_LIMIT": "2", "CHATGPT_SERVER__TRUSTED_PROXIES": "127.0.0.1"}
    with gateway(environment) as running, socket.create_connection(("127.0.0.1", running.port)) as client:
        reader = client.makefile("rb")
        statuses = []
        for number in range(4):
            forged = call_of(f"9.9.9.{number}\r\nX-Forwarded-For: [2001:db8::1]:443", "hi")
            client.sendall(forged)
            statuses.append(answer_of(reader))
        assert statuses == [200, 200, 429, 429]
        wait_until(lambda: len(running.records()) == 4)
        assert {record["client"] for record in running.records()} == {"2001:db8::1"}


def call_of(address: str, text: str) -> bytes:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"X-Forwarded-For: %b\r\nContent-Length: %d\r\n\r\n%b" % (address.encode(), len(body), body)
    )


def answer_of(reader: BinaryIO) -> int:
    """The status of the next answer, which is read to its end."""
    status = int(reader.readline().split()[1])
    length = 0
    while line := reader.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    reader.read(length)
    return status
