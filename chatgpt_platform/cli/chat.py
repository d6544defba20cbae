"""``chat``: a conversation with a running gateway, line by line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from chatgpt_platform.cli import client

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

_LAST_WORDS: Final = ("exit", "quit")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("chat", help="hold a conversation with a running gateway")
    client.add_arguments(parser)
    parser.add_argument(
        "--stream", action=argparse.BooleanOptionalAction, default=True, help="print answers as they come"
    )
    parser.add_argument("--system", metavar="TEXT", help="the system message")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    wrong = client.wrong_option(arguments, environment)
    if wrong:
        print(f"chat: {wrong}", file=sys.stderr)
        return 2
    gateway = client.connect(arguments, environment)
    messages: list[ChatCompletionMessageParam] = []
    if arguments.system:
        messages.append({"role": "system", "content": arguments.system})
    went_well = True
    while (prompt := _read()) is not None:
        if not prompt.strip():
            continue
        messages.append({"role": "user", "content": prompt})

        def turn() -> None:
            text = client.say(gateway, arguments.model, messages, stream=arguments.stream)
            messages.append({"role": "assistant", "content": text})

        went_well = client.attempt(arguments.url, turn)
        if not went_well:
            messages.pop()  # the next try must not repeat a question that was not answered
    return 0 if went_well else 1


def _read() -> str | None:
    """The next line, None at the end of input or at a last word."""
    if sys.stdin.isatty():
        print("you> ", end="", flush=True)
    line = sys.stdin.readline()
    return None if not line or line.strip().lower() in _LAST_WORDS else line.rstrip("\n")
