"""``version``: what this is, what it runs on, and which commit it was built from."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping
from typing import Any

from chatgpt_platform import __version__
from chatgpt_platform.cli.build import commit


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("version", help="version, Python, platform, build commit")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    print(f"chatgpt-platform {__version__}")
    print(f"Python {platform.python_version()}")
    print(f"platform {platform.platform()}")
    print(f"commit {commit()}")
    return 0
