"""Which upstreams may answer for a model, and which of them is asked."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.settings.outbound import matches
from chatgpt_platform.upstream.breaker import FAILURES, FIRST
from chatgpt_platform.upstream.client import Client
from chatgpt_platform.upstream.fleet import Fleet, Tiers
from chatgpt_platform.upstream.keys import ASIDE
from chatgpt_platform.upstream.upstream import Upstream
from support.scripted import Peer, RawServer
from support.upstreams import fleet, upstream

DOWN = Problem(Kind.BAD_UPSTREAM, detail="it is down")


def candidates(of: Fleet, model: str) -> list[list[str]]:
    found = of.candidates(model)
    return [] if found is None else [[each.name for each in tier] for tier in found.keyed]


def tiers(of: Fleet, model: str = "m") -> Tiers:
    found = of.candidates(model)
    assert found is not None
    return found.keyed


def named(of: Fleet, name: str) -> Upstream:
    return next(each for each in of.upstreams if each.name == name)


def chosen(of: Fleet, now: float = 0.0, avoid: Sequence[str] = (), *, keyed: bool = True) -> str | None:
    found = of.choose(tiers(of), now, [named(of, name) for name in avoid], keyed=keyed)
    return found.name if found is not None else None


def break_down(it: Upstream, now: float = 0.0) -> None:
    for _ in range(FAILURES):
        it.breaker.failed(object(), now)


# Candidates.


@pytest.mark.parametrize(
    ("pattern", "served", "not_served"),
    [
        ("*", ["gpt-4o", "", "a b\nc", "ü/ü"], []),
        ("gpt-*", ["gpt-", "gpt-4o", "gpt-4\no"], ["gpt", "xgpt-4o", "GPT-4o"]),
        ("*-mini", ["gpt-4o-mini", "-mini"], ["gpt-4o-mini-2", "mini"]),
        ("o?", ["o1", "o*"], ["o", "o12", "1o"]),
        ("a*b*c", ["abc", "a-b-c", "abcbc"], ["ab", "acb", "abcd"]),
        ("gpt.4", ["gpt.4"], ["gpt-4"]),
        ("m[12]", ["m[12]"], ["m1", "m2"]),
        ("[!a]", ["[!a]"], ["b", "a"]),
        ("m(1|2)+", ["m(1|2)+"], ["m1", "m11"]),
        (r"a\*", ["a\\", "a\\b"], ["a*", "a"]),
        ("^a$", ["^a$"], ["a"]),
        ("]", ["]"], [""]),
        ("gpt-4o", ["gpt-4o"], ["gpt-4o-mini", "gpt-4O", " gpt-4o"]),
    ],
)
def test_what_a_pattern_means(pattern: str, served: Sequence[str], not_served: Sequence[str]) -> None:
    it = fleet(upstream("a", models=(pattern,))).upstreams[0]
    assert [name for name in served if not it.serves(name)] == []
    assert [name for name in not_served if it.serves(name)] == []


@given(
    st.lists(st.text("ab*?[]!.|(\\", min_size=1, max_size=6), min_size=1, max_size=3),
    st.text("ab[]!.|(\\", max_size=9),
)
def test_patterns_are_as_shells_have_them_but_for_brackets(patterns: list[str], name: str) -> None:
    expected = any(fnmatchcase(name, re.sub(r"\[", "[[]", each)) for each in patterns)
    it = fleet(upstream("a", models=tuple(patterns))).upstreams[0]
    assert it.serves(name) is expected
    assert any(matches(each, name) for each in patterns) is expected, "and so the settings are checked"


@pytest.mark.parametrize("pattern", ["*a*a*a*a*a*b", "a?*a?*a?*b", "*gpt*mini*"])
def test_a_giant_name_does_not_hang(pattern: str) -> None:
    of = fleet(upstream("a", models=(pattern,)))
    start = time.process_time()
    assert of.candidates("a" * 1_000_000) is None
    assert of.candidates("gpt" * 300_000) is None
    assert time.process_time() - start < 10


def test_giant_names_are_notremembered() -> None:
    of = fleet(upstream("a"))
    for number in range(3):
        assert candidates(of, str(number) * 100_000) == [["a"]]
    assert of.remembered.cache_info().currsize == 0
    assert candidates(of, "m") == [["a"]]
    assert of.remembered.cache_info().currsize == 1


def test_tiers_by_priority_and_in_each_the_order_of_the_settings() -> None:
    of = fleet(
        upstream("c", priority=5), upstream("a", priority=0), upstream("d", priority=5), upstream("b", priority=0),
        upstream("x", models=("other",), priority=5),
    )  # fmt: skip
    assert candidates(of, "m") == [["a", "b"], ["c", "d"]]
    assert candidates(of, "other") == [["a", "b"], ["c", "d", "x"]]


def test_a_model_belongs_to_the_first_that_serves_it_with_keys_or_without() -> None:
    of = fleet(
        upstream("late", priority=2), upstream("keyless", keys=0, priority=1), upstream("other", models=("o",))
    )
    found = of.candidates("m")
    assert found is not None
    assert found.first.name == "keyless"
    assert candidates(of, "m") == [["late"]]
    assert candidates(of, "o") == [["other"], ["late"]]
    assert not of.all_keyed
    assert of.any_keyed


def test_where_none_has_keys_nobody_pays_but_the_caller() -> None:
    of = fleet(upstream("a", keys=0))
    assert candidates(of, "m") == []
    assert of.candidates("m") is not None
    assert not of.any_keyed


def test_a_model_that_nobody_serves() -> None:
    of = fleet(upstream("a", models=("gpt-*",)))
    assert of.candidates("o1") is None
    assert of.candidates("o1") is None, "nor when it is asked for again"


def test_no_model_at_all_is_everybodys() -> None:
    of = fleet(upstream("a", models=("gpt-*",)), upstream("b", models=("o?",), priority=1))
    assert candidates(of, "") == [["a"], ["b"]]
    of = fleet(upstream("a", models=("gpt-*",)), upstream("b"))
    assert candidates(of, "") == [["b"]], "of those whose patterns have it, where there are such"


# Choice.


def test_the_lowest_figure_is_asked_while_it_can() -> None:
    of = fleet(upstream("b", priority=1), upstream("a"))
    assert [chosen(of) for _ in range(3)] == ["a", "a", "a"]
    break_down(named(of, "a"))
    assert chosen(of) == "b"
    assert chosen(of, FIRST) == "a", "it may try"


def test_the_one_with_the_least_to_do_for_its_weight() -> None:
    of = fleet(upstream("a", weight=3), upstream("b"))
    a, b = named(of, "a"), named(of, "b")
    for a.under_way, b.under_way, expected in ((2, 1, "a"), (4, 1, "b"), (1, 0, "b"), (5, 2, "a")):
        assert chosen(of) == expected


def test_equals_take_turns_by_their_weights() -> None:
    of = fleet(upstream("a", weight=3), upstream("b"))
    turns = [chosen(of) for _ in range(400)]
    assert Counter(turns) == {"a": 300, "b": 100}
    for start in range(0, 400, 4):
        assert Counter(turns[start : start + 4]) == {"a": 3, "b": 1}, "evenly, and not in blocks"


@given(st.lists(st.integers(1, 50), min_size=2, max_size=5))
def test_turns_are_exact_over_one_round(weights: list[int]) -> None:
    of = fleet(*(upstream(str(number), weight=weight) for number, weight in enumerate(weights)))
    turns = Counter(chosen(of) for _ in range(sum(weights)))
    assert turns == {str(number): weight for number, weight in enumerate(weights)}


@given(st.lists(st.integers(1, 10), min_size=2, max_size=4), st.integers(1, 200))
def test_calls_that_stay_are_spread_by_weight(weights: list[int], calls: int) -> None:
    of = fleet(*(upstream(str(number), weight=weight) for number, weight in enumerate(weights)))
    for _ in range(calls):
        found = of.choose(tiers(of), 0.0)
        assert found is not None
        found.under_way += 1
    for each in of.upstreams:
        assert abs(each.under_way - calls * each.weight / sum(weights)) <= max(weights)


def test_full_ones_are_passed_over() -> None:
    of = fleet(upstream("a", concurrency=2), upstream("b", priority=1, concurrency=1))
    a, b = of.upstreams
    a.under_way = 1
    assert chosen(of) == "a"
    a.under_way = 2
    assert a.full
    assert chosen(of) == "b"
    b.under_way = 1
    assert chosen(of) is None
    a.under_way = 1
    assert chosen(of) == "a"


def test_those_to_avoid_are_avoided() -> None:
    of = fleet(upstream("a"), upstream("b"), upstream("c", priority=1))
    assert {chosen(of, avoid=["a"]) for _ in range(4)} == {"b"}
    assert chosen(of, avoid=["a", "b"]) == "c"
    assert chosen(of, avoid=["a", "b", "c"]) is None
    assert chosen(fleet(upstream("a")), avoid=[]) == "a"


def test_one_whose_keys_rest_is_passed_over_unless_the_caller_brings_its_own() -> None:
    of = fleet(upstream("a"), upstream("b", priority=1))
    keys = named(of, "a").keys
    keys.rest(keys.keys[0], 0.0, 10.0)
    assert chosen(of, 1.0) == "b"
    assert chosen(of, 1.0, keyed=False) == "a"
    assert chosen(of, 10.0) == "a"


def test_where_all_keys_rest_there_is_none() -> None:
    of = fleet(upstream("a", keys=2))
    keys = of.upstreams[0].keys
    keys.rest(keys.keys[0], 0.0, 10.0)
    assert chosen(of, 1.0) == "a"
    keys.rest(keys.keys[1], 0.0, 5.0)
    assert chosen(of, 1.0) is None
    assert chosen(of, 5.0) == "a"


def test_one_that_asked_to_be_left_alone_comes_last_whatever_its_priority() -> None:
    of = fleet(upstream("a"), upstream("b"), upstream("c", priority=1))
    a, b, c = of.upstreams
    a.rests_until = 100.0
    assert {chosen(of) for _ in range(4)} == {"b"}
    b.rests_until = 50.0
    assert chosen(of) == "c"
    c.rests_until = 80.0
    assert chosen(of) == "b", "the one that is soonest willing, where none is"
    assert chosen(of, avoid=["b"]) == "c"
    assert chosen(of, 60.0) == "b"
    assert chosen(fleet(upstream("x")), 0.0) == "x"


@pytest.mark.parametrize("keyed", [True, False])
def test_the_only_one_is_asked_though_it_asked_to_be_left_alone(keyed: bool) -> None:
    of = fleet(upstream("a"))
    of.upstreams[0].rests_until = 100.0
    assert chosen(of, keyed=keyed) == "a"
    break_down(of.upstreams[0])
    assert chosen(of, keyed=keyed) is None


def test_one_whose_keys_are_all_set_aside_comes_last_of_all() -> None:
    of = fleet(upstream("bad"), upstream("resting", priority=1), upstream("good", priority=2))
    bad, resting, good = of.upstreams
    bad.keys.set_aside(bad.keys.keys[0], 0.0)
    resting.rests_until = 30.0
    assert chosen(of) == "good"
    break_down(good)
    assert chosen(of) == "resting"
    break_down(resting)
    assert chosen(of) == "bad"
    break_down(bad)
    assert chosen(of) is None
    assert chosen(of, avoid=["bad", "resting", "good"]) is None


def test_a_key_set_aside_is_tried_again_by_one_call() -> None:
    of = fleet(upstream("bad"), upstream("good", priority=1))
    bad = named(of, "bad")
    bad.keys.set_aside(bad.keys.keys[0], 0.0)
    assert chosen(of, ASIDE - 1) == "good"
    assert chosen(of, ASIDE) == "bad"
    assert bad.keys.pick(ASIDE) is bad.keys.keys[0]
    assert chosen(of, ASIDE) == "good"


def test_a_breaker_that_tries_lets_one_call_go() -> None:
    of = fleet(upstream("a"), upstream("b", priority=1))
    a = named(of, "a")
    break_down(a)
    assert chosen(of, FIRST) == "a"
    a.breaker.began(object(), FIRST)
    assert chosen(of, FIRST) == "b"


@given(st.data())
def test_whatever_the_state_the_chosen_one_can_take_it(data: st.DataObject) -> None:
    """And where none is, each of them has a reason."""
    states = data.draw(
        st.lists(st.sampled_from(["ok", "full", "down", "keys rest", "rests", "aside"]), min_size=1, max_size=4)
    )
    of = fleet(
        *(upstream(str(n), concurrency=1, priority=data.draw(st.integers(0, 2))) for n in range(len(states)))
    )
    for it, state in zip(of.upstreams, states, strict=True):
        if state == "full":
            it.under_way = 1
        elif state == "down":
            break_down(it)
        elif state == "keys rest":
            it.keys.rest(it.keys.keys[0], 0.0, 9.0)
        elif state == "rests":
            it.rests_until = 9.0
        elif state == "aside":
            it.keys.set_aside(it.keys.keys[0], 0.0)
    avoid = data.draw(st.sets(st.sampled_from(of.upstreams), max_size=len(states)))
    found = of.choose(tiers(of), 0.1, avoid)
    left = {it: state for it, state in zip(of.upstreams, states, strict=True) if it not in avoid}
    for wanted in ("ok", "rests", "aside"):
        able = [it for it, state in left.items() if state == wanted]
        if able:
            assert found in able
            if wanted == "ok":
                assert found.settings.priority == min(it.settings.priority for it in able)
            return
    assert found is None


def rescued(of: Fleet, now: float, avoid: Sequence[str] = (), *, keyed: bool = True) -> str | None:
    found = of.rescue(tiers(of), now, [named(of, name) for name in avoid], keyed=keyed)
    return found.name if found is not None else None


def test_the_last_hope_is_the_one_down_that_may_try_soonest() -> None:
    of = fleet(upstream("a"), upstream("b"), upstream("full", concurrency=1), upstream("well"))
    assert rescued(of, 0.0) is None, "none is down"
    full, a, b = (named(of, name) for name in ("full", "a", "b"))
    full.under_way = 1
    for number, each in enumerate((full, a, b)):
        break_down(each, number * 0.1)
    assert rescued(of, 0.2) == "a"
    assert rescued(of, 0.2, avoid=["a"]) == "b"
    a.breaker.began(object(), 0.2)
    assert rescued(of, 0.2) == "b", "one tries it just now"
    b.keys.rest(b.keys.keys[0], 0.2, 5.0)
    assert rescued(of, 0.2) is None
    assert rescued(of, 0.2, keyed=False) == "b"


# A new configuration.


def test_what_did_not_change_goes_on_with_all_that_it_knows() -> None:
    former = fleet(upstream("same", weight=2, headers={}), upstream("changed"), upstream("gone"))
    same = named(former, "same")
    break_down(same)
    of = fleet(upstream("changed", keys=2), upstream("new"), upstream("same", weight=2, headers={}), former=former)
    assert named(of, "same") is same
    assert not same.breaker.closed
    assert named(of, "changed") is not named(former, "changed")
    assert [each.name for each in of.upstreams] == ["changed", "new", "same"]


def test_each_setting_makes_another_upstream_of_it() -> None:
    changes: list[dict[str, Any]] = [
        {"base_url": "http://127.0.0.1:10/v1"}, {"keys": 2}, {"models": ("x",)}, {"rename": {"a": "b"}},
        {"priority": 1}, {"weight": 2}, {"concurrency": 1}, {"retry_unsafe": True},
    ]  # fmt: skip
    former = fleet(upstream("a"))
    for change in changes:
        assert fleet(upstream("a", **change), former=former).upstreams[0] is not former.upstreams[0]


def test_a_new_configuration_can_bring_another_priority_of_the_others() -> None:
    former = fleet(upstream("a"), upstream("b", priority=1))
    of = fleet(upstream("a"), upstream("c"), former=former)
    assert candidates(of, "m") == [["a", "c"]]
    assert candidates(former, "m") == [["a"], ["b"]], "calls that began before go on"


async def ask(client: Client) -> None:
    response = await client.open(b"GET", b"/", b"", b"")
    await response.read_all(100)
    response.close()


@pytest.mark.gen_test
async def test_the_connections_of_what_is_gone_are_closed_and_no_others() -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        try:
            while True:
                await peer.request()
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except asyncio.IncompleteReadError:
            gone.set()

    async with RawServer(script) as server, RawServer(script) as other:
        former = fleet(upstream("stays", base_url=server.url), upstream("goes", base_url=other.url))
        for each in former.upstreams:
            await ask(each.client)
        of = fleet(upstream("stays", base_url=server.url), former=former)
        await former.close(but=of)
        await gone.wait()
        await ask(of.upstreams[0].client)
        assert (len(server.peers), len(server.peers[0].requests)) == (1, 2), "on the same connection"
        await of.close()
