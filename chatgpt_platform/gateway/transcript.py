"""The text said in answers of the OpenAI API: for owners who log it, and where it must be counted; pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from chatgpt_platform.upstream.sse import events

_GENERATED: Final = ("content", "text", "refusal", "arguments", "reasoning_content", "reasoning")
_decode: Final = msgspec.json.Decoder().decode


def of_events(block: bytes) -> str:
    """What the chat, completions or responses events of a block add to the answer."""
    return "".join(_of_event(event.data) for event in events(block))


def of_answer(body: bytes) -> str:
    """All that was generated for a JSON answer of the chat, completions or responses API: calls of functions and
    thoughts too. Empty where it cannot be read."""
    try:
        answer: Any = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(answer, dict):
        return ""
    left: list[Any] = [answer.get("choices"), answer.get("output")]
    texts: list[str] = []
    while left:
        value = left.pop()
        if isinstance(value, dict):
            texts += [text for name in _GENERATED if isinstance(text := value.get(name), str)]
            value = list(value.values())
        if isinstance(value, list):
            left += value
    return "\n".join(reversed(texts))


def _of_event(data: bytes) -> str:
    try:
        event: Any = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(event, dict):
        return ""
    text = event.get("delta") if event.get("type") == "response.output_text.delta" else _of_choice(event)
    return text if isinstance(text, str) else ""


def _of_choice(event: dict[str, Any]) -> Any:
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return None
    delta = first.get("delta")
    return delta.get("content") if isinstance(delta, dict) else first.get("text")
