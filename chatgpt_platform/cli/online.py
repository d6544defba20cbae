"""``check --online``: each key of each upstream is tried with the list of models, through the ``openai`` package.

A line for each. Nothing that an upstream or a proxy says about a failure is repeated: it may contain the key.
"""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from chatgpt_platform.cli import unpacked
from chatgpt_platform.observe.redact import Redactor
from chatgpt_platform.settings.hidden import upstream_secrets
from chatgpt_platform.settings.schema import Secret, Upstream
from chatgpt_platform.settings.text import printable
from chatgpt_platform.upstream import authorities

if TYPE_CHECKING:
    from openai import OpenAI

_SHOWN: Final = 5
_LONGEST: Final = 80
_MEANINGS: Final = {
    401: "refused (401)",
    403: "may not list models (403)",
    404: "there is no such path (404); is base_url right?",
    429: "too many requests, or no credit left (429)",
}


def all_work(upstreams: Sequence[Upstream]) -> bool:
    """Whether every upstream has keys and every key works; all of them are tried."""
    unpacked.add_online_parts()
    redactor = Redactor(upstream_secrets(upstreams))
    works = True
    for upstream in upstreams:
        if not upstream.api_keys:
            works = False
            print(f"{upstream.name}: no key is configured (api_keys): each caller must bring one", file=sys.stderr)
            continue
        trust = authorities.own(upstream.ca_file) if upstream.ca_file else authorities.context()
        for number, key in enumerate(upstream.api_keys, 1):
            try:
                models = [redactor.clean(model) for model in _models(upstream, key, trust)]
            except _Failed as reason:
                works = False
                said, stream = str(reason), sys.stderr
            else:
                said, stream = _listed(models), sys.stdout
            print(printable(f"{upstream.name}, key {number}: {said}"), file=stream, flush=True)
    return works


def _listed(models: Sequence[str]) -> str:
    if not models:
        return "works; no models"
    first = ", ".join(models[:_SHOWN]) + (", ..." if len(models) > _SHOWN else "")
    return f"works; {len(models)} model{'s' if len(models) > 1 else ''}: {first}"


class _Failed(Exception):
    """Why there is no list of models, in words of our own."""


def _models(upstream: Upstream, key: Secret, trust: ssl.SSLContext) -> list[str]:
    # Takes about a second.
    import openai  # noqa: PLC0415

    # These two would come from the SDK's own variables.
    headers: dict[str, str | openai.Omit] = {"openai-organization": openai.omit, "openai-project": openai.omit}
    headers |= {name.lower(): text.reveal() for name, text in upstream.headers.items()}
    if upstream.api == "azure":
        headers |= {"authorization": openai.omit, "api-key": key.reveal()}
    try:
        with _client(upstream, key, trust) as client:
            answer = client.models.with_raw_response.list(extra_headers=headers)
            return _identifiers(answer.http_response.json())
    except openai.APIStatusError as error:
        meaning = _MEANINGS.get(error.status_code, f"answered {error.status_code}, no list of models")
        raise _Failed(meaning) from None
    except openai.APITimeoutError:
        raise _Failed("did not answer in time (timeouts.connect, timeouts.first_byte)") from None
    except openai.APIConnectionError as error:
        raise _Failed(f"cannot be reached{_way(upstream)}: {_root(error)}") from None
    except (openai.OpenAIError, ValueError, RecursionError):
        raise _Failed("answered something that is no list of models; is base_url right?") from None


def _client(upstream: Upstream, key: Secret, trust: ssl.SSLContext) -> OpenAI:
    """As ``serve`` goes: through no proxy but the upstream's own, after no redirect, once.

    Not ``AzureOpenAI``: that one takes what the configuration lacks from variables of its own.
    """
    import openai  # noqa: PLC0415 - imported already when this is called

    azure, timeouts = upstream.api == "azure", upstream.timeouts
    return openai.OpenAI(
        base_url=f"{upstream.base_url}/openai" if azure else upstream.base_url,
        default_query={"api-version": upstream.api_version} if azure else None,
        api_key=key.reveal(),
        timeout=openai.Timeout(timeouts.first_byte, connect=timeouts.connect),
        max_retries=0,
        http_client=openai.DefaultHttpxClient(
            verify=trust, trust_env=False, follow_redirects=False, proxy=upstream.proxy.reveal() or None
        ),
    )


def _way(upstream: Upstream) -> str:
    place = upstream.proxy.reveal().rpartition("@")[2].rpartition("/")[2]
    return f" through the proxy {place}" if place else f" at {upstream.base_url}"


def _root(error: BaseException) -> str:
    """What the system says; the messages in between may quote what the upstream sent."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return str(cause)
        if type(cause).__name__ == "ProxyError":
            status = re.match(r"\d{3}\b", str(cause))
            return f"the proxy refused{f' ({status[0]})' if status else ''}"
        cause = cause.__cause__ or cause.__context__
    return "it does not speak HTTP, or broke off"


def _identifiers(answer: object) -> list[str]:
    """The ``id`` of each model. Raises ``ValueError`` when the answer has another shape."""
    models = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(models, list):
        raise ValueError("no list of models")  # noqa: TRY004 - one exception for one meaning
    return [each["id"][:_LONGEST] for each in models if isinstance(each, dict) and isinstance(each.get("id"), str)]
