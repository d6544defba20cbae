"""``check``: read the settings as ``serve`` does, print what is in force and where each value came from.

With ``--online`` also ask the upstream for its models, through the ``openai`` package. Nothing that the upstream
says about a failure is repeated: it may contain the key.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any, Final

from chatgpt_platform.cli import unpacked
from chatgpt_platform.settings.load import load
from chatgpt_platform.settings.render import listing
from chatgpt_platform.settings.schema import Upstream
from chatgpt_platform.settings.text import printable
from chatgpt_platform.settings.tls import check_authorities, server_context
from chatgpt_platform.upstream import authorities

_SHOWN: Final = 5
_LONGEST: Final = 80
_MEANINGS: Final = {
    401: "the key was refused",
    403: "the key may not list models",
    404: "there is no such path; is base_url right?",
    429: "too many requests, or no credit left",
}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("check", help="validate the configuration and print the effective settings")
    parser.add_argument("--config", metavar="FILE", help="the configuration file")
    parser.add_argument("--online", action="store_true", help="also list the upstream's models")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Raises ``ConfigurationError``, which ``main`` prints as it does for ``serve``."""
    loaded = load(environment, config=arguments.config)
    server_context(loaded.settings.server.tls)  # its files are part of the configuration
    check_authorities(loaded.settings.upstreams)
    print(f"configuration file: {printable(str(loaded.file)) if loaded.file else 'none'}")
    print(listing(loaded), end="")
    print(*loaded.slips, sep="\n", end="\n" if loaded.slips else "", file=sys.stderr)
    return _online(loaded.settings.upstreams[0]) if arguments.online else 0


def _online(upstream: Upstream) -> int:
    if not upstream.api_keys:
        print("no key is configured (API_KEY): the upstream cannot be asked for its models", file=sys.stderr)
        return 1
    try:
        models = _models(upstream)
    except _Failed as reason:
        print(printable(f"{upstream.base_url}: {reason}"), file=sys.stderr)
        return 1
    first = ", ".join(models[:_SHOWN]) + (", ..." if len(models) > _SHOWN else "")
    listed = f"{len(models)} models: {first}" if models else "no models"
    print(printable(f"{upstream.base_url}: {listed}".replace(upstream.api_keys[0].reveal(), "***")))
    return 0


class _Failed(Exception):
    """Why there is no list of models, in words of our own."""


def _models(upstream: Upstream) -> list[str]:
    unpacked.add_online_parts()
    # Takes about a second, so only those who ask pay for it.
    import openai  # noqa: PLC0415

    timeouts = upstream.timeouts
    try:
        with openai.OpenAI(
            base_url=upstream.base_url,
            api_key=upstream.api_keys[0].reveal(),
            timeout=openai.Timeout(timeouts.first_byte, connect=timeouts.connect),
            max_retries=0,
            # As ``serve`` goes: straight to the upstream, through no proxy, after no redirect.
            http_client=openai.DefaultHttpxClient(
                verify=authorities.context(), trust_env=False, follow_redirects=False
            ),
        ) as client:
            # These two would come from the SDK's own variables.
            omitted = {"OpenAI-Organization": openai.omit, "OpenAI-Project": openai.omit}
            answer = client.models.with_raw_response.list(extra_headers=omitted)
            return _identifiers(answer.http_response.json())
    except openai.APIStatusError as error:
        meaning = _MEANINGS.get(error.status_code, "no list of models")
        raise _Failed(f"answered {error.status_code}: {meaning}") from None
    except openai.APITimeoutError:
        raise _Failed("did not answer in time (timeouts.connect, timeouts.first_byte)") from None
    except openai.APIConnectionError as error:
        raise _Failed(f"cannot be reached: {_root(error)}") from None
    except (openai.OpenAIError, ValueError, RecursionError):
        raise _Failed("answered something that is no list of models; is base_url right?") from None


def _root(error: BaseException) -> str:
    """What the system says; the messages in between may quote what the upstream sent."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return "it does not speak HTTP, or broke off"


def _identifiers(answer: object) -> list[str]:
    """The ``id`` of each model. Raises ``ValueError`` when the answer has another shape."""
    models = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(models, list):
        raise ValueError("no list of models")  # noqa: TRY004 - one exception for one meaning
    return [each["id"][:_LONGEST] for each in models if isinstance(each, dict) and isinstance(each.get("id"), str)]
