"""Tokens where nobody has counted them: before a call, and after one whose upstream told no usage; pure.

A request has three figures, rough, likely and certain: docs/accounting.md has the rules and their errors.
None of these functions raises for a body that ``members`` let pass, or for any other.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain, islice
from typing import Final

import msgspec

from chatgpt_platform.gateway.shapes import CountedBody, Part, Tool
from chatgpt_platform.gateway.text_rule import text_tokens

__all__ = ["completion_tokens", "most_prompt_tokens", "prompt_tokens", "quick_prompt_tokens", "text_tokens"]

MESSAGE: Final = 3
"""Tokens around each message, and again before the answer."""

IMAGE: Final = 765
"""A picture of 1024 x 1024 in high detail, as OpenAI's models count since gpt-4o."""

IMAGE_MOST: Final = 48_169
"""The most that a picture can have: eight tiles of 5,667 and 2,833 for all, with gpt-4o-mini."""

AUDIO: Final = 600
"""A minute of speech, at ten tokens a second."""

FILE: Final = 1_500
"""A page: its text and its picture."""

TEMPLATE: Final = 256
"""More than models add by themselves, and count: who they are, the date, how to answer (gpt-oss: about 70)."""

HELD: Final = 128_000
"""What a body may refer to that the upstream holds or fetches: an earlier answer, a file, what a search finds."""

_LARGE: Final = 16_384  # bytes; up to there no picture or sound is worth looking for
_MOST_PAYLOADS: Final = 1000
_MOST_QUOTES: Final = 100_000
_MOST_NAMES: Final = 10_000  # of references, and letters of them written as escapes; nobody means so many
_BYTES_A_PIECE: Final = 8  # of an answer's text; with more, a piece is several tokens in any language
_BYTES_A_TOKEN: Final = 4
_OWN_TOOLS: Final = ("function", "custom")  # their answers come from the caller


_body_decoder: Final = msgspec.json.Decoder(CountedBody)
_list_decoder: Final = msgspec.json.Decoder(list[str | Part])
_text_decoder: Final = msgspec.json.Decoder(str)
_tools_decoder: Final = msgspec.json.Decoder(list[Tool])
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_LIST_OF_NUMBERS: Final = re.compile(rb"\[\s*+[\[0-9]")

# Within a text the quotes have backslashes.
_REFERRING: Final = (
    b'"id"', b'"tools"', b'"image_url"', b'"file_id"', b'"file_url"', b'"file_data"', b'"conversation"',
    b'"previous_response_id"', b'"web_search_options"',
)  # fmt: skip
_REFERENCE: Final = re.compile(
    b'"(?=[cfiptw])(%b)"' % b"|".join(_REFERRING).replace(b'"', b"") + rb"\s*+:(?!\s*+null\b)"
)
_ESCAPED_LETTER: Final = re.compile(rb"\\u00(4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a])", re.IGNORECASE)
_FILES: Final = (b"file_id", b"file_url", b"file_data")
_HELD_ELSEWHERE: Final = (b"previous_response_id", b"conversation", b"web_search_options")


def prompt_tokens(body: bytes) -> int:
    """The tokens of a request's prompt, about, by the rule of ``text_tokens``; not for the way of each call."""
    if _is_vast(body):
        return quick_prompt_tokens(body)
    try:
        members = _body_decoder.decode(body)
        texts: list[str] = [members.instructions] if members.instructions else []
        others = (members.tools, members.functions, members.response_format, members.text)
        texts += [bytes(member).decode() for member in others]
        count = _of_parts(members.messages, texts) if members.messages else 0
        count += _of_input(bytes(members.prompt), texts)
        said = _of_input(bytes(members.input), texts)
        if said == 0 and bytes(members.input) and "embed" not in (members.model or ""):
            said = 2 * MESSAGE + 1  # the Responses API makes a message of it
        return count + said + text_tokens("\n".join(filter(None, texts)))
    except _UNREADABLE:
        return quick_prompt_tokens(body)


