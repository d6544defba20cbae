"""The servers that scripts/bench.py measures, and the upstreams behind them; each in a temporary directory.

A rig is a running server: its name in the table, the process (whose tree is charged) and its port. All of
them take `POST /v1/chat/completions`. Callers' addresses come in X-Forwarded-For, from networks that are set
aside for benchmarks and private use; the gateway believes them, as this machine's loopback is its proxy.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import processes
from programs import Program

READY_PATH = "/v1/models"
UNLIMITED = "1000000000"  # a limit that is kept, but never reached
CALLER_KEY = "bench-caller-key-0123456789"  # the virtual key that all callers send

# What the model service answers: about 900 bytes, as a short completion of the real one.
ANSWER = json.dumps(
    {
        "id": "chatcmpl-benchmark0000000000000000000000",
        "object": "chat.completion",
        "created": 1735689600,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "A gateway stands between. " * 12, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 19,
            "completion_tokens": 61,
            "total_tokens": 80,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_benchmark",
    }
)

# What one address may call in a day is low enough for the gateway to remember it between its calls: this much
# times what the run will make. A bucket of N a day regains a token in 86400/N seconds.
_DAY_MARGIN = 10
_DAY_LEAST = 100

# No `user`: nginx keeps the user that starts it, and as root takes its built-in one for the worker, which
# needs no files here: bodies fit into memory.
_NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_max_body_size 16m;
    client_body_buffer_size 8m;
    client_body_temp_path {folder}/client_body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    {servers}
}}
"""

_UPSTREAM = """\
server {{
        listen 127.0.0.1:{port} backlog=4096;
        default_type application/json;
        location / {{ return 200 '{answer}'; }}
    }}"""

_PROXY = """\
upstream service {{ server 127.0.0.1:{upstream}; keepalive 2048; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_buffering {buffering};
            proxy_set_header Connection "";
        }}
    }}"""


class BenchError(Exception):
    """The run gave no valid figures; the text is one line for the user."""


