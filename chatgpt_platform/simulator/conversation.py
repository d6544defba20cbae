"""What the caller said: messages, prompts and parts, as they come in the three text APIs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chatgpt_platform.simulator.answer import Refusal
from chatgpt_platform.simulator.request import Members, object_at, refuse_empty, refuse_type
from chatgpt_platform.simulator.text import count

MOST_TOKENS: Final = 1 << 31  # nobody asks for more; a larger maximum is a mistake
_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_TEXT_PARTS: Final = ("text", "input_text", "output_text")


@dataclass(frozen=True, slots=True)
class Said:
    """``turn``: how often the user spoke, at least 1. ``last``: the user's last words. ``tokens``: in all."""

    turn: int
    last: str
    tokens: int


def read_messages(members: Members, name: str) -> Said:
    """Reads an array of ``{role, content}``; ``content`` is a string, an array of parts or null.

    Items of another ``type`` than ``message``, as the Responses API has them, are passed over.
    Raises Refusal naming the member that is at fault.
    """
    items = members.required(name)
    if not isinstance(items, list):
        refuse_type(name, "an array of objects", items)
    if not items:
        refuse_empty(name)
    spoken = [_read_message(object_at(item, f"{name}[{index}]")) for index, item in enumerate(items)]
    users = [text for role, text in spoken if role == "user"]
    tokens = sum(count(text) for _, text in spoken)
    return Said(max(1, len(users)), users[-1] if users else "", tokens)


def read_prompts(members: Members, name: str) -> list[Said]:
    """Reads a string, an array of strings, an array of tokens, or an array of such arrays: one each.

    Raises Refusal naming the member that is at fault.
    """
    return [_read_prompt(value) for value in read_inputs(members, name)]


def read_inputs(members: Members, name: str) -> list[str | list[int]]:
    """The same, as strings and lists of token numbers."""
    value = members.required(name)
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        refuse_type(members.path(name), "a string or an array", value)
    if not value:
        refuse_empty(members.path(name))
    tokens = _tokens(value)
    if tokens is not None:
        return [tokens]
    return [_read_input(item, f"{members.path(name)}[{index}]") for index, item in enumerate(value)]


def read_parts(parts: list[object], path: str) -> str:
    """The text in an array of parts such as ``{"type": "text", "text": ...}``; images are passed over."""
    texts = []
    for index, item in enumerate(parts):
        part = object_at(item, f"{path}[{index}]")
        if part.required_text("type") in _TEXT_PARTS:
            part.required("text")
            texts.append(part.text("text"))
    return " ".join(texts)


def _read_message(message: Members) -> tuple[str, str]:
    if message.text("type", "message") != "message":
        return "", ""
    role = message.required_text("role")
    if role not in _ROLES:
        raise Refusal(
            f"Invalid value: '{role}'. Supported values are: {', '.join(_ROLES)}.",
            param=message.path("role"),
            code="invalid_value",
        )
    content = message.raw("content")
    if content is None and role != "assistant":  # it may have called tools instead of speaking
        message.required("content")
    return role, _read_content(content, message.path("content"))


def _read_content(content: object, path: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        refuse_type(path, "a string or an array of parts", content)
    return read_parts(content, path)


def _read_prompt(value: str | list[int]) -> Said:
    if isinstance(value, str):
        return Said(1, value, count(value))
    return Said(1, f"{len(value)} tokens", len(value))


def _read_input(value: object, path: str) -> str | list[int]:
    if isinstance(value, str):
        return value
    if value == []:
        refuse_empty(path)
    tokens = _tokens(value) if isinstance(value, list) else None
    if tokens is None:
        refuse_type(path, "a string or an array of tokens", value)
    return tokens


def _tokens(values: list[object]) -> list[int] | None:
    """The values if all are token numbers, and there is one at least."""
    numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    return numbers if numbers and len(numbers) == len(values) else None
