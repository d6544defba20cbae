"""The project's own virtual environment, `.venv`, made on first use and entered by every script.

A script that needs more than the standard library starts like this:

    import environment
    ...
    environment.enter("run")     # "run": what the gateway needs; "dev": that and what the tests need

`enter` returns at once inside an up-to-date `.venv`. Otherwise it makes `.venv` from the locks in
`packaging/locks` (every file checked against its hash) and runs the same command line there. A stamp in
`.venv` remembers which lock was installed, so that the second run costs nothing; no stamp means that an
earlier attempt broke off, and `.venv` is made anew. The project itself is not installed: `enter` puts its
root on the path.

Standard library only: this runs on a bare Python, Linux or Windows.
"""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn

if sys.version_info < (3, 11):  # noqa: UP036 - before anything that an older Python cannot import
    sys.stderr.write("Python 3.11 or newer is needed; this is {}.{}.\n".format(*sys.version_info[:2]))
    sys.exit(2)

ROOT = Path(__file__).resolve().parent.parent

# Which installed locks satisfy the wish for one: dev.txt holds all pins of run.txt. What is frozen from an
# environment is frozen with all that lies in it, so that of a build holds nothing else.
SATISFIED_BY = {"run": ("run", "dev"), "dev": ("dev",), "build": ("build",)}


class SetupError(Exception):
    """The environment cannot be made; the text is one line for the user, with the way out."""


class Environment:
    """A virtual environment in `folder`, filled from one of the locks in `locks`, such as `locks`/run.txt."""

    def __init__(self, folder: Path, locks: Path) -> None:
        self.folder = folder
        self.locks = locks
        self._stamp = folder / "installed-lock.json"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def holds(self, lock: str) -> bool:
        """Whether the packages of `lock`, as it stands on disk now, are installed for the running Python."""
        try:
            stamp = json.loads(self._stamp.read_text("utf-8"))
            installed = stamp["lock"]
            return (
                installed in SATISFIED_BY[lock]
                and stamp == self._stamp_for(installed)
                and self.python.exists()  # false for a link to a Python that was removed
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def prepare(self, lock: str) -> None:
        """Makes sure that `holds(lock)`, with as little work as possible. Raises SetupError."""
        if self.holds(lock):
            return
        print(f"Setting up {self.folder.name} (once) ...", flush=True)
        if not self.holds("run"):
            self._create()
        self._install(self.locks / f"{lock}.txt")
        self._stamp.write_text(json.dumps(self._stamp_for(lock)) + "\n", "utf-8")

    def _stamp_for(self, lock: str) -> dict[str, str]:
        # read_text makes one line ending of all: a checkout with CRLF has the same digest.
        text = (self.locks / f"{lock}.txt").read_text("utf-8")
        return {
            "lock": lock,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            # Names the Python version and the platform, as in ".cpython-311-x86_64-linux-gnu.so".
            "python": str(sysconfig.get_config_var("EXT_SUFFIX")),
        }

    def _create(self) -> None:
        if importlib.util.find_spec("ensurepip") is None:
            raise SetupError(
                "This Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"
            )
        self._run(
            [sys.executable, "-m", "venv", "--clear", str(self.folder)],
            f"Could not make {self.folder}; see above. Is it in use by another program?",
        )

    def _install(self, lock: Path) -> None:
        # -I: a PYTHONPATH of the user's must not make pip believe that something is installed already.
        # -qq: errors only.
        pip = [str(self.python), "-I", "-m", "pip", "-qq", "--disable-pip-version-check"]
        self._run(
            [*pip, "install", "--require-hashes", "--requirement", str(lock)],
            "Could not install the locked packages; see pip's message above. Is the network reachable?",
        )

    def _run(self, command: list[str], failure: str) -> None:
        if subprocess.run(command, check=False).returncode != 0:
            raise SetupError(failure)


PROJECT = Environment(ROOT / ".venv", ROOT / "packaging" / "locks")


def enter(lock: str, environment: Environment = PROJECT) -> None:
    """Returns inside an environment that holds `lock`; elsewhere, runs this command line there instead."""
    inside = Path(sys.prefix).resolve() == environment.folder.resolve()
    try:
        if inside and not environment.holds(lock):
            # An environment cannot be replaced by the Python that runs from it: start over outside.
            _run_again(Path(getattr(sys, "_base_executable", sys.executable)))
        environment.prepare(lock)
    except (SetupError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    if not inside:
        _run_again(environment.python)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


def _run_again(python: Path) -> NoReturn:
    command = [str(python), *sys.argv]
    sys.stdout.flush()
    if os.name != "nt":
        os.execv(python, command)  # the same process: signals and the exit code need no help
    # Windows has no exec. Ctrl-C reaches both processes: the child answers it, this one waits for the child.
    child = subprocess.Popen(command)
    while True:
        try:
            sys.exit(child.wait())
        except KeyboardInterrupt:
            continue
