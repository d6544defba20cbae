"""Makes a release's tag, once everything that a release needs is in order:

    python3 scripts/release.py --dry-run      only says what is missing, or what would be done
    python3 scripts/release.py                tags the commit; prints the command that pushes the tag
    python3 scripts/release.py --notes 1.2.3  prints the section of CHANGELOG.md, as the release's notes

Nothing leaves this machine: the push, which starts .github/workflows/release.yml, is yours to make.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import check

BRANCH = "main"
_HEADING = re.compile(r"^## ", re.MULTILINE)


class ReleaseError(Exception):
    """The release cannot be made; each line of the text names a reason and the way out."""


def main(argv: Sequence[str] | None = None, root: Path = environment.ROOT) -> int:
    parser = argparse.ArgumentParser(description="Checks that a release is in order, and tags it.")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--dry-run", action="store_true", help="check, but make no tag")
    only.add_argument("--notes", metavar="VERSION", help="print this version's section of CHANGELOG.md, no more")
    arguments = parser.parse_args(argv)
    try:
        if arguments.notes:
            print(notes(root, arguments.notes))
        else:
            release(root, dry_run=arguments.dry_run)
    except (ReleaseError, OSError, ValueError, KeyError) as error:
        print(error if isinstance(error, ReleaseError) else f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def release(root: Path, *, dry_run: bool) -> None:
    """Tags the commit that is checked out. Raises ReleaseError with all that is missing."""
    problems = [problem for one in (branch, clean, versions, dated, fresh) if (problem := one(root))]
    if problems:
        raise ReleaseError("\n".join(problems))
    tag = tag_of(root)
    if dry_run:
        print(f"All is in order; {tag} would be made at {_git(root, 'rev-parse', '--short=12', 'HEAD')}.")
        return
    _git(root, "tag", "--annotate", "--message", f"{tag}\n\n{notes(root, tag[1:])}", "--cleanup=verbatim", tag)
    print(f"{tag} is made. To publish it: git push origin {tag}")


def branch(root: Path) -> str:
    """The branch is the one that releases come from."""
    found = _git(root, "rev-parse", "--abbrev-ref", "HEAD")
    return "" if found == BRANCH else f"This is the branch {found}; git switch {BRANCH}"


def clean(root: Path) -> str:
    """What is checked out is what is committed."""
    changed = _git(root, "status", "--porcelain").splitlines()
    return f"Not committed: {', '.join(line[3:] for line in changed)}; commit or remove it" if changed else ""


def versions(root: Path) -> str:
    """Every place that names the version names the same one."""
    differing = check.versions(root)
    return f"The versions differ; make them equal:\n{differing}" if differing else ""


def dated(root: Path) -> str:
    """The version has a section with a date, and nothing waits above it."""
    version = _version(root)
    found = _section(root, version)
    if found is None:
        return f"CHANGELOG.md: no section for {version}; write one"
    if (waiting := _section(root, "Unreleased")) and waiting[1]:
        return f"CHANGELOG.md: move what stands under Unreleased to {version}, or raise the version"
    match = re.search(r" - (\d{4}-\d\d-\d\d)$", found[0])
    try:
        date.fromisoformat(match[1] if match else "")
    except ValueError:
        return f"CHANGELOG.md: the heading of {version} has no date; it must be like ## [{version}] - 2026-01-31"
    return ""


def fresh(root: Path) -> str:
    """The version was not released before."""
    tag = tag_of(root)
    return f"The tag {tag} exists; raise the version" if _git(root, "tag", "--list", tag) else ""


def tag_of(root: Path) -> str:
    """The tag of the version that is checked out, such as "v1.2.3"."""
    return f"v{_version(root)}"


def notes(root: Path, version: str) -> str:
    """The section of a version in CHANGELOG.md, without its heading. Raises ReleaseError."""
    found = _section(root, version)
    if found is None or not found[1]:
        raise ReleaseError(f"CHANGELOG.md says nothing of {version}; write a section for it")
    return found[1]


def _section(root: Path, name: str) -> tuple[str, str] | None:
    """The text of a section's heading, and what stands below it; None where there is no such section."""
    for part in _HEADING.split((root / "CHANGELOG.md").read_text("utf-8"))[1:]:
        title, _, text = part.partition("\n")
        if re.match(rf"\[?v?{re.escape(name)}\]?(?:\s|$)", title):
            return title.strip(), text.strip()
    return None


def _version(root: Path) -> str:
    return str(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise ReleaseError(f"git {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.rstrip("\n")


if __name__ == "__main__":
    sys.exit(main())
