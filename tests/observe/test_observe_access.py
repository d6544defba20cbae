"""The access line: JSON, one line, the documented names in their order, no keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.observe.access import ESTIMATED, MAX_PATH, REPORTED, Record, line, lines
from chatgpt_platform.observe.redact import Redactor
from chatgpt_platform.observe.timestamps import stamp

REDACTOR = Redactor(["test-key-1"])
NAMES = [
    "time", "request_id", "client", "method", "path", "status", "model", "upstream", "stream", "duration_ms",
    "first_byte_ms", "prompt_tokens", "completion_tokens", "bytes_out", "error", "upstream_request_id",
    "attempts", "reason",
]  # fmt: skip
# Nothing that looks like a key: that is another test.
TEXT = st.text(st.characters(exclude_characters="?kK\u212a")).filter(lambda text: "earer" not in text.lower())
SPAN = st.floats(min_value=0, max_value=1e7)
COUNT = st.integers(min_value=0, max_value=2**60)


def record(**values: object) -> Record:
    base = Record(1769860800.123, "r-1", "192.0.2.1", "POST", "/v1/chat/completions")
    for name, value in values.items():
        setattr(base, name, value)
    return base


def test_a_line_in_full() -> None:
    whole = record(
        status=200, model="m", upstream="openai", stream=True, duration_ms=12.345, first_byte_ms=1.0,
        prompt_tokens=3, completion_tokens=4, bytes_out=5, upstream_request_id="u",
        attempts=2, reason="other: 503", trace_id="0af7651916cd43dd8448eb211c80319c",
    )  # fmt: skip
    assert line(whole, REDACTOR) == (
        b'{"time":"2026-01-31T12:00:00.123Z","request_id":"r-1","client":"192.0.2.1","method":"POST",'
        b'"path":"/v1/chat/completions","status":200,"model":"m","upstream":"openai","stream":true,'
        b'"duration_ms":12.3,"first_byte_ms":1.0,"prompt_tokens":3,"completion_tokens":4,"bytes_out":5,'
        b'"error":null,"upstream_request_id":"u","attempts":2,"reason":"other: 503",'
        b'"trace_id":"0af7651916cd43dd8448eb211c80319c"}\n'
    )


def test_the_names_stand_in_the_documented_order() -> None:
    assert list(json.loads(line(record(), REDACTOR))) == NAMES
    assert list(json.loads(line(record(prompt="hi"), REDACTOR))) == [*NAMES, "prompt", "answer"]
    assert list(json.loads(line(record(trace_id="0a"), REDACTOR))) == [*NAMES, "trace_id"]
    assert list(json.loads(line(record(key="alice"), REDACTOR))) == [*NAMES, "key"]


def test_a_copy_has_all_that_the_record_has() -> None:
    made = record()
    found = {name: getattr(made, name) for name in dir(made) if not name.startswith("_")}
    others: dict[type, object] = {bool: True, int: 7, float: 7.5, str: "other", type(None): "other"}
    values = {
        name: 7 if name.endswith(("_ms", "_tokens")) else others[type(value)]
        for name, value in found.items()
        if not callable(value)
    }
    assert len(values) > 25
    for name, value in values.items():
        setattr(made, name, value)
    copy = made.copy()
    assert {name: getattr(copy, name) for name in values} == values


def test_where_the_tokens_come_from_is_told_where_it_is_worth_it() -> None:
    assert list(json.loads(line(record(cached_tokens=0, usage=REPORTED), REDACTOR))) == NAMES
    counted = json.loads(line(record(cached_tokens=7, usage=ESTIMATED), REDACTOR))
    assert list(counted) == [*NAMES, "cached_tokens", "usage"]
    assert (counted["cached_tokens"], counted["usage"]) == (7, "estimated")


def test_what_is_not_known_is_null() -> None:
    read = json.loads(line(record(), REDACTOR))
    unknown = [name for name in NAMES if read[name] is None]
    assert unknown == [
        "model", "upstream", "first_byte_ms", "prompt_tokens", "completion_tokens", "error", "upstream_request_id",
        "reason",
    ]  # fmt: skip


def test_prompts_appear_only_when_they_are_given() -> None:
    assert b'prompt"' not in line(record(), REDACTOR)
    read = json.loads(line(record(prompt="say\nit", answer="said"), REDACTOR))
    assert (read["prompt"], read["answer"]) == ("say\nit", "said")


@given(
    st.fixed_dictionaries(
        {"request_id": TEXT, "client": TEXT, "method": TEXT, "path": TEXT, "status": st.integers(100, 599)},
        optional={
            "model": TEXT, "upstream": TEXT, "stream": st.booleans(), "duration_ms": SPAN, "first_byte_ms": SPAN,
            "prompt_tokens": COUNT, "completion_tokens": COUNT, "bytes_out": COUNT, "error": TEXT,
            "upstream_request_id": TEXT, "prompt": TEXT, "answer": TEXT,
        },
    )
)  # fmt: skip
def test_the_fields_come_back(values: dict[str, object]) -> None:
    written = record(**values)
    data = line(written, REDACTOR)
    assert data.endswith(b"\n")
    assert len(data.splitlines()) == 1
    assert data.isascii()
    assert not any(byte < 0x20 or byte == 0x7F for byte in data[:-1])
    read = json.loads(data)
    for name, value in values.items():
        expected = pytest.approx(value, abs=0.051) if isinstance(value, float) else value
        assert read[name] == expected


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001 - hypothesis wants it naive
def test_stamp_is_rfc_3339_in_utc(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC, microsecond=moment.microsecond // 1000 * 1000)
    shown = stamp(moment.timestamp())
    assert datetime.fromisoformat(shown) == moment
    assert len(shown) == len("2026-01-31T12:00:00.123Z")


def test_stamp_carries_into_the_next_second() -> None:
    assert stamp(1769860799.9996) == "2026-01-31T12:00:00.000Z"


@pytest.mark.parametrize(
    "field", ["request_id", "method", "path", "model", "error", "upstream_request_id", "prompt", "answer"]
)
@pytest.mark.parametrize("secret", ["test-key-1", "sk-" + "x" * 12, "Bearer something-else"])
def test_no_field_lets_a_key_out(field: str, secret: str) -> None:
    data = line(record(**{field: f"before {secret} after"}), REDACTOR)
    assert secret.removeprefix("Bearer ").encode() not in data
    assert json.loads(data)[field].startswith("before ")


def test_the_query_is_left_out() -> None:
    assert json.loads(line(record(path="/chatgpt?api_key=mine"), REDACTOR))["path"] == "/chatgpt"


def test_long_texts_are_cut_after_the_keys_are_out() -> None:
    read = json.loads(line(record(path="/" * (MAX_PATH - 4) + "test-key-1", model="m" * 10**6), REDACTOR))
    assert read["path"] == "/" * (MAX_PATH - 4) + "***"
    assert len(read["model"]) < 2000


ODD = [
    {}, {"model": "é"}, {"error": "a\x7fb"}, {"path": "/x?api_key=abc"}, {"model": "m" * 2000}, {"prompt": "say"},
    {"upstream_request_id": "before test-key-1 after"}, {"answer": "sk-" + "x" * 12}, {"model": "\ud800"},
]  # fmt: skip


@given(st.lists(st.sampled_from(ODD), min_size=1, max_size=6))
def test_many_lines_are_the_lines_of_each(values: list[dict[str, object]]) -> None:
    records = [record(**each) for each in values]
    data = lines(records, REDACTOR)
    assert data == b"".join(line(each, REDACTOR) for each in records)
    assert data.isascii()
    assert b"test-key-1" not in data
