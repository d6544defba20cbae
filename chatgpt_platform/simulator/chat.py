"""Chat completions, and the older completions: the same answer but for the shape of a choice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chatgpt_platform.simulator.answer import DONE, Answer, Document, Event, Refusal, plain, stream
from chatgpt_platform.simulator.conversation import MOST_TOKENS, Said, read_messages, read_prompts
from chatgpt_platform.simulator.request import Members
from chatgpt_platform.simulator.text import Reply, Script, compose

_MOST_CHOICES = 128


@dataclass(frozen=True, slots=True)
class _Completion:
    """All that an answer says, before it has a shape. There is a choice for each of ``replies``."""

    model: str
    created: int
    replies: list[Reply]
    prompt_tokens: int

    @property
    def tokens(self) -> int:
        return sum(len(reply.pieces) for reply in self.replies)

    def usage(self) -> Document:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": self.prompt_tokens + self.tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


class _ChatShape:
    """``chat.completion`` and ``chat.completion.chunk``."""

    id = "chatcmpl-simulated"
    plain_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def choice(self, index: int, reply: Reply) -> Document:
        message: Document = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}

    def opening(self, index: int) -> list[Document]:
        return [self._chunk(index, {"role": "assistant", "content": "", "refusal": None})]

    def piece(self, index: int, text: str) -> Document:
        return self._chunk(index, {"content": text})

    def ending(self, index: int, reply: Reply) -> Document:
        return self._chunk(index, {}, reply.finish_reason)

    def _chunk(self, index: int, delta: Document, finish_reason: str | None = None) -> Document:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


class _TextShape:
    """``text_completion``, plain and in chunks."""

    id = "cmpl-simulated"
    plain_object = "text_completion"
    chunk_object = "text_completion"

    def choice(self, index: int, reply: Reply) -> Document:
        return self._choice(index, reply.text, reply.finish_reason)

    def opening(self, index: int) -> list[Document]:
        return []

    def piece(self, index: int, text: str) -> Document:
        return self._choice(index, text)

    def ending(self, index: int, reply: Reply) -> Document:
        return self._choice(index, "", reply.finish_reason)

    def _choice(self, index: int, text: str, finish_reason: str | None = None) -> Document:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}


_Shape = _ChatShape | _TextShape


def chat(members: Members, script: Script) -> Answer:
    """``POST /v1/chat/completions``."""
    said = read_messages(members, "messages")
    maximum = members.integer("max_completion_tokens", 1, MOST_TOKENS)
    if maximum is None:
        maximum = members.integer("max_tokens", 1, MOST_TOKENS)
    return _answer(members, script, _ChatShape(), [said], maximum)


def completions(members: Members, script: Script) -> Answer:
    """``POST /v1/completions``; a choice for each prompt."""
    prompts = read_prompts(members, "prompt")
    return _answer(members, script, _TextShape(), prompts, members.integer("max_tokens", 1, MOST_TOKENS))


def _answer(members: Members, script: Script, shape: _Shape, prompts: list[Said], maximum: int | None) -> Answer:
    model = members.required_text("model")
    members.number("temperature", 0, 2)
    members.number("top_p", 0, 1)
    streamed = members.flag("stream")
    with_usage = _wants_usage(members, streamed)
    times = members.integer("n", 1, _MOST_CHOICES) or 1
    replies = [compose(script, said.turn, said.last, maximum) for said in prompts for _ in range(times)]
    completion = _Completion(model, script.now, replies, sum(said.tokens for said in prompts))
    if streamed:
        return stream(_events(completion, shape, with_usage), completion.prompt_tokens)
    return plain(_document(completion, shape), completion.tokens, completion.prompt_tokens)


def _wants_usage(members: Members, streamed: bool) -> bool:
    options = members.inner("stream_options")
    if options is None:
        return False
    if not streamed:
        raise Refusal(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    return options.flag("include_usage")


def _document(completion: _Completion, shape: _Shape) -> Document:
    return {
        **_head(completion, shape, shape.plain_object),
        "choices": [shape.choice(index, reply) for index, reply in enumerate(completion.replies)],
        "usage": completion.usage(),
    }


def _events(completion: _Completion, shape: _Shape, with_usage: bool) -> Iterator[Event]:
    """The events of a stream; as OpenAI does, ``usage`` is null in each but one of its own at the end."""
    head = _head(completion, shape, shape.chunk_object)
    rest: Document = {"usage": None} if with_usage else {}

    def event(choice: Document, tokens: int = 0, final: bool = False) -> Event:
        return Event({**head, "choices": [choice], **rest}, tokens, final=final)

    for index, reply in enumerate(completion.replies):
        for choice in shape.opening(index):
            yield event(choice)
        for text in reply.pieces:
            yield event(shape.piece(index, text), tokens=1)
        yield event(shape.ending(index, reply), final=True)
    if with_usage:
        yield Event({**head, "choices": [], "usage": completion.usage()}, final=True)
    yield DONE


def _head(completion: _Completion, shape: _Shape, name: str) -> Document:
    return {
        "id": shape.id,
        "object": name,
        "created": completion.created,
        "model": completion.model,
        "system_fingerprint": "fp_simulator",
    }
