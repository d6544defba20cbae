from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import endpoints
from chatgpt_platform.gateway.tokens import TokenCap, token_member

unhurried = settings(deadline=None)

ENDPOINTS = [value for value in vars(endpoints).values() if isinstance(value, endpoints.Endpoint)]
MEMBERS = sorted({endpoint.token_members for endpoint in ENDPOINTS})
NAMES = ("max_tokens", "max_completion_tokens", "max_output_tokens")

some_members = st.sampled_from(MEMBERS)
figures = st.dictionaries(st.sampled_from(NAMES), st.none() | st.integers(-2, 60) | st.integers())
bounds = st.integers(0, 50)
models = st.sampled_from(["gpt-4o-mini", "o1", "openai/gpt-5-nano", ""]) | st.text()


def test_the_endpoints_know_all_the_members_that_bound_an_answer() -> None:
    assert {name for members in MEMBERS for name in members} == set(NAMES)


@unhurried
@given(some_members, figures, st.integers(1, 50), bounds, models)
def test_no_request_asks_for_more_than_the_cap(
    members: tuple[str, ...], asked: dict[str, int | None], cap: int, default: int, model: str
) -> None:
    given_figures = {name: figure for name in members if (figure := asked.get(name)) is not None}
    if any(figure < 1 for figure in given_figures.values()):
        with pytest.raises(Problem) as caught:
            TokenCap(default, cap).changes(asked, members, model)
        assert caught.value.kind is Kind.BAD_REQUEST
        assert caught.value.text == "out_of_range"
        assert given_figures[caught.value.param or ""] < 1
        return
    changes = TokenCap(default, cap).changes(asked, members, model)
    assert set(changes) <= set(members)
    sent = given_figures | changes
    assert bool(sent) == bool(members)
    assert all(1 <= figure <= cap for figure in sent.values())
    assert all(sent[name] == figure for name, figure in given_figures.items() if figure <= cap)
    assert set(sent) == set(given_figures) or not given_figures


@unhurried
@given(some_members, figures, bounds, models)
def test_without_a_cap_what_is_given_stays_and_what_is_not_gets_the_default(
    members: tuple[str, ...], asked: dict[str, int | None], default: int, model: str
) -> None:
    changes = TokenCap(default).changes(asked, members, model)
    if any(asked.get(name) is not None for name in members) or not default or not members:
        assert changes == {}
    else:
        assert changes == {token_member(members, model): default}


@unhurried
@given(some_members, st.integers(-9, 0), st.integers(1, 50))
def test_a_figure_below_one_is_refused_while_there_is_a_cap(
    members: tuple[str, ...], figure: int, cap: int
) -> None:
    for name in members:
        with pytest.raises(Problem) as caught:
            TokenCap(0, cap).changes({name: figure}, members, "gpt-4o")
        assert caught.value.param == name
        assert caught.value.values == {"member": name, "low": 1}
        assert TokenCap().changes({name: figure}, members, "gpt-4o") == {}


def test_both_members_are_cut_where_both_are_given() -> None:
    asked = {"max_tokens": 90, "max_completion_tokens": 11}
    assert TokenCap(0, 10).changes(asked, ("max_tokens", "max_completion_tokens"), "gpt-4o") == dict.fromkeys(
        asked, 10
    )


@pytest.mark.parametrize(
    ("default", "cap", "added"), [(5, 10, 5), (0, 10, 10), (5, 0, 5), (50, 10, 10), (10, 10, 10)]
)
def test_what_is_added_where_a_request_names_no_figure(default: int, cap: int, added: int) -> None:
    changes = TokenCap(default, cap).changes({"max_output_tokens": None}, ("max_output_tokens",), "gpt-4o")
    assert changes == {"max_output_tokens": added}


def test_a_member_of_another_endpoint_does_not_count() -> None:
    assert TokenCap(0, 10).changes({"max_output_tokens": 5}, ("max_tokens",), "gpt-4o") == {"max_tokens": 10}


@pytest.mark.parametrize(
    "model", ["o1", "o3-mini", "o4-mini-2025", "gpt-5", "gpt-5-nano", "openai/o1", "a/b/gpt-5"]
)
def test_reasoning_models_get_the_newer_member(model: str) -> None:
    assert token_member(("max_tokens", "max_completion_tokens"), model) == "max_completion_tokens"
    assert token_member(("max_tokens",), model) == "max_tokens"


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-4.1", "gpt-3.5-turbo", "olmo-2", "my-o1", "o1/llama", "", "/", "\n"]
)
def test_other_models_get_the_older_member(model: str) -> None:
    assert token_member(("max_tokens", "max_completion_tokens"), model) == "max_tokens"


@pytest.mark.parametrize("sign", ["/", "o", "gpt-", "\n"])
def test_a_giant_name_of_a_model_does_not_hang(sign: str) -> None:
    start = time.process_time()
    assert token_member(("max_tokens", "max_completion_tokens"), sign * 5_000_000) == "max_tokens"
    assert time.process_time() - start < 10
