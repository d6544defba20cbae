"""Containers without a Docker engine: ``buildah`` builds, ``podman`` runs, in a store of the tests' own.

No engine's own settings are touched: store, locks and networks lie in one folder, and the two files that name them
are handed over in the environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

PATIENCE: Final = 60.0
BUILD_PATIENCE: Final = 1500.0
PROGRAMS: Final = {
    "buildah": "buildah", "podman": "podman", "runc": "runc",
    "netavark": "netavark", "aardvark_dns": "aardvark-dns", "iptables": "iptables",
}  # fmt: skip
"""Each with its Debian package."""


class Failed(AssertionError):
    """A command that failed, with what it said."""


class Engine:
    """Both programs, on the store in ``folder``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/store"\nrunroot = "{folder}/run"\n', "utf-8"
        )
        # What a machine without systemd and with small limits of its own can give.
        (folder / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\nlog_driver = "k8s-file"\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nlock_type = "file"\n'
            f'tmp_dir = "{folder}/tmp"\n'
            f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{folder}/networks"\n',
            "utf-8",
        )
        self.environment: Final = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }

    def podman(self, *arguments: str) -> str:
        """What the command printed. Raises ``Failed``."""
        return self.run("podman", *arguments)

    def run(self, *command: str, folder: Path | None = None, patience: float = PATIENCE) -> str:
        """What the command printed; what it complained of only where it failed. Raises ``Failed``."""
        done = subprocess.run(
            command, cwd=folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
            encoding="utf-8", errors="replace", timeout=patience, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def import_tree(self, tree: Path, name: str, *changes: str) -> str:
        """Make an image of a tree; its name, which no registry is asked for."""
        options = [part for change in changes for part in ("--change", change)]
        with subprocess.Popen(["tar", "-C", str(tree), "-c", "."], stdout=subprocess.PIPE) as packed:
            done = subprocess.run(
                ["podman", "import", *options, "-", f"localhost/{name}"],
                stdin=packed.stdout, env=self.environment, capture_output=True, encoding="utf-8", check=False,
            )  # fmt: skip
        if packed.returncode != 0 or done.returncode != 0:
            raise Failed(f"podman import: {done.stderr}")
        return f"localhost/{name}"

    def build(
        self, context: Path, name: str, arguments: Mapping[str, str], volumes: Sequence[str]
    ) -> tuple[str, str]:
        """Build the Dockerfile in ``context``; the image's name and what the build said."""
        options = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
        options += [part for volume in volumes for part in ("--volume", volume)]
        said = self.run(
            "buildah", "bud", "--isolation", "chroot", "--format", "docker", "--pull-never", *options,
            "--tag", f"localhost/{name}", str(context), patience=BUILD_PATIENCE,
        )  # fmt: skip
        return f"localhost/{name}", said

    @contextmanager
    def container(self, image: str, *command: str, options: Sequence[str] = ()) -> Iterator[Container]:
        """A container in the background, removed at the end."""
        container = Container(self, self.podman("run", "--detach", *options, image, *command).strip())
        try:
            yield container
        finally:
            self.podman("rm", "--force", "--time", "0", container.id)

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The files of an image."""
        try:
            yield Path(self.podman("image", "mount", image).strip())
        finally:
            self.podman("image", "unmount", image)

    def clear(self) -> None:
        """Remove the containers that a broken run has left, and images that others have taken the name of."""
        self.podman("rm", "--all", "--force", "--time", "0")
        self.podman("image", "prune", "--force")


class Container:
    """A container that was started."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine: Final = engine
        self.id: Final = name

    @property
    def logs(self) -> str:
        """What was written to standard output so far."""
        return self._engine.podman("logs", self.id)

    def inspect(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self._engine.podman("inspect", self.id))
        return found[0]

    def wait_for(self, part: str) -> str:
        """The first line of its output that holds ``part``, awaited."""
        end = time.monotonic() + PATIENCE
        while True:
            logs = self.logs
            for line in logs.splitlines():
                if part in line:
                    return line
            assert self.inspect()["State"]["Running"], f"ended without {part!r}: {logs}"
            assert time.monotonic() < end, f"no {part!r}: {logs}"
            time.sleep(0.1)  # podman tells of no event without a journal

    def processes(self) -> list[Process]:
        """The first process and those that it started, as the host sees them."""
        first = int(self.inspect()["State"]["Pid"])
        return [Process(first), *(each for each in map(Process, _numbers()) if each.parent == first)]

    def execute(self, *command: str) -> str:
        """What a command in it writes to standard output. Raises ``Failed``."""
        return self._engine.podman("exec", self.id, *command)

    def stop(self) -> int:
        """Stop it as ``docker stop`` does: SIGTERM, SIGKILL after 10 seconds. The exit code."""
        self._engine.podman("stop", "--time", "10", self.id)
        return int(self.inspect()["State"]["ExitCode"])


class Process:
    """What /proc says of a process."""

    def __init__(self, number: int) -> None:
        try:
            lines = Path(f"/proc/{number}/status").read_text("utf-8").splitlines()
        except OSError:  # it has ended
            lines = []
        self._status: Final = dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    @property
    def parent(self) -> int:
        return int(self._status.get("PPid", "0"))

    @property
    def users(self) -> set[int]:
        """The real, effective, saved and file system user."""
        return {int(each) for each in self._status["Uid"].split()}

    @property
    def groups(self) -> set[int]:
        """Those of its group, and the others that it is in."""
        return {int(each) for each in (self._status["Gid"] + " " + self._status["Groups"]).split()}

    @property
    def capabilities(self) -> int:
        """What it may do or could take: effective, permitted, inheritable and ambient ones."""
        names = ("CapEff", "CapPrm", "CapInh", "CapAmb")
        return sum(int(self._status[name], 16) for name in names)


def _numbers() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
