"""Who may answer a call, whose key pays, and what is made of the trace that it brings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.access.keys import KeyPolicy
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import endpoints
from chatgpt_platform.gateway.call import Call
from chatgpt_platform.gateway.endpoints import Api
from chatgpt_platform.gateway.routing import Routing
from chatgpt_platform.settings.schema import Upstream
from support.upstreams import call, fleet, upstream

OWN = "sk-own"
KEYED = upstream("keyed")
KEYLESS = upstream("keyless", keys=0)
MINE = upstream("mine", keys=0, models=("mine-*",))
"""Serves some models, with its callers' keys."""


def routing(*upstreams: Upstream, mode: str = "auto") -> Routing:
    return Routing(fleet(*upstreams), KeyPolicy(mode))


def assigned(way: Routing, api: Api, model: str = "m", member: str | None = None, **headers: str) -> Call:
    made = call(endpoints.CHAT if api is Api.OPENAI else endpoints.PLATFORM, **headers)
    if api is Api.OPENAI:
        way.check_openai(made)
        way.assign_openai(made, model)
    else:
        way.check_platform(made)
        way.assign_platform(made, model, member)
    return made


def who(made: Call) -> list[list[str]]:
    return [[each.name for each in tier] for tier in made.candidates]


def paying(made: Call) -> str | None:
    return None if made.own_key is None else made.own_key.value


both = pytest.mark.parametrize("api", list(Api))


# Candidates.


@both
def test_a_model_of_several(api: Api) -> None:
    way = routing(
        upstream("b", priority=1), upstream("a"), upstream("c", priority=1), upstream("x", models=("x",))
    )
    made = assigned(way, api)
    assert who(made) == [["a"], ["b", "c"]]
    assert paying(made) is None
    assert who(assigned(way, api, "x")) == [["a", "x"], ["b", "c"]]


@both
@pytest.mark.parametrize("headers", [{}, {"authorization": f"Bearer {OWN}"}, {"traceparent": "00"}])
def test_a_model_of_nobody(api: Api, headers: dict[str, str]) -> None:
    way = routing(upstream("a", models=("gpt-*",)), mode="true")
    with pytest.raises(Problem) as caught:
        assigned(way, api, "o1", **headers)
    problem = caught.value
    assert (problem.kind, problem.text, problem.param) == (Kind.UNKNOWN_MODEL, "model_not_served", "model")
    assert problem.values == {"model": "o1"}


def test_no_model_at_all_goes_where_it_can() -> None:
    assert who(assigned(routing(upstream("a", models=("x",))), Api.OPENAI, "")) == [["a"]]


# Whose key pays.


@both
@pytest.mark.parametrize(
    ("mode", "upstreams", "model", "expected"),
    [
        ("auto", [KEYED], "m", None),
        ("true", [KEYED], "m", OWN),
        ("false", [KEYED], "m", None),
        ("auto", [KEYLESS], "m", OWN),
        ("true", [KEYLESS], "m", OWN),
        ("auto", [KEYED, MINE], "m", None),
        ("auto", [MINE, KEYED], "mine-1", OWN),
        ("auto", [KEYED, MINE], "mine-1", None),
    ],
)
def test_a_bearer_token(api: Api, mode: str, upstreams: list[Upstream], model: str, expected: str | None) -> None:
    """``auto``: it counts where the upstream to which the model belongs has no key of the owner's."""
    made = assigned(routing(*upstreams, mode=mode), api, model, authorization=f"Bearer {OWN}")
    assert paying(made) == expected
    if expected is None:
        assert who(made) == [["keyed"]]


@both
@pytest.mark.parametrize("mode", ["auto", "true"])
def test_an_own_key_is_sent_only_to_the_upstream_that_the_model_belongs_to(api: Api, mode: str) -> None:
    way = routing(KEYLESS, upstream("spare", priority=1), upstream("same"), mode=mode)
    made = assigned(way, api, authorization=f"Bearer {OWN}")
    assert who(made) == [["keyless"]]
    assert made.own_key is not None
    assert made.own_key.header_line == b"Authorization: Bearer sk-own\r\n"
    assert who(assigned(way, api)) == [["same"], ["spare"]], "without one the owner's others pay"


def test_an_own_key_is_brought_as_the_upstream_takes_it() -> None:
    way = routing(upstream("az", keys=0, api="azure", api_version="2024-10-21"))
    made = assigned(way, Api.OPENAI, authorization=f"Bearer {OWN}")
    assert made.own_key is not None
    assert made.own_key.header_line == b"api-key: sk-own\r\n"


@pytest.mark.parametrize("mode", ["auto", "true"])
def test_the_platforms_header_and_member_count_beside_the_owners_key(mode: str) -> None:
    way = routing(KEYED, upstream("spare", priority=1), mode=mode)
    for made in (assigned(way, Api.PLATFORM, apikey=OWN), assigned(way, Api.PLATFORM, member=OWN)):
        assert paying(made) == OWN
        assert who(made) == [["keyed"]]
    assert paying(assigned(way, Api.OPENAI, apikey=OWN)) is None


