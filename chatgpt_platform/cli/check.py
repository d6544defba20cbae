"""``check``: read the settings as ``serve`` does, print what is in force and where each value came from.

With ``--online`` also try each key of each upstream.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from chatgpt_platform.cli import online
from chatgpt_platform.settings.load import load
from chatgpt_platform.settings.render import listing
from chatgpt_platform.settings.text import printable
from chatgpt_platform.settings.tls import check_authorities, server_context


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("check", help="validate the configuration and print the effective settings")
    parser.add_argument("--config", metavar="FILE", help="the configuration file")
    parser.add_argument("--online", action="store_true", help="also try each key of each upstream")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Raises ``ConfigurationError``, which ``main`` prints as it does for ``serve``."""
    loaded = load(environment, config=arguments.config)
    server_context(loaded.settings.server.tls)  # its files are part of the configuration
    check_authorities(loaded.settings.upstreams)
    print(f"configuration file: {printable(str(loaded.file)) if loaded.file else 'none'}")
    print(listing(loaded), end="")
    print(*loaded.slips, sep="\n", end="\n" if loaded.slips else "", file=sys.stderr)
    works = online.all_work(loaded.settings.upstreams) if arguments.online else True
    return 0 if works else 1
