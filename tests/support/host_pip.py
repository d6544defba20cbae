"""How pip reaches its packages on this host, carried into a container that is built here."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit


def carried(file: Path) -> list[str]:
    """Write this host's settings of pip to ``file``; the volumes that a build needs, as ``HOST:CONTAINER:ro``."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, encoding="utf-8", check=True
    ).stdout
    sections: dict[str, dict[str, str]] = {}
    for line in listing.splitlines():
        match = re.fullmatch(r"([\w:-]+)\.([\w-]+)=(.*)", line)
        if match:
            section = "global" if match[1] == ":env:" else match[1]
            sections.setdefault(section, {})[match[2]] = str(ast.literal_eval(match[3]))
    file.write_text(
        "".join(
            f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
            for section, settings in sections.items()
        ),
        "utf-8",
    )
    words = {word for settings in sections.values() for value in settings.values() for word in value.split()}
    paths = {path for path in map(_path, words) if path is not None and path.exists()}
    return [f"{file}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in sorted(paths))]


def _path(word: str) -> Path | None:
    """The file or folder that a setting names. An index on disk points to files beside it: what holds both."""
    if word.startswith("file:///"):
        return Path(unquote(urlsplit(word).path)).parent
    return Path(word) if word.startswith("/") else None
