"""Tries out a built executable as it is: each command, each endpoint, a stream, the end.

    python3 scripts/selftest.py dist/chatgpt-platform

It runs in an empty temporary directory, with none of the user's settings and no network but loopback; the
simulator is its model service. One line for each step; exit 1 if any failed. Standard library only, so that it
runs wherever an executable was brought to.
"""

import environment  # noqa: F401 - stands first: it turns away a Python that is too old

# isort: split
import argparse
import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import processes

PATIENCE = 60.0  # seconds for a command
KEY = "placeholder-of-the-self-test"
HELLO = [{"role": "user", "content": "Hello"}]
POSTS: Mapping[str, tuple[dict[str, Any], str]] = {
    "/chatgpt": ({"prompt": "Hello"}, "current_response"),
    "/api": ({"prompt": "Hello"}, "result"),
    "/v1/chat/completions": ({"model": "gpt-4o-mini", "messages": HELLO}, "choices"),
    "/v1/completions": ({"model": "gpt-4o-mini", "prompt": "Hello"}, "choices"),
    "/v1/embeddings": ({"model": "text-embedding-3-small", "input": "Hello"}, "data"),
    "/v1/responses": ({"model": "gpt-4o-mini", "input": "Hello"}, "output"),
    "/v1/moderations": ({"input": "Hello"}, "results"),
}
"""Each path with a body for it, and a member that its answer has."""
STREAMS = {path: {**POSTS[path][0], "stream": True} for path in ("/chatgpt", "/v1/chat/completions")}
GETS = {
    "/chatgpt?prompt=Hello": "current_response",
    "/v1/models": "data",
    "/v1/models/gpt-4o-mini": "id",
    "/healthz": "",
    "/readyz": "",
}


class SelfTestError(Exception):
    """The executable did not do what it should; the text says what."""