def test_false_takes_no_key_of_a_callers() -> None:
    way = routing(KEYED, mode="false")
    made = assigned(way, Api.PLATFORM, member=OWN, apikey=OWN, authorization=f"Bearer {OWN}")
    assert paying(made) is None


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic eA=="}, {"authorization": "Bearer "}])
@pytest.mark.parametrize(("api", "text"), [(Api.OPENAI, "missing_bearer"), (Api.PLATFORM, "missing_key")])
def test_nobody_pays(api: Api, text: str, headers: dict[str, str]) -> None:
    for mode in ("auto", "true", "false"):
        with pytest.raises(Problem) as caught:
            assigned(routing(KEYLESS, mode=mode), api, **headers)
        assert (caught.value.kind, caught.value.text) == (Kind.MISSING_KEY, text)


@both
def test_nobody_pays_for_a_model_of_an_upstream_without_keys(api: Api) -> None:
    way = routing(upstream("keyed", models=("m",)), MINE)
    assert who(assigned(way, api)) == [["keyed"]]
    with pytest.raises(Problem) as caught:
        assigned(way, api, "mine-1")
    assert caught.value.kind is Kind.MISSING_KEY


def test_nobody_pays_is_said_before_the_body_comes_where_no_model_could_change_it() -> None:
    with pytest.raises(Problem) as caught:
        routing(KEYLESS).check_openai(call(endpoints.CHAT))
    assert caught.value.kind is Kind.MISSING_KEY
    routing(KEYLESS, KEYED).check_openai(call(endpoints.CHAT))
    routing(KEYLESS).check_platform(call(endpoints.PLATFORM))  # the body may hold one


@both
@pytest.mark.parametrize("key", ["schlüssel", "two words", "x" * 8193, "\x7f"])
def test_what_cannot_be_a_key_is_refused_and_goes_nowhere(api: Api, key: str) -> None:
    with pytest.raises(Problem) as caught:
        assigned(routing(KEYLESS), api, authorization=f"Bearer {key}")
    assert caught.value.kind is Kind.KEY_REFUSED
    assert key not in str(caught.value)


@both
def test_what_cannot_be_a_key_is_ignored_where_none_counts(api: Api) -> None:
    assert paying(assigned(routing(KEYED), api, authorization="Bearer schlüssel")) is None


# Traces.

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def traced(parent: str, **headers: str) -> Call:
    return assigned(routing(KEYED), Api.OPENAI, traceparent=parent, **headers)


@both
def test_a_trace_is_handed_on_as_it_came_and_noted(api: Api) -> None:
    made = assigned(routing(KEYED), api, traceparent=PARENT, tracestate="rojo=00f067aa0ba902b7, congo=t61")
    assert made.trace == b"traceparent: %b\r\ntracestate: rojo=00f067aa0ba902b7, congo=t61\r\n" % PARENT.encode()
    assert made.record.trace_id == TRACE


@both
def test_no_trace(api: Api) -> None:
    made = assigned(routing(KEYED), api, tracestate="rojo=1")
    assert (made.trace, made.record.trace_id) == (b"", None)


@pytest.mark.parametrize(
    "parent",
    [
        PARENT,
        f"00-{TRACE}-b7ad6b7169203331-00",
        f"00-{TRACE}-b7ad6b7169203331-ff",
        f"  {PARENT}\t",
        f"01-{TRACE}-b7ad6b7169203331-01",
        f"01-{TRACE}-b7ad6b7169203331-01-more",
        f"cc-{TRACE}-b7ad6b7169203331-01-",
        f"fe-{TRACE}-b7ad6b7169203331-01-a-b.c",
    ],
)
def test_valid_ones(parent: str) -> None:
    """Also of versions to come, which may have more fields."""
    made = traced(parent)
    assert made.trace == b"traceparent: %b\r\n" % parent.strip().encode()
    assert made.record.trace_id == TRACE


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        TRACE,
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"0-{TRACE}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-b7ad6b7169203331-01-more",
        f"00-{TRACE}-b7ad6b7169203331-01-",
        f"01-{TRACE}-b7ad6b7169203331-01more",
        f"01-{TRACE}-b7ad6b7169203331-01-a b",
        f"00-{TRACE}-b7ad6b7169203331",
        f"00-{TRACE}-b7ad6b7169203331-1",
        f"00-{TRACE[:-1]}-b7ad6b7169203331-01",
        f"00-{TRACE}0-b7ad6b7169203331-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"00-{TRACE}-b7ad6b716920333g-01",
        f"00_{TRACE}_b7ad6b7169203331_01",
        f"{PARENT}, {PARENT}",
        f"{PARENT}\r\nX-Evil: 1",
        f"01-{TRACE}-b7ad6b7169203331-01-\xe9",
    ],
)
def test_what_is_no_trace_is_dropped_and_its_state_with_it(parent: str) -> None:
    made = traced(parent, tracestate="rojo=1")
    assert (made.trace, made.record.trace_id) == (b"", None)


@pytest.mark.parametrize("state", ["", " ", "x" * 513, "a=\x00", "a=1\r\nX-Evil: 1", "a=\xe9"])
def test_a_state_that_cannot_be_handed_on_is_left_out(state: str) -> None:
    assert traced(PARENT, tracestate=state).trace == b"traceparent: %b\r\n" % PARENT.encode()


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_whatever_comes_the_framing_holds(parent: str, state: str) -> None:
    for made in (traced(parent, tracestate=state), traced(PARENT, tracestate=state)):
        lines = made.trace.split(b"\r\n")
        assert lines.pop() == b""
        assert [line.partition(b":")[0] for line in lines] in (
            [],
            [b"traceparent"],
            [b"traceparent", b"tracestate"],
        )
        assert all(32 <= sign < 127 or sign == 9 for line in lines for sign in line)