def quick_prompt_tokens(body: bytes) -> int:
    """The tokens of a request's prompt, roughly: from its length, and what pictures and sounds take of it."""
    length = len(body)
    count = 0
    if length > _LARGE:
        count, taken = _payloads(body)
        length -= taken
    return count + (length // 4 if body.isascii() else length // 5)


def most_prompt_tokens(body: bytes) -> int:
    """More tokens than a request's prompt has for certain: no token of a text is less than a byte.

    What the body only refers to is taken to have ``HELD``; a picture has ``IMAGE_MOST``.
    """
    named = any(name in body for name in _REFERRING)  # in most there is none of them
    if not (named and _REFERENCE.search(body)) and (b"\\" not in body or b"\\u00" not in body):
        return len(body) + TEMPLATE
    return _most_with_references(body)


def completion_tokens(pieces: int, text_bytes: int) -> int:
    """The tokens of an answer, about, from the pieces in which it came and the UTF-8 bytes of their texts."""
    if text_bytes <= pieces * _BYTES_A_PIECE:
        return pieces
    return max(pieces, text_bytes // _BYTES_A_TOKEN)


def _of_parts(parts: list[Part], texts: list[str]) -> int:
    """The tokens of messages without their texts, which go to ``texts``."""
    count = MESSAGE
    inside = parts
    while inside:
        below: list[Part] = []
        for part in inside:
            if part.role is not None:
                count += MESSAGE + 1
            if bytes(part.image_url) or part.type == "input_image":
                count += IMAGE
            elif part.type in ("input_audio", "audio"):
                count += AUDIO
            elif part.type in ("file", "input_file"):
                count += FILE
            _take_texts(part, texts)
            below += part.parts()
        inside = below
    return count


def _take_texts(part: Part, texts: list[str]) -> None:
    said = (part.name, part.content, part.text, part.refusal, part.arguments, part.output)
    texts += [text for text in said if isinstance(text, str)]
    texts += [bytes(calls).decode() for calls in (part.tool_calls, part.function_call)]


def _of_input(raw: bytes, texts: list[str]) -> int:
    """The tokens of a ``prompt`` or ``input`` of any kind, without its texts."""
    if raw.startswith(b'"'):
        texts.append(_text_decoder.decode(raw))
    elif _LIST_OF_NUMBERS.match(raw):
        return raw.count(b",") + 1  # tokens, or lists of them
    elif raw.startswith(b"["):
        items = _list_decoder.decode(raw)
        texts += [item for item in items if isinstance(item, str)]
        parts = [item for item in items if isinstance(item, Part)]
        return _of_parts(parts, texts) if parts else 0
    return 0


def _payloads(body: bytes) -> tuple[int, int]:
    """The tokens of pictures, sounds and files that stand in a body as base64, and their bytes."""
    count = taken = 0
    marks = [b";base64,"]
    if b'"input_audio"' in body:
        marks += [b'"data":"', b'"data": "']
    for mark in marks:
        start = body.find(mark)
        for _ in range(_MOST_PAYLOADS):
            end = body.find(b'"', start + len(mark)) if start >= 0 else -1
            if end < 0:
                break
            size = end - start
            count += min(size, IMAGE)
            taken += size
            start = body.find(mark, end)
    return count, taken


def _most_with_references(body: bytes) -> int:
    # A name may be written with escapes, so that it is not seen.
    plain, escapes = _ESCAPED_LETTER.subn(_letter, body, _MOST_NAMES) if b"\\u00" in body else (body, 0)
    found = Counter(name[1] for name in islice(_REFERENCE.finditer(plain), _MOST_NAMES))
    if _MOST_NAMES in (escapes, found.total()):
        return len(body) * HELD  # to look at all would hold up everybody else
    most = len(body) + TEMPLATE + found[b"image_url"] * IMAGE_MOST
    most += (sum(found[name] for name in _FILES) + sum(name in found for name in _HELD_ELSEWHERE)) * HELD
    if _is_vast(body):
        return most + HELD
    try:
        members = _body_decoder.decode(body)
        items = bytes(members.input)
        listed = _list_decoder.decode(items) if items.startswith(b"[") and b"{" in items else []
    except _UNREADABLE:
        return most + HELD  # of another shape than OpenAI's; it may refer to anything
    parts = [item for item in listed if isinstance(item, Part)]
    spoken = any(bytes(turn.audio).startswith(b"{") for turn in members.messages or ())  # in an earlier answer
    if spoken or bytes(members.prompt).startswith(b"{") or any(map(_is_reference, parts)):
        most += HELD
    if _has_tools_elsewhere(bytes(members.tools)):
        most += HELD
    return most - _bytes_of_pictures([*parts, *(members.messages or ())])


def _is_vast(body: bytes) -> bool:
    """Whether to look at each of its texts would hold up everybody else."""
    return len(body) > _MOST_QUOTES and body.count(b'"') > _MOST_QUOTES


def _letter(escape: re.Match[bytes]) -> bytes:
    return bytes((int(escape[1], 16),))


def _is_reference(part: Part) -> bool:
    """Whether an item stands for one that the upstream keeps."""
    if part.type == "item_reference":
        return True
    said = (part.content, part.text, part.arguments, part.output)
    return part.id is not None and all(each is None for each in said)


def _has_tools_elsewhere(tools: bytes) -> bool:
    """Whether some tool answers at the upstream's, where nobody here sees how much it says."""
    if not tools or tools == b"null":
        return False
    try:
        return any(tool.type not in _OWN_TOOLS for tool in _tools_decoder.decode(tools))
    except _UNREADABLE:
        return True


def _bytes_of_pictures(parts: list[Part]) -> int:
    """The bytes of pictures that stand in the body itself: they are no text."""
    nested = chain(parts, *(part.parts() for part in parts))
    return sum(len(bytes(part.image_url)) for part in nested if b"data:" in bytes(part.image_url)[:64])
