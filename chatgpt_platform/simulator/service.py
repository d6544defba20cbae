"""From request to answer, without a network: which path, which key, which model, which fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote

from chatgpt_platform.simulator import chat, embeddings, models, moderations, responses
from chatgpt_platform.simulator.answer import Answer, Refusal
from chatgpt_platform.simulator.faults import FAULTS
from chatgpt_platform.simulator.refusals import BUSY, QUOTA
from chatgpt_platform.simulator.request import Members, Request
from chatgpt_platform.simulator.text import Script

POSTS: Final[Mapping[str, Callable[[Members, Script], Answer]]] = {
    "/v1/chat/completions": chat.chat,
    "/v1/completions": chat.completions,
    "/v1/embeddings": embeddings.embeddings,
    "/v1/moderations": moderations.moderations,
    "/v1/responses": responses.responses,
}
_MODELS = "/v1/models"


def answer(request: Request, tokens: int = 0) -> Answer:
    """The answer to ``request``, as its fault makes it. ``tokens``: the exact length of a reply, 0: any."""
    fault = FAULTS.get(request.fault)
    script = Script(tokens, fault.opening if fault else "", int(request.at))
    try:
        found = _serve(request, script)
    except Refusal as refusal:
        found = refusal.answer()
    return fault.change(found, request) if fault else found


def _serve(request: Request, script: Script) -> Answer:
    is_models = request.path == _MODELS or request.path.startswith(f"{_MODELS}/")
    if not is_models and request.path not in POSTS:
        raise Refusal(f"Invalid URL ({request.method} {request.path})", status=404)
    if request.method != ("GET" if is_models else "POST"):
        raise Refusal(
            f"Not allowed to {request.method} on {request.path}.", status=405, code="method_not_supported"
        )
    _check_key(request.key)
    if is_models:
        name = unquote(request.path[len(_MODELS) + 1 :])
        return models.one(name) if name else models.every()
    members = Members.parse(request.body)
    models.check(members.text("model"))
    return POSTS[request.path](members, script)


def _check_key(key: str) -> None:
    if not key:
        message = "You didn't provide an API key. Send it as a header: Authorization: Bearer YOUR_KEY."
    elif "wrong" in key or "invalid" in key:
        message = f"Incorrect API key provided: {key}."  # careless upstreams do quote it
    elif "busy" in key:
        raise BUSY
    elif "quota" in key or "broke" in key:
        raise QUOTA
    else:
        return
    raise Refusal(message, status=401, code="invalid_api_key")
