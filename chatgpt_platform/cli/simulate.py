"""``simulate``: an OpenAI-compatible stand-in upstream, with chosen delays and faults."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import math
import sys
from collections.abc import Mapping
from random import Random
from typing import Any

from chatgpt_platform.cli.life import on_stop
from chatgpt_platform.cli.life import run as run_loop
from chatgpt_platform.simulator.behaviour import SILENCE
from chatgpt_platform.simulator.faults import FAULTS
from chatgpt_platform.simulator.server import Behaviour, Simulator

_HOST = "127.0.0.1"
_PORT = 9100
_MOST_TOKENS = 1_000_000
_LONGEST = 86_400_000.0  # milliseconds: a day
_LIST = "help"


def add_parser(commands: Any) -> None:
    """Declare the command and its flags."""
    parser = commands.add_parser(
        "simulate",
        help="an OpenAI-compatible stand-in upstream with chosen delays and faults",
        description=f"An OpenAI-compatible stand-in upstream on {_HOST}, for this computer only.",
    )
    parser.add_argument("--port", type=_port, default=_PORT, help=f"default {_PORT}; 0: a free one")
    parser.add_argument("--latency", type=_milliseconds, default=0.0, metavar="MS", help="before the first byte")
    parser.add_argument("--interval", type=_milliseconds, default=0.0, metavar="MS", help="between two tokens")
    parser.add_argument("--tokens", type=_tokens, default=0, metavar="N", help="the exact length of a reply")
    parser.add_argument(
        "--fail", type=_faults, default="", metavar="KIND[,KIND]",
        help="a fault, or several of which each call meets one by chance; 'help' lists them",
    )  # fmt: skip
    parser.add_argument(
        "--share", type=_share, default=1.0, metavar="SHARE", help="of the calls that meet it: 0.2 is one in five"
    )
    parser.add_argument(
        "--silence", type=_milliseconds, default=SILENCE * 1000, metavar="MS",
        help=f"how long the faults last that are silences; default {SILENCE * 1000:.0f}",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="makes chance repeatable")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Serve until Ctrl-C or SIGTERM. Returns the exit code."""
    if arguments.fail == _LIST:
        print(*(f"{name:20}{fault.help}" for name, fault in FAULTS.items()), sep="\n")
        return 0
    try:
        behaviour = _behaviour(arguments)
    except ValueError as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 2
    return run_loop(_serve(behaviour, Random(arguments.seed), arguments.port))  # noqa: S311 - chance, not secrecy


def _behaviour(arguments: argparse.Namespace) -> Behaviour:
    """Raises ValueError where the flags do not go together."""
    return Behaviour(
        latency=arguments.latency / 1000,
        interval=arguments.interval / 1000,
        tokens=arguments.tokens,
        fail=arguments.fail,
        share=arguments.share,
        silence=arguments.silence / 1000,
    )


async def _serve(behaviour: Behaviour, random: Random, port: int) -> int:
    simulator = Simulator(behaviour, random=random)
    try:
        port = simulator.listen(port, _HOST)
    except OSError as error:
        reason = error.strerror or str(error)
        print(
            f"simulate: cannot listen on {_HOST} port {port}: {reason}; choose another with --port",
            file=sys.stderr,
        )
        return 1
    stop = asyncio.Event()
    on_stop(asyncio.get_running_loop(), stop.set)
    print(
        f"Simulating an OpenAI-compatible service on http://{_HOST}:{port}/v1, for this computer only. "
        f"Any key will do; try BASE_URL=http://{_HOST}:{port}/v1 API_KEY=any-key chatgpt-platform serve. "
        "Ctrl-C stops it.",
        flush=True,
    )
    await stop.wait()
    await simulator.stop()
    return 0


def _port(text: str) -> int:
    return _whole(text, 65535)


def _tokens(text: str) -> int:
    return _whole(text, _MOST_TOKENS)


def _whole(text: str, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(highest)) and int(text) <= highest):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {highest}")
    return int(text)


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _LONGEST:  # NaN is in no range
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds from 0 to a day")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:  # NaN is in no range
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return value


def _faults(text: str) -> str:
    if text in ("", _LIST):
        return text
    for kind in text.split(","):
        if kind not in FAULTS:
            near = difflib.get_close_matches(kind, FAULTS, 1)
            hint = f"; did you mean {near[0]}?" if near else "; --fail help lists them"
            raise argparse.ArgumentTypeError(f"no such fault: {kind!r}{hint}")
    return text
