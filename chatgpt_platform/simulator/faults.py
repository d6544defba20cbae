"""What can be made to go wrong, in one table. A fault concerns POSTs; a few concern connections or the port.

``docs/simulator.md`` repeats the table for users; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chatgpt_platform.simulator import effects, framing, streams, usages
from chatgpt_platform.simulator.answer import Answer, End
from chatgpt_platform.simulator.effects import Change, refused, status
from chatgpt_platform.simulator.refusals import BUSY, QUOTA, busy, overloaded
from chatgpt_platform.simulator.request import Request

REFUSE: Final = "refuse"


@dataclass(frozen=True, slots=True)
class Fault:
    """``help``: one line for users. ``opening``: text that the reply begins with.

    ``instead``: what a connection gets instead of service, once something was sent on it: these bytes and its
    end, or silence where there are none. None: the fault concerns calls.
    """

    help: str
    change: Change
    opening: str = ""
    instead: bytes | None = None


def _sound(answer: Answer, request: Request) -> Answer:
    return answer


_WAIT: Final[Mapping[str, str]] = {"Retry-After": "7"}
_SOON: Final[Mapping[str, str]] = {"Retry-After": "1"}
_FAILED: Final = "The server had an error."

FAULTS: Final[Mapping[str, Fault]] = {
    # Statuses.
    "401": Fault(
        "the key is refused",
        status(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    ),
    "403": Fault(
        "the key may not do this",
        status(403, "You are not allowed to do this.", "invalid_request_error", "forbidden"),
    ),
    "404": Fault(
        "what was asked for is not there", status(404, "Not found.", "invalid_request_error", "not_found")
    ),
    "408": Fault("the service gives up waiting", status(408, "Request timed out.", "server_error", None)),
    "429": Fault("too many requests, with Retry-After: 7", refused(BUSY)),
    "429-bare": Fault("too many requests, without Retry-After", refused(busy({}))),
    "429-soon": Fault("too many requests, with Retry-After: 1", refused(busy(_SOON))),
    "429-ms": Fault("too many requests, with retry-after-ms: 300", refused(busy({"retry-after-ms": "300"}))),
    "429-long": Fault("too many requests, with Retry-After: 3600", refused(busy({"Retry-After": "3600"}))),
    "429-junk": Fault(
        "too many requests, with a Retry-After that nobody can read", refused(busy({"Retry-After": "-1,x"}))
    ),
    "quota": Fault("429: the credit is used up; no Retry-After", refused(QUOTA)),
    "500": Fault("the service fails", status(500, _FAILED, "server_error", None)),
    "500-wait": Fault("the service fails, with Retry-After: 7", status(500, _FAILED, "server_error", None, _WAIT)),
    "502": Fault("a proxy in between fails", status(502, "Bad gateway.", "server_error", None)),
    "502-wait": Fault(
        "a proxy in between fails, with Retry-After: 7", status(502, "Bad gateway.", "server_error", None, _WAIT)
    ),
    "503": Fault("overloaded, with Retry-After: 7", refused(overloaded(_WAIT))),
    "503-bare": Fault("overloaded, without Retry-After", refused(overloaded({}))),
    "503-soon": Fault("overloaded, with Retry-After: 1", refused(overloaded(_SOON))),
    "504": Fault("a proxy in between gives up", status(504, "Gateway time-out.", "server_error", None)),
    "504-wait": Fault(
        "a proxy in between gives up, with Retry-After: 7",
        status(504, "Gateway time-out.", "server_error", None, _WAIT),
    ),
    "529": Fault(
        "overloaded, by a status that no standard has", status(529, "Overloaded", "overloaded_error", None)
    ),
    "redirect": Fault("307 to another address", effects.redirect),
    "html": Fault("200 with an HTML page", effects.page(200)),
    "html-error": Fault("502 with an HTML page", effects.page(502)),
    # Connections.
    REFUSE: Fault("connections are refused: nobody listens on the port", _sound),
    "tls-wrong": Fault(
        "an alert for each TLS handshake; for an https base URL", _sound, instead=framing.TLS_ALERT
    ),
    "tls-stall": Fault("no answer to a TLS handshake; for an https base URL", _sound, instead=b""),
    "early-answer": Fault("413 and close, before the request was read", _sound, instead=framing.TOO_EARLY),
    "no-answer": Fault("the request is taken, but no byte comes back", effects.nothing(End.STALLED)),
    "reset": Fault("the connection is reset before the first byte", effects.nothing(End.RESET)),
    "close": Fault("the connection is closed before the first byte", effects.nothing(End.CLOSED)),
    "half-close": Fault("the connection is half-closed after the head", framing.half_close),
    "stall": Fault("silence in the middle of the answer", effects.broken(End.STALLED)),
    "reset-mid": Fault("the connection is reset in the middle of the answer", effects.broken(End.RESET)),
    "cut-mid": Fault("the connection is closed in the middle of the answer", effects.broken(End.CLOSED)),
    "cut-event": Fault("the connection is closed in the middle of one event", effects.cut_event),
    "close-after": Fault("valid: the connection is closed after a whole answer, unannounced", framing.close_after),
    # Time; see --silence.
    "dribble": Fault("valid: the head comes byte by byte, in the time of a silence", framing.dribble),
    "silent-start": Fault("valid: a silence between the head and the body", streams.silent_start),
    "pauses": Fault("valid: two silences in the middle of a stream", streams.pauses),
    # Heads, lengths and chunks.
    "bad-head": Fault("bytes that are no HTTP", framing.bad_head),
    "bad-chunk": Fault("a chunk without a readable size in the middle of the answer", framing.bad_chunk),
    "length-short": Fault("Content-Length is half of the body's length", framing.length_short),
    "extra-bytes": Fault("garbage behind a whole answer; the connection stays open", framing.extra_bytes),
    "extra-answer": Fault("a second answer behind the first; the connection stays open", framing.extra_answer),
    "long-head": Fault("a header of 1 MB", framing.long_head),
    "early-hints": Fault("valid: 100 and 103 come before the answer", framing.early_hints),
    "http10": Fault("valid: HTTP/1.0, the body ends with the connection", framing.http10),
    "empty": Fault("200 with an empty body, or a stream without an event", streams.empty),
    "no-content": Fault("204", streams.no_content),
    "wrong-type": Fault("the content type is text/plain", streams.wrong_type),
    "gzip-bomb": Fault("1 MB of gzip, unasked, that unpacks to 1 GB", effects.gzip_bomb),
    # Bodies and events.
    "no-done": Fault("a stream ends without a finish_reason and `[DONE]`", effects.no_done),
    "only-done": Fault("a stream of nothing but `[DONE]`", streams.only_done),
    "bad-json": Fault("broken JSON; in a stream, in one event", effects.bad_json),
    "bad-utf8": Fault("a byte in the text that is not UTF-8", effects.bad_utf8),
    "no-border": Fault("the empty lines between events are missing", streams.no_border),
    "error-first": Fault("200, but the first event is an error", effects.error_first),
    "busy-first": Fault("200, but the first event is the error of a 429", streams.first_event(busy({}))),
    "overloaded-first": Fault(
        "200, but the first event is the error of a 503", streams.first_event(overloaded({}))
    ),
    "error-later": Fault("an event with an error after some tokens, then the end", effects.error_later),
    "named-error": Fault("the same, as Anthropic's service has it: `event: error`", streams.named_error),
    "flat-error": Fault("the same, as older vLLM has it: a flat object, then `[DONE]`", streams.flat_error),
    "long-line": Fault("a text of 100 MB in one line", effects.long_line),
    "empty-choices": Fault("`choices` (or `output`, `data`, `results`) is empty", effects.empty_choices),
    "null-content": Fault("the text is null", effects.null_content),
    "no-usage": Fault("usage is missing", effects.no_usage),
    "no-stream-usage": Fault("streams tell no usage, though asked for it", usages.ignores_options),
    "no-stream-options": Fault("400 for each call that has stream_options", usages.refuses_options),
    "late-events": Fault("an event behind `[DONE]`", streams.late_events),
    "silence-after-done": Fault(
        "a whole stream, then the connection stays open and silent", effects.silence_after_done
    ),
    "echo-key": Fault("an error and headers repeat the caller's key", effects.echo_key),
    # Valid, but odd.
    "split-utf8": Fault("valid: characters are cut between two chunks", effects.split_utf8, "Größe, 漢字, 🙂. "),
    "u2028": Fault("valid: the text holds U+2028, a line separator", _sound, "One line\u2028and another. "),
    "comments": Fault("valid: a comment before each event of a stream", effects.comments),
    "crlf": Fault("valid: the lines of a stream end with CR LF", effects.crlf),
    "cr": Fault("valid: the lines of a stream end with CR alone", streams.lone_cr),
    "no-space": Fault("valid: no space behind `data:`", streams.no_space),
    "two-lines": Fault("valid: the JSON of an event stands on two data lines", streams.two_lines),
    "fields": Fault("valid: events have an id and a retry field", streams.fields),
    "bom": Fault("valid: a stream begins with U+FEFF, a byte order mark", streams.byte_order_mark),
    "filters": Fault("valid: a first event without choices, as Azure has it", streams.azure_filter),
    "reasoning": Fault("valid: reasoning_content beside the text, as DeepSeek has it", streams.reasoning),
    "tool-calls": Fault("valid: the call of a function instead of a text", streams.tool_calls),
    "usage-each": Fault("valid: each chunk of a stream tells the usage so far, unasked", usages.in_each_chunk),
    "cached": Fault("valid: half of the prompt was cached, as usage tells", usages.cached),
    "length": Fault("valid: the reply was cut at a maximum", streams.cut_short),
}


def concerns(kind: str, *, connection: bool) -> bool:
    """Whether a fault is for connections, or else for calls; ``refuse`` is for neither."""
    return kind != REFUSE and (FAULTS[kind].instead is not None) == connection
