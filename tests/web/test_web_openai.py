"""The OpenAI API, proved with the official Python SDK under strict response validation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import requests
from openai import AsyncOpenAI, OpenAI

from chatgpt_platform.simulator.server import Behaviour
from support.gateway import KEY, Running, gateway

MESSAGES: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def shared() -> Iterator[Running]:
    with gateway() as running:
        yield running


def sdk(running: Running, key: str = "placeholder") -> OpenAI:
    return OpenAI(base_url=running.url + "/v1", api_key=key, max_retries=0, _strict_response_validation=True)


@pytest.fixture
def client(shared: Running) -> Iterator[OpenAI]:
    with sdk(shared) as made:
        yield made


def sent(running: Running) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(running.simulator.seen[-1].body)
    return body


def test_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert "Hello" in (answer.choices[0].message.content or "")
    assert answer.usage
    assert answer.usage.completion_tokens > 0


def test_chat_streamed(client: OpenAI) -> None:
    options: Any = {"include_usage": True}
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options=options
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Hello" in text
    assert chunks[-1].usage


def test_completions(shared: Running, client: OpenAI) -> None:
    whole = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hello")
    # Not strict: the SDK's own schema lacks the null that OpenAI sends as finish_reason of a piece.
    with OpenAI(base_url=shared.url + "/v1", api_key="x", max_retries=0) as lenient:
        pieces = list(lenient.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hello", stream=True))
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == whole.choices[0].text


def test_embeddings(client: OpenAI) -> None:
    answer = client.embeddings.create(
        model="text-embedding-3-small", input=["a", "b"], dimensions=8, encoding_format="float"
    )
    assert [len(item.embedding) for item in answer.data] == [8, 8]


def test_embeddings_as_the_sdk_asks_for_them_by_itself(shared: Running) -> None:
    # Not strict: the SDK asks for base64, which it decodes only after its own validation.
    with OpenAI(base_url=shared.url + "/v1", api_key="x", max_retries=0) as lenient:
        packed = lenient.embeddings.create(model="text-embedding-3-small", input="a", dimensions=8)
        plain = lenient.embeddings.create(
            model="text-embedding-3-small", input="a", dimensions=8, encoding_format="float"
        )
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)


def test_responses(client: OpenAI) -> None:
    whole = client.responses.create(model="gpt-4o-mini", input="Hello")
    assert "Hello" in whole.output_text
    with client.responses.stream(model="gpt-4o-mini", input="Hello") as stream:
        types = [event.type for event in stream]
        assert stream.get_final_response().output_text == whole.output_text
    assert types[0] == "response.created"
    assert types[-1] == "response.completed"


def test_moderations(client: OpenAI) -> None:
    assert not client.moderations.create(model="omni-moderation-latest", input="Hello").results[0].flagged


def test_models(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert "gpt-4o-mini" in names
    assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


@pytest.mark.gen_test
async def test_the_asynchronous_sdk(shared: Running) -> None:
    base_url = shared.url + "/v1"
    async with AsyncOpenAI(
        base_url=base_url, api_key="x", max_retries=0, _strict_response_validation=True
    ) as made:
        whole = await made.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        stream = await made.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        assert "".join(pieces) == whole.choices[0].message.content
        assert [model.id async for model in made.models.list()]
        embedding = await made.embeddings.create(
            model="text-embedding-3-small", input="a", encoding_format="float"
        )
        assert embedding.data[0].embedding
        response = await made.responses.create(model="gpt-4o-mini", input="Hello")
        assert response.output_text


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        ("401", openai.AuthenticationError, 401),
        ("403", openai.PermissionDeniedError, 403),
        ("404", openai.NotFoundError, 404),
        ("429", openai.RateLimitError, 429),
        ("500", openai.InternalServerError, 500),
        ("502", openai.InternalServerError, 502),
        ("503", openai.InternalServerError, 503),
    ],
)
def test_the_upstreams_errors_pass_with_their_status(
    fault: str, error: type[openai.APIStatusError], status: int
) -> None:
    with gateway(behaviour=Behaviour(fail=fault)) as running, sdk(running) as made:
        running.expected = ["key 1 does not work", "the upstream answered 50"]
        headers = []
        for stream in (False, True):
            with pytest.raises(error) as caught:
                made.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=stream)
            assert caught.value.status_code == status
            headers.append(caught.value.response.headers)
            assert headers[-1]["x-request-id"].startswith("req_")
        if fault == "429":
            assert [each["retry-after"] for each in headers] == ["7", "7"]
            assert "x-ratelimit-limit-requests" in headers[0], "the second is the gateway's own: the key rests"
        assert running.output().count("key 1 does not work") == (fault == "401"), "said once"


def test_a_missing_key_is_401() -> None:
    with gateway(key="") as running:
        for headers in (
            {},
            {"Authorization": "Bearer "},
            {"Authorization": "Bearer a b"},
            {"Authorization": "Basic eA=="},
        ):
            answer = requests.post(running.url + "/v1/chat/completions", json={}, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        with sdk(running, "test-key-own") as made:
            made.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        with sdk(running, "test-key-wrong") as made, pytest.raises(openai.AuthenticationError) as caught:
            made.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        assert "test-key-wrong" not in str(caught.value)


def test_bodies_pass_through_unchanged(shared: Running) -> None:
    body = b'{ "messages" : [{"role":"user","content":"h\\u00e9\\/"}],"model":"gpt-4o-mini","x":{"a":[1E2]} }'
    headers = {"Content-Type": "application/json"}
    answer = requests.post(shared.url + "/v1/chat/completions", data=body, headers=headers)
    assert answer.status_code == 200
    assert shared.simulator.seen[-1].body == body


def test_aliases_and_caps_change_only_their_members() -> None:
    environment = {
        "CHATGPT_MODELS__ALIASES": '{"cheap": "gpt-4o-mini"}',
        "CHATGPT_MODELS__MAX_TOKENS__CAP": "50",
        "CHATGPT_MODELS__MAX_TOKENS__DEFAULT": "20",
    }
    with gateway(environment) as running:
        base = {"model": "cheap", "messages": MESSAGES, "seed": 7}
        table: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
            ("chat/completions", base, {"max_tokens": 20}),
            ("chat/completions", {**base, "max_tokens": 10}, {"max_tokens": 10}),
            ("chat/completions", {**base, "max_tokens": 99}, {"max_tokens": 50}),
            ("chat/completions", {**base, "max_completion_tokens": 99}, {"max_completion_tokens": 50}),
            (
                "chat/completions",
                {**base, "model": "gpt-5-mini"},
                {"model": "gpt-5-mini", "max_completion_tokens": 20},
            ),
            ("completions", {"model": "cheap", "prompt": "x", "max_tokens": 99}, {"max_tokens": 50}),
            ("responses", {"model": "cheap", "input": "x"}, {"max_output_tokens": 20}),
            ("embeddings", {"model": "cheap", "input": "x"}, {}),
        ]
        for path, body, change in table:
            assert requests.post(f"{running.url}/v1/{path}", json=body).status_code == 200
            assert sent(running) == {**body, "model": "gpt-4o-mini", **change}
        refused = requests.post(running.url + "/v1/chat/completions", json={**base, "max_tokens": -1})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "max_tokens"


@pytest.mark.parametrize("member", ["api_base", "base_url", "api_key", "extra_headers"])
def test_a_request_cannot_choose_the_upstream(shared: Running, member: str) -> None:
    before = len(shared.simulator.seen)
    answer = requests.post(shared.url + "/v1/chat/completions", json={"model": "m", "messages": [], member: None})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == member
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert len(shared.simulator.seen) == before


def test_headers_pass_by_allow_list(shared: Running) -> None:
    headers = {
        "OpenAI-Organization": "org-x", "OpenAI-Project": "proj-x", "OpenAI-Beta": "assistants=v2",
        "Idempotency-Key": "once", "Cookie": "a=b", "X-Forwarded-Host": "x", "Connection": "x-hop", "X-Hop": "1",
        "Accept-Encoding": "gzip",
    }  # fmt: skip
    answer = requests.post(
        shared.url + "/v1/chat/completions",
        json={"model": "gpt-4o-mini", "messages": MESSAGES},
        headers=headers,
    )
    seen = shared.simulator.seen[-1].headers
    assert seen["OpenAI-Beta"] == "assistants=v2"
    assert seen["Idempotency-Key"] == "once"
    assert seen["Accept-Encoding"] == "identity"
    assert seen["Authorization"] == f"Bearer {KEY}"
    for name in ("OpenAI-Organization", "OpenAI-Project", "Cookie", "X-Forwarded-Host", "X-Hop"):
        assert name not in seen
    assert answer.headers["x-request-id"].startswith("req_")
    assert "openai-processing-ms" in answer.headers
    assert answer.headers["content-type"].startswith("application/json")


def test_the_organization_passes_with_the_callers_own_key() -> None:
    with gateway({"CHATGPT_ACCESS__CALLER_KEYS": "true"}) as running:
        headers = {"Authorization": "Bearer test-key-own", "OpenAI-Organization": "org-x"}
        body = {"model": "gpt-4o-mini", "messages": MESSAGES}
        requests.post(running.url + "/v1/chat/completions", json=body, headers=headers)
        assert running.simulator.seen[-1].headers["OpenAI-Organization"] == "org-x"


def test_errors_have_openais_shape(shared: Running) -> None:
    url = shared.url + "/v1/chat/completions"
    table = [
        (requests.get(shared.url + "/v1/nowhere"), 404, "unknown_url"),
        (requests.get(url), 405, "method_not_allowed"),
        (requests.post(url, data=b"{", headers={"Content-Type": "application/json"}), 400, None),
        (
            requests.post(url, data="a=b", headers={"Content-Type": "application/x-www-form-urlencoded"}),
            415,
            "unsupported_media_type",
        ),
        (requests.get(shared.url + "/v1/models/../chat"), 404, None),
        (requests.get(shared.url + "/v1/models/%2e%2e"), 404, "unknown_url"),
        (requests.get(shared.url + "/v1/models/%ff"), 404, "unknown_url"),
    ]
    for answer, status, code in table:
        assert answer.status_code == status, answer.text
        error = answer.json()["error"] if answer.request.path_url.startswith("/v1") else None
        if error is not None:
            assert set(error) == {"message", "type", "param", "code"}
            assert code is None or error["code"] == code


def test_the_access_line_of_a_call() -> None:
    with gateway() as running, sdk(running) as made:
        answer = made.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        record = running.record()
        assert answer.usage
        assert record["path"] == "/v1/chat/completions"
        assert record["method"] == "POST"
        assert record["status"] == 200
        assert record["client"] == "127.0.0.1"
        assert record["model"] == "gpt-4o-mini"
        assert record["upstream"] == "openai"
        assert record["stream"] is False
        assert record["prompt_tokens"] == answer.usage.prompt_tokens
        assert record["completion_tokens"] == answer.usage.completion_tokens
        assert record["bytes_out"] > 100
        assert record["duration_ms"] >= record["first_byte_ms"] > 0
        assert record["error"] is None
        assert KEY not in running.output()
