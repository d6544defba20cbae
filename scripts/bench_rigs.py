"""The servers that scripts/bench.py measures, and the upstream behind them; each in a temporary directory.

A rig is a running server: its name in the table, the process (whose tree is charged) and its port. All of
them take `POST /v1/chat/completions`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import processes

READY_PATH = "/v1/models"
UNLIMITED = "1000000000"  # a limit that is kept, but never reached

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

# No `user`: nginx keeps the user that starts it, and as root takes its built-in one for the worker, which
# needs no files here: bodies fit into memory.
_NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
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
        listen 127.0.0.1:{port} backlog=1024;
        default_type application/json;
        location / {{ return 200 '{answer}'; }}
    }}"""

_PROXY = """\
upstream service {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}"""


@dataclass(frozen=True)
class Rig:
    """A running server that takes chat completions on `port` of this machine."""

    name: str
    process: processes.Process
    port: int


@contextmanager
def upstream(nginx: str, folder: Path) -> Iterator[Rig]:
    """An nginx that gives every request the same chat completion, at once."""
    port = processes.free_port()
    with _nginx(nginx, folder / "upstream", _UPSTREAM.format(port=port, answer=ANSWER), port) as process:
        yield Rig("upstream", process, port)


@contextmanager
def nginx_proxy(nginx: str, folder: Path, upstream_port: int) -> Iterator[Rig]:
    """An nginx with one worker that passes everything on and keeps its connections, without an access log."""
    port = processes.free_port()
    with _nginx(nginx, folder / "proxy", _PROXY.format(port=port, upstream=upstream_port), port) as process:
        yield Rig("nginx proxy_pass", process, port)


@contextmanager
def gateway(folder: Path, upstream_port: int) -> Iterator[Rig]:
    """The gateway with a key, limits for every window, an allow list and an access log."""
    port = processes.free_port()
    place = _new_folder(folder / "gateway")
    # An empty configuration file here keeps the gateway from finding one elsewhere.
    (place / "chatgpt.yaml").write_text("# Everything comes from the environment.\n", "utf-8")
    env = processes.clean_environment(
        API_KEY="bench-key",
        BASE_URL=f"http://{processes.LOOPBACK}:{upstream_port}/v1",
        SECOND_LIMIT=UNLIMITED,
        MINUTE_LIMIT=UNLIMITED,
        HOUR_LIMIT=UNLIMITED,
        DAY_LIMIT=UNLIMITED,
        CHATGPT_ACCESS__ALLOW="127.0.0.0/8,::1/128",
        CHATGPT_LOGGING__DIRECTORY=str(place / "logs"),
    )
    command = processes.gateway_command(
        "--config", str(place / "chatgpt.yaml"), "--host", processes.LOOPBACK, "--port", str(port)
    )
    with processes.Process(command, place, place / "output.log", env) as process:
        process.wait_until_ready(port, "/readyz")
        yield Rig("chatgpt-platform", process, port)


@contextmanager
def _nginx(nginx: str, folder: Path, servers: str, port: int) -> Iterator[processes.Process]:
    _new_folder(folder)
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, servers=servers), "utf-8")
    command = [nginx, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(configuration)]
    with processes.Process(command, folder, folder / "output.log", processes.clean_environment()) as process:
        process.wait_until_ready(port, READY_PATH)
        yield process


def _new_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder
