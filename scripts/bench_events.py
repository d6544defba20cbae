"""A streamed chat completion, byte for byte: what bench_upstream.py sends and bench_load.py counts.

Both are programs of their own, on uvloop where there is one.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
TOKEN = b'"delta":{"content":"'  # stands in each event that carries a token, and in no other
DONE = b"data: [DONE]\n\n"

_STOPPED = [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]


def opening() -> bytes:
    """The first chunk: who speaks."""
    return chunk(_event(_choice({"role": "assistant", "content": "", "refusal": None})))


def token(number: int) -> bytes:
    """The chunk with a token."""
    return chunk(_event(_choice({"content": f" token{number}"})))


def ending(tokens: int) -> list[bytes]:
    """The chunks after the last token: why it ends, what was used, the end mark, the end of the body."""
    usage = {"prompt_tokens": 19, "completion_tokens": tokens, "total_tokens": 19 + tokens}
    return [chunk(_event(_STOPPED)), chunk(_event([], usage)), chunk(DONE), LAST_CHUNK]


def chunk(data: bytes) -> bytes:
    """HTTP's frame for a piece of a body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a program's main coroutine to its end."""
    if sys.platform == "win32":
        asyncio.run(main())
    else:
        # uvloop is not there on Windows.
        import uvloop  # noqa: PLC0415

        uvloop.run(main())


def _choice(delta: dict[str, str | None]) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]


def _event(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
    event = {
        "id": "chatcmpl-benchmark00000000000",
        "object": "chat.completion.chunk",
        "created": 1735689600,
        "model": "gpt-4o-mini",
        "system_fingerprint": "fp_benchmark",
        "choices": choices,
        "usage": usage,
    }
    return b"data: %s\n\n" % json.dumps(event, separators=(",", ":")).encode()
