"""Freezes the gateway into one executable, dist/chatgpt-platform (Windows: .exe), and tries it out.

Beside it lies chatgpt-platform.cdx.json, the bill of its materials.

    python3 scripts/build.py                    builds it, then runs scripts/selftest.py on it
    python3 scripts/build.py --max-glibc 2.31   fails if it would need a newer glibc than that
    python3 scripts/build.py --interpreted      from plain Python alone, which is slower

It is made from the packages in packaging/locks/build.txt, in an environment of its own (build/venv) that holds
nothing else, by the Python that runs this script: one that was built with `--enable-shared`, as those of Debian,
python.org and the Docker images are; what it was optimised with goes into the executable. The inner packages are
compiled first (scripts/native.py); on Windows they are not where there is no C compiler. On Linux PyInstaller's
launcher is compiled too, so a C compiler is needed, and binutils: the one that comes with it would need zlib on
each machine that the executable runs on.

$COMMIT names the commit where the sources are no git checkout, as in a container's build.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import argparse
import os
import shutil
import ssl
import subprocess
import sys
import sysconfig
from pathlib import Path

import native
import selftest

BUILD = environment.ROOT / "build"
STAMPS = BUILD / "stamps"
DIST = environment.ROOT / "dist"
LOCKS = environment.ROOT / "packaging" / "locks"
NAME = "chatgpt-platform.exe" if os.name == "nt" else "chatgpt-platform"
ENVIRONMENT = environment.Environment(BUILD / "venv", LOCKS)


class BuildError(Exception):
    """The executable cannot be built; the text is one line for the user, with the way out."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Freezes the gateway into one executable and tries it out.")
    parser.add_argument("--max-glibc", metavar="X.Y", help="fail if the executable would need a newer glibc")
    parser.add_argument("--interpreted", action="store_true", help="freeze plain Python, compile nothing")
    options = parser.parse_args()
    missing = what_is_missing(interpreted=options.interpreted)
    if missing:
        print(missing, file=sys.stderr)
        return 1
    environment.enter("build", ENVIRONMENT)
    try:
        executable = build(None if options.interpreted else native_modules())
        judge(executable, options.max_glibc)
    except BuildError as error:
        print(f"The build failed: {error}", file=sys.stderr)
        return 1
    return selftest.run(executable)


def what_is_missing(*, interpreted: bool = False) -> str:
    """What this machine lacks, as one line each; empty when it can build."""
    lines = []
    if os.name == "posix" and not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        lines.append(
            "this Python has no shared library (--enable-shared): use that of Debian, python.org or Docker"
        )
    if ssl.OPENSSL_VERSION_INFO < (3,):
        # Out of support, and under another licence than the one in packaging/notices.
        lines.append(f"this Python has {ssl.OPENSSL_VERSION}: use one with OpenSSL 3 or newer")
    if sys.platform == "linux":
        for program, package in {"cc": "gcc libc6-dev", "objcopy": "binutils"}.items():
            if shutil.which(program) is None:
                lines.append(f"{program} is missing; on Debian and Ubuntu: apt install {package}")
        if not interpreted and not native.has_headers():
            lines.append(native.NO_HEADERS)
    return "\n".join(lines)


def native_modules() -> Path | None:
    """Where the native modules lie; None on Windows where there is no C compiler, which is told."""
    if sys.platform == "win32" and (missing := native.what_is_missing()):
        print(f"The executable is made of plain Python, which is slower: {missing}", flush=True)
        return None
    try:
        return native.make()
    except native.NativeError as error:
        raise BuildError(f"{error}; --interpreted makes it of plain Python") from None


def build(modules: Path | None) -> Path:
    """Writes the executable and its bill of materials into dist/; gives the executable's path.

    `modules`: the folder of the native modules, None: it is made of plain Python.
    """
    if sys.platform == "linux":
        compile_launcher()
    shutil.rmtree(STAMPS, ignore_errors=True)
    STAMPS.mkdir(parents=True)
    DIST.mkdir(exist_ok=True)
    (STAMPS / "COMMIT").write_text(commit() + "\n", "ascii")
    pyinstaller = [sys.executable, "-I", "-m", "PyInstaller", "--noconfirm", "--log-level=ERROR"]
    folders = ["--distpath", str(DIST), "--workpath", str(BUILD / "pyinstaller")]
    # Twice with the same inputs gives the same file: sets of texts would come in another order each time.
    freezing = subprocess.run(
        [*pyinstaller, *folders, "chatgpt.spec", *(["--", "--native", str(modules)] if modules else [])],
        cwd=environment.ROOT,
        env=os.environ | {"PYTHONHASHSEED": "1"},
        check=False,
    )
    if freezing.returncode:
        raise BuildError("PyInstaller failed, see its messages above")
    return DIST / NAME


def commit() -> str:
    """The commit that is built: $COMMIT, else that of the checkout, with a mark where files were changed."""
    if given := os.environ.get("COMMIT"):
        return given
    git = ["git", "-C", str(environment.ROOT)]
    try:
        asked = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return asked.stdout.strip() + ("-changed" if changed.stdout.strip() else "")


def compile_launcher() -> None:
    """Installs PyInstaller once more, from its source and with zlib inside its launcher."""
    stamp = ENVIRONMENT.folder / "launcher-compiled"
    if stamp.exists():
        return
    requirement = BUILD / "pyinstaller.txt"
    requirement.write_text(pinned("pyinstaller", (LOCKS / "build.txt").read_text("utf-8")), "utf-8")
    pip = [sys.executable, "-I", "-m", "pip", "-qq", "--disable-pip-version-check", "install", "--require-hashes"]
    # What its own build needs is in the lock too, so nothing unpinned is fetched for it.
    fresh = [
        "--force-reinstall",
        "--no-deps",
        "--no-binary",
        "pyinstaller",
        "--no-build-isolation",
        "--no-cache-dir",
    ]
    done = subprocess.run(
        [*pip, *fresh, "--requirement", str(requirement)],
        env=os.environ | {"PYINSTALLER_COMPILE_BOOTLOADER": "1", "PYI_STATIC_ZLIB": "1"},
        check=False,
    )
    if done.returncode:
        raise BuildError("PyInstaller's launcher could not be compiled, see the messages above")
    stamp.touch()


def pinned(name: str, lock: str) -> str:
    """The lines of a lock that pin one package, its hashes included."""
    lines = lock.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
    last = next(number for number, line in enumerate(lines[first:], first) if not line.rstrip().endswith("\\"))
    return "".join(lines[first : last + 1])


def judge(executable: Path, most: str | None) -> None:
    """Prints what is in it. Raises BuildError when it needs a newer glibc than `most`."""
    # Needs the packages of the build, whose environment has been entered only now.
    import bundle  # noqa: PLC0415

    try:
        print(bundle.report(executable))
        needed = bundle.glibc_needed(executable)
    except bundle.BundleError as error:
        raise BuildError(str(error)) from None
    if sys.platform == "linux":
        print(f"needs glibc {needed}", flush=True)
        if most and bundle.version_key(needed) > bundle.version_key(most):
            raise BuildError(f"it needs glibc {needed}, newer than {most}: build it on an older system")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
