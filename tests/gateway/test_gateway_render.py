from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform import locales
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway.endpoints import Api
from chatgpt_platform.gateway.render import Renderer
from chatgpt_platform.locales import en

unhurried = settings(deadline=None)

AUTO = Renderer("auto", "")


def envelope(problem: Problem, api: Api, accept_language: str = "") -> dict[str, Any]:
    """The body of a Problem's answer, its shape checked."""
    status, data = AUTO.body(problem, api, accept_language)
    body: dict[str, Any] = json.loads(data)
    if api is Api.PLATFORM:
        assert body == {"code": status, "msg": "failed", "data": {"response": body["data"]["response"]}}
    else:
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
    return body


def reason(problem: Problem, api: Api, accept_language: str = "") -> str:
    body = envelope(problem, api, accept_language)
    text = body["data"]["response"] if api is Api.PLATFORM else body["error"]["message"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("api", Api)
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    ("accept", "language"), [("", "en"), ("zh-CN", "zh_CN"), ("zh-TW", "zh_TW"), ("ru", "ru")]
)
def test_every_kind_has_an_answer_in_every_language_and_shape(
    kind: Kind, api: Api, accept: str, language: str
) -> None:
    reply = AUTO.reply(Problem(kind), api, accept)
    assert reply.status == (kind.status if api is Api.PLATFORM else kind.openai_status)
    assert reply.stream is None
    assert (b"content-type", b"application/json; charset=utf-8") in reply.headers
    assert kind.name.lower() in en.TEXTS
    assert reason(Problem(kind), api, accept) == locales.say(language, kind.name.lower(), {})


@pytest.mark.parametrize(
    ("kind", "platform", "openai"),
    [
        (Kind.BAD_REQUEST, 400, 400),
        (Kind.BAD_HTTP, 400, 400),
        (Kind.MISSING_KEY, 400, 401),
        (Kind.KEY_REFUSED, 401, 401),
        (Kind.ADDRESS_DENIED, 403, 403),
        (Kind.NOT_FOUND, 404, 404),
        (Kind.METHOD_NOT_ALLOWED, 405, 405),
        (Kind.REQUEST_TIMEOUT, 408, 408),
        (Kind.TOO_LARGE, 413, 413),
        (Kind.TARGET_TOO_LONG, 414, 414),
        (Kind.MEDIA_TYPE, 415, 415),
        (Kind.TOO_MANY_REQUESTS, 429, 429),
        (Kind.HEADERS_TOO_LARGE, 431, 431),
        (Kind.FAULT, 500, 500),
        (Kind.BAD_UPSTREAM, 502, 502),
        (Kind.UNAVAILABLE, 503, 503),
        (Kind.UPSTREAM_TIMEOUT, 504, 504),
    ],
)
def test_statuses_are_the_contracts(kind: Kind, platform: int, openai: int) -> None:
    for api, status in ((Api.PLATFORM, platform), (Api.OPENAI, openai)):
        reply = AUTO.reply(Problem(kind), api)
        assert reply.status == status
        assert ((b"www-authenticate", b"Bearer") in reply.headers) == (status == 401)


@pytest.mark.parametrize("kind", Kind)
def test_the_page_of_the_apis_has_each_kind(kind: Kind) -> None:
    code = "null" if kind.openai_code is None else kind.openai_code
    row = f"| {kind.openai_status} | `{kind.openai_type}` | `{code}` | "
    assert row in (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")


def test_an_error_in_openais_shape_names_the_member() -> None:
    problem = Problem(Kind.BAD_REQUEST, "wrong_type_integer", param="max_tokens", member="max_tokens")
    assert envelope(problem, Api.OPENAI)["error"] == {
        "message": "max_tokens must be a whole number.",
        "type": "invalid_request_error",
        "param": "max_tokens",
        "code": None,
    }
    assert envelope(Problem(Kind.MISSING_KEY), Api.OPENAI)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(("wait", "header"), [(0, b"0"), (7, b"7"), (604_800, b"604800")])
def test_retry_after_is_a_header(wait: int, header: bytes) -> None:
    for api in Api:
        assert (b"retry-after", header) in AUTO.reply(
            Problem(Kind.TOO_MANY_REQUESTS, retry_after=wait), api
        ).headers


def test_without_a_wait_there_is_no_retry_after() -> None:
    assert [name for name, _ in AUTO.reply(Problem(Kind.UPSTREAM_BUSY), Api.PLATFORM).headers] == [b"content-type"]


def test_replies_do_not_share_their_headers() -> None:
    AUTO.reply(Problem(Kind.FAULT), Api.PLATFORM).headers.append((b"x", b"y"))
    assert (b"x", b"y") not in AUTO.reply(Problem(Kind.FAULT), Api.PLATFORM).headers


def test_the_detail_is_for_the_log_alone() -> None:
    problem = Problem(Kind.BAD_UPSTREAM, detail="inner-detail-1")
    for api in Api:
        reply = AUTO.reply(problem, api)
        assert b"inner-detail-1" not in reply.body + repr(reply.headers).encode()


@pytest.mark.parametrize(
    ("setting", "accept", "environment", "language"),
    [
        ("auto", "ru, en;q=0.5", "zh_CN.UTF-8", "ru"),
        ("auto", "", "zh_TW.UTF-8", "zh_TW"),
        ("auto", "fr", "C.UTF-8", "en"),
        ("zh_CN", "ru", "en", "zh_CN"),
    ],
)
def test_the_language_is_the_settings_or_the_callers(
    setting: str, accept: str, environment: str, language: str
) -> None:
    told = Renderer(setting, environment).reason(Problem(Kind.FAULT), accept)
    assert told == locales.say(language, "fault", {})


@unhurried
@given(
    st.sampled_from(list(Kind)),
    st.sampled_from(["", "no such text", *en.TEXTS]),
    st.dictionaries(st.sampled_from(["member", "path", "reason", "limit"]), st.text() | st.integers()),
    st.none() | st.text(),
    st.text(),
    st.sampled_from(list(Api)),
)
def test_rendering_cannot_fail(
    kind: Kind, text: str, values: dict[str, Any], param: str | None, accept: str, api: Api
) -> None:
    problem = Problem(kind, text, param=param, **values)
    assert reason(problem, api, accept)


@pytest.mark.parametrize("api", Api)
def test_half_a_surrogate_pair_spoils_no_answer(api: Api) -> None:
    problem = Problem(Kind.NOT_FOUND, path="/\ud800\x1b[31m\u2028", param="\udc00")
    assert reason(problem, api) == "There is nothing at /?\x1b[31m\u2028."
    assert b"\x1b" not in AUTO.reply(problem, api).body