def find_program(name: str) -> str | None:
    """Where a program is; servers also lie where an ordinary user's PATH does not lead."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Rig:
    """A running server that takes chat completions on `port` of this machine."""

    name: str
    process: processes.Process
    port: int


@dataclass(frozen=True)
class Candidates:
    """nginx, which also serves as the upstream, and the gateway that is measured beside it."""

    nginx: str
    gateway: Program


@dataclass(frozen=True)
class Callers:
    """How many addresses call, 0: none is named; and how many calls all of them make, at a guess from above.

    `accounted`: the gateway knows their virtual key, with limits and budgets, and keeps a ledger.
    """

    addresses: int
    calls: int
    accounted: bool = True

    @property
    def day_limit(self) -> int:
        """A limit that no address reaches, low enough for each to be remembered from call to call."""
        if self.addresses < 2:
            return int(UNLIMITED)
        return max(_DAY_LEAST, _DAY_MARGIN * self.calls // self.addresses)


def address(number: int, addresses: int) -> str:
    """The address of caller `number`, from 0: in 198.18.0.0/15 where all fit, else in 10.0.0.0/8."""
    if addresses <= 1 << 16:
        return f"198.18.{number >> 8}.{number & 255}"
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


@contextmanager
def upstream(nginx: str, folder: Path) -> Iterator[Rig]:
    """An nginx that gives every request the same chat completion, at once; it does not wait for large bodies."""
    port = processes.free_port()
    with _nginx(nginx, folder, _UPSTREAM.format(port=port, answer=ANSWER), port) as process:
        yield Rig("upstream", process, port)


@contextmanager
def streaming_upstream(folder: Path, tokens: int, rate: int) -> Iterator[Rig]:
    """bench_upstream.py: streams to those who ask for it, others get the same answer as from `upstream`."""
    port = processes.free_port()
    place = _new_folder(folder, "streaming-upstream")
    program = Path(__file__).with_name("bench_upstream.py")
    command = [sys.executable, str(program), "--port", str(port), "--tokens", str(tokens), "--rate", str(rate)]
    with processes.Process(command, place, place / "output.log", processes.clean_environment()) as process:
        process.wait_until_ready(port, READY_PATH)
        yield Rig("upstream", process, port)


@contextmanager
def nginx_proxy(nginx: str, folder: Path, upstream_port: int, *, buffering: bool = True) -> Iterator[Rig]:
    """An nginx with one worker that passes everything on and keeps its connections, without an access log."""
    port = processes.free_port()
    servers = _PROXY.format(port=port, upstream=upstream_port, buffering="on" if buffering else "off")
    with _nginx(nginx, folder, servers, port) as process:
        yield Rig("nginx proxy_pass", process, port)


@contextmanager
def gateway(program: Program, folder: Path, upstream_port: int, callers: Callers) -> Iterator[Rig]:
    """The gateway, with a key, limits for every window, allow and deny lists and an access log."""
    port = processes.free_port()
    place = _new_folder(folder, "gateway")
    # An empty configuration file here keeps the gateway from finding one elsewhere.
    (place / "chatgpt.yaml").write_text("# Everything comes from the environment.\n", "utf-8")
    settings = gateway_settings(place, upstream_port, callers)
    env = processes.clean_environment(PYTHONPATH=str(program.path), **settings)
    command = [*program.command, "serve", "--config", str(place / "chatgpt.yaml")]
    command += ["--host", processes.LOOPBACK, "--port", str(port)]
    with processes.Process(command, place, place / "output.log", env) as process:
        process.wait_until_ready(port, "/readyz")
        yield Rig("chatgpt-platform", process, port)


def gateway_settings(place: Path, upstream_port: int, callers: Callers) -> dict[str, str]:
    """The gateway's settings, as environment variables."""
    return (_accounts(place) if callers.accounted else {}) | {
        "API_KEY": "bench-key",
        "BASE_URL": f"http://{processes.LOOPBACK}:{upstream_port}/v1",
        "SECOND_LIMIT": UNLIMITED,
        "MINUTE_LIMIT": UNLIMITED,
        "HOUR_LIMIT": UNLIMITED,
        "DAY_LIMIT": str(callers.day_limit),
        "CHATGPT_LIMITS__MAX_CLIENTS": str(max(100_000, 2 * callers.addresses)),
        "CHATGPT_SERVER__TRUSTED_PROXIES": "127.0.0.0/8",
        "CHATGPT_ACCESS__ALLOW": "127.0.0.0/8,::1/128,198.18.0.0/15,10.0.0.0/8",
        "CHATGPT_ACCESS__DENY": "192.0.2.0/24,198.51.100.0/24,203.0.113.0/24,2001:db8::/32",
        "CHATGPT_LOGGING__DIRECTORY": str(place / "logs"),
        "CHATGPT_LOGGING__ROTATE__KEEP": "2",  # a long run must not fill the disk
    }


def _accounts(place: Path) -> dict[str, str]:
    limits = dict.fromkeys(("minute", "day"), int(UNLIMITED))
    key = {
        "name": "bench", "key": CALLER_KEY, "limits": limits, "tokens": [f"{UNLIMITED}M/day"],
        "budget": ["1000000/month"], "concurrency": 100_000,
    }  # fmt: skip
    return {"CHATGPT_KEYS": json.dumps([key]), "CHATGPT_STATE__DIRECTORY": str(place / "state")}


@contextmanager
def _nginx(nginx: str, folder: Path, servers: str, port: int) -> Iterator[processes.Process]:
    folder = _new_folder(folder, "nginx")
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, servers=servers), "utf-8")
    command = [nginx, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(configuration)]
    with processes.Process(command, folder, folder / "output.log", processes.clean_environment()) as process:
        process.wait_until_ready(port, READY_PATH)
        yield process


def _new_folder(folder: Path, name: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))
