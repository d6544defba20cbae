"""The platform API over HTTP: places and names of parameters, envelopes, languages, conversations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from chatgpt_platform.simulator.server import Behaviour
from support.gateway import KEY, Running, gateway, wait_until


@pytest.fixture
def shared() -> Iterator[Running]:
    with gateway() as running:
        yield running


def failed(answer: requests.Response, code: int) -> str:
    """The reason of a failure, its envelope checked."""
    body = answer.json()
    assert answer.status_code == code
    assert set(body) == {"code", "msg", "data"}
    assert body["code"] == code
    assert body["msg"] == "failed"
    reason = body["data"]["response"]
    assert isinstance(reason, str)
    assert reason
    return reason


def sent(running: Running) -> dict[str, Any]:
    """The body of the last request that the upstream saw."""
    body: dict[str, Any] = json.loads(running.simulator.seen[-1].body)
    return body


def test_a_single_question(shared: Running) -> None:
    answer = requests.get(shared.url + "/chatgpt", params={"prompt": "Hello"})
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert body["code"] == 200
    assert body["msg"] == "success"
    assert body["data"]["response"] == body["current_response"]
    assert "Hello" in body["current_response"]
    assert body["model"] == "gpt-4o-mini"
    assert body["usage"]["completion_tokens"] > 0
    assert [turn["role"] for turn in body["result"]] == ["user", "assistant"]
    assert body["result"][0]["content"] == "Hello"


@pytest.mark.parametrize("path", ["/chatgpt", "/", "/api"])
@pytest.mark.parametrize("name", ["prompt", "user_content"])
@pytest.mark.parametrize("place", ["query", "form", "multipart", "json"])
def test_every_place_and_name_of_the_prompt(shared: Running, path: str, name: str, place: str) -> None:
    url, given = shared.url + path, {name: "你好 & more"}
    answer = {
        "query": lambda: requests.get(url, params=given),
        "form": lambda: requests.post(url, data=given),
        "multipart": lambda: requests.post(url, files={name: (None, "你好 & more")}),
        "json": lambda: requests.post(url, json=given),
    }[place]()
    assert answer.status_code == 200, answer.text
    assert sent(shared)["messages"] == [{"role": "user", "content": "你好 & more"}]


def test_a_form_may_hold_raw_utf_8(shared: Running) -> None:
    """As ``curl -d 'prompt=…'`` sends it."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(shared.url + "/api", data="prompt=你好".encode(), headers=headers)
    assert answer.status_code == 200
    assert sent(shared)["messages"] == [{"role": "user", "content": "你好"}]


def test_all_parameters_reach_the_upstream(shared: Running) -> None:
    body = {
        "user_content": "three",
        "system_content": "Be brief.",
        "model": "gpt-4o",
        "continuous": [
            {"role": "system", "content": "old"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
        ],
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
    }
    assert requests.post(shared.url + "/api", json=body).status_code == 200
    assert sent(shared) == {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ],
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
    }


def test_parameters_of_a_form_are_read_by_their_types(shared: Running) -> None:
    form = {
        "prompt": "hi",
        "max_tokens": "7",
        "temperature": "0.25",
        "continuous": '[{"role":"user","content":"x"}]',
    }
    assert requests.post(shared.url + "/chatgpt", data=form).status_code == 200
    assert sent(shared)["max_tokens"] == 7
    assert sent(shared)["temperature"] == 0.25
    assert sent(shared)["messages"][0] == {"role": "user", "content": "x"}


def test_the_model_header_and_the_retired_model(shared: Running) -> None:
    for model, real in (("gpt-4o", "gpt-4o"), ("text-davinci-003", "gpt-4o-mini")):
        answer = requests.get(shared.url + "/chatgpt", params={"prompt": "hi"}, headers={"Model": model})
        assert answer.status_code == 200
        assert sent(shared)["model"] == real


def test_a_conversation_is_continued_with_its_result(shared: Running) -> None:
    turns: list[dict[str, str]] = []
    for number in (1, 2, 3):
        body = {"system_content": "Be kind.", "user_content": f"turn {number}", "continuous": turns}
        turns = requests.post(shared.url + "/api", json=body).json()["result"]
        assert [turn["role"] for turn in turns] == ["system"] + ["user", "assistant"] * number


