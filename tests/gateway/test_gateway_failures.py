from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.gateway.failures import (
    event_status,
    is_error_object,
    is_out_of_credit,
    problem_of,
    wait_of,
    whole,
)
from chatgpt_platform.locales import en
from chatgpt_platform.upstream.sse import Event

unhurried = settings(deadline=None)


def seconds_of(header: str | None, now: float) -> int | None:
    return whole(wait_of(None, None if header is None else header.encode("utf-8"), now))


NOW = 1_445_412_000.0
"""Wed, 21 Oct 2015 07:20:00 GMT."""

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
errors = st.dictionaries(
    st.sampled_from(["code", "type", "status", "status_code", "message", "detail", "error"]),
    values | st.sampled_from(["rate_limit_exceeded", "error", "429", "503", "9" * 30]) | st.integers(390, 610),
    max_size=4,
)
hostile = (
    st.binary()
    | errors.map(lambda error: json.dumps({"error": error}).encode())
    | errors.map(lambda error: json.dumps(error).encode())
    | st.binary(max_size=5).map(lambda junk: b'{"error":{"code":' + junk + b"}}")
)


def status(error: object, name: bytes = b"message") -> int | None:
    return event_status(Event(name, json.dumps(error).encode()))


@unhurried
@given(hostile, st.sampled_from([b"message", b"error", b"x", b""]))
def test_an_error_event_stands_for_an_error_status_whatever_its_data(data: bytes, name: bytes) -> None:
    figure = event_status(Event(name, data))
    assert figure is None or 400 <= figure <= 599
    if name == b"error" or (b'"error"' in data and is_error_object(data)):
        assert figure is not None
    if name != b"error" and not is_error_object(data):
        assert figure is None


@unhurried
@given(hostile, st.integers(300, 999), st.none() | st.floats(0, 1e6))
def test_any_failing_answer_is_a_problem(body: bytes, code: int, wait: float | None) -> None:
    problem = problem_of(code, body, wait)
    assert 400 <= problem.kind.status <= 599
    assert problem.text in en.TEXTS
    assert str(code) in problem.detail
    assert problem.retry_after is None or problem.retry_after >= 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"error": {"code": 429}}, 429),
        ({"error": {"code": "429"}}, 429),
        ({"error": {"status": 503, "code": 429}}, 503),
        ({"error": {"status_code": "404"}}, 404),
        ({"error": {"code": "rate_limit_exceeded", "type": "invalid_request_error"}}, 429),
        ({"error": {"code": None, "type": "insufficient_quota"}}, 429),
        ({"error": {"code": "invalid_api_key"}}, 401),
        ({"error": {"type": "permission_error"}}, 403),
        ({"error": {"code": "model_not_found"}}, 404),
        ({"error": {"code": "context_length_exceeded"}}, 400),
        ({"error": {"type": "overloaded_error"}}, 503),
        ({"type": "error", "error": {"type": "overloaded_error"}}, 503),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "slow", "param": None, "error": None}, 429),
        ({"object": "error", "type": "NotFoundError", "message": "no", "code": 404}, 404),
        ({"object": "error", "type": "InternalServerError", "message": "boom"}, 500),
        ({"error": "slow down", "code": 429}, 429),
        ({"error": "boom"}, 500),
        ({"error": {}}, 500),
        ({"error": {"message": "boom"}}, 500),
    ],
)
def test_the_status_that_an_error_event_tells(error: object, expected: int) -> None:
    assert status(error) == expected
    assert status(error, b"error") == expected


NO_CODES: list[object] = [True, 399, 600, -429, 10**30, "4290", "²", "boom", [], {}, 429.0, None]


@pytest.mark.parametrize("code", NO_CODES)
def test_a_code_that_is_no_status_stands_for_500(code: object) -> None:
    assert status({"error": {"code": code}}) == 500


