"""Values that are possible each by itself, but not together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from chatgpt_platform.settings.layers import Merged
from chatgpt_platform.settings.outbound import matches
from chatgpt_platform.settings.text import quoted

_RESOURCE: Final = "https://NAME.openai.azure.com"


def contradictions(merged: Merged) -> Iterator[str]:
    """Each in one line that begins with its place. What was refused already is not looked at."""
    yield from _tokens(merged)
    yield from _half_of_tls(merged)
    yield from _one_port_for_two(merged)
    places = merged.lists.get("upstreams", ("",))
    upstreams = [_Upstream(merged, index, place) for index, place in enumerate(places)]
    yield from _names(upstreams)
    for upstream in upstreams:
        yield from _azure(upstream)
        yield from _rename(upstream)


def _tokens(merged: Merged) -> Iterator[str]:
    paths = ("models.max_tokens.default", "models.max_tokens.cap")
    default, cap = (merged.values[path] for path in paths)
    if isinstance(default.value, int) and isinstance(cap.value, int) and 0 < cap.value < default.value:
        yield (
            f"{default.place}: found {default.value}, expected at most {cap.value}, "
            f"as models.max_tokens.cap says ({cap.source})"
        )


def _half_of_tls(merged: Merged) -> Iterator[str]:
    """A certificate without its key, or a key without its certificate."""
    paths = ("server.tls.certificate", "server.tls.key")
    for path, other in (paths, paths[::-1]):
        found = merged.values[path]
        if found.value and not merged.values[other].value and merged.sound(other):
            yield f"{found.place}: found {path} without {other}, expected both of them or none"


def _one_port_for_two(merged: Merged) -> Iterator[str]:
    """Metrics on a port of their own that is the gateway's."""
    port, main = merged.values["metrics.port"], merged.values["server.port"]
    if port.value and port.value == main.value:
        yield (
            f"{port.place}: found {port.value} for metrics.port, expected another than server.port "
            f"({main.source}); for /metrics at the gateway's own port set metrics.allow"
        )


class _Upstream:
    """One of ``upstreams``. ``place``: of the item itself; empty where there is only the default."""

    def __init__(self, merged: Merged, index: int, place: str) -> None:
        self._merged: Final = merged
        self.path: Final = f"upstreams[{index}]"
        self.index: Final = index
        self.place: Final = place

    def value(self, name: str) -> Any:
        return self._merged.values[f"{self.path}.{name}"].value

    def given(self, name: str) -> bool:
        return self._merged.values[f"{self.path}.{name}"].source != "default"

    def sound(self, *names: str) -> bool:
        return self._merged.sound(*(f"{self.path}.{name}" for name in names))

    def where(self, name: str) -> str:
        """What an error about a setting begins with: its place, and its path where that does not end with it."""
        path = f"{self.path}.{name}"
        place = self._merged.values[path].place or self.place
        return place if place.endswith(path) else f"{place}: {path}"


def _names(upstreams: list[_Upstream]) -> Iterator[str]:
    """Logs and figures tell upstreams apart by their names."""
    first: dict[str, _Upstream] = {}
    for upstream in upstreams:
        if not upstream.sound("name"):
            continue
        name = upstream.value("name")
        if upstream.index and not upstream.given("name"):
            yield f"{upstream.where('name')}: found none, expected one of its own: {name} is the first upstream's"
            continue
        other = first.setdefault(name, upstream)
        if other is not upstream:
            earlier = f"first at {other.where('name')}" if other.given("name") else f"by default {other.path}'s"
            yield f"{upstream.where('name')}: found {quoted(name)} a second time ({earlier}), expected once"


def _azure(upstream: _Upstream) -> Iterator[str]:
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


def _rename(upstream: _Upstream) -> Iterator[str]:
    """A new name for a model that it is never asked for."""
    if upstream.sound("models", "rename"):
        for name in upstream.value("rename"):
            if not any(matches(pattern, name) for pattern in upstream.value("models")):
                yield f"{upstream.where('rename')}: found {quoted(name)}, expected a name that its models have"