class Trial:
    """A trial of one executable, in `folder`."""

    def __init__(self, executable: Path, folder: Path) -> None:
        self.executable = executable.resolve()
        self.folder = folder
        self.port = processes.free_port()
        # A folder of its own for what it unpacks: what is left there at the end is its fault.
        self.unpacked = folder / "tmp"
        self.unpacked.mkdir()
        names = dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(self.unpacked))
        self.env = processes.clean_environment(
            **names, API_KEY=KEY, CHATGPT_LOGGING__DIRECTORY=str(folder / "logs")
        )
        del self.env["PYTHONPATH"]

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """What is tried, in this order."""
        return [
            ("version", self.version),
            ("version --licenses", self.licenses),
            ("init, check", self.settings),
            ("serve --demo: every endpoint, streams, ask, healthcheck, the end", self.serve),
            ("keys, and what is known of their use after a restart", self.keys),
            ("simulate, check --online", self.check_online),
            ("nothing is left unpacked", self.leaves_nothing),
        ]

    def version(self) -> None:
        said = self._run("version")
        if not said.startswith("chatgpt-platform ") or "commit " not in said:
            raise SelfTestError(f"version said {said!r}")

    def licenses(self) -> None:
        said = self._run("version", "--licenses")
        for word in ("GNU GENERAL PUBLIC LICENSE", "PSF", "OpenSSL", "tornado"):
            if word not in said:
                raise SelfTestError(f"the notices do not mention {word}")

    def settings(self) -> None:
        self._run("init")
        said = self._run("check")
        if "second" not in said or KEY in said:
            raise SelfTestError("check does not print the settings, or prints the key")
        self._run("check", "--config", "nowhere.yaml", code=2)

    def serve(self) -> None:
        with self._gateway() as gateway:
            for path, (body, member) in POSTS.items():
                _require(path, self._call("POST", path, body), member)
            for path, member in GETS.items():
                _require(path, self._call("GET", path), member)
            for path, body in STREAMS.items():
                events = self._call("POST", path, body)
                if events.count("data: ") < 3 or not events.rstrip().endswith("data: [DONE]"):
                    raise SelfTestError(f"{path} streamed {events[-200:]!r}")
            url = f"http://{processes.LOOPBACK}:{self.port}"
            self._run("healthcheck", "--url", url)
            for mode in ([], ["--stream"]):
                if not self._run("ask", "--url", url, *mode, "Hello").strip():
                    raise SelfTestError("ask printed no answer")
            if self._run("chat", "--url", url, text="Hello\nAnd again\nexit\n").count("turn ") != 2:
                raise SelfTestError("chat did not answer twice")
            gateway.stop(PATIENCE)
            if gateway.exit_code != 0:
                raise SelfTestError(f"serve ended with exit code {gateway.exit_code}")
        self._has_logged()

    def keys(self) -> None:
        self.env["CHATGPT_STATE__DIRECTORY"] = str(self.folder / "state")
        key = self._run("keys", "create", "--name", "alice", "--budget", "1.00/month").strip()
        for calls in (1, 2):
            with self._gateway() as gateway:
                self._call("GET", "/chatgpt?prompt=Hello", key=key)
                gateway.stop(PATIENCE)
            known = json.loads(self._run("usage", "--format", "json"))
            if known["total"]["complete"] != calls:
                raise SelfTestError(f"of {calls} calls usage says {known}")
        if known["total"]["unpriced_calls"] != 0:
            raise SelfTestError("the prices that come with the gateway are not there")
        self._run("keys", "revoke", "alice")
        del self.env["CHATGPT_STATE__DIRECTORY"]

    def check_online(self) -> None:
        port = processes.free_port()
        command = [str(self.executable), "simulate", "--port", str(port)]
        with processes.Process(command, self.folder, self.folder / "simulated", self.env) as upstream:
            upstream.wait_until_ready(port, "/healthz", PATIENCE)
            self.env["BASE_URL"] = f"http://{processes.LOOPBACK}:{port}/v1"
            self.env["API_KEY"] = '["key-one", "key-two"]'
            if self._run("check", "--online").count(" models: gpt-4o-mini") != 2:
                raise SelfTestError("check --online lists no models for each of two keys")

    def leaves_nothing(self) -> None:
        left = [path.name for path in self.unpacked.iterdir()]
        if left:
            raise SelfTestError(f"{', '.join(left)} still there")

    @contextlib.contextmanager
    def _gateway(self) -> Iterator[processes.Process]:
        command = [str(self.executable), "serve", "--demo", "--host", processes.LOOPBACK, "--port", str(self.port)]
        with processes.Process(command, self.folder, self.folder / "output", self.env) as gateway:
            gateway.wait_until_ready(self.port, "/readyz", PATIENCE)
            yield gateway

    def _has_logged(self) -> None:
        lines = (self.folder / "logs" / "access.log").read_text("utf-8").splitlines()
        if len(lines) < len(POSTS) + len(STREAMS):
            raise SelfTestError(f"the access log has {len(lines)} lines")

    def _run(self, *arguments: str, code: int = 0, text: str = "") -> str:
        done = subprocess.run(
            [str(self.executable), *arguments],
            cwd=self.folder,
            env=self.env,
            input=text.encode(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode != code:
            words = done.stderr.decode("utf-8", "replace").strip()
            raise SelfTestError(f"{arguments[0]} ended with exit code {done.returncode}: {words}")
        return done.stdout.decode("utf-8", "replace")

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str = "") -> str:
        connection = http.client.HTTPConnection(processes.LOOPBACK, self.port, timeout=PATIENCE)
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            if key:
                headers["ApiKey"] = key
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8")
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise SelfTestError(f"{method} {path} was answered {answer.status}: {text[:200]}")
        return text


def _require(path: str, text: str, member: str) -> None:
    if member and not json.loads(text).get(member):
        raise SelfTestError(f"the answer of {path} has no {member}: {text[:200]}")


def run(executable: Path) -> int:
    """Takes all steps; gives the exit code."""
    with tempfile.TemporaryDirectory(prefix="chatgpt-platform-self-test-", ignore_cleanup_errors=True) as name:
        for heading, step in Trial(executable, Path(name)).steps():
            try:
                step()
            except (
                SelfTestError,
                processes.ProcessError,
                subprocess.TimeoutExpired,
                OSError,
                ValueError,
            ) as error:
                print(f"failed {heading}: {error}", flush=True)
                return 1
            print(f"ok     {heading}", flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Tries out a built executable.")
    parser.add_argument("executable", type=Path)
    options = parser.parse_args(arguments)
    if not os.access(options.executable, os.X_OK):
        print(f"{options.executable}: no executable there", file=sys.stderr)
        return 2
    processes.stop_on_signals()
    try:
        return run(options.executable)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