@pytest.mark.parametrize(
    "data",
    [
        {"choices": [], "error": None},
        {"choices": [{"delta": {"content": '"error"'}}]},
        {"error": ""},
        {"error": []},
        {"error": 0},
        {"type": "response.failed", "response": {"error": {"code": "server_error"}}},
        ["error"],
        "error",
        None,
    ],
)
def test_what_only_mentions_an_error_is_none(data: object) -> None:
    assert status(data) is None
    assert not is_error_object(json.dumps(data).encode())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 500),
        (b"overloaded", 500),
        (b"\xff", 500),
        pytest.param(b"[" * 100_000, 500, id="depth"),
        (b'{"message": "boom"}', 500),
        (b'{"message": "slow", "code": "rate_limit_exceeded"}', 429),
        (b'{"status": 503}', 503),
    ],
)
def test_an_event_named_error_is_one_whatever_its_data(data: bytes, expected: int) -> None:
    assert event_status(Event(b"error", data)) == expected
    assert event_status(Event(b"message", data)) is None


# The contract's table: upstream statuses and what the caller gets.
STATUSES = {
    401: 401,
    403: 403,
    408: 504,
    429: 429,
    **dict.fromkeys((400, 404, 422), 400),
    **dict.fromkeys((402, 405, 409, 410, 413, 415, 418, 451, 499), 400),
    **dict.fromkeys((500, 501, 502, 503, 504, 529, 599), 502),
    **dict.fromkeys((100, 204, 301, 302, 304, 600, 999), 502),
}


@pytest.mark.parametrize(("upstream", "caller"), STATUSES.items())
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error": {"message": "because"}}'])
def test_statuses_map_by_the_contract(upstream: int, caller: int, body: bytes) -> None:
    problem = problem_of(upstream, body, None)
    assert problem.kind.status == caller
    assert problem.retry_after is None


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "because"}},
        {"error": "because"},
        {"message": "because"},
        {"detail": "because"},
        {"error": {"message": None, "detail": "because"}},
        {"error": {}, "message": "because"},
        {"type": "error", "message": "because"},
    ],
)
def test_the_upstreams_reason_reaches_the_caller_of_a_bad_request_and_else_the_log(body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    bad = problem_of(400, data, None)
    assert (bad.text, bad.values) == ("upstream_said", {"reason": "because"})
    unknown = problem_of(404, data.replace(b"because", b"No such model"), None)
    assert (unknown.text, unknown.values) == ("unknown_model", {"reason": "No such model"})
    wrong_path = problem_of(404, data, None)
    assert wrong_path.text == "upstream_said"
    broken = problem_of(500, data, None)
    assert (broken.text, broken.values) == ("upstream_failed", {"status": 500})
    assert broken.detail == "the upstream answered 500"


@pytest.mark.parametrize(
    "body", [b"", b"<html>nginx</html>", b'{"error": {"message": 5}}', b"[]", b'{"error":"\xff"}']
)
def test_a_refusal_without_a_reason_tells_the_status(body: bytes) -> None:
    problem = problem_of(404, body, None)
    assert (problem.text, problem.values) == ("upstream_refused", {"status": 404})


def test_a_reason_is_cut() -> None:
    body = json.dumps({"error": {"message": "x" * 100_000}}).encode()
    assert problem_of(400, body, None).values == {"reason": "x" * 1000}
    assert len(problem_of(500, body, None).detail) < 1100


def test_only_a_busy_upstream_tells_when_to_retry() -> None:
    assert problem_of(429, b"", 6.1).retry_after == 7
    assert problem_of(429, b"", None).retry_after is None
    assert problem_of(503, b"", 7).retry_after is None
    assert problem_of(400, b"", 7).retry_after is None


def test_fractions_of_a_second_are_sent_by_some() -> None:
    assert seconds_of("1.5", NOW) == 2


def test_milliseconds_come_before_seconds() -> None:
    assert wait_of(b"1500", b"7", NOW) == 1.5
    assert wait_of(b"12.5", None, NOW) == 0.0125
    assert wait_of(b"soon", b"7", NOW) == 7
    assert wait_of(b"9" * 30, b"7", NOW) == 7
    assert wait_of(b"999999999999", b"7", NOW) == 604_800


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (402, b"", True),  # DeepSeek: Insufficient Balance
        (429, b'{"error": {"code": "insufficient_quota", "type": "insufficient_quota"}}', True),
        (429, b'{"error": {"code": null, "type": "insufficient_quota"}}', True),
        (429, b'{"error": {"code": "rate_limit_exceeded", "type": "requests"}}', False),
        (429, b'{"error": {"code": ["insufficient_quota"]}}', False),
        (429, b"insufficient_quota", False),
        (403, b'{"error": {"code": "insufficient_quota"}}', False),
    ],
)
def test_an_account_without_credit(status: int, body: bytes, expected: bool) -> None:
    assert is_out_of_credit(status, body) is expected


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 120 ", 120),
        ("604800", 604_800),
        pytest.param("9" * 50_000, 604_800, id="digits"),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 480),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 480),
        ("Wed Oct 21 07:28:00 2015", 480),
        ("Wed, 21 Oct 2015 07:28:00", 480),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 480),
        ("Wed, 21 Oct 2015 09:28:00 +0200", 480),
        ("Wed, 21 Oct 2015 07:20:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:19:59 GMT", 0),
        ("Sat, 01 Jan 0001 00:00:00 +2359", 0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 604_800),
        *(
            (junk, None)
            for junk in ("", " ", "soon", "-1", "1.", "1e3", "+5", "٣", "1, 2", "0x10", "\x00", "1 Jan")
        ),
        *((junk, None) for junk in ("Wed, 99 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 99999999999 07:28:00 GMT")),
        *(pytest.param(junk * 30_000, None, id=junk) for junk in ("1 ", "Mon, ", ":", "-", "(", '"')),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(header: str | None, seconds: int | None) -> None:
    start = time.process_time()
    assert seconds_of(header, NOW) == seconds
    assert time.process_time() - start < 10


