"""The parameters of the platform API, from wherever they come: query, form or JSON, under either name; pure.

A body wins over the query. Within one of them the first of the two names wins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import members
from chatgpt_platform.gateway.shapes import MOST_DIGITS, PlatformBody

Turn = dict[str, msgspec.Raw]
"""One turn of a conversation, ``{role, content}``; the values are JSON as the caller wrote it."""

MAX_PARAMETERS: Final = 100
MAX_TURNS: Final = 10_000
"""More are no conversation, and would hold up the other callers."""

_STRAY_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MOST_STRAYS: Final = 1000

_FIRST_NAMES: Final[Mapping[str, str]] = {
    "user_content": "prompt",
    "sys_content": "system_content",
    "continuous_dialogue": "continuous",
}


_body_decoder: Final = msgspec.json.Decoder(PlatformBody)
_turns_decoder: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller of the platform API asks. ``prompt`` is never blank; "" and None mean "not given"."""

    prompt: str
    system: str
    model: str
    api_key: str | None
    turns: Sequence[Turn]
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    stream: bool

    def __repr__(self) -> str:
        return f"Question(model={self.model!r}, turns={len(self.turns)}, stream={self.stream})"


def from_json(body: bytes) -> dict[str, Any]:
    """The parameters of a JSON body, each by its first name; those not given are left out. Raises Problem."""
    decoded = members.read(body, _body_decoder, PlatformBody.__struct_fields__)
    given = {name: value for name, value in msgspec.structs.asdict(decoded).items() if value is not None}
    for name in ("continuous", "continuous_dialogue"):
        _check_turns(given.get(name, ()), name)
    return _by_first_name(given)


def from_query(query: str) -> list[tuple[str, str]]:
    """The pairs of a query string or a urlencoded form. Raises Problem for too many or text not UTF-8.

    ``query``: its bytes as Latin-1, as HTTP servers hand it on. Many a caller (curl, for one) does not
    percent-encode, so bytes beyond ASCII are the UTF-8 that they would also be inside ``%``.
    """
    try:
        parts = query.encode("latin-1").split(b"&", MAX_PARAMETERS)
        if len(parts) > MAX_PARAMETERS:
            raise Problem(Kind.BAD_REQUEST, "too_many_parameters", limit=MAX_PARAMETERS)
        pairs = [part.partition(b"=") for part in parts if part]
        return [(_unquote(name), _unquote(value)) for name, _, value in pairs]
    except UnicodeError:
        raise Problem(Kind.BAD_REQUEST, "not_utf8") from None


def from_text(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The parameters among the pairs of a query or a form, each by its first name and read by its type.

    Those not given, or blank where they are no text, are left out. Raises Problem.
    """
    given: dict[str, Any] = {}
    for name, text in pairs:
        read = _READERS.get(name)
        if read is None:
            continue
        if name in given:
            raise Problem(Kind.BAD_REQUEST, "duplicate_member", param=name, member=name)
        given[name] = read(name, text)
    return _by_first_name({name: value for name, value in given.items() if value is not None})


def question(given: Mapping[str, Any], header_model: str | None, accept: str) -> Question:
    """Put the parameters together. ``given``: the query's, overlaid by the body's. Raises Problem."""
    prompt, system = given.get("prompt"), given.get("system_content", "")
    if prompt is None or not prompt.strip():
        text = "missing_prompt" if prompt is None else "blank_prompt"
        raise Problem(Kind.BAD_REQUEST, text, param="prompt")
    max_tokens, stream = given.get("max_tokens"), given.get("stream")
    if max_tokens is not None and max_tokens < 1:
        raise Problem(Kind.BAD_REQUEST, "out_of_range", param="max_tokens", member="max_tokens", low=1)
    return Question(
        prompt=prompt,
        system=system if system.strip() else "",
        model=given.get("model") or header_model or "",
        api_key=given.get("api_key"),
        turns=given.get("continuous", ()),
        max_tokens=max_tokens,
        temperature=given.get("temperature"),
        top_p=given.get("top_p"),
        stream="text/event-stream" in accept.lower() if stream is None else stream,
    )


def _unquote(text: bytes) -> str:
    """Percent-decode as the URL standard has it: a sign that begins no escape stands for itself.

    Python's own escapes do it in C: a body may hold millions, over which urllib would take seconds.
    """
    text, strays = _STRAY_PERCENT.subn(b"%25", text, _MOST_STRAYS)
    if strays == _MOST_STRAYS:
        raise Problem(Kind.BAD_REQUEST, "bad_form")
    literal = text.replace(b"+", b" ").replace(b"\\", b"\\\\").replace(b"%", b"\\x")
    return literal.decode("unicode_escape").encode("latin-1").decode()


def _by_first_name(given: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {first: given[other] for other, first in _FIRST_NAMES.items() if other in given}
    return renamed | {name: value for name, value in given.items() if name not in _FIRST_NAMES}


def _check_turns(turns: Sequence[Turn], name: str) -> None:
    if len(turns) > MAX_TURNS:
        raise Problem(Kind.BAD_REQUEST, "too_many_parameters", param=name, limit=MAX_TURNS)
    for index, turn in enumerate(turns):
        role, content = bytes(turn.get("role", b"")), bytes(turn.get("content", b""))
        # Raw values are JSON already: a role is a string, a content a string or a list of parts.
        if not (role.startswith(b'"') and len(role) > 2 and content.startswith((b'"', b"["))):
            member = f"{name}[{index}]"
            raise Problem(Kind.BAD_REQUEST, "wrong_type_turn", param=member, member=member)


def _read_text(name: str, text: str) -> str | None:
    return text


def _read_integer(name: str, text: str) -> int | None:
    if not text.strip():
        return None
    digits = text.strip().removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MOST_DIGITS):
        raise Problem(Kind.BAD_REQUEST, "wrong_type_integer", param=name, member=name)
    return int(text)


def _read_number(name: str, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and text.isascii() and "_" not in text):
        raise Problem(Kind.BAD_REQUEST, "wrong_type_number", param=name, member=name)
    return number


def _read_boolean(name: str, text: str) -> bool | None:
    meaning = {"": None, "true": True, "1": True, "false": False, "0": False}
    word = text.strip().lower()
    if word not in meaning:
        raise Problem(Kind.BAD_REQUEST, "wrong_type_boolean", param=name, member=name)
    return meaning[word]


def _read_turns(name: str, text: str) -> list[Turn] | None:
    if not text.strip():
        return None
    try:
        turns = _turns_decoder.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise Problem(Kind.BAD_REQUEST, "wrong_type_turns", param=name, member=name) from None
    _check_turns(turns, name)
    return turns


_READERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    **dict.fromkeys(("prompt", "user_content", "system_content", "sys_content", "model", "api_key"), _read_text),
    **dict.fromkeys(("continuous", "continuous_dialogue"), _read_turns),
    "max_tokens": _read_integer,
    "temperature": _read_number,
    "top_p": _read_number,
    "stream": _read_boolean,
}
