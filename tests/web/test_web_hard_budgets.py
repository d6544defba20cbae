"""What would get past a budget, or be left behind by one: a holder's tricks, and reloads in the midst of it."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from chatgpt_platform.simulator.server import Behaviour
from support.fleet import MESSAGES, ask, call
from support.gateway import gateway, wait_until
from support.keyed import account, bearer, sharing, virtual_key
from support.ways import WAYS as ALL_WAYS
from web.test_web_reload import reload

WAYS = ALL_WAYS[:1]  # what is tested is the same on all
CHAT = {"model": "gpt-4o-mini", "messages": MESSAGES}
CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@pytest.mark.parametrize("figure", [-1, 0])
def test_no_cap_under_all_of_its_names_is_refused_where_budgets_are_hard(figure: int) -> None:
    with gateway(sharing(virtual_key(tokens=["9000/day"]), CHATGPT_BUDGETS__RESERVE="worst")) as running:
        for names in (CAPS, CAPS[:1], CAPS[1:2]):
            body = {**CHAT, **dict.fromkeys(names, figure)}
            answer = requests.post(running.url + "/v1/chat/completions", json=body, headers=bearer())
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "max_tokens")
        assert running.simulator.stats.calls == 0


@pytest.mark.parametrize("stream", [False, True])
def test_what_would_go_on_unseen_is_refused_where_there_is_a_budget(stream: bool) -> None:
    keys = virtual_key(tokens=["9000/day"]), virtual_key("free", "a-key-without-a-budget")
    body = {"model": "gpt-4o-mini", "input": "hi", "stream": stream}
    with gateway(sharing(*keys)) as running:

        def status(background: object, key: dict[str, str] | None = None) -> int:
            asked = {**body, "background": background}
            return requests.post(f"{running.url}/v1/responses", json=asked, headers=key or bearer()).status_code

        background: tuple[object, ...] = (True, 1, "yes", {})
        assert [status(each) for each in background] == [400] * 4
        assert running.simulator.stats.calls == 0
        assert [status(each) for each in (False, None)] == [200, 200]
        assert status(True, bearer("a-key-without-a-budget")) == 200


def test_who_began_without_a_key_is_not_under_way_for_ever() -> None:
    with gateway(sharing(virtual_key()), Behaviour(latency=60)) as running:
        anonymous = running.service.accounts.anonymous
        with call(running):
            wait_until(lambda: len(anonymous.under_way) == 1)
            reload(running, CHATGPT_KEYS="[]")
            assert not running.service.accounts.on
        wait_until(lambda: not anonymous.under_way)


def test_a_call_ends_well_after_its_key_and_budget_have_changed() -> None:
    changes = ("500/day", "500/day 9k/hour", "", "7/minute 9000/day", "9000/day")
    with gateway(sharing(virtual_key(tokens=["9000/day"])), Behaviour(latency=0.05, tokens=3)) as running:
        for tokens in changes:
            with call(running, headers=bearer(), max_tokens=3) as client:
                wait_until(lambda: len(account(running).under_way) == 1)
                reload(running, CHATGPT_KEYS=json.dumps([virtual_key(tokens=tokens.split())]))
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            wait_until(lambda: not running.held())
            assert all(item.allowance.spent >= 0 for item in account(running).items)


def test_who_asked_for_short_answers_cannot_have_many_long_ones_at_once() -> None:
    key = virtual_key(tokens=["10000/day"])
    with gateway(sharing(key, CHATGPT_LOAD__WAIT="100ms"), Behaviour(tokens=1000, latency=0.1)) as running:
        with ThreadPoolExecutor(30) as pool:

            def ask_for(most: int | None) -> int:
                return ask(running, "openai", headers=bearer(), max_tokens=most).status

            assert set(pool.map(ask_for, [1] * 30)) == {200}
            statuses = Counter(pool.map(ask_for, [None] * 30))
        assert set(statuses) == {200, 429}
        assert account(running).items[0].allowance.spent <= 10_000
