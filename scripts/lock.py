"""Makes the locks in packaging/locks from pyproject.toml: versions and hashes for every platform.

    python3 scripts/lock.py              after a change of the dependencies in pyproject.toml
    python3 scripts/lock.py --upgrade    to move every package to its newest version

run.txt holds what the gateway needs, build.txt what makes the executable besides, dev.txt what the tests and
checks need besides; all name the same versions. Each lock's first lines carry a digest of the dependencies it
was made from; `scripts/check.py` compares it with pyproject.toml.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

LOWEST_PYTHON = "3.11"
NAMES = ("run.txt", "dev.txt", "build.txt")


def inputs_digest(pyproject: str) -> str:
    """The digest of what the locks depend on in the text of pyproject.toml."""
    table = tomllib.loads(pyproject)
    inputs = [table["project"]["dependencies"], table["dependency-groups"]]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def header(digest: str) -> str:
    """The first lines of a lock."""
    return f"# Made by scripts/lock.py from pyproject.toml; not to be edited.\n# Dependencies: sha256:{digest}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes the locks in packaging/locks from pyproject.toml.")
    parser.add_argument("--upgrade", action="store_true", help="move every package to its newest version")
    upgrade = parser.parse_args().upgrade
    uv = shutil.which("uv")
    if uv is None:
        print("lock.py needs uv; to get it: python3 -m pip install uv", file=sys.stderr)
        return 1
    locks = environment.ROOT / "packaging" / "locks"
    run, dev = locks / "run.txt", locks / "dev.txt"
    compile_lock(uv, run, upgrade=upgrade)
    compile_lock(uv, dev, "--group", "dev", "--constraints", str(run), upgrade=upgrade)
    compile_lock(uv, locks / "build.txt", "--group", "build", "--constraints", str(dev), upgrade=upgrade)
    return 0


def compile_lock(uv: str, target: Path, *options: str, upgrade: bool) -> None:
    """Writes one lock. Versions that the old one holds stay where they still fit, unless `upgrade`."""
    command = [uv, "pip", "compile", "--universal", "--generate-hashes", "--python-version", LOWEST_PYTHON]
    # Which index served the packages, and where, is nobody's business but this machine's.
    command += ["--no-emit-index-url", "--no-annotate", "--no-header", "--quiet", *options]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, target.name)
        if target.exists() and not upgrade:
            shutil.copy(target, output)  # uv prefers the versions it finds in its output file
        pyproject = environment.ROOT / "pyproject.toml"
        subprocess.run([*command, "--output-file", str(output), str(pyproject)], check=True)
        pins = output.read_text("utf-8")
    if "://" in pins:
        raise SystemExit(f"{target.name} would name an address instead of a version; it was not written.")
    pin_count = sum(line[:1].isalnum() for line in pins.splitlines())
    # Bytes: the same file on every platform.
    target.write_bytes((header(inputs_digest(pyproject.read_text("utf-8"))) + pins).encode())
    print(f"{target.relative_to(environment.ROOT)}: {pin_count} packages")


if __name__ == "__main__":
    sys.exit(main())
