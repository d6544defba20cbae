"""What a caller of scripts/chaos.py got, read byte by byte: one well-formed outcome, or what is wrong. Pure.

`read` takes all bytes of an answer and how the connection ended. It follows RFC 9112 for heads, lengths and
chunks, and the HTML standard, 9.2.6, for events.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from chaos_load import End, content_length

_STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d) ")


class Kind(Enum):
    """What an answer comes to."""

    GOOD = "answered"
    FAILED = "failed, as a status"
    BROKEN = "broke off, with an error event"
    WRONG = "malformed"
    NONE = "left, nothing is judged"


@dataclass(frozen=True)
class Outcome:
    """`text`: the words of a good answer. `why`: what is malformed. `clean`: a broken stream had a final chunk."""

    kind: Kind
    status: int = 0
    text: str = ""
    why: str = ""
    clean: bool = False


class _MalformedError(Exception):
    """The answer is not what it should be; the text says why."""


def read(api: str, raw: bytes, end: End, *, stream: bool, lax: bool = False) -> Outcome:
    """The outcome of a call whose caller stayed. `lax`: the upstream's body was broken, and may come as it was."""
    try:
        head, border, body = raw.partition(b"\r\n\r\n")
        match = _STATUS.match(head)
        if not border or match is None:
            raise _MalformedError(f"no head: {raw[:80]!r}, {end.value}")
        status = int(match[1])
        length = content_length(head)
        if length is not None:
            if len(body) != length:
                raise _MalformedError(f"Content-Length is {length}, but {len(body)} bytes came")
            whole = True
        else:
            body, whole = _unchunked(body)
        if status == 200 and stream and b"text/event-stream" in head.lower():
            return _stream(api, body, whole=whole, lax=lax)
        if not whole:
            raise _MalformedError("a JSON answer ended without its final chunk")
        return _document(api, status, body, lax=lax)
    except _MalformedError as error:
        return Outcome(Kind.WRONG, why=str(error))


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    """The body of complete chunks, and whether the last one was there, with nothing behind it."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        end = data.find(b"\r\n", at)
        size = data[at:end]
        if end < 0 or not re.fullmatch(rb"[0-9a-fA-F]{1,16}", size):
            raise _MalformedError(f"a torn chunk: {data[at : at + 40]!r}")
        length = int(size, 16)
        after = end + 2 + length
        if data[after : after + 2] != b"\r\n":
            raise _MalformedError(f"a torn chunk of {length} bytes: {data[at:][-40:]!r}")
        if not length:
            if data[after + 2 :]:
                raise _MalformedError(f"bytes behind the final chunk: {data[after + 2 :][:80]!r}")
            return b"".join(found), True
        found.append(data[end + 2 : after])
        at = after + 2
    return b"".join(found), False


def events_of(body: bytes) -> list[tuple[str, str]]:
    """The events of a stream: name and data. Raises _MalformedError at a torn one, or a comment in one."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _MalformedError(f"not UTF-8: {error}") from None
    lines = re.split("\r\n|\r|\n", text)
    if lines.pop():
        raise _MalformedError(f"the last line is torn: {text[-80:]!r}")
    found: list[tuple[str, str]] = []
    name = ""
    data: list[str] = []
    begun = False
    for line in lines:
        if not line:
            if data:
                found.append((name, "\n".join(data)))
            name, data, begun = "", [], False
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not field:
            if begun:
                raise _MalformedError(f"a comment within an event: {line!r}")
            continue
        begun = True
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
    if begun:
        raise _MalformedError(f"the last event is torn: {text[-80:]!r}")
    return found


def _stream(api: str, body: bytes, *, whole: bool, lax: bool) -> Outcome:
    events = events_of(body)
    done = [place for place, (_, data) in enumerate(events) if data == "[DONE]"]
    if lax and done and whole:
        return Outcome(Kind.GOOD, 200)
    documents = [_json(data) for _, data in events if data != "[DONE]"]
    errors = [place for place, document in enumerate(documents) if _is_error(api, document)]
    last = len(events) - 1
    if done == [last] and not errors:
        if not whole:
            raise _MalformedError("[DONE], but no final chunk")
        return Outcome(Kind.GOOD, 200, _said(api, documents))
    if errors == [last] and not done:
        return Outcome(Kind.BROKEN, 200, clean=whole)
    raise _MalformedError(f"{len(events)} events, [DONE] at {done}, errors at {errors}, final chunk {whole}")


def _said(api: str, documents: list[Any]) -> str:
    if api == "platform":
        *pieces, success = documents
        text = "".join(piece["delta"] for piece in pieces)
        if success.get("msg") != "success" or success.get("current_response") != text:
            raise _MalformedError(f"the success object does not repeat the pieces: {success}")
        return text
    deltas = [choice["delta"] for document in documents for choice in document.get("choices", [])]
    return "".join(delta.get("content") or "" for delta in deltas)


def _document(api: str, status: int, body: bytes, *, lax: bool) -> Outcome:
    if lax and status == 200:
        return Outcome(Kind.GOOD, 200)
    document = _json(body.decode("utf-8", "replace"))
    if not isinstance(document, dict):
        raise _MalformedError(f"no object: {body[:80]!r}")
    if status == 200 and not _is_error(api, document):
        return Outcome(Kind.GOOD, 200, _answer(api, document))
    if status < 400 or not _is_error(api, document):
        raise _MalformedError(f"status {status} with {body[:120]!r}")
    if api == "platform" and document.get("code") != status:
        raise _MalformedError(f"status {status}, but code {document.get('code')}")
    return Outcome(Kind.FAILED, status)


def _answer(api: str, document: Mapping[str, Any]) -> str:
    try:
        if api == "openai":
            return str(document["choices"][0]["message"]["content"])
        if (document["code"], document["msg"]) != (200, "success"):
            raise _MalformedError(f"neither success nor failure: {document}")
        return str(document["data"]["response"])
    except (KeyError, IndexError, TypeError) as error:
        raise _MalformedError(f"{error!r} in {str(document)[:120]}") from None


def _is_error(api: str, document: Any) -> bool:
    """Whether it is an error in the shape of the API."""
    if not isinstance(document, dict):
        return False
    if api == "platform":
        return document.get("msg") == "failed" and isinstance(document.get("data", {}).get("response"), str)
    error = document.get("error")
    return isinstance(error, dict) and isinstance(error.get("message"), str)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise _MalformedError(f"no JSON: {text[:80]!r}") from None
