"""What /metrics says: figures where they belong, text that Prometheus reads, what the documentation promises."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.process_collector import ProcessCollector

from chatgpt_platform import __version__
from chatgpt_platform.observe.access import Record
from chatgpt_platform.observe.exposition import Exposition
from chatgpt_platform.observe.metrics import (
    CALL_BOUNDS,
    LAG_BOUNDS,
    Breaker,
    KeyState,
    Metrics,
    Snapshot,
    UpstreamState,
)
from support.program import ROOT
from support.scraped import Scraped


class Chat:
    kind = "openai"
    label = "chat/completions"


CHAT = Chat()
ONE = UpstreamState("one", Breaker.CLOSED, (KeyState.IN_USE, KeyState.RESTING), 3, 7)
TWO = UpstreamState("two", Breaker.OPEN, (KeyState.SET_ASIDE,), 0, 0)
SNAPSHOT = Snapshot(
    (ONE, TWO), under_way=4, waiting=2, clients=9, admitted=11, denied=5, connections=8, lost_lines=6, lost_rows=1
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def record(status: int = 200, upstream: str | None = "one", **members: object) -> Record:
    made = Record(0.0, "r", "192.0.2.1", "POST", "/v1/chat/completions")
    made.status, made.model, made.upstream = status, "secret-model", upstream
    for name, value in members.items():
        setattr(made, name, value)
    return made


def text_of(metrics: Metrics, accept: str = "") -> str:
    exposition = Exposition(metrics, lambda: SNAPSHOT)
    exposition.look()
    content_type, text = exposition.read(accept)
    assert content_type.startswith(b"text/plain; version=0.0.4" if not accept else b"application/openmetrics-text")
    return text.decode()


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.call(record(duration_ms=20.0, first_byte_ms=5.0, prompt_tokens=7, completion_tokens=9, events=4), CHAT)
    metrics.call(record(duration_ms=700_000.0, first_byte_ms=600.0, completion_tokens=1, events=2), CHAT)
    metrics.call(record(502, "two", duration_ms=1.0), CHAT)
    metrics.call(record(429, None, duration_ms=0.1), CHAT)
    metrics.call(record(499, duration_ms=80.0), CHAT)
    metrics.retry("two", "connect")
    metrics.shed("wait")
    metrics.lag.add(3.0)
    return metrics


def test_calls_are_told_by_what_they_were_and_how_they_ended(metrics: Metrics) -> None:
    told = Scraped(text_of(metrics))
    name = "chatgpt_calls_total"
    assert told.value(name) == 5
    assert told.value(name, api="openai", endpoint="chat/completions", upstream="one", status="200") == 2
    assert told.value(name, upstream="two", status="502") == 1
    assert told.value(name, upstream="", status="429") == 1
    assert told.value("chatgpt_clients_left_total") == 1
    assert told.value("chatgpt_stream_events_total") == 6
    assert told.value("chatgpt_tokens_total", upstream="one", kind="prompt") == 7
    assert told.value("chatgpt_tokens_total", upstream="one", kind="completion") == 10


def test_times_are_told_in_seconds(metrics: Metrics) -> None:
    told = Scraped(text_of(metrics))
    calls, first = "chatgpt_call_duration_seconds", "chatgpt_time_to_first_byte_seconds"
    assert told.value(f"{calls}_sum", api="openai") == pytest.approx(700.1011)
    buckets = [("0.005", 2), ("0.025", 3), ("0.1", 4), ("600.0", 4), ("+Inf", 5)]
    for bound, count in buckets:
        assert told.value(f"{calls}_bucket", api="openai", le=bound) == count
    assert told.value(f"{calls}_count") == 5
    assert told.value(f"{first}_bucket", upstream="one", le="0.005") == 1
    assert told.value(f"{first}_bucket", upstream="one", le="1.0") == told.value(f"{first}_count") == 2
    assert told.value(f"{first}_sum", upstream="one") == pytest.approx(0.605)
    assert told.value("chatgpt_event_loop_lag_seconds_bucket", le="0.005") == 1
    assert told.value("chatgpt_event_loop_lag_seconds_sum") == 0.003


def test_the_state_of_the_moment_is_told(metrics: Metrics) -> None:
    told = Scraped(text_of(metrics))
    assert told.samples["chatgpt_breaker_state"] == [({"upstream": "one"}, 0), ({"upstream": "two"}, 2)]
    keys = [("one", "1", 0), ("one", "2", 1), ("two", "1", 2)]
    assert [told.value("chatgpt_key_state", upstream=name, key=key) for name, key, _ in keys] == [0, 1, 2]
    assert told.value("chatgpt_upstream_calls_under_way", upstream="one") == 3
    assert told.value("chatgpt_open_connections", side="client") == 8
    assert told.value("chatgpt_open_connections", side="upstream", upstream="one") == 7
    assert told.value("chatgpt_calls_under_way") == 4
    assert told.value("chatgpt_calls_waiting") == 2
    assert told.value("chatgpt_limiter_clients") == 9
    assert told.value("chatgpt_limiter_decisions_total", decision="admitted") == 11
    assert told.value("chatgpt_limiter_decisions_total", decision="denied") == 5
    assert told.value("chatgpt_log_lines_lost_total") == 6
    assert told.value("chatgpt_ledger_rows_lost_total") == 1
    assert told.value("chatgpt_build_info", version=__version__) == 1


def test_what_has_not_happened_yet_is_told_as_0() -> None:
    told = Scraped(text_of(Metrics()))
    for name in ("chatgpt_retries_total", "chatgpt_shed_total", "chatgpt_tokens_total"):
        assert {value for _, value in told.samples[name]} == {0}
    counts = told.samples["chatgpt_time_to_first_byte_seconds_count"]
    assert counts == [({"upstream": "one"}, 0), ({"upstream": "two"}, 0)]


def test_reasons_are_counted(metrics: Metrics) -> None:
    metrics.retry("one", "a new reason")
    told = Scraped(text_of(metrics))
    assert told.value("chatgpt_retries_total", upstream="two", reason="connect") == 1
    assert told.value("chatgpt_retries_total", reason="a new reason") == 1
    assert told.value("chatgpt_retries_total") == 2
    assert told.value("chatgpt_shed_total", reason="wait") == told.value("chatgpt_shed_total") == 1


def test_nothing_that_a_caller_chose_is_told(metrics: Metrics) -> None:
    text = text_of(metrics)
    assert not re.search(r"secret-model|192\.0\.2\.1|/v1/", text)


@pytest.mark.parametrize(
    "accept",
    ["application/openmetrics-text", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2",
     "application/openmetrics-text; version=9.9\r\nX: y",
     "application/openmetrics-text; version=none; escaping=ü"],
)  # fmt: skip
def test_openmetrics_is_written_for_those_who_ask_for_it(metrics: Metrics, accept: str) -> None:
    text = text_of(metrics, accept)
    assert text.endswith("# EOF\n")
    families = {family.name: family for family in openmetrics_families(text)}  # type: ignore[no-untyped-call]
    assert families["chatgpt_calls"].type == "counter"
    assert sum(sample.value for sample in families["chatgpt_calls"].samples) == 5


def test_a_name_that_looks_like_markup_stays_a_value() -> None:
    name = 'a"b\\c\nd'
    state = UpstreamState(name, Breaker.CLOSED, (), 0, 0)
    odd = Snapshot((state,), 0, 0, 0, 0, 0, 0, 0, 0)
    told = Scraped(Exposition(Metrics(), lambda: odd).read("")[1].decode())
    assert told.value("chatgpt_breaker_state", upstream=name) == 0
    assert [labels for labels, _ in told.samples["chatgpt_breaker_state"]] == [{"upstream": name}]


@linux
def test_the_process_is_told_where_nothing_but_processes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under systemd's ProcSubset=pid."""
    whole = Scraped(text_of(Metrics()))

    def no_such_file(_: ProcessCollector) -> float:
        raise FileNotFoundError("/proc/stat")

    monkeypatch.setattr(ProcessCollector, "_boot_time", no_such_file)
    told = Scraped(text_of(Metrics()))
    assert {name for name in whole.samples if name.startswith("process_")} <= set(told.samples)
    start = "process_start_time_seconds"
    assert abs(told.value(start) - whole.value(start)) < 2  # /proc/stat tells whole seconds


def test_a_process_that_tells_nothing_readable_costs_only_its_own_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def unlimited(_: ProcessCollector) -> None:
        raise ValueError("could not convert string to float: b'unlimited'")

    monkeypatch.setattr(ProcessCollector, "collect", unlimited)
    told = Scraped(text_of(Metrics()))
    assert "process_open_fds" not in told.samples
    assert told.value("chatgpt_build_info") == 1


@linux
def test_the_documentation_lists_the_metrics_as_they_are(metrics: Metrics) -> None:
    told = Scraped(text_of(metrics))
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*) \|$", page, re.MULTILINE)
    real = []
    for family in told.families:
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        real.append((name, family.type, labels, family.documentation))
    assert [(name, kind, set(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in listed] == real


def test_the_documentation_tells_the_bounds() -> None:
    page = Path(ROOT, "docs", "metrics.md").read_text("utf-8")
    for bounds in (CALL_BOUNDS, LAG_BOUNDS):
        assert ", ".join(f"{bound / 1000:g}" for bound in bounds) in page
