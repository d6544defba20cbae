"""``init``: write a commented example configuration, never over a file that exists."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chatgpt_platform.settings.load import USUAL_FILE
from chatgpt_platform.settings.render import example
from chatgpt_platform.settings.text import printable


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("init", help="write a commented example configuration; never overwrites")
    parser.add_argument(
        "file", nargs="?", default=USUAL_FILE, metavar="FILE", help=f"the file to write (default {USUAL_FILE})"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    path, shown = Path(arguments.file), printable(arguments.file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(example())
    except FileExistsError as error:
        blocked = printable(str(error.filename))
        print(f"{blocked}: exists already and stays as it is; name another file", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        print(f"{shown}: cannot be written: {reason}", file=sys.stderr)
        return 1
    follow = "" if arguments.file == USUAL_FILE else f" --config {shown}"
    print(f"{shown} is written; change what you like, then run: chatgpt-platform check{follow}")
    return 0
