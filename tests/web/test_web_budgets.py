"""Budgets through the gateway: what calls may use is held before and settled after, so that many at once fit
exactly."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random
from typing import Any

import openai
import pytest
import requests

from chatgpt_platform.gateway import estimate
from chatgpt_platform.simulator.server import Behaviour
from support.accounts import Seen, alike, burst, make, mixed, request, statuses, totals
from support.fleet import MESSAGES, SHAPE_NAMES, SHAPES, ask, call
from support.gateway import Running, gateway, wait_until
from support.keyed import ALICE, account, bearer, sharing, spent, virtual_key
from support.ways import WAYS as ALL_WAYS

WAYS = ALL_WAYS[:1]  # what is tested is the same on all
SHAPED = pytest.mark.parametrize(("api", "stream"), SHAPES, ids=SHAPE_NAMES)

PRICES = json.dumps([
    {"model": "gpt-4o-mini", "input": 1, "output": 1}, {"model": "dear", "input": 2, "output": 8},
])  # fmt: skip
"""Dollars for a million tokens."""

MICRO = 10**6
"""Picodollars in a millionth of a dollar."""


def prompt_tokens() -> int:
    """Those of the questions of ``alike``, as the simulator counts them."""
    with gateway({}, Behaviour(tokens=1)) as running:
        (seen,) = asyncio.run(make(running.port, alike(1, "alice", "", most=1)))
    assert seen.prompt
    return seen.prompt


def dollars(millionths: int) -> str:
    return f"{millionths // 10**6}.{millionths % 10**6:06}"


def used(seen: Sequence[Seen]) -> int:
    """The tokens of all answers, as their callers were told."""
    total = totals(seen)["alice"]
    return total.prompt + total.completion


def gap(running: Running) -> int:
    """How far below its amount the only allowance of alice is."""
    (item,) = account(running).items
    return item.allowance.amount - item.allowance.spent


# Many at once.


@pytest.mark.parametrize("unit", ["tokens", "dollars"])
@pytest.mark.parametrize("reserve", ["expected", "worst"])
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_of_500_at_once_those_are_served_for_whom_there_is_room(unit: str, reserve: str, stream: bool) -> None:
    """With answers as long as their cap; what a question can have at most is only known to its bytes."""
    each = prompt_tokens() + 20
    key = virtual_key(tokens=[f"{100 * each}/day"])
    if unit == "dollars":
        key = virtual_key(budget=[f"{dollars(100 * each)}/total"])
    environment = sharing(key, CHATGPT_PRICES=PRICES, CHATGPT_LOAD__WAIT="30s", CHATGPT_BUDGETS__RESERVE=reserve)
    with gateway(environment, Behaviour(tokens=20, latency=0.01)) as running:
        plan = alike(500, "alice", ALICE, most=20, stream=stream, usage=stream)
        seen = asyncio.run(burst(running.port, plan))
        wait_until(lambda: not running.held())
        generated = running.simulator.stats.prompt_tokens + running.simulator.stats.tokens
        assert used(seen) == generated == sum(spent(running).values()) // (1 if unit == "tokens" else MICRO)
        if reserve == "expected":
            assert statuses(seen) == {200: 100, 429: 400}
            assert gap(running) == 0
        else:
            assert set(statuses(seen)) == {200, 429}
            most = estimate.most_prompt_tokens(request(plan[0])) + 20
            assert 0 <= gap(running) < most * (1 if unit == "tokens" else MICRO)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_shorter_answers_leave_room_for_more_calls_and_never_pass_it(stream: bool) -> None:
    each = prompt_tokens() + 20
    environment = sharing(virtual_key(tokens=[f"{30 * each}/day"]), CHATGPT_LOAD__WAIT="30s")
    with gateway(environment, Behaviour(tokens=7, latency=0.01)) as running:
        seen = asyncio.run(burst(running.port, alike(200, "alice", ALICE, most=20, stream=stream)))
        assert statuses(seen)[200] > 50
        assert 0 <= gap(running) < each
        assert spent(running)["tokens/day"] == statuses(seen)[200] * (each - 13)


def test_how_long_answers_without_a_cap_are_is_learned() -> None:
    each = prompt_tokens() + 20
    environment = sharing(virtual_key(tokens=[f"{50 * each}/day"]), CHATGPT_LOAD__WAIT="30s")
    with gateway(environment, Behaviour(tokens=20, latency=0.005)) as running:
        seen = asyncio.run(burst(running.port, alike(150, "alice", ALICE)))
        assert statuses(seen) == {200: 50, 429: 100}
        assert gap(running) == 0


def test_answers_of_any_length_pass_it_by_no_more_than_one_of_them() -> None:
    environment = sharing(virtual_key(tokens=["2000/day"]), CHATGPT_LOAD__WAIT="30s")
    plan = mixed(300, {"alice": ALICE}, Random(3), most=(0, 0))
    with gateway(environment, Behaviour(latency=0.005)) as running:
        seen = asyncio.run(make(running.port, plan, at_once=50))
        longest = max((one.prompt or 0) + max(one.completion or 0, one.pieces) for one in seen)
        assert set(statuses(seen)) == {200, 429}
        assert -longest < gap(running) < 2 * longest
        wait_until(lambda: not running.held())
        assert spent(running)["tokens/day"] == (
            running.simulator.stats.prompt_tokens + running.simulator.stats.tokens
        )


def test_hard_ones_are_never_passed_whatever_is_asked() -> None:
    key = virtual_key(tokens=["3000/day"], budget=["0.02/day"])
    environment = sharing(
        key, CHATGPT_PRICES=PRICES, CHATGPT_LOAD__WAIT="5s", CHATGPT_BUDGETS__RESERVE="worst",
    )  # fmt: skip
    plan = mixed(300, {"alice": ALICE}, Random(4), models=("gpt-4o-mini", "dear", "free"), most=(0, 0))
    plan = [replace(one, most=0 if one.number % 2 else 15) for one in plan]
    with gateway(environment, Behaviour(latency=0.002)) as running:
        seen = asyncio.run(make(running.port, plan, at_once=40))
        wait_until(lambda: not running.held())
        assert statuses(seen)[200] > 10
        assert set(statuses(seen)) == {200, 429}
        for item in account(running).items:
            assert item.allowance.spent <= item.allowance.amount
        assert spent(running)["tokens/day"] == (
            running.simulator.stats.prompt_tokens + running.simulator.stats.tokens
        )


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
ODD: dict[str, tuple[str, dict[str, Any]]] = {
    "three": ("/v1/chat/completions", {"model": "gpt-4o-mini", "messages": MESSAGES, "n": 3}),
    "three-capped": ("/v1/chat/completions", {"model": "m", "messages": MESSAGES, "n": 3, "max_tokens": 30}),
    "two-caps": ("/v1/chat/completions", {"model": "m", "messages": MESSAGES, "max_tokens": 9,
                                          "max_completion_tokens": 40}),
    "prompts": ("/v1/completions", {"model": "m", "prompt": ["a", "b", "c", "d"], "max_tokens": 25}),
    "prompts-times-two": ("/v1/completions", {"model": "m", "prompt": ["a", "b", "c"], "n": 2}),
    "prompt-of-numbers": ("/v1/completions", {"model": "m", "prompt": [1, 2, 3], "max_tokens": 25}),
    "responses": ("/v1/responses", {"model": "m", "input": "hi"}),
    "reasoning": ("/v1/chat/completions", {"model": "o3", "messages": MESSAGES}),
    "nobody": ("/v1/chat/completions", {"model": "m", "messages": MESSAGES, "max_tokens": None, "n": None}),
    "embeddings": ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "word " * 50}),
    "platform": ("/chatgpt", {"prompt": "hi"}),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("at_once", [1, 6])
def test_a_hard_one_is_never_passed_by_calls_of_any_kind(name: str, at_once: int) -> None:
    path, body = ODD[name]
    environment = sharing(
        virtual_key(tokens=["1500/total"]), CHATGPT_BUDGETS__RESERVE="worst", CHATGPT_LOAD__WAIT="5s"
    )
    with gateway(environment, Behaviour(tokens=900)) as running, ThreadPoolExecutor(at_once) as pool:

        def status(_: int) -> int:
            return requests.post(running.url + path, json=body, headers=bearer(), timeout=20).status_code

        found: list[int] = []
        while 429 not in found:
            found += pool.map(status, range(at_once))
            assert len(found) < 500
        assert set(found) == {200, 429}
        generated = running.simulator.stats.prompt_tokens + running.simulator.stats.tokens
        assert spent(running)["tokens/total"] == generated <= 1500


def test_where_it_is_hard_a_cap_that_means_none_is_refused() -> None:
    environment = sharing(virtual_key(tokens=["1500/total"]), CHATGPT_BUDGETS__RESERVE="worst")
    with gateway(environment) as running:
        for member in ("max_tokens", "max_completion_tokens"):
            for figure in (-1, 0, -5):
                body = {"model": "m", "messages": MESSAGES, member: figure}
                answer = requests.post(running.url + "/v1/chat/completions", json=body, headers=bearer())
                assert (answer.status_code, answer.json()["error"]["param"]) == (400, "max_tokens")
        assert running.simulator.stats.calls == 0
        assert not running.held()


def test_a_picture_is_held_for_as_much_as_it_can_have() -> None:
    content = [{"type": "text", "text": "what is this?"}, IMAGE]
    for amount, status in ((40_000, 429), (60_000, 200)):
        environment = sharing(virtual_key(tokens=[f"{amount}/day"]), CHATGPT_BUDGETS__RESERVE="worst")
        with gateway(environment, Behaviour(tokens=5)) as running:
            messages = [{"role": "user", "content": content}]
            assert ask(running, "openai", headers=bearer(), messages=messages).status == status


# What becomes of a reservation.


@SHAPED
def test_who_leaves_gets_the_rest_back(api: str, stream: bool) -> None:
    environment = sharing(virtual_key(tokens=["100000/day"]))
    with gateway(environment, Behaviour(tokens=4000, interval=0.01)) as running:
        with call(running, api, stream=stream, headers=bearer(), max_tokens=4000) as connection:
            wait_until(lambda: running.simulator.stats.tokens > 3)
            held = account(running).items[0].allowance.held
            assert 4000 < held < 4600
            assert spent(running) == {"tokens/day": 0}
            if stream:
                assert connection.recv(100)
        wait_until(lambda: not running.held())
        assert running.record()["status"] == 499
        assert 0 < spent(running)["tokens/day"] < 1000


@SHAPED
@pytest.mark.parametrize("fail", ["500", "429", "401", "404"])
def test_what_the_upstream_refuses_costs_nothing(fail: str, api: str, stream: bool) -> None:
    environment = sharing(virtual_key(tokens=["1000/day"], budget=["1/day"]))
    with gateway(environment, Behaviour(fail=fail)) as running:
        running.expected = ["answered 500", "does not work", "openai: "]
        assert ask(running, api, stream=stream, headers=bearer()).failure is not None
        wait_until(lambda: not running.held())
        assert spent(running) == {"tokens/day": 0, "budget/day": 0}


def test_a_stream_that_breaks_off_costs_what_had_come() -> None:
    environment = sharing(virtual_key(tokens=["1000/day"]))
    with gateway(environment, Behaviour(fail="reset-mid", tokens=20)) as running:
        running.expected = ["openai: "]
        assert not ask(running, "openai", stream=True, headers=bearer()).good
        wait_until(lambda: not running.held())
        assert 0 < spent(running)["tokens/day"] <= running.simulator.stats.tokens + 10


def test_a_model_without_a_price_costs_no_dollars() -> None:
    with gateway(sharing(virtual_key(budget=["0.000001/day"], tokens=["1000/day"]))) as running:
        for _ in range(3):
            assert ask(running, "openai", model="local-model", headers=bearer()).good
        assert spent(running)["budget/day"] == 0
        assert spent(running)["tokens/day"] > 0
        assert ask(running, "openai", headers=bearer()).status == 429, "what has a price is above it"


@pytest.mark.every_way
@SHAPED
def test_who_needs_what_others_hold_waits_for_it(api: str, stream: bool) -> None:
    environment = sharing(virtual_key(tokens=["10000/day"]), CHATGPT_LOAD__WAIT="20s")
    with gateway(environment, Behaviour(latency=60)) as running, ThreadPoolExecutor(1) as pool:
        with call(running, api, headers=bearer(), max_tokens=8000):
            wait_until(lambda: running.simulator.stats.under_way == 1)
            running.simulator.behaviour = Behaviour(tokens=2)
            asked = pool.submit(ask, running, api, stream=stream, headers=bearer(), max_tokens=5000)
            wait_until(lambda: len(account(running).waiting) == 1)
            assert ask(running, api, headers=bearer(), max_tokens=2).good, "there is room for that"
        assert asked.result().good


LANGUAGES = {"en": "held by other calls", "ru": "занят", "zh-CN": "占用", "zh-TW": "占用"}


@SHAPED
def test_who_waits_for_it_in_vain_is_told_so(api: str, stream: bool) -> None:
    environment = sharing(virtual_key(tokens=["10000/day"]), CHATGPT_LOAD__WAIT="100ms")
    with gateway(environment, Behaviour(latency=60)) as running:
        with call(running, api, headers=bearer(), max_tokens=8000):
            wait_until(lambda: running.simulator.stats.under_way == 1)
            for language, words in LANGUAGES.items():
                headers = {**bearer(), "Accept-Language": language}
                refused = ask(running, api, stream=stream, headers=headers, max_tokens=5000)
                assert (refused.status, refused.headers["retry-after"]) == (429, "1")
                assert words in refused.reason
        assert running.simulator.stats.calls == 1


# What a caller is told.

SAID = {
    "en": r"What this API key may use \(50/{period}\) is used up\.",
    "ru": r"Лимит этого API-ключа \(50/{period}\) исчерпан\.",
    "zh-CN": r"此 API 密钥的额度（50/{period}）已用完",
    "zh-TW": r"此 API 金鑰的額度（50/{period}）已用完",
}
LENGTHS = {"day": 1, "week": 7, "month": 31, "year": 366, "total": 0, "24h": 1, "30d": 30}


@pytest.mark.parametrize("period", LENGTHS)
@SHAPED
def test_over_it_a_caller_is_told_until_when(period: str, api: str, stream: bool) -> None:
    with gateway(sharing(virtual_key(tokens=[f"50/{period}"])), Behaviour(tokens=60)) as running:
        assert ask(running, api, headers=bearer()).good
        for language, words in SAID.items():
            headers = {**bearer(), "Accept-Language": language}
            refused = ask(running, api, stream=stream, headers=headers)
            assert (refused.status, refused.headers["x-should-retry"]) == (429, "false")
            assert re.match(words.format(period=period), refused.reason)
            if period == "total":
                assert "retry-after" not in refused.headers
            else:
                assert 0 < int(refused.headers["retry-after"]) <= LENGTHS[period] * 86400 * 61 / 60
                assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d\+00:00", refused.reason)
            if api == "openai":
                error = refused.last["error"]
                assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
        assert running.simulator.stats.calls == 1


def test_tokens_of_a_second_are_there_again_when_it_says() -> None:
    with gateway(sharing(virtual_key(tokens=["110/second"])), Behaviour(tokens=80)) as running:
        assert ask(running, "openai", headers=bearer(), max_tokens=80).good
        denied = ask(running, "openai", headers=bearer(), max_tokens=80)
        assert (denied.status, denied.headers["retry-after"]) == (429, "1")
        assert denied.last["error"]["code"] == "rate_limit_exceeded"
        assert "x-should-retry" not in denied.headers
        time.sleep(1)
        assert ask(running, "openai", headers=bearer(), max_tokens=80).good


def test_more_than_there_ever_is() -> None:
    with gateway(sharing(virtual_key(tokens=["100/day", "90/minute"]))) as running:
        refused = ask(running, "openai", headers=bearer(), max_tokens=500)
        assert refused.reason == "This call needs more than this API key may use (100/day)."
        assert "retry-after" not in refused.headers
        assert ask(running, "openai", headers=bearer(), max_tokens=50).good


def test_a_rest_that_is_too_little() -> None:
    with gateway(sharing(virtual_key(tokens=["1000/day"])), Behaviour(tokens=60)) as running:
        assert ask(running, "openai", headers=bearer()).good
        refused = ask(running, "openai", headers=bearer(), max_tokens=980)
        assert refused.reason.startswith("What this API key has left (1000/day) is too little for this call.")
        assert int(refused.headers["retry-after"]) > 0
        assert ask(running, "openai", headers=bearer(), max_tokens=100).good


def test_a_guess_keeps_no_period_from_beginning() -> None:
    """Neither the one before there was an answer, nor what a longer one than there is room for has taught."""
    key = virtual_key(tokens=["50/day"], budget=["0.001/day"])
    with gateway(sharing(key, CHATGPT_PRICES=PRICES), Behaviour(tokens=700)) as running:
        assert ask(running, "openai", headers=bearer()).good
        assert ask(running, "openai", headers=bearer()).status == 429
        for item in account(running).items:
            item.allowance.spent = 0  # as if the day were over
        assert ask(running, "platform", headers=bearer()).good


def test_the_official_client_raises_once() -> None:
    with gateway(sharing(virtual_key(tokens=["50/day"])), Behaviour(tokens=60)) as running:
        assert ask(running, "openai", headers=bearer()).good
        with (
            openai.OpenAI(base_url=running.url + "/v1", api_key=ALICE, max_retries=3) as client,
            pytest.raises(openai.RateLimitError) as raised,
        ):
            client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
        assert raised.value.code == "insufficient_quota"
        wait_until(lambda: len(running.records()) == 2)
        time.sleep(0.1)
        assert [record["status"] for record in running.records()] == [200, 429]