if sys.platform != "win32":

    @pytest.fixture
    def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", "EAST-8")
            time.tzset()
            yield
        time.tzset()

    @pytest.mark.usefixtures("far_east")
    @pytest.mark.parametrize("zone", ["", " -0000", " GMT"])
    def test_a_date_means_utc_wherever_the_machine_stands(zone: str) -> None:
        assert seconds_of(f"Wed, 21 Oct 2015 07:28:00{zone}", NOW) == 480


def test_a_part_of_a_second_is_waited_for_whole() -> None:
    assert seconds_of("Wed, 21 Oct 2015 07:28:00 GMT", NOW + 0.5) == 480
    assert seconds_of("Wed, 21 Oct 2015 07:28:00 GMT", NOW + 479.999) == 1


@unhurried
@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1)),  # noqa: DTZ001 - hypothesis wants them naive
    st.integers(-86_400, 1_000_000),
    st.integers(-23, 23),
)
def test_a_date_is_waited_for_at_most_a_week(date: datetime, ahead: int, hours: int) -> None:
    date = date.replace(microsecond=0, tzinfo=UTC)
    header = format_datetime(date.astimezone(timezone(timedelta(hours=hours))))
    assert seconds_of(header, date.timestamp() - ahead) == min(max(ahead, 0), 604_800)


dates = st.lists(
    st.sampled_from(
        ["Wed", ",", " ", "21", "Oct", "2015", "07:28:00", "GMT", "-", "+", ":", ".", "0000", "99", "am"]
    )
    | st.text(max_size=3)
).map("".join)


@unhurried
@given(dates, st.floats(0, 1e12))
def test_any_text_is_a_wait_or_none(header: str, now: float) -> None:
    seconds = seconds_of(header, now)
    assert seconds is None or 0 <= seconds <= 604_800
