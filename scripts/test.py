"""Checks and tests, in an environment of their own:

    python3 scripts/test.py                        everything but the artefacts
    python3 scripts/test.py tests/limits -k store  the checks, then pytest with these arguments
    python3 scripts/test.py --native               compiles the inner packages (scripts/native.py) and tests them
    python3 scripts/test.py --packaging            builds the executable and tests it, the image, the unit

$CHATGPT_EXECUTABLE names a file that is tested in place of one that is built. The last line is pytest's own. The
exit code is 0 only if the checks and the tests passed.

The tests with the official Node SDK need `npm`; without it, or without a network the first time, they are skipped.
The tests of the artefacts install Debian packages where root runs them; what they cannot have they are skipped
for, with the reason, and with --no-skips they fail.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import check
import native

NODE = environment.ROOT / "tests" / "node"
BUILD = environment.ROOT / "scripts" / "build.py"


def install_node_packages(folder: Path) -> None:
    """Installs what package-lock.json pins, unless it is there already. A failure is told, not raised."""
    npm = shutil.which("npm")
    if npm is None:
        return
    digest = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / "node_modules" / ".installed-lock"
    if stamp.exists() and stamp.read_text("utf-8") == digest:
        return
    print("Installing the Node SDK for the tests (once) ...", flush=True)
    # No scripts of packages, and no long waiting for a network that is not there.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"]
    done = subprocess.run([npm, "ci", *options], cwd=folder, capture_output=True, check=False)
    if done.returncode == 0:
        stamp.write_text(digest, "utf-8")
        return
    reason = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
    print(f"npm ci failed, so the tests with the Node SDK are skipped: {reason}", flush=True)


def provide_executable() -> int:
    """Builds what is to be tested, unless $CHATGPT_EXECUTABLE names it; the exit code, a failure is told."""
    if given := os.environ.get("CHATGPT_EXECUTABLE"):
        if Path(environment.ROOT, given).is_file():
            return 0
        print(f"CHATGPT_EXECUTABLE={given}: no such file; leave it out to build one", file=sys.stderr)
        return 2
    built = subprocess.run([sys.executable, BUILD], check=False).returncode
    if built != 0:
        print("The executable could not be built, so there is nothing to test.", file=sys.stderr)
    return built


def workers() -> list[str]:
    """For whole suites, half of which is waiting: pytest's option for two processes a core, up to four."""
    return [] if set(sys.argv[1:]) - {"--native"} else ["-n", str(min(2 * (os.cpu_count() or 1), 4))]


def native_options(folder: Path) -> list[str]:
    """Makes pytest import the package from the folder, and test what is native there if no path is named."""
    paths = f"pythonpath={folder.relative_to(environment.ROOT).as_posix()} tests scripts"
    names = sorted({name.partition("/")[0] for name in native.PACKAGES})
    of_packages = [f"tests/{name}" for name in names if Path(environment.ROOT, "tests", name).is_dir()]
    named = any(Path(environment.ROOT, word.partition("::")[0]).exists() for word in sys.argv[1:])
    return ["-o", paths, *([] if named else of_packages)]


def main() -> int:
    environment.enter("dev")
    package, options = environment.ROOT, workers()
    if "--native" in sys.argv:
        checked = 0
        try:
            package = native.make()
        except native.NativeError as error:
            print(error, file=sys.stderr)
            return 1
        options += native_options(package)
    elif "--packaging" in sys.argv:
        checked = provide_executable()
        if checked != 0:
            return checked
    else:
        checked = check.main()
        install_node_packages(NODE)
    if checked != 0:
        print("Some checks failed, see above; the tests run all the same.", flush=True)
    tests = subprocess.run(
        # -rs: what was skipped, and why.
        [
            sys.executable,
            "-m",
            "pytest",
            *(["-rs"] if "--packaging" in sys.argv else []),
            *options,
            *sys.argv[1:],
        ],
        cwd=environment.ROOT,
        env=os.environ | {"PYTHONPATH": str(package), "FAILED_CHECKS": "yes" if checked else ""},
        check=False,
    )
    return tests.returncode or checked


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