@pytest.mark.parametrize(
    ("request_body", "part"),
    [
        ({}, "prompt"),
        ({"prompt": " \t"}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "x", "max_tokens": "many"}, "max_tokens"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "x", "temperature": "warm"}, "temperature"),
        ({"prompt": "x", "stream": "yes"}, "stream"),
        ({"prompt": "x", "continuous": "y"}, "continuous"),
        ({"prompt": "x", "continuous": [{"role": "user"}]}, "continuous[0]"),
        ({"prompt": "x", "model": "no-such-model"}, "no-such-model"),
        ([], ""),
        ("text", ""),
    ],
)
def test_bad_requests_name_the_member(shared: Running, request_body: object, part: str) -> None:
    assert part in failed(requests.post(shared.url + "/api", json=request_body), 400)


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"", b"\xff\xfe{}", b'{"prompt": NaN}', b"[" * 100_000, b'{"prompt":"\\ud800"}',
        b'{"prompt":"a","prompt":"b"}', b'{"prompt":"a","pr\\u006fmpt":"b"}',
    ],
)  # fmt: skip
def test_unreadable_json_is_400(shared: Running, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    failed(requests.post(shared.url + "/api", data=body, headers=headers), 400)


def test_too_many_parameters(shared: Running) -> None:
    form = "&".join(f"a{number}=1" for number in range(1000))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    failed(requests.post(shared.url + "/api", data=form, headers=headers), 400)
    failed(requests.get(f"{shared.url}/api?{form}"), 400)


@pytest.mark.parametrize(
    ("language", "part"),
    [
        ("en", "prompt"),
        ("zh-CN,zh;q=0.9", "缺"),
        ("zh-TW", "缺"),
        ("ru-RU", "prompt"),
        ("fr", "prompt"),
        ("", "prompt"),
    ],
)
def test_the_reason_is_in_the_callers_language(shared: Running, language: str, part: str) -> None:
    answer = requests.get(shared.url + "/chatgpt", headers={"Accept-Language": language})
    assert part in failed(answer, 400)


def test_the_four_languages_differ(shared: Running) -> None:
    reasons = {
        failed(requests.get(shared.url + "/chatgpt", headers={"Accept-Language": language}), 400)
        for language in ("en", "zh-CN", "zh-TW", "ru")
    }
    assert len(reasons) == 4


def test_paths_methods_and_types(shared: Running) -> None:
    failed(requests.get(shared.url + "/nowhere"), 404)
    refused = requests.delete(shared.url + "/chatgpt")
    failed(refused, 405)
    assert refused.headers["allow"] == "GET, POST"
    failed(requests.request("BREW", shared.url + "/chatgpt"), 405)
    failed(requests.post(shared.url + "/api", data=b"x", headers={"Content-Type": "text/plain"}), 415)
    packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    failed(requests.post(shared.url + "/api", data=b"x", headers=packed), 415)


def test_a_refused_key_is_401(shared: Running) -> None:
    for headers in (
        {"ApiKey": "test-key-invalid"},
        {"ApiKey": "clé".encode()},
        {"ApiKey": "a b"},
        {"ApiKey": "k" * 9000},
    ):
        answer = requests.get(shared.url + "/chatgpt", params={"prompt": "x"}, headers=headers)
        assert "test-key-invalid" not in failed(answer, 401)
    failed(requests.post(shared.url + "/api", json={"prompt": "x", "api_key": "' OR 1=1 --"}), 401)


def test_no_key_anywhere_is_400() -> None:
    with gateway(key="") as running:
        failed(requests.get(running.url + "/chatgpt", params={"prompt": "x"}), 400)
        for headers in ({"ApiKey": "test-key-own"}, {"Authorization": "Bearer test-key-own"}):
            answer = requests.get(running.url + "/chatgpt", params={"prompt": "x"}, headers=headers)
            assert answer.status_code == 200
            assert running.simulator.seen[-1].headers["Authorization"] == "Bearer test-key-own"


def test_a_bearer_token_is_never_forwarded_beside_a_configured_key(shared: Running) -> None:
    headers = {"Authorization": "Bearer test-key-of-the-caller", "Cookie": "a=b", "X-Api-Base": "http://x"}
    answer = requests.get(shared.url + "/chatgpt", params={"prompt": "x"}, headers=headers)
    seen = shared.simulator.seen[-1].headers
    assert answer.status_code == 200
    assert seen["Authorization"] == f"Bearer {KEY}"
    assert "Cookie" not in seen
    assert "X-Api-Base" not in seen


def test_route_moves_the_conversation_endpoint() -> None:
    with gateway({"ROUTE": "talk/"}) as running:
        assert requests.post(running.url + "/talk", json={"prompt": "x"}).status_code == 200
        assert requests.get(running.url + "/chatgpt", params={"prompt": "x"}).status_code == 200
        failed(requests.post(running.url + "/api", json={"prompt": "x"}), 404)
        failed(requests.get(running.url + "/"), 404)


def test_a_streamed_answer(shared: Running) -> None:
    for given in (
        {"json": {"prompt": "hi", "stream": True}},
        {"json": {"prompt": "hi"}, "headers": {"Accept": "text/event-stream"}},
    ):
        answer = requests.post(shared.url + "/api", stream=True, **given)
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        *pieces, success, done = events
        text = "".join(json.loads(piece)["delta"] for piece in pieces)
        assert done == "[DONE]"
        assert len(pieces) > 1
        assert json.loads(success)["current_response"] == text
        assert json.loads(success)["usage"]["completion_tokens"] == len(pieces)
        assert json.loads(success)["result"][-1] == {"role": "assistant", "content": text}


def test_too_large_a_body_is_413_declared_and_chunked() -> None:
    with gateway({"CHATGPT_SERVER__MAX_BODY": "10KiB"}) as running:
        body = json.dumps({"prompt": "x" * 200_000}).encode()
        headers = {"Content-Type": "application/json"}
        failed(requests.post(running.url + "/api", data=body, headers=headers), 413)
        chunks = (body[at : at + 1000] for at in range(0, len(body), 1000))
        failed(requests.post(running.url + "/api", data=chunks, headers=headers), 413)
        assert requests.post(running.url + "/api", json={"prompt": "x" * 9000}).status_code == 200
        assert len(running.simulator.seen) == 1


def test_prompts_are_logged_only_when_asked_for() -> None:
    for wanted in ("false", "true"):
        with gateway({"CHATGPT_LOGGING__PROMPTS": wanted}, Behaviour(tokens=3)) as running:
            requests.post(running.url + "/api", json={"prompt": "a secret wish"})
            requests.post(running.url + "/api", json={"prompt": "a secret wish", "stream": True})
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "a secret wish"}]}
            requests.post(running.url + "/v1/chat/completions", json=body)
            requests.post(running.url + "/v1/chat/completions", json={**body, "stream": True})
            wait_until(lambda: len(running.records()) == 4)
            if wanted == "true":
                assert all(
                    "a secret wish" in record["prompt"] and record["answer"] for record in running.records()
                )
            else:
                assert "secret" not in running.output()
