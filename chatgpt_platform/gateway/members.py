"""The members of a JSON body that the gateway reads, and how it changes some of them; pure.

msgspec decodes: it skips what it is not asked for, and ``Raw`` carries members through untouched. What
it lets pass is caught here: the last of duplicate members, bytes that are not UTF-8, bottomless nesting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import count
from typing import Any, Final, TypeVar

import msgspec

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway.shapes import ABSENT, ANY_NAME, Name, OpenAIBody, PromptBody, StreamBody

Shape = TypeVar("Shape", bound=msgspec.Struct)

_PLACE: Final = re.compile(r" - at `\$\.?([^`]*)`$")
_LIST_OF_PROMPTS: Final = re.compile(rb'\[\s*["\[]')
_ESCAPED_LETTER: Final = re.compile(rb"\\u00[4-7]")
_WRONG_TYPES: Final = (
    ("Expected `str", "wrong_type_string"),
    ("Expected `int", "wrong_type_integer"),
    ("Expected `float", "wrong_type_number"),
    ("Expected `bool", "wrong_type_boolean"),
    ("Integer value out of range", "wrong_type_integer"),
    ("Number out of range", "wrong_type_number"),
)
MAX_MEMBERS: Final = 1000
"""A body with more is refused: to look at each of a million would hold up everybody else."""

_SHORT: Final = 2048
"""Bytes of a body up to which a search for the names costs less than the exact look for doubles; and which are too
few for ``MAX_MEMBERS``."""


_MOST_PROMPTS: Final = 100_000
FORBIDDEN: Final = ("api_base", "base_url", "api_key", "extra_headers")
"""Members with which a request would choose the upstream's address, key or headers."""

_OPENAI_NAMES: Final = OpenAIBody.__struct_fields__
_openai_decoder: Final = msgspec.json.Decoder(OpenAIBody)
_stream_decoder: Final = msgspec.json.Decoder(StreamBody)
_prompt_decoder: Final = msgspec.json.Decoder(PromptBody)
_list_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])
_members_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
USAGE_ASKED: Final = b'{"include_usage":true}'
"""The ``stream_options`` that ask a stream for its usage, and no more."""


def read(body: bytes, decoder: msgspec.json.Decoder[Shape], names: tuple[str, ...]) -> Shape:
    """Decode the members that matter.

    ``names``: those that must not stand there twice, of ASCII letters and underscores.

    Raises:
        Problem: the body is not UTF-8, not JSON, not an object, nested too deeply, has too many members,
            or a member has the wrong type or stands there twice; the member is named.
    """
    try:
        if not body.isascii():
            body.decode()
        value = decoder.decode(body)
        if len(body) > _SHORT or _may_hold_doubles(body, names):
            _refuse_duplicates(body, names)
        return value
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error)) from None
    except UnicodeDecodeError:
        raise Problem(Kind.BAD_REQUEST, "not_utf8") from None
    except msgspec.DecodeError as error:
        raise Problem(Kind.BAD_REQUEST, "bad_json", detail=str(error)) from None
    except RecursionError:
        raise Problem(Kind.BAD_REQUEST, "too_deep") from None


def read_openai(body: bytes) -> OpenAIBody:
    """The members of a body on the OpenAI API; raises Problem as ``read`` does, and for a forbidden one."""
    members = read(body, _openai_decoder, _OPENAI_NAMES)
    if members.api_base is members.base_url is members.api_key is members.extra_headers is ABSENT:
        return members
    for name in FORBIDDEN:
        if bytes(getattr(members, name)):
            raise Problem(Kind.BAD_REQUEST, "forbidden_member", param=name, member=name)
    return members


def in_background(asked: OpenAIBody) -> bool:
    """Whether the upstream is to go on by itself, and to tell later what came of it (Responses API)."""
    return asked.background is not ABSENT and bytes(asked.background) not in (b"null", b"false")


def stream_options(body: bytes) -> bytes:
    """``stream_options`` with which a stream tells its usage: the body's own, but for that; JSON.

    Empty where they ask for it already, or have the wrong type, which is the upstream's to say.
    ``body`` must have passed ``read``.
    """
    if b'"stream_options"' not in body and b"\\u00" not in body:
        return USAGE_ASKED
    asked = bytes(_stream_decoder.decode(body).stream_options)
    if asked in (b"", b"null"):
        return USAGE_ASKED
    if not asked.startswith(b"{"):
        return b""
    options = _members_decoder.decode(asked)
    if bytes(options.get("include_usage", b"null")) not in (b"null", b"false"):
        return b""
    return rewrite(asked, {"include_usage": True})


def prompts(body: bytes) -> int:
    """How many prompts a body of the older completions has: there is an answer, or ``n``, to each of them.

    ``body`` must have passed ``read``. Of very many it is a figure that they do not reach.
    """
    prompt = bytes(_prompt_decoder.decode(body).prompt)
    if not _LIST_OF_PROMPTS.match(prompt):
        return 1  # numbers are the tokens of one prompt
    if len(prompt) > _MOST_PROMPTS and prompt.count(b",") > _MOST_PROMPTS:
        return len(prompt)  # to count so many would hold up everybody else
    return max(len(_list_decoder.decode(prompt)), 1)


def rewrite(body: bytes, changes: Mapping[str, object]) -> bytes:
    """The same object with some members changed or added; the bytes of all other values stay as they are.

    ``body`` must have passed ``read``. Without changes the very same bytes come back. Of a duplicate
    member that ``read`` let pass the last one stays.
    """
    if not changes:
        return body
    members: dict[str, Any] = dict(_members_decoder.decode(body))
    members.update(changes)
    return msgspec.json.encode(members)


def _wrong_type(message: str) -> Problem:
    place = _PLACE.search(message)
    member = place.group(1) if place else ""
    if not member:
        return Problem(Kind.BAD_REQUEST, "not_an_object")
    if member.startswith("continuous"):
        text = "wrong_type_turn" if "[" in member else "wrong_type_turns"
        return Problem(Kind.BAD_REQUEST, text, param=member, member=member)
    text = next((text for sign, text in _WRONG_TYPES if sign in message), "bad_request")
    return Problem(Kind.BAD_REQUEST, text, param=member, member=member)


@lru_cache(maxsize=8)  # of the few shapes there are
def _quoted(names: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple([b'"%b"' % name.encode() for name in names])


def _may_hold_doubles(body: bytes, names: tuple[str, ...]) -> bool:
    """Whether a name may be double: without escapes, one that stands there once cannot be."""
    if b"\\" in body and _ESCAPED_LETTER.search(body):
        return True
    return any(body.count(name) > 1 for name in _quoted(names))


def _refuse_duplicates(body: bytes, names: tuple[str, ...]) -> None:
    seen: set[str] = set()
    number = count(1)

    def note(_: type, name: str) -> Name:
        if next(number) > MAX_MEMBERS:
            raise Problem(Kind.BAD_REQUEST, "too_many_parameters", limit=MAX_MEMBERS)
        if name in seen:
            raise Problem(Kind.BAD_REQUEST, "duplicate_member", param=name, member=name)
        if name in names:
            seen.add(name)
        return ANY_NAME

    # msgspec skips the values, so that names deeper down are not seen.
    msgspec.json.Decoder(dict[Name, msgspec.Raw], dec_hook=note).decode(body)
