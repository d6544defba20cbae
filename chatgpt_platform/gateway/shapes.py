"""What is read of JSON: of callers' bodies, of upstreams' answers and of their events.

msgspec reads these classes' annotations, and skips what they do not name. They stand apart since a compiled module
(``scripts/native.py``) does not keep annotations: this one stays interpreted, and costs nothing there, since
msgspec makes and fills them in C.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

ABSENT: Final = msgspec.Raw()
"""Of a member that is not there, by its identity."""

MOST_DIGITS: Final = 18
"""Of a caller's number; more mean nothing."""

MOST_TOKENS: Final = 10**12
"""An upstream's figure above is nonsense."""

Number = Annotated[int, msgspec.Meta(gt=-(10**MOST_DIGITS), lt=10**MOST_DIGITS)]
Figure = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]

# Callers' bodies.


class Name(str):
    """A member's name that msgspec hands to a hook, as it does with keys of types it does not know."""

    __slots__ = ()


ANY_NAME: Final = Name()


class OpenAIBody(msgspec.Struct):
    """What is read of a body on the OpenAI API; all else passes through unseen."""

    model: str | msgspec.UnsetType = msgspec.UNSET
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | float | None = None
    best_of: int | float | None = None
    background: msgspec.Raw = ABSENT
    api_base: msgspec.Raw = ABSENT
    base_url: msgspec.Raw = ABSENT
    api_key: msgspec.Raw = ABSENT
    extra_headers: msgspec.Raw = ABSENT


class PromptBody(msgspec.Struct):
    prompt: msgspec.Raw = ABSENT


class StreamBody(msgspec.Struct):
    stream_options: msgspec.Raw = ABSENT


class PlatformBody(msgspec.Struct):
    prompt: str | None = None
    user_content: str | None = None
    system_content: str | None = None
    sys_content: str | None = None
    model: str | None = None
    api_key: str | None = None
    continuous: list[dict[str, msgspec.Raw]] | None = None
    continuous_dialogue: list[dict[str, msgspec.Raw]] | None = None
    max_tokens: Number | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = None


class Part(msgspec.Struct):
    """A message, an item of the Responses API, or a part of either's content."""

    type: str | None = None
    role: str | None = None
    name: str | None = None
    id: str | None = None
    content: str | list[Part] | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    output: str | list[Part] | None = None
    tool_calls: msgspec.Raw = ABSENT
    function_call: msgspec.Raw = ABSENT
    image_url: msgspec.Raw = ABSENT
    audio: msgspec.Raw = ABSENT

    def parts(self) -> list[Part]:
        return [part for inside in (self.content, self.output) if isinstance(inside, list) for part in inside]


class CountedBody(msgspec.Struct):
    """Of a request's body what has tokens."""

    model: str | None = None
    messages: list[Part] | None = None
    prompt: msgspec.Raw = ABSENT
    input: msgspec.Raw = ABSENT
    instructions: str | None = None
    tools: msgspec.Raw = ABSENT
    functions: msgspec.Raw = ABSENT
    response_format: msgspec.Raw = ABSENT
    text: msgspec.Raw = ABSENT


class Tool(msgspec.Struct):
    type: str


# Upstreams' answers and events.


class Details(msgspec.Struct, gc=False):
    cached_tokens: Figure | None = None


class Usage(msgspec.Struct):
    prompt_tokens: Figure | None = None
    completion_tokens: Figure | None = None
    input_tokens: Figure | None = None
    output_tokens: Figure | None = None
    prompt_tokens_details: Details | None = None
    input_tokens_details: Details | None = None


class UsedResponse(msgspec.Struct):
    usage: Usage | None = None


class EndedChoice(msgspec.Struct):
    finish_reason: str | None = None


class Answered(msgspec.Struct):
    """What is read of a whole answer, on any endpoint."""

    usage: Usage | None = None
    response: UsedResponse | None = None
    type: str | None = None
    object: str | None = None
    error: msgspec.Raw = ABSENT


class AnsweredEvent(Answered):
    """What is read of one event of an answer."""

    choices: list[EndedChoice] | None = None


class OddAnswer(msgspec.Struct):
    """An answer or event with members of other types than OpenAI's."""

    usage: msgspec.Raw = ABSENT
    response: msgspec.Raw = ABSENT
    type: msgspec.Raw = ABSENT
    object: msgspec.Raw = ABSENT
    choices: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT


class ExtraEvent(msgspec.Struct):
    """What must be of an event that is there for the usage alone, and what may not."""

    choices: list[msgspec.Raw] | None
    usage: dict[str, msgspec.Raw]
    error: msgspec.Raw = ABSENT
    prompt_filter_results: msgspec.Raw = ABSENT


class SaidMessage(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class SaidChoice(msgspec.Struct):
    message: SaidMessage | None = None
    delta: SaidMessage | None = None


class Chat(msgspec.Struct):
    """A chat completion, or one chunk of it."""

    choices: list[SaidChoice] | None = None
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw()


class Model(msgspec.Struct):
    id: str


class ModelList(msgspec.Struct):
    data: list[msgspec.Raw]
