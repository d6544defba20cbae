"""Embeddings: unit vectors out of a hash, so that the same input always lies at the same place."""

from __future__ import annotations

import base64
import json
import math
import struct
from hashlib import shake_256
from typing import Final

from chatgpt_platform.simulator.answer import Answer, Document, Refusal, plain
from chatgpt_platform.simulator.conversation import read_inputs
from chatgpt_platform.simulator.request import Members
from chatgpt_platform.simulator.text import Script, count

_DIMENSIONS: Final = {"text-embedding-3-large": 3072}
_USUAL_DIMENSIONS = 1536
_MOST_DIMENSIONS = 4096
_MOST_INPUTS = 2048


def embeddings(members: Members, script: Script) -> Answer:
    """``POST /v1/embeddings``. ``script`` has no say: a vector has no tokens and no moment."""
    model = members.required_text("model")
    inputs = read_inputs(members, "input")
    if len(inputs) > _MOST_INPUTS:
        raise Refusal(f"Invalid 'input': at most {_MOST_INPUTS} inputs in one call.", param="input")
    form = members.text("encoding_format", "float")
    if form not in ("float", "base64"):
        raise Refusal(f"Invalid 'encoding_format': '{form}'.", param="encoding_format", code="invalid_value")
    size = members.integer("dimensions", 1, _MOST_DIMENSIONS) or _DIMENSIONS.get(model, _USUAL_DIMENSIONS)
    tokens = sum(count(value) if isinstance(value, str) else len(value) for value in inputs)
    return plain(
        {
            "object": "list",
            "data": [_embedding(index, vector(value, size), form) for index, value in enumerate(inputs)],
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        },
        prompt_tokens=tokens,
    )


def vector(value: str | list[int], size: int) -> bytes:
    """A unit vector of ``size`` components for ``value``, as little-endian 32-bit floats."""
    digest = shake_256(json.dumps(value).encode()).digest(4 * size)
    raw = struct.unpack(f"<{size}i", digest)
    length = math.sqrt(sum(component * component for component in raw))
    return struct.pack(f"<{size}f", *(component / length for component in raw))


def _embedding(index: int, packed: bytes, form: str) -> Document:
    if form == "base64":
        value: object = base64.b64encode(packed).decode()
    else:
        value = struct.unpack(f"<{len(packed) // 4}f", packed)
    return {"object": "embedding", "index": index, "embedding": value}
