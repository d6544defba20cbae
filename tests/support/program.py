"""The real program as a process of its own, started and stopped as users do it."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests
import trustme

import chatgpt_platform

ROOT = Path(__file__).parents[2]
PACKAGES = Path(chatgpt_platform.__file__).parents[1]
"""Where the package lies that is tested: the checkout, or among native modules."""
PATIENCE = 30.0
_SERVES = re.compile(r"serves (https?)://[^ ]*:(\d+)")
_KEPT = ("PATH", "SYSTEMROOT", "TEMP", "TMP")


def environment_of(given: Mapping[str, str]) -> dict[str, str]:
    """An environment with nothing of ours in it but ``given``."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(PACKAGES), "PYTHONUTF8": "1", **given}


PROGRAM = (sys.executable, "-m", "chatgpt_platform")


def run(
    *arguments: str, directory: Path, environment: Mapping[str, str] | None = None, text: str = "",
    command: Sequence[str] = PROGRAM,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """One command, from start to end."""
    return subprocess.run(
        [*command, *arguments],
        cwd=directory, env=environment_of(environment or {}), input=text,
        capture_output=True, encoding="utf-8", timeout=PATIENCE, check=False,
    )  # fmt: skip


class Program:
    """A running command whose standard output is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.scheme = "http"
        self.port = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def wait_for(self, part: str) -> str:
        """The next line of output that holds ``part``."""
        while True:
            line = self._queue.get(timeout=PATIENCE)
            assert line is not None, f"ended without {part!r}: {self.lines}"
            if part in line:
                return line

    def end(self) -> int:
        """The exit code, awaited; all output is in ``lines`` then."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._queue.put(line)
        self._queue.put(None)


class Reader(threading.Thread):
    """Reads a streamed answer to ``prompt`` to its end; it is there when the first piece has come."""

    def __init__(self, url: str, prompt: str = "a b c d e f g h " * 20) -> None:
        super().__init__(daemon=True)
        self.got = b""
        self._began = threading.Event()
        self._url = url + "/v1/chat/completions"
        self._asked = {
            "model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": prompt}],
        }  # fmt: skip
        self.start()
        assert self._began.wait(PATIENCE)

    def run(self) -> None:
        cut = contextlib.suppress(requests.RequestException)
        with cut, requests.post(self._url, json=self._asked, stream=True, timeout=PATIENCE) as answer:
            for piece in answer.iter_content(None):
                self.got += piece
                self._began.set()

    def whole(self) -> bool:
        """Whether the answer was complete when it ended."""
        self.join(PATIENCE)
        return self.got.endswith(b"data: [DONE]\n\n")


def child_of(program: Program) -> int:
    """The process that serves, where the executable was started: what was started is its launcher."""
    pid = program.process.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return int(child)


@contextmanager
def stream(program: Program) -> Iterator[Iterator[bytes]]:
    """The lines of a stream, of which the first has come."""
    asked = {"prompt": "a b c d e f g h", "stream": "true"}
    with requests.get(f"{program.url}/chatgpt", params=asked, stream=True, timeout=PATIENCE) as answer:
        lines: Iterator[bytes] = answer.iter_lines()
        assert next(lines).startswith(b"data: ")
        yield lines


@contextmanager
def tls_upstream(authority: trustme.CA, folder: Path) -> Iterator[Program]:
    """An upstream that speaks TLS with a certificate of ``authority``'s: a gateway with the simulator."""
    certificate = folder / "upstream.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    names = {f"CHATGPT_SERVER__TLS__{name}": str(certificate) for name in ("CERTIFICATE", "KEY")}
    with serving("--demo", directory=folder, environment=names) as upstream:
        yield upstream


@contextmanager
def serving(
    *arguments: str,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = PROGRAM,
) -> Iterator[Program]:
    """``serve`` on a free port of 127.0.0.1, killed at the end if it still runs."""
    started = [*command, "serve", *arguments]
    with subprocess.Popen(
        [*started, "--host", "127.0.0.1", "--port", "0"],
        cwd=directory, env=environment_of(environment or {}),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    ) as process:  # fmt: skip
        program = Program(process)
        try:
            match = _SERVES.search(program.wait_for(" serves http"))
            assert match
            program.scheme, program.port = match[1], int(match[2])
            yield program
        finally:
            process.kill()
            program.end()
