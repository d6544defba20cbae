"""A tour of the gateway that needs no key and no network: the simulator stands in for the model service.

    python3 scripts/demo.py              the tour, then the gateway goes on serving until Ctrl-C
    python3 scripts/demo.py --once       the tour only; exit 0 only if each step did what it should
    python3 scripts/demo.py --port 8080  on another port than 5000

Each step prints a `curl` line that asks the same. The gateway runs in an empty temporary directory with
none of the user's settings, and allows five calls a minute: just as many as the tour makes before it meets
the limiter.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import argparse
import http.client
import io
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import processes

MINUTE_LIMIT = 5
MODEL = "gpt-4o-mini"
QUESTION = "What does a gateway do?"
TURNS = ("Hello, my name is Ada.", "Name a planet.", "And one more?")


class StepError(Exception):
    """A step of the tour did not do what it should; the text says what."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    def json(self) -> Any:
        """The body as JSON. Raises StepError for anything else."""
        try:
            return json.loads(self.text)
        except ValueError:
            raise StepError(f"the answer is not JSON: {self.text[:200]!r}") from None


class Tour:
    """The steps, each against the gateway on `port` of this machine; a failing one raises StepError."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://{processes.LOOPBACK}:{port}"

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """The steps in their order, each with its heading."""
        return [
            ("Ask one question: GET /chatgpt", self.ask_a_question),
            ("Hold a conversation of three turns: POST /api", self.hold_a_conversation),
            ("Stream an answer with the official SDK: /v1/chat/completions", self.stream_an_answer),
            ("Call once more than allowed: the limiter", self.meet_the_limiter),
        ]

    def ask_a_question(self) -> None:
        """One question in the query of a GET."""
        target = "/chatgpt?" + urlencode({"prompt": QUESTION})
        show_request("curl", self.url + target)
        answer = self._call("GET", target)
        show_answer(answer)
        require_success(answer)

    def hold_a_conversation(self) -> None:
        """Three questions; each sends the `result` of the one before along as `continuous`."""
        turns: list[Any] = []
        for prompt in TURNS:
            body = json.dumps({"prompt": prompt, "continuous": turns})
            show_request("curl", self.url + "/api", "-H", "Content-Type: application/json", "-d", body)
            answer = self._call("POST", "/api", body)
            content = require_success(answer)
            longer = content.get("result")
            if not isinstance(longer, list) or len(longer) < len(turns) + 2:
                raise StepError(f"`result` should be the conversation and two turns more, not {longer!r}")
            turns = longer
            print(f"  HTTP {answer.status}, data.response: {content['data']['response']}")
            print(f"  result: {len(turns)} turns, sent back as `continuous` with the next question\n")

    def stream_an_answer(self) -> None:
        """The `openai` package, pointed at the gateway, streaming; prints the pieces as they come."""
        # The only dependency of this script: imported here so that `--help` works without it.
        import openai  # noqa: PLC0415

        request = {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": QUESTION}],
            "stream": True,
        }
        target = self.url + "/v1/chat/completions"
        show_request("curl", "-N", target, "-H", "Content-Type: application/json", "-d", json.dumps(request))
        client = openai.OpenAI(
            base_url=self.url + "/v1",
            api_key="not-needed-here",
            max_retries=0,
            # A proxy in the user's environment does not know this machine's loopback.
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )
        pieces: list[str] = []
        print("  ", end="")
        with client:
            try:
                for chunk in client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": QUESTION}], stream=True
                ):
                    piece = (chunk.choices[0].delta.content or "") if chunk.choices else ""
                    print(piece, end="", flush=True)
                    pieces += [piece] if piece else []
            except openai.OpenAIError as error:
                raise StepError(f"the SDK raised {type(error).__name__}: {error}") from error
            finally:
                print()
        print(f"  ({len(pieces)} pieces)")
        if not "".join(pieces).strip() or len(pieces) < 2:
            raise StepError(f"the answer should come in several pieces, not in {len(pieces)}")

    def meet_the_limiter(self) -> None:
        """The call after the last allowed one is denied, with the time to wait."""
        target = "/chatgpt?" + urlencode({"prompt": "One more?"})
        show_request("curl", "-i", self.url + target)
        # On a slow machine the limit may have given a call back since the tour began; it is used up first.
        for _ in range(MINUTE_LIMIT):
            answer = self._call("GET", target)
            if answer.status != http.client.OK:
                break
        show_answer(answer, "Retry-After", "RateLimit-Policy", "RateLimit")
        if answer.status != http.client.TOO_MANY_REQUESTS:
            raise StepError(f"HTTP 429 was expected, not {answer.status}")
        if not (answer.headers["Retry-After"] or "").isdigit():
            raise StepError("the 429 has no Retry-After in whole seconds")

    def _call(self, method: str, target: str, body: str | None = None) -> Answer:
        connection = http.client.HTTPConnection(processes.LOOPBACK, self.port, timeout=30)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            connection.request(method, target, body and body.encode(), headers)
            reply = connection.getresponse()
            return Answer(reply.status, reply.headers, reply.read().decode("utf-8", "replace"))
        except (OSError, http.client.HTTPException) as error:
            raise StepError(f"{method} {target.partition('?')[0]} got no answer: {error!r}") from error
        finally:
            connection.close()


def require_success(answer: Answer) -> dict[str, Any]:
    """The body of a successful answer of the platform API. Raises StepError for any other."""
    if answer.status != http.client.OK:
        raise StepError(f"HTTP 200 was expected, not {answer.status}: {answer.text[:200]}")
    content = answer.json()
    data = content.get("data") if isinstance(content, dict) else None
    text = data.get("response") if isinstance(data, dict) else None
    if isinstance(text, str) and text.strip():
        return dict(content)
    raise StepError("the answer has no text in data.response")


def show_request(*command: str) -> None:
    """Prints a command line, quoted so that it can be copied into a shell of this platform."""
    print("  $ " + (subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)))


def show_answer(answer: Answer, *headers: str) -> None:
    """Prints status, the named headers and the body; JSON is indented."""
    print(f"  HTTP {answer.status} {http.client.responses.get(answer.status, '')}")
    for name in headers:
        print(f"  {name}: {answer.headers[name]}")
    print("  " + json.dumps(answer.json(), indent=2, ensure_ascii=False).replace("\n", "\n  "))


def show_what_next(url: str) -> None:
    """Prints a few lines to go on with."""
    python = environment.PROJECT.python.relative_to(environment.ROOT)
    wait = 60 // MINUTE_LIMIT
    print(f"\n== What to try next (this demo allows {MINUTE_LIMIT} calls a minute, one more every {wait} s)\n")
    show_request("curl", url + "/v1/models")
    show_request("curl", "-N", f"{url}/chatgpt?" + urlencode({"prompt": "Tell me a story", "stream": "true"}))
    show_request("curl", "-H", "Accept-Language: zh-CN", url + "/chatgpt")
    show_request(str(python), "-m", "chatgpt_platform", "ask", "--url", url, "--stream", "What is a token bucket?")
    show_request(str(python), "-m", "chatgpt_platform", "init", "chatgpt.yaml")


def take_tour(port: int) -> bool:
    """Takes all the steps; a failed one prints a line. Whether each did what it should."""
    tour = Tour(port)
    failed = 0
    for number, (heading, step) in enumerate(tour.steps(), start=1):
        print(f"\n== {number}. {heading}\n")
        try:
            step()
        except StepError as error:
            failed += 1
            print(f"Step {number} failed: {error}")
    return not failed


def port_number(text: str) -> int:
    """A port from the command line."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def run(port: int, *, once: bool) -> int:
    """Starts the gateway, takes the tour and, unless `once`, serves until Ctrl-C. Returns the exit code."""
    if not processes.is_free(port):
        print(
            f"Port {port} is in use; choose another: python3 scripts/demo.py --port {port + 1}",
            file=sys.stderr,
        )
        return 1
    with tempfile.TemporaryDirectory(prefix="chatgpt-platform-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # An empty configuration file here keeps the gateway from finding one elsewhere.
        (folder / "config").mkdir()
        (folder / "config" / "chatgpt.yaml").write_text("# The defaults.\n", "utf-8")
        command = processes.gateway_command("--demo", "--host", processes.LOOPBACK, "--port", str(port))
        env = processes.clean_environment(MINUTE_LIMIT=str(MINUTE_LIMIT))
        log = folder / "gateway.log"
        with processes.Process(command, folder, log, env) as gateway:
            gateway.wait_until_ready(port, "/readyz")
            print(f"The gateway serves on http://{processes.LOOPBACK}:{port}; its log: {log}")
            good = take_tour(port)
            if not once:
                show_what_next(f"http://{processes.LOOPBACK}:{port}")
                good = serve_until_interrupted(gateway) and good
    return 0 if good else 1


def serve_until_interrupted(gateway: processes.Process) -> bool:
    """Waits for Ctrl-C. False when the gateway ended before it."""
    try:
        print("\nServing until Ctrl-C.", flush=True)
        while gateway.is_running():
            time.sleep(0.2)
    except KeyboardInterrupt:
        print("\nStopping the gateway.")
        return True
    print("The gateway ended by itself.", file=sys.stderr)
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A tour of the gateway with its built-in simulator.")
    parser.add_argument("--port", type=port_number, default=5000, help="port of the gateway (default: 5000)")
    parser.add_argument("--once", action="store_true", help="stop after the tour instead of serving on")
    options = parser.parse_args(arguments)
    environment.enter("run")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # At once also into a pipe; "?" for what a console cannot show.
        sys.stdout.reconfigure(line_buffering=True, errors="replace")
    processes.stop_on_signals()
    try:
        return run(options.port, once=options.once)
    except processes.ProcessError as error:
        print(f"The demo could not start the gateway: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nThe tour was interrupted.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
