"""scripts/bench.py, streams: counting tokens however they are cut, and load and upstream on real sockets."""

import json
from pathlib import Path

import pytest

import bench_events
import bench_load
import bench_rigs
import bench_streams
import bench_wrk
import processes
from bench_rigs import BenchError, Rig
from bench_streams import Round, Streams

TOKENS = 3
ANSWER = b"".join(
    [
        bench_events.HEAD,
        bench_events.opening(),
        *map(bench_events.token, range(TOKENS)),
        *bench_events.ending(TOKENS),
    ]
)
FIGURES = {
    "streams": 5,
    "events": 1000,
    "lost": 0,
    "broken": 0,
    "events_per_second": 400.0,
    "seconds": 4.0,
    "first_byte_p50": 2.0,
    "first_byte_p99": 9.0,
    "cpu": 1.0,
}


def test_events_are_about_as_long_as_real_ones() -> None:
    assert 240 <= len(bench_events.token(50)) <= 300
    assert bench_events.TOKEN in bench_events.token(50)
    assert not any(bench_events.TOKEN in piece for piece in [bench_events.opening(), *bench_events.ending(1)])


def test_tokens_are_counted_wherever_the_answer_is_cut() -> None:
    for cut in range(1, len(ANSWER)):
        body = bench_load.Body()
        assert not body.feed(ANSWER[:cut])
        assert body.feed(ANSWER[cut:])
        assert (body.tokens, body.is_good) == (TOKENS, True)


def test_tokens_are_counted_byte_by_byte() -> None:
    body = bench_load.Body()
    ended = [body.feed(ANSWER[at : at + 1]) for at in range(len(ANSWER))]
    assert ended == [False] * (len(ANSWER) - 1) + [True]
    assert (body.tokens, body.is_good) == (TOKENS, True)


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_tokens_are_counted_however_they_are_chunked(size: int) -> None:
    text = b"".join(
        chunk.partition(b"\r\n")[2].removesuffix(b"\r\n")
        for chunk in [*map(bench_events.token, range(TOKENS)), bench_events.chunk(bench_events.DONE)]
    )
    chunks = [bench_events.chunk(text[at : at + size]) for at in range(0, len(text), size)]
    body = bench_load.Body()
    assert body.feed(bench_events.HEAD + b"".join(chunks) + bench_events.LAST_CHUNK)
    assert (body.tokens, body.is_good) == (TOKENS, True)


def test_an_answer_without_its_end_mark_is_not_good() -> None:
    body = bench_load.Body()
    assert body.feed(bench_events.HEAD + bench_events.token(0) + bench_events.LAST_CHUNK)
    assert (body.tokens, body.is_good) == (1, False)
    cut_off = bench_load.Body()
    assert not cut_off.feed(ANSWER[:-1])
    assert not cut_off.is_good


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 429 Too Many Requests\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        bench_events.HEAD + b"no chunk\r\n",
    ],
)
def test_anything_but_a_stream_is_wrong(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a stream|invalid literal"):
        bench_load.Body().feed(answer)


def test_a_round_is_in_the_units_of_the_table() -> None:
    one = bench_streams.to_round("x", FIGURES, 0.05, 40_000_000)
    assert one == Round(400.0, 50.0, 2.0, 9.0, 40_000_000, 5, 0.25)


@pytest.mark.parametrize("changes", [{"lost": 1}, {"broken": 1}, {"events": 0}])
def test_a_lost_event_or_a_broken_stream_fails_the_run(changes: dict[str, int], tmp_path: Path) -> None:
    (tmp_path / "load.json").write_text(json.dumps(FIGURES | changes), "utf-8")
    with pytest.raises(BenchError, match="gateway-x"):
        bench_streams.load_figures("gateway-x", tmp_path)


def test_a_load_that_died_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "load.json").write_text("Traceback\nKeyError: 1\n", "utf-8")
    with pytest.raises(BenchError, match="KeyError: 1"):
        bench_streams.load_figures("gateway-x", tmp_path)


def test_the_table_tells_what_the_gateway_adds() -> None:
    text = bench_streams.table(
        {
            "nginx proxy_pass": Round(24990.2, 20.0, 12.5, 25.0, 22_500_000, 500, 0.2),
            "chatgpt-platform": Round(24980.0, 35.0, 20.0, 65.25, 55_000_000, 500, 0.2),
        }
    )
    _, nginx, gateway = (line.split() for line in text.splitlines())
    assert nginx[2:] == ["24,990", "0", "0", "20.0", "1.00", "12.5", "25.0", "+0.0", "+0.0", "22.5"]
    assert gateway[1:] == ["24,980", "0", "0", "35.0", "1.75", "20.0", "65.2", "+7.5", "+40.2", "55.0"]


def test_a_measuring_program_at_its_limit_is_told() -> None:
    one = Round(1, 1, 1, 1, 1, 500, 0.3)
    assert "too much" not in bench_streams.progress(1, "x", one, 0.4)
    assert "too much" in bench_streams.progress(1, "x", one, 0.9)


def test_streams_take_turns_among_the_callers_addresses() -> None:
    assert b"\r\nX-Forwarded-For: 198.18.0.1\r\n" in bench_load.request_from(11, 10)
    assert b"X-Forwarded-For" not in bench_load.request_from(11, 0)


def run_load(rig: Rig, streams: Streams, folder: Path, total: int) -> None:
    with bench_streams.start_load(rig, streams, folder, 30, total) as load:
        load.wait(30)


def test_load_and_upstream_lose_nothing(tmp_path: Path) -> None:
    with bench_rigs.streaming_upstream(tmp_path, tokens=5, rate=100) as upstream:
        run_load(upstream, Streams(8, tokens=5, rate=100, addresses=3), tmp_path, total=20)
        figures = bench_streams.load_figures("upstream", tmp_path)
        assert (figures["streams"], figures["events"]) == (20, 100)

        # One that waits for more tokens than come sees that some are missing.
        run_load(upstream, Streams(2, tokens=6, rate=100), tmp_path, total=4)
        with pytest.raises(BenchError, match="4 events were lost and 0 streams broke off"):
            bench_streams.load_figures("upstream", tmp_path)

        # Whoever asks for no stream gets a plain answer, after all of a body of many pieces.
        bench_wrk.check_answer(upstream, bench_wrk.Load(bench_wrk.chat(3_000_000)))


def test_a_refused_connection_is_a_broken_stream(tmp_path: Path) -> None:
    rig = Rig("nobody", None, processes.free_port())  # type: ignore[arg-type]
    run_load(rig, Streams(2, tokens=1, rate=100), tmp_path, total=100)
    with pytest.raises(BenchError, match="nobody: 0 events were lost and 2 streams broke off"):
        bench_streams.load_figures("nobody", tmp_path)
