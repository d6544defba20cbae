"""``ask``: one question to a running gateway."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from chatgpt_platform.cli import client


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("ask", help="ask a running gateway one question")
    client.add_arguments(parser)
    parser.add_argument("--stream", action="store_true", help="print the answer as it comes")
    parser.add_argument("prompt", metavar="PROMPT", help="what to ask; - reads it from standard input")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    prompt = sys.stdin.read() if arguments.prompt == "-" else arguments.prompt
    if not prompt.strip():
        print("ask: the prompt is blank", file=sys.stderr)
        return 2
    wrong = client.wrong_option(arguments, environment)
    if wrong:
        print(f"ask: {wrong}", file=sys.stderr)
        return 2
    gateway = client.connect(arguments, environment)
    asked = client.attempt(
        arguments.url,
        lambda: client.say(
            gateway, arguments.model, [{"role": "user", "content": prompt}], stream=arguments.stream
        ),
    )
    return 0 if asked else 1
