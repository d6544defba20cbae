"""Moderations: a category is flagged when the text names it, so that a client can be tried on both."""

from __future__ import annotations

import re
from typing import Final

from chatgpt_platform.simulator.answer import Answer, Document, plain
from chatgpt_platform.simulator.conversation import read_parts
from chatgpt_platform.simulator.request import Members, refuse_empty, refuse_type
from chatgpt_platform.simulator.text import Script

CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
_LIKELY = 0.98
_UNLIKELY = 0.0001


def moderations(members: Members, script: Script) -> Answer:
    """``POST /v1/moderations``. ``script`` has no say: nothing is written."""
    model = members.text("model") or "omni-moderation-latest"
    texts = _read_input(members)
    return plain({"id": "modr-simulated", "model": model, "results": [_judge(text) for text in texts]})


def _read_input(members: Members) -> list[str]:
    """A string or an array of strings, one text each; an array of parts is one text."""
    value = members.required("input")
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        refuse_type("input", "a string or an array", value)
    if not value:
        refuse_empty("input")
    texts = [item for item in value if isinstance(item, str)]
    return texts if len(texts) == len(value) else [read_parts(value, "input")]


def _judge(text: str) -> Document:
    named = {name: bool(re.search(rf"\b{name}\b", text, re.IGNORECASE)) for name in CATEGORIES}
    return {
        "flagged": any(named.values()),
        "categories": named,
        "category_scores": {name: _LIKELY if flagged else _UNLIKELY for name, flagged in named.items()},
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }
