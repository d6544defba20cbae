"""Standard output, whole, closed, broken, full or absent."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import Any

import pytest

from chatgpt_platform.observe.console import Console


class Hostile(io.StringIO):
    def write(self, text: str) -> int:
        raise RuntimeError(f"no {len(text)}")

    def flush(self) -> None:
        raise RuntimeError("no")


def test_text_streams_and_binary_streams() -> None:
    text, binary = io.StringIO(), io.BytesIO()
    wrapped = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    for stream in (text, binary, wrapped):
        console = Console(stream)
        console.write("Привет\n".encode())
        console.flush()
    assert text.getvalue() == "Привет\n"
    assert binary.getvalue() == wrapped.buffer.getvalue() == "Привет\n".encode()


def test_what_was_printed_before_comes_before() -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    stream.write("first\n")
    console = Console(stream)
    console.write(b"second\n")
    console.flush()
    assert stream.buffer.getvalue() == b"first\nsecond\n"


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def detached() -> io.TextIOWrapper:
    stream = io.TextIOWrapper(io.BytesIO())
    stream.detach()
    return stream


@pytest.mark.parametrize("stream", [None, closed(), detached(), Hostile()])
def test_a_stream_that_is_gone_costs_lines_only(stream: Any) -> None:
    console = Console(stream)
    for _ in range(3):
        console.write(b"line\n")
        console.flush()


def test_a_broken_pipe_costs_lines_only() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        console = Console(stream)
        for _ in range(3):
            console.write(b"line\n")
            console.flush()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Windows always block")
def test_a_full_pipe_does_not_block_and_lines_stay_apart() -> None:
    reader, writer = os.pipe()
    if sys.platform != "win32":
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb", buffering=0) as source:
        console = Console(stream)
        console.write(b"x" * 3_000_000 + b"\n")
        console.flush()
        while source.read(1_000_000):
            pass
        console.write(b"after\n")
        console.flush()
        assert source.read(100) == b"\nafter\n"


def test_a_reader_that_left_does_not_spoil_the_exit() -> None:
    program = (
        "import sys\n"
        "from chatgpt_platform.observe.console import Console\n"
        "console = Console(sys.stdout)\n"
        "sys.stdin.read()\n"
        "console.write(b'line\\n')\n"
        "console.flush()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")
