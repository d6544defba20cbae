"""What can be made to go wrong, in one table. A fault applies to each POST.

``docs/simulator.md`` repeats the table for users; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chatgpt_platform.simulator import effects
from chatgpt_platform.simulator.answer import End
from chatgpt_platform.simulator.effects import Change


@dataclass(frozen=True, slots=True)
class Fault:
    """``help``: one line for users. ``opening``: text that the reply begins with."""

    help: str
    change: Change
    opening: str = ""


_BUSY = "Rate limit reached for requests. Please try again in 7s."
_OVERLOADED = "The engine is currently overloaded, please try again later."
_LIMIT_HEADERS: Final[Mapping[str, str]] = {
    "Retry-After": "7",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "7s",
}

FAULTS: Final[Mapping[str, Fault]] = {
    "401": Fault(
        "the key is refused",
        effects.status(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    ),
    "403": Fault(
        "the key may not do this",
        effects.status(403, "You are not allowed to do this.", "invalid_request_error", "forbidden"),
    ),
    "404": Fault(
        "what was asked for is not there",
        effects.status(404, "Not found.", "invalid_request_error", "not_found"),
    ),
    "408": Fault(
        "the service gives up waiting",
        effects.status(408, "Request timed out.", "server_error", None),
    ),
    "429": Fault(
        "too many requests, with Retry-After: 7",
        effects.status(429, _BUSY, "requests", "rate_limit_exceeded", _LIMIT_HEADERS),
    ),
    "429-bare": Fault(
        "too many requests, without Retry-After",
        effects.status(429, _BUSY, "requests", "rate_limit_exceeded"),
    ),
    "500": Fault(
        "the service fails",
        effects.status(500, "The server had an error.", "server_error", None),
    ),
    "502": Fault(
        "a proxy in between fails",
        effects.status(502, "Bad gateway.", "server_error", None),
    ),
    "503": Fault(
        "overloaded, with Retry-After: 7",
        effects.status(503, _OVERLOADED, "server_error", None, {"Retry-After": "7"}),
    ),
    "503-bare": Fault(
        "overloaded, without Retry-After",
        effects.status(503, _OVERLOADED, "server_error", None),
    ),
    "redirect": Fault("307 to another address", effects.redirect),
    "html": Fault("200 with an HTML page", effects.page(200)),
    "html-error": Fault("502 with an HTML page", effects.page(502)),
    "no-answer": Fault("the request is taken, but no byte comes back", effects.nothing(End.STALLED)),
    "reset": Fault("the connection is reset before the first byte", effects.nothing(End.RESET)),
    "close": Fault("the connection is closed before the first byte", effects.nothing(End.CLOSED)),
    "stall": Fault("silence in the middle of the answer", effects.broken(End.STALLED)),
    "reset-mid": Fault("the connection is reset in the middle of the answer", effects.broken(End.RESET)),
    "cut-mid": Fault("the connection is closed in the middle of the answer", effects.broken(End.CLOSED)),
    "cut-event": Fault("the connection is closed in the middle of one event", effects.cut_event),
    "no-done": Fault("a stream ends without a finish_reason and `[DONE]`", effects.no_done),
    "bad-json": Fault("broken JSON; in a stream, in one event", effects.bad_json),
    "bad-utf8": Fault("a byte in the text that is not UTF-8", effects.bad_utf8),
    "split-utf8": Fault("valid: characters are cut between two chunks", effects.split_utf8, "Größe, 漢字, 🙂. "),
    "u2028": Fault(
        "valid: the text holds U+2028, a line separator",
        lambda answer, request: answer,
        "One line\u2028and another. ",
    ),
    "comments": Fault("valid: a comment before each event of a stream", effects.comments),
    "crlf": Fault("valid: the lines of a stream end with CR LF", effects.crlf),
    "error-first": Fault("200, but the first event is an error", effects.error_first),
    "error-later": Fault("an event with an error after some tokens, then the end", effects.error_later),
    "long-line": Fault("a text of 100 MB in one line", effects.long_line),
    "gzip-bomb": Fault("1 MB of gzip, unasked, that unpacks to 1 GB", effects.gzip_bomb),
    "empty-choices": Fault("`choices` (or `output`, `data`, `results`) is empty", effects.empty_choices),
    "null-content": Fault("the text is null", effects.null_content),
    "no-usage": Fault("usage is missing", effects.no_usage),
    "silence-after-done": Fault(
        "a whole stream, then the connection stays open and silent", effects.silence_after_done
    ),
    "echo-key": Fault("an error and headers repeat the caller's key", effects.echo_key),
}
