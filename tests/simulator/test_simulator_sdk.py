"""The official SDK, with strict validation, as the judge of every shape.

Two shapes cannot pass its strict validation, whoever serves them, and are tested without it: embeddings
in base64 (validated before they are decoded) and streamed completions (a choice without a
``finish_reason``, which OpenAI sends, is not foreseen).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from chatgpt_platform.simulator.server import Behaviour
from support.simulated import KEY, Simulated, simulated

MODEL = "gpt-4o-mini"
SAID: list[Any] = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": [{"type": "text", "text": "Grüße, 漢字 🙂"}]},
]


@pytest.fixture(scope="module")
def running() -> Iterator[Simulated]:
    with simulated() as found:
        yield found


@pytest.fixture
def client(running: Simulated) -> Iterator[OpenAI]:
    running.simulator.behaviour = Behaviour()
    with OpenAI(
        api_key=KEY, base_url=running.base_url, max_retries=0, timeout=20, _strict_response_validation=True
    ) as made:
        yield made


@pytest.fixture
def lenient(running: Simulated) -> Iterator[OpenAI]:
    with OpenAI(api_key=KEY, base_url=running.base_url, max_retries=0, timeout=20) as made:
        yield made


def test_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=SAID)
    assert answer.model == MODEL
    assert answer.choices[0].finish_reason == "stop"
    text = answer.choices[0].message.content
    assert text is not None
    assert "turn 2" in text
    assert "Grüße, 漢字 🙂" in text
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer == client.chat.completions.create(model=MODEL, messages=SAID).model_copy(
        update={"created": answer.created}
    )


def test_chat_streamed(client: OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=SAID)
    chunks = list(client.chat.completions.create(model=MODEL, messages=SAID, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks][-2:] == [None, "stop"]
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


def test_the_usage_of_a_stream(client: OpenAI) -> None:
    *chunks, last = client.chat.completions.create(
        model=MODEL, messages=SAID, stream=True, stream_options={"include_usage": True}, max_tokens=4
    )
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 4
    assert chunks[-1].choices[0].finish_reason == "length"


def test_several_choices(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=SAID, n=3, max_tokens=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6
    chunks = list(client.chat.completions.create(model=MODEL, messages=SAID, n=2, stream=True))
    ends = [chunk.choices[0].index for chunk in chunks if chunk.choices[0].finish_reason]
    assert ends == [0, 1]


def test_the_helpers_for_streams(client: OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=SAID) as stream:
        assert "Grüße" in (stream.get_final_completion().choices[0].message.content or "")
    with client.responses.stream(model=MODEL, input="hi") as responses:
        assert "hi" in responses.get_final_response().output_text


@pytest.mark.parametrize("maximum", ["max_tokens", "max_completion_tokens"])
def test_exact_lengths(running: Simulated, client: OpenAI, maximum: str) -> None:
    running.simulator.behaviour = Behaviour(tokens=40)
    before = running.simulator.stats.tokens
    answer = client.chat.completions.create(model=MODEL, messages=SAID)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 40 == running.simulator.stats.tokens - before
    assert answer.choices[0].finish_reason == "stop"
    limits: dict[str, Any] = {maximum: 7}
    cut = client.chat.completions.create(model=MODEL, messages=SAID, **limits)
    assert cut.usage is not None
    assert cut.usage.completion_tokens == 7
    assert cut.choices[0].finish_reason == "length"


def test_completions(client: OpenAI, lenient: OpenAI) -> None:
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once", max_tokens=5)
    assert answer.choices[0].finish_reason == "length"
    pieces = list(lenient.completions.create(model="x", prompt="Once", max_tokens=5, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces) == answer.choices[0].text
    assert pieces[-1].choices[0].finish_reason == "length"
    both = client.completions.create(model="x", prompt=["one", "two"])
    assert ["one" in both.choices[0].text, "two" in both.choices[1].text] == [True, True]
    assert "2 tokens" in client.completions.create(model="x", prompt=[5, 6]).choices[0].text


def test_embeddings(client: OpenAI, lenient: OpenAI) -> None:
    model = "text-embedding-3-small"
    floats = client.embeddings.create(model=model, input=["a", "b"], encoding_format="float")
    first, second = (item.embedding for item in floats.data)
    assert len(first) == 1536
    assert first != second
    assert math.isclose(math.hypot(*first), 1, rel_tol=1e-5)
    assert lenient.embeddings.create(model=model, input=["a"]).data[0].embedding == first  # in base64
    short = client.embeddings.create(model=model, input="a", dimensions=8, encoding_format="float")
    assert len(short.data[0].embedding) == 8
    assert math.isclose(math.hypot(*short.data[0].embedding), 1, rel_tol=1e-5)
    one = client.embeddings.create(model=model, input=[1, 2, 3], encoding_format="float")
    assert (len(one.data), one.usage.prompt_tokens) == (1, 3)
    two = client.embeddings.create(model=model, input=[[1, 2], [3]], encoding_format="float")
    assert len(two.data) == 2


def test_responses(client: OpenAI) -> None:
    answer = client.responses.create(model=MODEL, input="Hello", instructions="Be short.")
    assert answer.status == "completed"
    assert "Hello" in answer.output_text
    assert answer.instructions == "Be short."
    turns: Any = [{"role": "user", "content": [{"type": "input_text", "text": "once"}]}, SAID[1]]
    assert "turn 2" in client.responses.create(model=MODEL, input=turns).output_text
    cut = client.responses.create(model=MODEL, input="Hello", max_output_tokens=2)
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"
    assert cut.usage is not None
    assert cut.usage.output_tokens == 2


@pytest.mark.parametrize("maximum", [None, 3])
def test_responses_streamed(client: OpenAI, maximum: int | None) -> None:
    events = list(client.responses.create(model=MODEL, input="Hello", max_output_tokens=maximum, stream=True))
    names = [event.type for event in events]
    deltas = names.count("response.output_text.delta")
    assert names == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete" if maximum else "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    assert last.response.output_text == text
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == deltas


def test_moderations(client: OpenAI) -> None:
    calm, angry = client.moderations.create(input=["A fine day", "Hate and violence"]).results
    assert not calm.flagged
    assert angry.flagged
    assert (angry.categories.hate, angry.categories.violence, angry.categories.sexual) == (True, True, False)
    image: Any = [
        {"type": "text", "text": "hate"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a"}},
    ]
    assert client.moderations.create(input=image).results[0].categories.hate


def test_models(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert MODEL in names
    assert client.models.retrieve("any/name").id == "any/name"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no-such-model")
    assert caught.value.code == "model_not_found"


def test_refusals(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="unknown-1"):
        client.chat.completions.create(model="unknown-1", messages=SAID)
    with pytest.raises(openai.AuthenticationError, match="test-wrong-key") as caught:
        client.with_options(api_key="test-wrong-key").models.list()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id is not None
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=[])
    assert (refused.value.param, refused.value.code) == ("messages", "empty_array")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("401", openai.AuthenticationError),
        ("403", openai.PermissionDeniedError),
        ("404", openai.NotFoundError),
        ("408", openai.APIStatusError),
        ("429", openai.RateLimitError),
        ("429-bare", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("502", openai.InternalServerError),
        ("503", openai.InternalServerError),
        ("503-bare", openai.InternalServerError),
        ("html-error", openai.InternalServerError),
        ("reset", openai.APIConnectionError),
        ("close", openai.APIConnectionError),
        ("reset-mid", openai.APIConnectionError),
        ("cut-mid", openai.APIConnectionError),
        ("echo-key", openai.BadRequestError),
        ("no-answer", openai.APITimeoutError),
        ("stall", openai.APITimeoutError),
    ],
)
def test_a_fault_is_the_error_that_users_expect(
    running: Simulated, client: OpenAI, fault: str, error: type[Exception]
) -> None:
    running.simulator.behaviour = Behaviour(fail=fault)
    patience = 0.3 if error is openai.APITimeoutError else 20
    with pytest.raises(error):
        client.with_options(timeout=patience).chat.completions.create(model=MODEL, messages=SAID)


@pytest.mark.parametrize("fault", ["error-first", "error-later", "echo-key"])
def test_an_error_event(running: Simulated, client: OpenAI, fault: str) -> None:
    running.simulator.behaviour = Behaviour(fail=fault)
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model=MODEL, messages=SAID, stream=True))
    *_, last = client.responses.create(model=MODEL, input="hi", stream=True)
    assert last.type == "error"


@pytest.mark.parametrize("fault", ["split-utf8", "u2028", "comments", "crlf", "no-usage", "silence-after-done"])
def test_odd_but_valid_streams(running: Simulated, client: OpenAI, fault: str) -> None:
    running.simulator.behaviour = Behaviour(fail=fault)
    whole = client.chat.completions.create(model=MODEL, messages=SAID).choices[0].message.content
    chunks = client.chat.completions.create(model=MODEL, messages=SAID, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    assert "Grüße, 漢字" in (whole or "")
    assert ("\u2028" in (whole or "")) == (fault == "u2028")
    if fault != "silence-after-done":  # nothing but the end of the connection ends this stream for the SDK
        *_, last = client.responses.create(model=MODEL, input="hi", stream=True)
        assert last.type == "response.completed"


def test_the_asynchronous_sdk(running: Simulated) -> None:
    running.simulator.behaviour = Behaviour()

    async def use() -> None:
        async with AsyncOpenAI(
            api_key=KEY, base_url=running.base_url, max_retries=0, timeout=20, _strict_response_validation=True
        ) as made:
            answer = await made.chat.completions.create(model=MODEL, messages=SAID)
            stream = await made.chat.completions.create(model=MODEL, messages=SAID, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            assert text == answer.choices[0].message.content
            events = [
                event.type async for event in await made.responses.create(model=MODEL, input="hi", stream=True)
            ]
            assert events[-1] == "response.completed"
            assert (await made.responses.create(model=MODEL, input="hi")).output_text
            assert (await made.completions.create(model=MODEL, prompt="hi")).choices[0].text
            vectors = await made.embeddings.create(model=MODEL, input="hi", encoding_format="float")
            assert len(vectors.data[0].embedding) == 1536
            assert not (await made.moderations.create(input="hi")).results[0].flagged
            assert [model.id async for model in made.models.list()]

    asyncio.run(use())
