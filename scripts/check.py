"""The checks that need no running gateway: style, types, layers, and what must agree with what.

    python3 scripts/check.py

One line for each check, with the reason below it where one failed; all of them run, whatever fails. Exit 1
if any did. A check is a function that returns what is wrong as text, or "" when all is well; it stands in
`CHECKS`.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lock

# What only one machine has, and who serves packages: an absolute path into a home directory or a work tree,
# and registry hosts. (Written so that this line does not match itself.)
LOCAL_NAME = re.compile(
    r"(?<![\w.~-])/(?:root|home|work|Users)/|[A-Z]:\\Users\\"
    r"|\b(?:pypi\.org|files\.pythonhosted\.org|registry\.npmjs\.org)\b"
)
README, README_CHINESE = "README.md", "README.zh-CN.md"
SHELLS = {"sh", "bash", "shell", "console", "powershell"}


def ruff_lint(root: Path) -> str:
    """Lint rules."""
    return _module(root, "ruff", "check", "--quiet")


def ruff_format(root: Path) -> str:
    """Formatting."""
    return _module(root, "ruff", "format", "--check", "--quiet")


def types_on_linux(root: Path) -> str:
    """Types, as Linux sees them."""
    return _module(root, "mypy", "--platform", "linux")


def types_on_windows(root: Path) -> str:
    """Types, as Windows sees them; a cache of its own keeps both quick."""
    return _module(root, "mypy", "--platform", "win32", "--cache-dir", ".mypy_cache/win32")


def layers(root: Path) -> str:
    """The import contracts in pyproject.toml."""
    # import-linter cannot be run with -m; its command lies beside the interpreter.
    program = shutil.which("lint-imports", path=sysconfig.get_path("scripts"))
    if program is None:
        return "lint-imports is not installed in this environment"
    return _command(root, program)


def versions(root: Path) -> str:
    """pyproject.toml, `chatgpt_platform.__version__`, the image and CHANGELOG.md's newest heading: one version."""
    found = {
        "pyproject.toml": tomllib.loads(_read(root / "pyproject.toml"))["project"]["version"],
        "chatgpt_platform/__init__.py": _first(
            r'^__version__(?:: \w+)? = "([^"]+)"', root, "chatgpt_platform/__init__.py"
        ),
        "Dockerfile": _first(r'opencontainers\.image\.version="([^"]+)"', root, "Dockerfile"),
        # "Unreleased" may stand above it.
        "CHANGELOG.md": _first(r"^## \[?v?(\d[^\]\s]*)", root, "CHANGELOG.md"),
    }
    if len(set(found.values())) == 1:
        return ""
    return "\n".join(f"{file}: {version or 'no version found'}" for file, version in found.items())


def locks(root: Path) -> str:
    """The locks were made from the dependencies that pyproject.toml names now."""
    wanted = lock.header(lock.inputs_digest(_read(root / "pyproject.toml")))
    stale = [name for name in lock.NAMES if not _read(root / "packaging/locks" / name).startswith(wanted)]
    return f"{' and '.join(stale)}: out of date; run python3 scripts/lock.py" if stale else ""


def local_names(root: Path) -> str:
    """No text under version control names a path of somebody's machine or a package registry's host."""
    # Files about to be added count too, so that the check speaks before the commit.
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=False,
    )
    if listing.returncode != 0:
        return f"git ls-files failed: {listing.stderr.decode(errors='replace').strip()}"
    names = sorted(os.fsdecode(name) for name in listing.stdout.split(b"\0") if name)
    return "\n".join(line for name in names for line in _local_names_in(root, name))


def readmes(root: Path) -> str:
    """The two READMEs have headings of the same levels in the same order, and the same commands."""
    english, chinese = outline(_read(root / README)), outline(_read(root / README_CHINESE))
    for number, (one, other) in enumerate(zip(english, chinese, strict=False), start=1):
        if one != other:
            return f"item {number}: {README} has {one!r}, {README_CHINESE} has {other!r}"
    if len(english) != len(chinese):
        return f"{README} has {len(english)} headings and commands, {README_CHINESE} has {len(chinese)}"
    return ""


CHECKS: dict[str, Callable[[Path], str]] = {
    "ruff check": ruff_lint,
    "ruff format": ruff_format,
    "mypy (Linux)": types_on_linux,
    "mypy (Windows)": types_on_windows,
    "import contracts": layers,
    "versions agree": versions,
    "locks are up to date": locks,
    "no local paths or registry hosts": local_names,
    "READMEs agree": readmes,
}


def outline(markdown: str) -> list[str]:
    """The heading marks ("##") and the commands of shell blocks, in order; comments and texts do not count."""
    items: list[str] = []
    fence = language = ""
    for line in markdown.splitlines():
        mark = re.match(r"\s*(`{3,}|~{3,})\s*(\w*)", line)
        if fence:
            if mark and mark[1].startswith(fence) and not mark[2]:
                fence = ""
            elif language in SHELLS and (command := re.sub(r"(^|\s+)#.*", "", line).strip()):
                items.append(command)
        elif mark:
            fence, language = mark[1], mark[2].lower()
        elif heading := re.match(r"#{1,6}(?= )", line):
            items.append(heading[0])
    return items


def main() -> int:
    environment.enter("dev")
    # The slow ones are programs of their own: as many at once as the machine has processors.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = pool.map(lambda check: _problem_of(check, environment.ROOT), CHECKS.values())
        failed = 0
        for name, problem in zip(CHECKS, problems, strict=True):
            print(f"{'failed' if problem else 'ok':6} {name}", flush=True)
            if problem:
                failed += 1
                print("       " + problem.replace("\n", "\n       "), flush=True)
    return 1 if failed else 0


def _problem_of(check: Callable[[Path], str], root: Path) -> str:
    try:
        return check(root)
    except (OSError, ValueError, KeyError) as error:  # a file that is missing or cannot be read
        return f"{type(error).__name__}: {error}"


def _module(root: Path, module: str, *arguments: str) -> str:
    return _command(root, sys.executable, "-m", module, *arguments)


def _command(root: Path, *command: str) -> str:
    """What the command printed, if it failed."""
    done = subprocess.run(
        command,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "PYTHONUTF8": "1", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout.strip() or f"exit code {done.returncode}"


def _read(file: Path) -> str:
    return file.read_text("utf-8")


def _first(pattern: str, root: Path, name: str) -> str:
    match = re.search(pattern, _read(root / name), re.MULTILINE)
    return match[1] if match else ""


def _local_names_in(root: Path, name: str) -> list[str]:
    try:
        text = _read(root / name)
    except (UnicodeDecodeError, FileNotFoundError):  # not a text; deleted but not yet from the index
        return []
    lines = enumerate(text.splitlines(), start=1)
    return [f"{name}:{number}: {match[0]}" for number, line in lines if (match := LOCAL_NAME.search(line))]


if __name__ == "__main__":
    sys.exit(main())
