"""scripts/bench.py, soak: when memory has grown too much, and what counts as an idle connection."""

import socket

import pytest

import bench_soak

MB = 1e6


def test_memory_within_its_limits() -> None:
    assert bench_soak.memory_problems([40 * MB, 40 * MB, 42 * MB, 40.9 * MB], 60 * MB) == []
    assert bench_soak.memory_problems([59 * MB, 59 * MB, 59 * MB, 60.1 * MB], 60 * MB) == []  # within 2 %


def test_memory_beyond_its_limits() -> None:
    assert bench_soak.memory_problems([40 * MB] * 4, 60.1 * MB) == ["more than 60 MB"]
    assert bench_soak.memory_problems([40 * MB, 40 * MB, 40 * MB, 41.1 * MB], 42 * MB) == [
        "it grew by more than 1.0 MB"
    ]


def test_a_verdict_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_soak.verdict("memory", "50 MB", [])
    assert not bench_soak.verdict("memory", "70 MB", ["more than 60 MB", "it grew"])
    assert capsys.readouterr().out.splitlines() == [
        "pass  memory: 50 MB",
        "FAIL  memory: 70 MB; more than 60 MB; it grew",
    ]


def test_a_connection_counts_as_idle_while_it_is_open() -> None:
    one, other = socket.socketpair()
    with one:
        assert bench_soak.is_open(one)
        other.close()
        assert not bench_soak.is_open(one)
