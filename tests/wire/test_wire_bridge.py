"""Ordinary Tornado handlers, unchanged, on the wire: what they are told of a request, and how connections go on.

Each test runs on Tornado's own server too, with which the wire must agree.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from tornado import web

from support.answers import connect
from support.applications import Serve, ask, on_wire
from support.recorder import get, post

FORM = "Content-Type: application/x-www-form-urlencoded"


class Told(web.RequestHandler):
    """Answers what it was told."""

    def get(self, *given: str) -> None:
        request = self.request
        self.write(
            {
                "given": given, "method": request.method, "path": request.path, "query": request.query,
                "uri": request.uri, "version": request.version, "host": request.host, "peer": request.remote_ip,
                "protocol": request.protocol, "url": request.full_url(),
                "test": request.headers.get_list("X-Test"),
                "x": self.get_arguments("x"), "y": self.get_argument("y", ""), "body": request.body.decode(),
                "cookie": self.get_cookie("c"),
                "files": {
                    name: [(file.filename, file.content_type, file.body.decode()) for file in files]
                    for name, files in request.files.items()
                },
            }
        )  # fmt: skip

    post = put = patch = delete = options = get


async def test_what_a_handler_is_told(serve: Serve) -> None:
    target = "/a%20b/%E4%BD%A0?x=1&x=%202&y=%E4%BD%A0"
    async with serve([(r"/(.*)/(.*)", Told)]) as port:
        (answer,) = await ask(port, get(target, "X-Test: one", "x-test:two", "Cookie: c=d"))
    assert json.loads(answer.body) == {
        "given": ["a b", "你"], "method": "GET", "path": "/a%20b/%E4%BD%A0", "query": "x=1&x=%202&y=%E4%BD%A0",
        "uri": target, "version": "HTTP/1.1", "host": "x", "peer": "127.0.0.1", "protocol": "http",
        "url": "http://x" + target, "test": ["one", "two"], "x": ["1", "2"], "y": "你", "body": "", "cookie": "d",
        "files": {},
    }  # fmt: skip
    assert answer.status == 200
    assert answer.fields[b"content-type"] == b"application/json; charset=UTF-8"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_each_method(serve: Serve, method: str) -> None:
    async with serve([("/", Told)]) as port:
        (answer,) = await ask(port, get().replace(b"GET", method.encode(), 1))
    assert json.loads(answer.body)["method"] == method


async def test_forms_and_chunked_bodies(serve: Serve) -> None:
    chunked = (
        get("/", FORM, "Transfer-Encoding: chunked").replace(b"GET", b"POST") + b"2\r\nx=\r\n1\r\n5\r\n0\r\n\r\n"
    )
    async with serve([("/", Told)]) as port:
        answers = await ask(port, post(b"x=1&x=2&y=3", FORM, target="/?x=0"), chunked)
    form, last = [json.loads(answer.body) for answer in answers]
    assert (form["x"], form["y"], form["body"]) == (["0", "1", "2"], "3", "x=1&x=2&y=3")
    assert last["x"] == ["5"]


async def test_files(serve: Serve, expected_log: list[str]) -> None:
    expected_log.append("Invalid body")
    body = (
        b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n7\r\n'
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
        b"line\r\n\r\n--b--\r\n"
    )
    async with serve([("/", Told)]) as port:
        told, bad = await ask(
            port,
            post(body, "Content-Type: multipart/form-data; boundary=b"),
            post(b"junk", "Content-Type: multipart/form-data; boundary=b"),
        )
    assert json.loads(told.body)["x"] == ["7"]
    assert json.loads(told.body)["files"] == {"f": [["a.txt", "text/plain", "line\r\n"]]}
    assert bad.status == 400


async def test_exceptions(serve: Serve, expected_log: list[str]) -> None:
    class Fails(web.RequestHandler):
        async def get(self) -> None:
            if self.get_argument("how") == "error":
                raise RuntimeError("inner details")
            raise web.HTTPError(418, reason="I'm a Teapot")

    expected_log.append("Uncaught exception GET /?how=error")
    async with serve([("/", Fails), ("/told", Told)]) as port:
        error, teapot, told = await ask(port, get("/?how=error"), get("/?how=http"), get("/told"))
    assert [answer.status for answer in (error, teapot, told)] == [500, 418, 200]
    assert b"inner details" not in error.body


async def test_a_handler_may_close_the_connection(serve: Serve) -> None:
    class Last(web.RequestHandler):
        def get(self) -> None:
            self.set_header("Connection", "close")
            self.write("bye")

    async with on_wire([("/", Last), ("/told", Told)]) as port, connect(port) as client:
        await client.send(get() + get("/told"))
        answer = await client.answer()
        assert (answer.body, answer.closes) == (b"bye", True)
        await client.ended()
    # Tornado's own server says so, and then leaves it to the client.
    async with serve([("/", Last)]) as port:
        (answer,) = await ask(port, get())
        assert answer.closes


async def test_pipelined_requests_are_answered_in_their_order(serve: Serve) -> None:
    class Slow(web.RequestHandler):
        async def get(self, number: str) -> None:
            await asyncio.sleep(0.05 if number == "0" else 0)
            self.write(number)

    async with serve([(r"/(\d+)", Slow)]) as port:
        answers = await ask(port, *(get(f"/{number}") for number in range(10)))
    assert [int(answer.body) for answer in answers] == list(range(10))
