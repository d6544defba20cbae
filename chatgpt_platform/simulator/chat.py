"""Chat completions, and the older completions: the same thing but for the shape of a choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from chatgpt_platform.simulator.answer import DONE, Answer, Document, Event, Refusal, plain, stream
from chatgpt_platform.simulator.conversation import Said, read_messages, read_prompts
from chatgpt_platform.simulator.request import Members
from chatgpt_platform.simulator.text import Reply, Script, compose

_MOST = 1 << 31  # tokens
_CHOICES = 128

# A choice of a plain answer, from its index and its reply.
_Choice = Callable[[int, Reply], Document]
# A choice of one event, from its index, its piece of text (None at the end) and the reason for the end.
_Piece = Callable[[int, str | None, str | None], Document]


@dataclass(frozen=True, slots=True)
class _Completion:
    """All that the answer says. ``head``: the members that are the same in each event."""

    head: Document
    object: str
    replies: list[Reply]
    prompt_tokens: int

    @property
    def tokens(self) -> int:
        return sum(len(reply.pieces) for reply in self.replies)

    def document(self, **members: object) -> Document:
        return {**self.head, "object": self.object, **members}

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


def chat(members: Members, script: Script) -> Answer:
    """``POST /v1/chat/completions``."""
    said = read_messages(members, "messages")
    maximum = members.integer("max_completion_tokens", 1, _MOST)
    if maximum is None:
        maximum = members.integer("max_tokens", 1, _MOST)
    streamed = members.flag("stream")
    completion = _complete(
        members, script, "chatcmpl-simulated", "chat.completion.chunk" if streamed else "chat.completion",
        [said], maximum,
    )  # fmt: skip
    if streamed:
        return stream(_events(completion, _chat_piece, _wants_usage(members), opening=_chat_opening))
    return _plain(completion, _chat_choice)


def completions(members: Members, script: Script) -> Answer:
    """``POST /v1/completions``."""
    prompts = read_prompts(members, "prompt")
    maximum = members.integer("max_tokens", 1, _MOST)
    completion = _complete(members, script, "cmpl-simulated", "text_completion", prompts, maximum)
    if members.flag("stream"):
        return stream(_events(completion, _text_piece, _wants_usage(members)))
    return _plain(completion, _text_choice)
