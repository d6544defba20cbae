"""The platform API's words in chat messages, and chat answers in the platform API's words; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway.parameters import Question, Turn
from chatgpt_platform.gateway.shapes import Chat, SaidMessage

_SYSTEM_ROLES: Final = ("system", "developer")
_encode: Final = msgspec.json.Encoder().encode


def messages(question: Question) -> list[Turn]:
    """The chat messages of a question: the system message first, then the earlier turns, then the prompt.

    A system turn among the earlier ones is replaced by the question's system message, never doubled.
    """
    turns = list(question.turns)
    if question.system:
        turns = [turn for turn in turns if not _is_system(turn)]
        turns.insert(0, _turn("system", question.system))
    return [*turns, _turn("user", question.prompt)]


def request_body(question: Question, turns: Sequence[Turn], model: str, tokens: Mapping[str, int]) -> bytes:
    """The upstream's chat completion request. ``tokens``: the member that bounds the answer, if any."""
    body: dict[str, object] = {"model": model, "messages": turns, **tokens}
    if question.temperature is not None:
        body["temperature"] = question.temperature
    if question.top_p is not None:
        body["top_p"] = question.top_p
    if question.stream:
        body["stream"] = True
    return _encode(body)


@dataclass(slots=True)
class Answer:
    """What the model said. ``usage``: the upstream's own figures as JSON; empty when it told none.

    ``chosen``: there was a choice in it, be its text empty.
    """

    text: str
    model: str
    usage: msgspec.Raw
    chosen: bool = True


NO_USAGE: Final = msgspec.Raw()

_chat_decoder: Final = msgspec.json.Decoder(Chat)


def answer(body: bytes) -> Answer:
    """Read a chat completion. Raises Problem when it holds no choice or is not one at all."""
    chat = _decode(body)
    if not chat.choices:
        raise Problem(Kind.BAD_UPSTREAM, detail="the chat completion holds no choices")
    return _said(chat, chat.choices[0].message or SaidMessage())


def delta(data: bytes) -> Answer:
    """Read one chunk of a streamed chat completion; ``text`` is the piece it adds. Raises Problem.

    A chunk without choices adds nothing: it tells the usage, or keeps the connection alive.
    """
    chat = _decode(data)
    return _said(chat, (chat.choices[0].delta or SaidMessage()) if chat.choices else None)


def success(turns: Sequence[Turn], said: Answer) -> bytes:
    """The platform API's success object. ``turns``: the messages sent; the answer is added to them."""
    return _encode(
        {
            "code": 200,
            "msg": "success",
            "data": {"response": said.text},
            "current_response": said.text,
            "result": [*turns, {"role": "assistant", "content": said.text}],
            "model": said.model,
            "usage": said.usage if bytes(said.usage).startswith(b"{") else {},
        }
    )


def failure(code: int, reason: str) -> bytes:
    """The platform API's failure object."""
    return _encode({"code": code, "msg": "failed", "data": {"response": reason}})


def piece(text: str) -> bytes:
    """One piece of a streamed answer."""
    return _encode({"delta": text})


def _said(chat: Chat, message: SaidMessage | None) -> Answer:
    text = (message.content or message.refusal or "") if message else ""
    return Answer(text, chat.model or "", chat.usage, message is not None)


def _decode(data: bytes) -> Chat:
    try:
        data.decode()
        return _chat_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(Kind.BAD_UPSTREAM, detail=f"not a chat completion: {error}") from None


def _turn(role: str, content: str) -> Turn:
    return {"role": msgspec.Raw(_encode(role)), "content": msgspec.Raw(_encode(content))}


def _is_system(turn: Turn) -> bool:
    role: Any = msgspec.json.decode(turn["role"])
    return role in _SYSTEM_ROLES
