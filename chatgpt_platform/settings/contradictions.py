"""Values that are possible each by itself, but not together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from chatgpt_platform.settings.layers import Item, Merged
from chatgpt_platform.settings.outbound import matches
from chatgpt_platform.settings.schema import LISTS
from chatgpt_platform.settings.secret import Secret, digest_of
from chatgpt_platform.settings.text import quoted

_RESOURCE: Final = "https://NAME.openai.azure.com"


def contradictions(merged: Merged) -> Iterator[str]:
    """Each in one line that begins with its place. What was refused already is not looked at."""
    yield from _tokens(merged)
    yield from _half(merged, "server.tls.certificate", "server.tls.key")
    yield from _one_port_for_two(merged)
    upstreams = _items(merged, "upstreams")
    yield from _names(upstreams)
    for upstream in upstreams:
        yield from _azure(upstream)
        yield from _rename(upstream)
    yield from _half(merged, "budgets.webhook.url", "budgets.webhook.secret")
    yield from _nobody_has_a_key(merged)
    keys = _items(merged, "keys")
    yield from _names(keys)
    yield from _one_key_for_two(merged, keys)
    yield from _nowhere_to_write(merged, keys)
    yield from _two_prices(_items(merged, "prices"))


def _tokens(merged: Merged) -> Iterator[str]:
    paths = ("models.max_tokens.default", "models.max_tokens.cap")
    default, cap = (merged.values[path] for path in paths)
    if isinstance(default.value, int) and isinstance(cap.value, int) and 0 < cap.value < default.value:
        yield (
            f"{default.place}: found {default.value}, expected at most {cap.value}, "
            f"as models.max_tokens.cap says ({cap.source})"
        )


def _half(merged: Merged, *paths: str) -> Iterator[str]:
    """One of two settings that need each other: a certificate without its key, or a key without it."""
    for path, other in (paths, paths[::-1]):
        found = merged.values[path]
        if _says(found.value) and not _says(merged.values[other].value) and merged.sound(other):
            yield f"{found.place}: found {path} without {other}, expected both of them or none"


def _says(value: object) -> bool:
    return bool(value.reveal() if isinstance(value, Secret) else value)


def _one_port_for_two(merged: Merged) -> Iterator[str]:
    """Metrics on a port of their own that is the gateway's."""
    port, main = merged.values["metrics.port"], merged.values["server.port"]
    if port.value and port.value == main.value:
        yield (
            f"{port.place}: found {port.value} for metrics.port, expected another than server.port "
            f"({main.source}); for /metrics at the gateway's own port set metrics.allow"
        )


def _items(merged: Merged, path: str) -> list[Item]:
    """What a list has, which may be by default."""
    places = merged.lists.get(path, ("",) * LISTS[path].least)
    return [Item(merged, path, index, place) for index, place in enumerate(places)]


def _names(items: list[Item]) -> Iterator[str]:
    """Logs and figures tell upstreams, and keys, apart by their names."""
    first: dict[str, Item] = {}
    for item in items:
        if not item.sound("name"):
            continue
        name = item.value("name")
        if item.index and not item.given("name"):
            yield f"{item.where('name')}: found none, expected one of its own: {name} is the first upstream's"
            continue
        other = first.setdefault(name, item)
        if other is not item:
            earlier = f"first at {other.where('name')}" if other.given("name") else f"by default {other.path}'s"
            yield f"{item.where('name')}: found {quoted(name)} a second time ({earlier}), expected once"


def _nobody_has_a_key(merged: Merged) -> Iterator[str]:
    """Nobody could call."""
    needed, stored = merged.values["access.require_key"], merged.values["state.directory"]
    could_be_had = merged.lists.get("keys") or stored.value or not merged.sound("keys", "state.directory")
    if needed.value and not could_be_had:
        cure = "keys, or state.directory for those of the command keys"
        yield f"{needed.place}: found true where there is no key, expected {cure}"


def _one_key_for_two(merged: Merged, keys: list[Item]) -> Iterator[str]:
    """Two holders of one key, or one who is the owner as well. No key is repeated."""
    first: dict[str, str] = {}
    token = merged.values["admin.token"].value
    if isinstance(token, Secret) and token.reveal():
        first[digest_of(token)] = "admin.token"
    for key in keys:
        if key.sound("key"):
            other = first.setdefault(digest_of(key.value("key")), f"{key.path}.key")
            if other != f"{key.path}.key":
                yield f"{key.where('key')}: found what {other} is as well, expected another for each"


def _nowhere_to_write(merged: Merged, keys: list[Item]) -> Iterator[str]:
    if merged.values["state.directory"].value or not merged.sound("state.directory"):
        return
    for key in keys:
        if key.sound("prompts") and key.value("prompts"):
            yield f"{key.where('prompts')}: found true without state.directory, where the ledger would keep them"


def _two_prices(prices: list[Item]) -> Iterator[str]:
    """One model, one day, two prices."""
    first: dict[tuple[str, str], Item] = {}
    for price in prices:
        if price.sound("model", "since"):
            model = price.value("model")
            other = first.setdefault((model, price.value("since")), price)
            if other is not price:
                earlier = f"a second time for one day (first at {other.where('model')})"
                yield f"{price.where('model')}: found {quoted(model)} {earlier}, expected once"


def _azure(upstream: Item) -> Iterator[str]:
    if not upstream.sound("api"):
        return
    if upstream.value("api") != "azure":
        if upstream.value("api_version"):
            yield f"{upstream.where('api_version')}: found without api: azure, expected both of them or none"
        return
    if not upstream.value("api_version") and upstream.sound("api_version"):
        yield f"{upstream.where('api')}: found azure without api_version, expected one such as 2024-10-21"
    if not upstream.sound("base_url"):
        return
    if not upstream.given("base_url"):
        yield f"{upstream.where('api')}: found azure without base_url, expected one such as {_RESOURCE}"
        return
    segments = urlsplit(upstream.value("base_url")).path.lower().split("/")
    if "openai" in segments:
        cure = "/openai/v1 goes with api: openai" if segments[-1] == "v1" else "/openai is added here"
        yield f"{upstream.where('base_url')}: found a path with /openai, expected {_RESOURCE} alone: {cure}"


def _rename(upstream: Item) -> Iterator[str]:
    """A new name for a model that it is never asked for."""
    if upstream.sound("models", "rename"):
        for name in upstream.value("rename"):
            if not any(matches(pattern, name) for pattern in upstream.value("models")):
                yield f"{upstream.where('rename')}: found {quoted(name)}, expected a name that its models have"
