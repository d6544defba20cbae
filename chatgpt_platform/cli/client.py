"""What ``ask`` and ``chat`` share: the official SDK pointed at a running gateway, its errors as one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from chatgpt_platform.cli import unpacked
from chatgpt_platform.upstream import authorities

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

DEFAULT_URL: Final = "http://127.0.0.1:5000"
KEY_VARIABLE: Final = "OPENAI_API_KEY"
PLACEHOLDER: Final = "none"
"""The SDK insists on a key; a gateway with a key of its own ignores this one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of both commands."""
    parser.add_argument("--url", default=DEFAULT_URL, metavar="U", help=f"the gateway (default {DEFAULT_URL})")
    parser.add_argument(
        "--key",
        metavar="K",
        help=f"your own key; better in the variable {KEY_VARIABLE}, which no process list shows",
    )
    parser.add_argument("--model", default="gpt-4o-mini", metavar="M", help="the model (default gpt-4o-mini)")


def wrong_option(arguments: argparse.Namespace, environment: Mapping[str, str]) -> str:
    """What is wrong with the URL or the key, in one line; empty when nothing is."""
    try:
        url = urlsplit(arguments.url)
        right = url.scheme in ("http", "https") and bool(url.hostname)
    except ValueError:
        right = False
    if not right:
        return f"--url {arguments.url!r}: expected an address such as {DEFAULT_URL}"
    key = arguments.key or environment.get(KEY_VARIABLE) or PLACEHOLDER
    if not (key.isascii() and key.isprintable()):
        return f"the key (--key, {KEY_VARIABLE}) holds characters that no key has"
    return ""


def connect(arguments: argparse.Namespace, environment: Mapping[str, str]) -> OpenAI:
    """A client of the gateway that the arguments name."""
    unpacked.add_online_parts()
    # Takes about a second, so only those who ask pay for it.
    from openai import DefaultHttpxClient, OpenAI  # noqa: PLC0415

    key = arguments.key or environment.get(KEY_VARIABLE) or PLACEHOLDER
    url = arguments.url.rstrip("/")
    return OpenAI(
        base_url=url if url.endswith("/v1") else f"{url}/v1",
        api_key=key,
        max_retries=0,
        http_client=DefaultHttpxClient(verify=authorities.context()),
    )


def say(client: OpenAI, model: str, messages: list[ChatCompletionMessageParam], *, stream: bool) -> str:
    """Ask, print the answer as it comes, and return it."""
    if not stream:
        whole = client.chat.completions.create(model=model, messages=messages)
        text = _text_of(whole)
        print(text)
        return text
    pieces: list[str] = []
    for chunk in client.chat.completions.create(model=model, messages=messages, stream=True):
        piece = (chunk.choices[0].delta.content or "") if chunk.choices else ""
        pieces.append(piece)
        print(piece, end="", flush=True)
    if not pieces:
        raise NotAGatewayError
    print()
    return "".join(pieces)


class NotAGatewayError(Exception):
    """What answered is no gateway, nor any service of this kind."""


def _text_of(whole: Any) -> str:
    try:
        return str(whole.choices[0].message.content or "")
    except (AttributeError, IndexError, TypeError):
        raise NotAGatewayError from None


def attempt(url: str, act: Callable[[], Any]) -> bool:
    """Run ``act``; when the gateway fails it, say why in one line. Returns whether it went well."""
    import openai  # noqa: PLC0415 - imported already when this is called

    try:
        act()
    except openai.APIStatusError as error:
        print(f"{error.status_code}: {_reason(error)}", file=sys.stderr)
    except openai.APIConnectionError as error:
        print(f"{url} cannot be reached: {error.__cause__ or error}; does the gateway run?", file=sys.stderr)
    except NotAGatewayError:
        print(f"{url} answered something that is no chat completion; is the address right?", file=sys.stderr)
    except openai.OpenAIError as error:
        print(f"{url}: {_reason(error)}", file=sys.stderr)
    else:
        return True
    return False


def _reason(error: Exception) -> str:
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(message or error).split())
