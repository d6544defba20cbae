"""The answers of ordinary Tornado handlers on the wire, which are those of Tornado's own server."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest
from tornado import web

from support.answers import connect
from support.applications import Serve, ask, on_stock, on_wire
from support.recorder import get


class Pieces(web.RequestHandler):
    """Flushes some pieces; between two of them it waits until it is told to go on."""

    def initialize(self, go_on: asyncio.Event) -> None:
        self.go_on = go_on

    async def get(self) -> None:
        for number in range(3):
            self.write(f"piece {number}")
            await self.flush()
            await self.go_on.wait()
            self.go_on.clear()

    head = get


async def test_each_flush_goes_out_at_once(serve: Serve) -> None:
    go_on = asyncio.Event()
    async with serve([("/", Pieces, {"go_on": go_on})]) as port, connect(port) as client:
        await client.send(get())
        head = await client.receive()
        assert b"Transfer-Encoding: chunked" in head
        assert head.endswith(b"\r\n\r\n7\r\npiece 0\r\n")
        for number in (1, 2):
            go_on.set()
            assert await client.receive() == b"7\r\npiece %d\r\n" % number
        go_on.set()
        assert await client.receive() == b"0\r\n\r\n"
        await client.send(get("/nowhere"))
        assert (await client.answer()).status == 404


async def test_http_1_0_ends_a_stream_with_the_connection(serve: Serve) -> None:
    go_on = asyncio.Event()
    async with serve([("/", Pieces, {"go_on": go_on}), ("/etagged", Etagged)]) as port:
        async with connect(port) as client:
            await client.send(get(version="1.0"))
            for _ in range(3):
                await asyncio.sleep(0.01)
                go_on.set()
            answer = await client.answer()
            assert answer.body == b"piece 0piece 1piece 2"
            assert answer.ends_connection
        async with connect(port) as client:
            for _ in range(2):
                await client.send(get("/etagged", "Connection: keep-alive", version="1.0"))
                answer = await client.answer()
                assert answer.fields[b"connection"].lower() == b"keep-alive"


async def test_head(serve: Serve) -> None:
    go_on = asyncio.Event()
    go_on.set()

    class Whole(web.RequestHandler):
        def head(self) -> None:
            self.write("four")

    async with serve([("/", Whole), ("/pieces", Pieces, {"go_on": go_on})]) as port:
        for target in ("/", "/pieces"):
            head = get(target).replace(b"GET", b"HEAD")
            async with connect(port) as client:
                await client.send(head)
                for _ in range(3):
                    await asyncio.sleep(0.01)
                    go_on.set()
                answer = await client.answer("HEAD")
                assert (answer.status, answer.fields.get(b"content-length")) == (
                    200,
                    b"4" if target == "/" else None,
                )
                await client.send(get("/nowhere"))
                assert (await client.answer()).status == 404


class Etagged(web.RequestHandler):
    def get(self) -> None:
        self.write("the same each time")


async def test_not_modified(serve: Serve) -> None:
    async with serve([("/", Etagged)]) as port:
        (whole,) = await ask(port, get())
        tag = whole.fields[b"etag"].decode()
        same, other = await ask(port, get("/", f"If-None-Match: {tag}"), get("/", 'If-None-Match: "x"'))
    assert (same.status, same.body) == (304, b"")
    assert same.fields[b"etag"] == whole.fields[b"etag"]
    assert (other.status, other.body) == (200, whole.body)


async def test_no_content(serve: Serve) -> None:
    class Nothing(web.RequestHandler):
        def get(self) -> None:
            self.set_status(204)

    async with serve([("/", Nothing), ("/etagged", Etagged)]) as port:
        nothing, other = await ask(port, get(), get("/etagged"))
    assert (nothing.status, other.status) == (204, 200)
    assert b"content-type" not in nothing.fields


@pytest.mark.parametrize("length", [3, 10])
async def test_a_handler_that_does_not_keep_to_its_length(
    serve: Serve, length: int, expected_log: list[str]
) -> None:
    """The answer is broken off: there is no other way to tell the client."""

    class Miscounts(web.RequestHandler):
        async def get(self) -> None:
            self.set_header("Content-Length", length)
            self.write("fo")
            await self.flush()
            self.write("ur")
            await self.finish()

    expected_log += ["Uncaught exception GET /", "Cannot send error response after headers written"]
    async with serve([("/", Miscounts)]) as port, connect(port) as client:
        await client.send(get() + get("/2"))
        with pytest.raises((AssertionError, ConnectionError)):
            await client.answer()


async def test_static_files_and_ranges(serve: Serve, tmp_path: Path) -> None:
    content = bytes(range(256)) * 2000
    (tmp_path / "file.bin").write_bytes(content)
    async with serve([("/(.*)", web.StaticFileHandler, {"path": str(tmp_path)})]) as port:
        whole, part, tail, beyond, none = await ask(
            port,
            get("/file.bin"),
            get("/file.bin", "Range: bytes=100-70099"),
            get("/file.bin", "Range: bytes=-5"),
            get("/file.bin", "Range: bytes=9999999-"),
            get("/none"),
        )
        (head,) = await ask(port, get("/file.bin").replace(b"GET", b"HEAD"), method="HEAD")
        (same,) = await ask(port, get("/file.bin", f"If-None-Match: {whole.fields[b'etag'].decode()}"))
    assert (whole.status, whole.body) == (200, content)
    assert (part.status, part.body) == (206, content[100:70100])
    assert part.fields[b"content-range"] == b"bytes 100-70099/%d" % len(content)
    assert (tail.status, tail.body) == (206, content[-5:])
    assert (beyond.status, none.status, same.status) == (416, 404, 304)
    assert (head.status, head.fields[b"content-length"]) == (200, b"%d" % len(content))


@pytest.mark.parametrize("pieces", [1, 5])
async def test_compressed_answers(serve: Serve, pieces: int) -> None:
    class Long(web.RequestHandler):
        async def get(self) -> None:
            self.set_header("Content-Type", "text/plain")
            for _ in range(pieces):
                self.write("word " * 1000)
                if pieces > 1:
                    await self.flush()

    async with serve([("/", Long)], compress_response=True) as port:
        packed, plain = await ask(port, get("/", "Accept-Encoding: gzip"), get())
    assert packed.fields[b"content-encoding"] == b"gzip"
    assert gzip.decompress(packed.body) == plain.body == b"word " * 1000 * pieces
    assert (b"transfer-encoding" in packed.fields) is (pieces > 1)


async def test_a_reason_of_the_handlers_own() -> None:
    class Fine(web.RequestHandler):
        def get(self) -> None:
            self.set_status(299, "Fine by me")

    for serve in (on_stock, on_wire):
        async with serve([("/", Fine)]) as port, connect(port) as client:
            await client.send(get())
            assert (await client.receive()).startswith(b"HTTP/1.1 299 Fine by me\r\n")


async def test_an_answer_that_has_no_form_on_the_wire_is_broken_off(expected_log: list[str]) -> None:
    """Else the client would wait for ever, or take the answer to its next request for this one's.

    Tornado's own server lets it wait.
    """

    class Foreign(web.RequestHandler):
        def get(self) -> None:
            self.set_cookie("c", "\N{SNOWMAN}")

    expected_log += ["Uncaught exception GET /", "Cannot send error response after headers written"]
    async with on_wire([("/", Foreign), ("/etagged", Etagged)]) as port, connect(port) as client:
        await client.send(get() + get("/etagged"))
        assert await client.receive() == b""
