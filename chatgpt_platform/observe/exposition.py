"""What /metrics says, by ``prometheus_client``; only what serves it imports this, for that library takes its time.

    exposition = Exposition(metrics, snapshot)
    exposition.look()                        # in a thread
    content_type, text = exposition.read(accept)

Names and units follow Prometheus' conventions: base units, ``_total`` for what only grows.
https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from chatgpt_platform import __version__
from chatgpt_platform.observe.metrics import (
    CALL_BOUNDS,
    RETRY_REASONS,
    SHED_REASONS,
    Histogram,
    Metrics,
    Snapshot,
    Tally,
)

PREFIX: Final = "chatgpt_"
LEFT: Final = 499
"""The status of a call that ended before its answer was out."""

_OPENMETRICS: Final = "application/openmetrics-text"

_Values = Iterable[tuple[tuple[str, ...], float]]
"""Samples of a metric: the values of its labels, and its own."""


class Exposition:
    """The text of all metrics, at each moment."""

    def __init__(self, metrics: Metrics, snapshot: Callable[[], Snapshot]) -> None:
        self._process: Final = _Process()
        self._registry: Final = CollectorRegistry()
        self._registry.register(_Gateway(metrics, snapshot))
        self._registry.register(self._process)

    def look(self) -> None:
        """Look how the process is, for the next ``read``. With 10,000 connections that takes 15 ms: they are
        descriptors, which are counted one by one."""
        self._process.look()

    def read(self, accept: str) -> tuple[bytes, bytes]:
        """The content type and the text; OpenMetrics where ``accept``, the header, names it."""
        # What else the header says would come back in the content type.
        encode, content_type = choose_encoder(f"{_OPENMETRICS}; version=1.0.0" if _OPENMETRICS in accept else "")
        return content_type.encode("ascii"), encode(self._registry)


class _Process(ProcessCollector):
    """CPU time, memory and descriptors; nothing where there is no /proc, as on Windows."""

    def __init__(self) -> None:
        super().__init__(registry=None)
        self._seen: Iterable[Metric] = ()

    def look(self) -> None:
        self._seen = ()
        with contextlib.suppress(ValueError):  # no number, where a limit is "unlimited"
            self._seen = super().collect()

    def collect(self) -> Iterable[Metric]:
        return self._seen

    def _boot_time(self) -> float | None:
        try:
            return super()._boot_time()  # type: ignore[no-any-return, no-untyped-call]
        except OSError:
            # A service may be shown its processes and nothing else of /proc (systemd's ProcSubset=pid).
            if sys.platform == "linux":
                return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
            raise


class _Gateway(Collector):
    """Reads the tallies and the state of the gateway when it is asked for them."""

    def __init__(self, metrics: Metrics, snapshot: Callable[[], Snapshot]) -> None:
        self._metrics: Final = metrics
        self._snapshot: Final = snapshot

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry would collect all of it to look for names that are taken."""
        return ()

    def collect(self) -> Iterator[Metric]:
        tallies, now = self._metrics.tallies, self._snapshot()
        yield _gauge("build_info", "Always 1; the version that runs.", ("version",), [((__version__,), 1)])
        yield from _of_calls(tallies)
        yield from _of_upstreams(tallies, now, self._metrics)
        yield from _of_limits(now, self._metrics)
        yield from _of_connections(now)
        yield _histogram("event_loop_lag_seconds", "How late the event loop is for a timer.", (),
                         [((), self._metrics.lag)])  # fmt: skip
        yield _counter(
            "log_lines_lost_total", "Log lines for which there was no room.", (), [((), now.lost_lines)]
        )
        yield _counter("ledger_rows_lost_total", "Rows that the ledger could not keep.", (), [((), now.lost_rows)])


def _of_calls(tallies: Sequence[Tally]) -> Iterator[Metric]:
    calls = [((each.kind, each.label, each.upstream or "", str(each.status)), each.calls) for each in tallies]
    yield _counter("calls_total", "Calls that have ended; 499: the caller left.",
                   ("api", "endpoint", "upstream", "status"), calls)  # fmt: skip
    yield _histogram("call_duration_seconds", "How long calls took, streams to their end.", ("api",),
                     _merged((each.kind, each.durations) for each in tallies).items())  # fmt: skip
    left = sum(each.calls for each in tallies if each.status == LEFT)
    yield _counter("clients_left_total", "Calls whose callers left, or were cut off, before the end.", (),
                   [((), left)])  # fmt: skip
    events = sum(each.events for each in tallies)
    yield _counter("stream_events_total", "Events of streams that have ended.", (), [((), events)])


