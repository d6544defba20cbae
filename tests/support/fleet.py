"""A real gateway before several upstreams: simulators, each with a behaviour of its own, or whatever has a URL.

with fleet(up("first", fail="503-bare"), up("spare", priority=1)) as running:
    outcome = ask(running, "openai", stream=True)
    outcome.status, outcome.error, outcome.whole
    running.simulators["spare"].stats.calls

``SHAPES`` are the four ways to ask: on each API, streamed or not.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import requests

from chatgpt_platform.simulator.server import Behaviour, Simulator
from support.background import Background
from support.gateway import Running, listening, served
from support.scripted import RawServer, Script
from support.ways import chosen

MESSAGES: Final = [{"role": "user", "content": "hi"}]
PATHS: Final = {"platform": "/api", "openai": "/v1/chat/completions"}
SHAPES: Final = [(api, stream) for api in PATHS for stream in (False, True)]
SHAPE_NAMES: Final = [f"{api}-{'stream' if stream else 'json'}" for api, stream in SHAPES]


@dataclass(frozen=True)
class Up:
    """One upstream. ``url``: its base URL; empty: a simulator of this ``behaviour``. ``settings``: as in the
    file."""

    name: str
    behaviour: Behaviour
    url: str
    settings: Mapping[str, Any]


def up(name: str, behaviour: Behaviour | None = None, *, fail: str = "", url: str = "", **settings: Any) -> Up:
    """``fail``: the fault of the simulator. It has one key by default: its name, with ``-1`` behind."""
    keys = {"api_keys": [f"{name}-1"]}
    return Up(name, behaviour or Behaviour(fail=fail, tokens=3), url, {**keys, **settings})


@contextmanager
def fleet(*ups: Up, **environment: str) -> Iterator[Running]:
    """A gateway whose upstreams are these; ``environment`` adds to its settings."""
    way = chosen.get()
    simulators = {each.name: Simulator(each.behaviour, remember=None) for each in ups if not each.url}
    with Background(way.loop_factory) as background, ExitStack() as stack:
        urls = {name: listening(each, background, stack) for name, each in simulators.items()}
        upstreams = [{"name": each.name, "base_url": each.url or urls[each.name], **each.settings} for each in ups]
        settings = {"CHATGPT_UPSTREAMS": json.dumps(upstreams), **environment}
        with served(Running(background, simulators, settings, way)) as running:
            yield running


@contextmanager
def scripted(script: Script) -> Iterator[RawServer]:
    """A server that does what a script says, on a loop of its own."""
    with Background() as background:
        server = RawServer(script)
        background.run(server.__aenter__())
        try:
            yield server
        finally:
            background.run(server.__aexit__(None, None, None))
            background.run(asyncio.sleep(0.02))  # the transports' own ends


def calls(running: Running) -> dict[str, int]:
    """How many calls each simulator was sent."""
    return {name: each.stats.calls for name, each in running.simulators.items()}


@dataclass
class Outcome:
    """What a caller got. ``whole``: the answer came to its proper end."""

    status: int
    headers: Mapping[str, str]
    whole: bool
    body: str
    comments: int = 0
    events: list[str] = field(default_factory=list)

    @property
    def last(self) -> Any:
        """The JSON of the answer, or of its last event but ``[DONE]``."""
        return json.loads([each for each in self.events if each != "[DONE]"][-1] if self.events else self.body)

    @property
    def failure(self) -> int | None:
        """The status of the error that it is, or ends with; None where it ends well.

        OpenAI's error objects tell it by the answer's status alone, and so 0 stands for that of a stream.
        """
        last = self.last
        if "error" in last:
            return 0 if self.events else self.status
        return int(last["code"]) if last.get("msg") == "failed" else None

    @property
    def reason(self) -> str:
        """What went wrong, in the words for the caller."""
        last = self.last
        return str(last["error"]["message"] if "error" in last else last["data"]["response"])

    @property
    def good(self) -> bool:
        """Whether it is a complete answer in the form of its API."""
        if not (self.whole and self.status == 200 and self.failure is None):
            return False
        streamed = self.headers["content-type"].startswith("text/event-stream")
        return not streamed or self.events[-1] == "[DONE]"


def question(api: str, *, stream: bool = False, **members: Any) -> dict[str, Any]:
    """The body of a call."""
    asked = {"prompt": "hi"} if api == "platform" else {"model": "gpt-4o-mini", "messages": MESSAGES}
    return {**asked, "stream": stream, **members}


def ask(
    running: Running, api: str, *, stream: bool = False, headers: Mapping[str, str] | None = None, **members: Any
) -> Outcome:
    """One call, to its end, whatever that is."""
    body = question(api, stream=stream, **members)
    with requests.post(running.url + PATHS[api], json=body, headers=headers, stream=True, timeout=30) as answer:
        got, whole = b"", True
        try:
            for piece in answer.iter_content(None):
                got += piece
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError):
            whole = False
        return _outcome(answer, got.decode(errors="replace"), whole=whole)


def _outcome(answer: requests.Response, body: str, *, whole: bool) -> Outcome:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    outcome = Outcome(answer.status_code, headers, whole, body)
    if headers.get("content-type", "").startswith("text/event-stream"):
        for block in re.split(r"(?:\r\n|\n|\r){2}", body.removeprefix("\ufeff")):
            lines = re.split(r"\r\n|\n|\r", block)
            data = [line[5:].removeprefix(" ") for line in lines if line.startswith("data:")]
            if data:
                outcome.events.append("\n".join(data))
            outcome.comments += any(line.startswith(":") for line in lines)
    return outcome


def call(
    running: Running, api: str = "openai", *, stream: bool = False, headers: Mapping[str, str] | None = None,
    **members: Any,
) -> socket.socket:  # fmt: skip
    """A connection on which a call was sent, and nothing is read yet: closing it is leaving."""
    body = json.dumps(question(api, stream=stream, **members)).encode()
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items()).encode()
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=20)
    connection.sendall(
        b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
        % (PATHS[api].encode(), more, len(body), body)
    )
    return connection
