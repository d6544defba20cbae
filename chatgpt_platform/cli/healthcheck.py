"""``healthcheck``: exit 0 when the gateway is ready; for containers that have no shell."""

from __future__ import annotations

import argparse
import http.client
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from chatgpt_platform.settings.load import load
from chatgpt_platform.upstream import authorities

TIMEOUT: Final = 3.0
_EVERY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("healthcheck", help="exit 0 when the gateway is ready")
    parser.add_argument("--url", metavar="U", help="ask here instead of at the configured port")
    parser.add_argument("--config", metavar="FILE", help="the configuration file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    url = arguments.url or _configured_url(arguments.config, environment)
    if not url.startswith(("http://", "https://")):
        print(f"healthcheck: {url}: expected an address such as http://127.0.0.1:5000", file=sys.stderr)
        return 2
    # The configuration means this machine's own gateway, whose certificate is hardly made out to 127.0.0.1.
    trust = authorities.context() if arguments.url else _anybody()
    # An empty ProxyHandler: a proxy of the environment must not stand between.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
    )
    try:
        with opener.open(url.rstrip("/") + "/readyz", timeout=TIMEOUT):
            print("ready")
            return 0
    except urllib.error.HTTPError as error:
        error.close()
        print(f"healthcheck: {url}/readyz answered {error.code}", file=sys.stderr)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        print(f"healthcheck: {url} does not answer: {reason}", file=sys.stderr)
    return 1


def _configured_url(config: str | None, environment: Mapping[str, str]) -> str:
    server = load(environment, config=config).settings.server
    host = _EVERY_ADDRESS.get(server.host, f"[{server.host}]" if ":" in server.host else server.host)
    return f"{'https' if server.tls.certificate else 'http'}://{host}:{server.port}"


def _anybody() -> ssl.SSLContext:
    """TLS with whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