def _of_upstreams(tallies: Sequence[Tally], now: Snapshot, metrics: Metrics) -> Iterator[Metric]:
    asked = [each for each in tallies if each.upstream is not None]
    states = now.upstreams
    first_bytes = _merged(
        [(each.name, Histogram(CALL_BOUNDS)) for each in states]
        + [(each.upstream or "", each.first_bytes) for each in asked]
    )
    yield _histogram("time_to_first_byte_seconds",
                     "From a call's beginning to the first byte of its answer, by the upstream that gave it.",
                     ("upstream",), first_bytes.items())  # fmt: skip
    tokens: Counter[tuple[str, ...]] = Counter({(each.name, kind): 0 for each in states for kind in _TOKENS})
    for each in asked:
        tokens[each.upstream or "", "prompt"] += each.prompt_tokens
        tokens[each.upstream or "", "completion"] += each.completion_tokens
    yield _counter(
        "tokens_total",
        "Tokens, as upstreams tell them or the gateway estimates them.",
        ("upstream", "kind"),
        tokens.items(),
    )
    broken: Counter[tuple[str, ...]] = Counter({(each.name,): 0 for each in states})
    for each in tallies:
        broken[each.upstream or "",] += each.broken
    yield _counter("answers_broken_total", "Answers with status 200 that ended with an error, streams as a rule.",
                   ("upstream",), broken.items())  # fmt: skip
    # From the start on, so that the first one is seen as a step.
    retries = dict.fromkeys(((each.name, reason) for each in states for reason in RETRY_REASONS), 0)
    retries |= metrics.retries
    yield _counter("retries_total", "Times that a call was sent again after this upstream failed it.",
                   ("upstream", "reason"), sorted(retries.items()))  # fmt: skip
    yield _gauge("breaker_state", "Whether an upstream is tried: 0 yes, 1 with one call at a time, 2 no.",
                 ("upstream",), [((each.name,), each.breaker) for each in states])  # fmt: skip
    keys = [((each.name, str(number)), key) for each in states for number, key in enumerate(each.keys, 1)]
    yield _gauge("key_state", "An upstream's keys by their numbers: 0 in use, 1 resting, 2 set aside.",
                 ("upstream", "key"), keys)  # fmt: skip
    yield _gauge("upstream_calls_under_way", "Calls that an upstream is answering.", ("upstream",),
                 [((each.name,), each.under_way) for each in states])  # fmt: skip


_TOKENS: Final = ("prompt", "completion")


def _of_limits(now: Snapshot, metrics: Metrics) -> Iterator[Metric]:
    yield _counter("limiter_decisions_total", "Calls that the limits of their clients admitted or denied.",
                   ("decision",), [(("admitted",), now.admitted), (("denied",), now.denied)])  # fmt: skip
    yield _gauge("limiter_clients", "Clients that the limiter remembers.", (), [((), now.clients)])
    shed = dict.fromkeys(SHED_REASONS, 0) | metrics.refusals
    yield _counter("shed_total", "Calls turned away since the gateway was full.", ("reason",),
                   [((reason,), count) for reason, count in sorted(shed.items())])  # fmt: skip
    yield _gauge("calls_under_way", "Calls that are being answered.", (),
                 [((), now.under_way)])  # fmt: skip
    yield _gauge("calls_waiting", "Calls that wait for a place.", (), [((), now.waiting)])


def _of_connections(now: Snapshot) -> Iterator[Metric]:
    connections = [(("client", ""), now.connections)]
    connections += [(("upstream", each.name), each.connections) for each in now.upstreams]
    yield _gauge("open_connections", "Open connections, idle ones among them, with clients and with upstreams.",
                 ("side", "upstream"), connections)  # fmt: skip


def _merged(parts: Iterable[tuple[str, Histogram]]) -> dict[tuple[str, ...], Histogram]:
    """One histogram for each name."""
    merged: dict[tuple[str, ...], Histogram] = {}
    for name, part in parts:
        merged.setdefault((name,), Histogram(part.bounds)).merge(part)
    return merged


def _counter(name: str, text: str, labels: Sequence[str], values: _Values) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for chosen, value in values:
        family.add_metric(chosen, value)
    return family


def _gauge(name: str, text: str, labels: Sequence[str], values: _Values) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for chosen, value in values:
        family.add_metric(chosen, value)
    return family


def _histogram(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[tuple[str, ...], Histogram]]
) -> Metric:  # fmt: skip
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for chosen, histogram in values:
        bounds = [*(str(bound / 1000) for bound in histogram.bounds), "+Inf"]
        family.add_metric(
            chosen, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total / 1000
        )
    return family
