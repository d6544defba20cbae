"""The command line: parse, run the command, turn what went wrong into one line and an exit code."""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from chatgpt_platform.cli import unpacked
from chatgpt_platform.errors import ConfigurationError, StartError

COMMANDS: Final = (
    "serve", "check", "init", "ask", "chat", "simulate", "keys", "usage", "healthcheck", "version",
)  # fmt: skip
"""Each a module beside this one, imported only when its command is asked for: most of a start is imports."""


class _Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of this command line: of the command that it names, of all commands where it names none."""
    root = _Parser(
        prog="chatgpt-platform",
        description="Share access to an OpenAI-compatible model service: one key, limits for each caller.",
    )
    root.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    named = next((word for word in argv if not word.startswith("-")), None)
    for command in [named] if named in COMMANDS else COMMANDS:
        importlib.import_module(f"chatgpt_platform.cli.{command}").add_parser(commands)
    return root


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Run one command and return its exit code."""
    _fill_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console or a file that lacks a character shows its escape; it never ends the program.
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    copy = unpacked.current()
    if copy is None:
        return _run(argv, environment)
    copy.hold()
    try:
        return _run(argv, environment)
    finally:
        copy.leave()


def _fill_standard_streams() -> None:
    """Open the null device in place of each of the three that this process was started without.

    Else a socket would get its number, and what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _run(argv: Sequence[str] | None, environment: Mapping[str, str] | None) -> int:
    words = sys.argv[1:] if argv is None else argv
    arguments = parser(words).parse_args(words)
    gc.enable()
    run = arguments.run
    try:
        code: int = run(arguments, os.environ if environment is None else environment)
    except ConfigurationError as error:
        print(*error.lines, sep="\n", file=sys.stderr)
        return 2
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the executable's launcher hands it on a second time
        return 130
    except BrokenPipeError:
        # Who read our output has left, as ``| head`` does; nothing more can be said there.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - stays open to the end
        return 1
    except Exception as error:
        # The last resort: one line rather than a traceback, which --debug shows.
        if arguments.debug:
            raise
        print(f"{type(error).__name__}: {error} (--debug shows more)", file=sys.stderr)
        return 1
    return code
