"""The tallies: each call in its place, sums and counts as a simple model has them."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.observe.access import Record
from chatgpt_platform.observe.metrics import CALL_BOUNDS, Histogram, Metrics


@dataclass(frozen=True, eq=False)
class Endpoint:
    kind: str
    label: str


ENDPOINTS = (Endpoint("platform", "chatgpt"), Endpoint("openai", "models"), Endpoint("openai", "models"))
TIMES = st.one_of(st.floats(0, 1e7), st.sampled_from(CALL_BOUNDS))
MAYBE = st.none() | st.integers(0, 10**9)


@st.composite
def records(draw: st.DrawFn) -> Record:
    record = Record(0.0, "r", "c", "GET", "/")
    record.upstream = draw(st.sampled_from([None, "one", "two"]))
    record.status = draw(st.sampled_from([200, 429, 499, 502]))
    record.duration_ms = draw(TIMES)
    record.first_byte_ms = draw(st.none() | TIMES)
    if record.first_byte_ms is not None:  # nothing is known of an answer that never began
        record.prompt_tokens, record.completion_tokens = draw(MAYBE), draw(MAYBE)
        record.events = draw(st.integers(0, 1000))
    return record


@given(st.lists(TIMES))
def test_a_histogram_counts_each_time_once_up_to_its_bound(times: list[float]) -> None:
    histogram = Histogram(CALL_BOUNDS)
    for time in times:
        histogram.add(time)
    for place, bound in enumerate(CALL_BOUNDS):
        assert sum(histogram.counts[: place + 1]) == sum(time <= bound for time in times)
    assert sum(histogram.counts) == len(times)
    assert histogram.total == sum(times)


@given(st.lists(TIMES), st.lists(TIMES))
def test_merged_histograms_are_as_one(first: list[float], second: list[float]) -> None:
    one, two, both = Histogram(CALL_BOUNDS), Histogram(CALL_BOUNDS), Histogram(CALL_BOUNDS)
    for times, histogram in ((first, one), (second, two), ([*first, *second], both)):
        for time in times:
            histogram.add(time)
    one.merge(two)
    assert one.counts == both.counts
    assert abs(one.total - both.total) <= 1e-6 * both.total


@given(st.lists(st.tuples(records(), st.sampled_from(ENDPOINTS))))
def test_each_call_is_in_one_tally(calls: list[tuple[Record, Endpoint]]) -> None:
    metrics = Metrics()
    for record, endpoint in calls:
        metrics.call(record, endpoint)
    places = {(endpoint, record.upstream, record.status) for record, endpoint in calls}
    assert len(metrics.tallies) == len(places)
    for tally in metrics.tallies:
        alike = [
            record
            for record, endpoint in calls
            if (endpoint.kind, endpoint.label) == (tally.kind, tally.label)
            and (record.upstream, record.status) == (tally.upstream, tally.status)
        ]
        same = [each for each in metrics.tallies
                if (each.kind, each.label, each.upstream, each.status)
                == (tally.kind, tally.label, tally.upstream, tally.status)]  # fmt: skip
        assert sum(each.calls for each in same) == len(alike)
        assert sum(each.events for each in same) == sum(record.events for record in alike)
        assert sum(each.prompt_tokens for each in same) == sum(record.prompt_tokens or 0 for record in alike)
        first_bytes = sum(sum(each.first_bytes.counts) for each in same)
        assert first_bytes == sum(record.first_byte_ms is not None for record in alike)
    told = sum(tally.completion_tokens for tally in metrics.tallies)
    assert told == sum(record.completion_tokens or 0 for record, _ in calls)


def test_retries_and_refusals_are_counted_by_their_reasons() -> None:
    metrics = Metrics()
    metrics.retry("one", "429")
    metrics.retry("one", "429")
    metrics.retry("two", "connect")
    metrics.shed("calls")
    assert metrics.retries == {("one", "429"): 2, ("two", "connect"): 1}
    assert metrics.refusals == {"calls": 1}
