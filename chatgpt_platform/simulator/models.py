"""The models that are listed, and the names that are not served."""

from __future__ import annotations

from typing import Final

from chatgpt_platform.simulator.answer import Answer, Document, Refusal, plain

MODELS: Final = (
    "gpt-4o-mini",
    "gpt-4o",
    "gpt-3.5-turbo",
    "gpt-3.5-turbo-instruct",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "omni-moderation-latest",
)
_UNKNOWN = ("unknown", "no-such")
_CREATED = 1_721_172_741  # one fixed moment for all


def every() -> Answer:
    """``GET /v1/models``."""
    return plain({"object": "list", "data": [_model(name) for name in MODELS]})


def one(name: str) -> Answer:
    """``GET /v1/models/{name}``. Raises Refusal for a name that is not served."""
    check(name)
    return plain(_model(name))


def check(name: str) -> None:
    """Every name is served, but for those that begin with ``unknown`` or ``no-such``."""
    if name.startswith(_UNKNOWN):
        raise Refusal(
            f"The model `{name}` does not exist or you do not have access to it.",
            status=404,
            code="model_not_found",
        )


def _model(name: str) -> Document:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "simulator"}
