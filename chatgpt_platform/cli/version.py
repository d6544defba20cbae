"""``version``: what this is, what it runs on, which commit it was built from, and the licences of all in it."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from chatgpt_platform import __version__
from chatgpt_platform.cli.build import commit


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("version", help="version, Python, platform, build commit")
    parser.add_argument("--licenses", action="store_true", help="the licences of everything inside, in full")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    if arguments.licenses:
        for text in _licenses():
            print(text)
        return 0
    print(f"chatgpt-platform {__version__}")
    print(f"Python {platform.python_version()}")
    print(f"platform {platform.platform()}")
    print(f"commit {commit()}")
    return 0


def _licenses() -> Iterator[str]:
    """What the build gathered (``NOTICES`` beside the package's modules), else what the packages here say."""
    bundled = resources.files("chatgpt_platform") / "NOTICES"
    if bundled.is_file():
        yield bundled.read_text("utf-8").rstrip("\n")
    else:
        yield "Not a built executable: these are the licences of the Python packages installed here."
        yield from _licenses_of_installed()


def _licenses_of_installed() -> Iterator[str]:
    # Not needed on the way to any other command.
    from importlib.metadata import distributions  # noqa: PLC0415

    from chatgpt_platform.cli import licences  # noqa: PLC0415

    for distribution in sorted(distributions(), key=lambda one: one.name.lower()):
        yield f"\n{distribution.name} {distribution.version}: {licences.expression(distribution) or 'unknown'}"
        for name, text in licences.texts(distribution):
            yield f"\n--- {name}\n\n{text.strip()}"
