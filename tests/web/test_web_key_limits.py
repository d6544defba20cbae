"""How often, and how many at a time: the limits of keys beside those of addresses, all taken together or none."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from chatgpt_platform.simulator.server import Behaviour
from support.fleet import PATHS, SHAPE_NAMES, SHAPES, Outcome, ask, call
from support.gateway import gateway, wait_until
from support.keyed import ALICE, account, bearer, sharing, virtual_key
from support.ways import WAYS as ALL_WAYS

WAYS = ALL_WAYS[:1]  # what is tested is the same on all
SHAPED = pytest.mark.parametrize(("api", "stream"), SHAPES, ids=SHAPE_NAMES)
BOBS = "bobs-key-0123456789"


def left(outcome: Outcome | requests.Response) -> dict[str, int]:
    """The calls that each window still has, as the answer tells."""
    headers: Mapping[str, str] = outcome.headers
    return {name: int(figure) for name, figure in re.findall(r'"([\w-]+)";r=(\d+)', headers.get("ratelimit", ""))}


def come(address: str, key: str = ALICE) -> dict[str, str]:
    return {**bearer(key), "X-Forwarded-For": address}


@pytest.mark.every_way
@pytest.mark.parametrize("api", PATHS)
def test_all_of_address_and_key_or_none(api: str) -> None:
    key = virtual_key(limits={"hour": 5, "day": 9})
    with gateway(sharing(key, DAY_LIMIT="3", CHATGPT_SERVER__TRUSTED_PROXIES="127.0.0.1")) as running:
        told = [left(ask(running, api, headers=come("192.0.2.1"))) for _ in range(3)]
        assert told == [{"day": 3 - n, "key-hour": 5 - n, "key-day": 9 - n} for n in (1, 2, 3)]
        for _ in range(3):
            denied = ask(running, api, headers=come("192.0.2.1"))
            assert (denied.status, left(denied)) == (429, {"day": 0, "key-hour": 2, "key-day": 6})
            assert denied.headers["retry-after"] == "28800"
            assert "of_key" not in denied.reason
        told = [left(ask(running, api, headers=come("192.0.2.2"))) for _ in range(2)]
        assert told == [{"day": 2, "key-hour": 1, "key-day": 5}, {"day": 1, "key-hour": 0, "key-day": 4}]
        for _ in range(3):
            denied = ask(running, api, headers=come("192.0.2.2"))
            assert (denied.status, left(denied)) == (429, {"day": 1, "key-hour": 0, "key-day": 4})
            assert 700 < int(denied.headers["retry-after"]) <= 720
            assert "API key" in denied.reason
            policy = '"day";q=3;w=86400, "key-hour";q=5;w=3600, "key-day";q=9;w=86400'
            assert denied.headers["ratelimit-policy"] == policy
        assert left(ask(running, api, headers=come("192.0.2.2", "nobody"))) == {"day": 0}, "without a key"
        assert running.simulator.stats.calls == 6


@pytest.mark.parametrize(("window", "seconds"), [("minute", 60), ("hour", 3600), ("day", 86400)])
@SHAPED
def test_each_window(window: str, seconds: int, api: str, stream: bool) -> None:
    keys = (virtual_key(limits={window: 2}), virtual_key("bob", BOBS, limits={window: 1}))
    with gateway(sharing(*keys)) as running:
        outcomes = [ask(running, api, stream=stream, headers=bearer()) for _ in range(3)]
        assert [each.status for each in outcomes] == [200, 200, 429]
        assert [left(each) for each in outcomes] == [{f"key-{window}": n} for n in (1, 0, 0)]
        assert seconds // 2 - 20 < int(outcomes[2].headers["retry-after"]) <= seconds // 2
        assert ask(running, api, stream=stream, headers=bearer(BOBS)).good, "has limits of its own"
        wait_until(lambda: len(running.records()) == 4)
        assert [each.get("key") for each in running.records()] == ["alice"] * 3 + ["bob"]


def test_after_what_it_says_there_is_room_again() -> None:
    with gateway(sharing(virtual_key(limits={"second": 1}))) as running:
        assert ask(running, "openai", headers=bearer()).good
        denied = ask(running, "openai", headers=bearer())
        assert (denied.status, denied.headers["retry-after"]) == (429, "1")
        time.sleep(1)
        assert ask(running, "openai", headers=bearer()).good


@pytest.mark.parametrize("api", PATHS)
def test_a_call_above_them_is_denied_before_its_body(api: str) -> None:
    with gateway(sharing(virtual_key(limits={"day": 1}), DAY_LIMIT="9")) as running:
        assert ask(running, api, headers=bearer()).good
        head = (
            f"POST {PATHS[api]} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {ALICE}\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
            client.sendall(head.encode())
            assert client.recv(4096).startswith(b"HTTP/1.1 429 ")
        assert left(ask(running, api)) == {"day": 7}


@pytest.mark.parametrize("api", PATHS)
def test_a_failing_question_counts_for_both(api: str) -> None:
    with gateway(sharing(virtual_key(limits={"day": 9}, models=["gpt-4o-mini"]), DAY_LIMIT="9")) as running:
        url = running.url + PATHS[api]
        how = ({"json": {"model": 7}}, {"data": "no json"}, {"json": {"model": "gpt-4o", "prompt": "x"}})
        headers = {**bearer(), "Content-Type": "application/json"}
        answers = [requests.post(url, headers=headers, **each) for each in how]
        assert [each.status_code for each in answers] == [400, 400, 403]
        assert [left(each) for each in answers] == [{"day": 9 - n, "key-day": 9 - n} for n in (1, 2, 3)]
        listing = requests.get(running.url + "/v1/models", headers=bearer())
        assert (listing.status_code, left(listing)) == (200, {}), "does not count"
        assert left(ask(running, api, headers=bearer())) == {"day": 5, "key-day": 5}


def test_under_concurrency_exactly_the_allowed_number_pass() -> None:
    with gateway(sharing(virtual_key(limits={"day": 7})), Behaviour(latency=0.05)) as running:
        with ThreadPoolExecutor(40) as pool:
            codes = list(
                pool.map(lambda n: ask(running, ("openai", "platform")[n % 2], headers=bearer()).status, range(40))
            )
        assert sorted(codes) == [200] * 7 + [429] * 33
        assert running.simulator.stats.served == 7


# How many at a time.


@pytest.mark.every_way
@SHAPED
def test_who_is_one_too_many_waits_for_another_to_end(api: str, stream: bool) -> None:
    environment = sharing(virtual_key(concurrency=1), CHATGPT_LOAD__WAIT="20s")
    with gateway(environment, Behaviour(latency=60)) as running, ThreadPoolExecutor(1) as pool:
        with call(running, api, stream=stream, headers=bearer()):
            wait_until(lambda: running.simulator.stats.under_way == 1)
            running.simulator.behaviour = Behaviour(tokens=2)
            waiting = pool.submit(ask, running, api, stream=stream, headers=bearer())
            wait_until(lambda: len(account(running).waiting) == 1)
            assert ask(running, api, stream=stream).good, "others go on"
            assert running.simulator.stats.calls == 2
        assert waiting.result().good


@SHAPED
def test_but_not_for_long(api: str, stream: bool) -> None:
    environment = sharing(virtual_key(concurrency=2, limits={"day": 9}), CHATGPT_LOAD__WAIT="200ms")
    with gateway(environment, Behaviour(latency=60)) as running:
        with call(running, api, headers=bearer()), call(running, api, headers=bearer()):
            wait_until(lambda: running.simulator.stats.under_way == 2)
            refused = ask(running, api, stream=stream, headers=bearer())
            assert (refused.status, refused.headers["retry-after"]) == (429, "1")
            assert refused.reason == "Too many calls with this API key are under way. Please try again in 1 s."
            assert left(refused) == {"key-day": 7}, "what is refused takes nothing"
            assert "x-should-retry" not in refused.headers
        wait_until(lambda: not running.held())
        assert running.simulator.stats.calls == 2


def test_who_waits_and_leaves_is_counted_and_holds_nothing() -> None:
    environment = sharing(virtual_key(concurrency=1, limits={"day": 9}), CHATGPT_LOAD__WAIT="20s")
    with gateway(environment, Behaviour(latency=60)) as running, call(running, headers=bearer()):
        wait_until(lambda: running.simulator.stats.under_way == 1)
        with call(running, headers=bearer()):
            wait_until(lambda: len(account(running).waiting) == 1)
        wait_until(lambda: not account(running).waiting)
        wait_until(lambda: len(running.records()) == 1)
        assert running.record()["status"] == 499
        assert len(account(running).under_way) == 1
        limiter = account(running).limiter
        assert limiter is not None
        assert '"key-day";r=7' in str(limiter.look("alice", time.monotonic_ns()).headers)


def test_no_more_than_so_many_are_under_way() -> None:
    environment = sharing(virtual_key(concurrency=3), CHATGPT_LOAD__WAIT="20s")
    with gateway(environment, Behaviour(latency=0.03)) as running, ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(ask, running, "openai", headers=bearer()) for _ in range(24)]
        most = 0
        while not all(each.done() for each in asked):
            most = max(most, running.simulator.stats.under_way)
            time.sleep(0.002)
        assert {each.result().status for each in asked} == {200}
        assert most == 3
