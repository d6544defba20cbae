"""Good requests beside bad ones, requests inside requests, and what goes the way of Tornado's handlers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatgpt_platform.simulator.server import Behaviour
from support import attacks
from support.answers import read_answers
from support.attacked import Target, assert_refusal, assert_refused, attacked, bytewise
from support.attacks import FIRST_LINES, GOOD, RAW, SMUGGLED

CHUNKED = b"Transfer-Encoding: chunked"
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n"
ATTACKS = {**attacks.FRAMING, **attacks.CHUNKS, **attacks.LINES, **attacks.HOSTS}
BAD = {**{name: attack.data(FIRST_LINES["platform"]) for name, attack in ATTACKS.items()}, **RAW}


def request(first: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([first + b" HTTP/1.1", b"Host: x", *lines, b"", body])


@pytest.fixture
def target(module_target: Target) -> Iterator[Target]:
    module_target.forget()
    yield module_target
    module_target.serves_others()
    assert module_target.running.loud() == []


@pytest.mark.parametrize("data", BAD.values(), ids=[name[:60] for name in BAD])
def test_a_good_request_before_a_bad_one_has_its_answer(target: Target, data: bytes) -> None:
    before = target.upstream
    good, bad = target.send([GOOD + data])
    assert (good.status, good.closes) == (200, False)
    assert_refusal(bad, 400, "platform")
    assert {record["status"] for record in target.new_records(2)} == {200, 400}
    assert target.upstream == (before[0] + 1, 0, 0)


@pytest.mark.parametrize("count", [2, 30])
def test_many_good_requests_before_a_bad_one(target: Target, count: int) -> None:
    answers = target.send([GOOD * count + b"\x16\x03\x01"])
    assert [answer.status for answer in answers] == [200] * count + [400]
    target.new_records(count + 1)


def test_much_behind_a_good_request_costs_no_memory_and_no_answer() -> None:
    """While an answer is awaited no more than a bound is kept; what is dropped is not read as anything."""
    with attacked({}, Behaviour(latency=0.3)) as target:
        (answer,) = target.send([GOOD, *[SMUGGLED * 500] * 50])
        assert (answer.status, answer.closes) == (200, True)
        target.new_records(1)
        assert target.upstream == (1, 0, 0)


LAST = {
    "Connection: close": request(b"GET /chatgpt?prompt=x", b"Connection: close"),
    "Connection: CLOSE": request(b"GET /chatgpt?prompt=x", b"Connection: x, CLOSE"),
    "two Connections": request(b"GET /chatgpt?prompt=x", b"Connection: keep-alive", b"Connection: close"),
    "HTTP/1.0": b"GET /chatgpt?prompt=x HTTP/1.0\r\n\r\n",
    "HTTP/1.0 with a body": b"GET /chatgpt?prompt=x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
    "an upgrade": request(b"GET /chatgpt?prompt=x", b"Connection: close, Upgrade", b"Upgrade: h2c"),
}


@pytest.mark.parametrize(
    "behind", [SMUGGLED, b"PRI * HTTP/2.0\r\n\r\n", b"\0", b"x" * 200_000], ids=lambda data: repr(data[:9])
)
@pytest.mark.parametrize("last", LAST.values(), ids=LAST)
def test_nothing_counts_behind_the_last_request(target: Target, last: bytes, behind: bytes) -> None:
    before = target.upstream
    (answer,) = target.send([last + behind])
    assert (answer.status, answer.closes) == (200, True)
    target.new_records(1)
    assert target.upstream == (before[0] + 1, 0, 0)


def length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


def chunks(body: bytes) -> bytes:
    return IN_CHUNKS % (len(body), body)


UPGRADE = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")
ONE = {
    "a length": (200, request(b"GET /chatgpt?prompt=x", length(SMUGGLED), body=SMUGGLED)),
    "chunks": (200, request(b"GET /chatgpt?prompt=x", CHUNKED, body=chunks(SMUGGLED))),
    "chunks with an extension": (
        200,
        request(b"GET /chatgpt?prompt=x", CHUNKED, body=b"1;x=y\r\nG\r\n" + chunks(SMUGGLED)),
    ),
    "an upgrade and a length": (200, request(b"GET /chatgpt?prompt=x", *UPGRADE, length(SMUGGLED), body=SMUGGLED)),
    "an upgrade and chunks": (200, request(b"GET /chatgpt?prompt=x", *UPGRADE, CHUNKED, body=chunks(SMUGGLED))),
    "a websocket and a length": (
        200,
        request(
            b"GET /chatgpt?prompt=x",
            b"Connection: upgrade",
            b"Upgrade: websocket",
            length(SMUGGLED),
            body=SMUGGLED,
        ),
    ),
    "zeros": (200, request(b"GET /chatgpt?prompt=x", b"Content-Length: 000%d" % len(SMUGGLED), body=SMUGGLED)),
    "underscores": (200, request(b"GET /chatgpt?prompt=x", b"Content_Length: 0", length(SMUGGLED), body=SMUGGLED)),
    "other letters": (
        200,
        request(b"GET /chatgpt?prompt=x", b"tRANSFER-eNCODING: cHUNKED", body=chunks(SMUGGLED)),
    ),
    "no such method": (405, request(b"PRI /api", length(SMUGGLED), body=SMUGGLED)),
    "CONNECT": (405, request(b"CONNECT /api", length(SMUGGLED), body=SMUGGLED)),
    "TRACE": (405, request(b"TRACE /api", length(SMUGGLED), body=SMUGGLED)),
    "HTTP/2's beginning in 1.1": (404, request(b"PRI *", length(SMUGGLED), body=SMUGGLED)),
    "OPTIONS *": (404, request(b"OPTIONS *", length(SMUGGLED), body=SMUGGLED)),
    "no such path": (404, request(b"POST /nowhere", length(SMUGGLED), body=SMUGGLED)),
    "two slashes": (404, request(b"POST //chatgpt", length(SMUGGLED), body=SMUGGLED)),
    "no such type": (415, request(b"POST /api", b"Content-Type: text/plain", length(SMUGGLED), body=SMUGGLED)),
    "a code": (415, request(b"POST /api", b"Content-Encoding: gzip", length(SMUGGLED), body=SMUGGLED)),
    "no JSON": (400, request(b"POST /api", b"Content-Type: application/json", length(SMUGGLED), body=SMUGGLED)),
    "health": (200, request(b"GET /healthz", length(SMUGGLED), body=SMUGGLED)),
    "health by chunks": (200, request(b"GET /healthz", CHUNKED, body=chunks(SMUGGLED))),
    "no such path by an upgrade": (404, request(b"POST /nowhere", *UPGRADE, length(SMUGGLED), body=SMUGGLED)),
}


@pytest.mark.parametrize("whole", [True, False], ids=["at once", "bytewise"])
@pytest.mark.parametrize(("status", "data"), ONE.values(), ids=ONE)
def test_a_request_in_a_body_is_a_body(target: Target, status: int, data: bytes, whole: bool) -> None:
    """Behind it the connection goes on, or closes; in either case the upstream is asked at most once."""
    before = target.upstream
    last = request(b"GET /nowhere", b"Connection: close")
    # The last bytes come with what is behind them, or they would find a connection that is just closing.
    answers = target.send([data + last] if whole else [*bytewise(data[:-5]), data[-5:] + last])
    assert answers[0].status == status
    assert len(answers) == 1 if answers[0].closes else [answer.status for answer in answers[1:]] == [404]
    paths = [record["path"] for record in target.new_records(len(answers))]
    assert paths.count("/chatgpt") <= 1
    assert target.upstream[0] - before[0] == (b"prompt=x" in data)


def test_an_answer_to_head_has_no_body(target: Target) -> None:
    (answer,) = target.send([request(b"HEAD /api", b"X : y") + SMUGGLED], ["HEAD"])
    assert (answer.status, answer.body, answer.closes) == (400, b"", True)
    target.new_records(1)


@pytest.mark.parametrize("api", FIRST_LINES)
def test_a_body_that_was_invited_and_is_none(target: Target, api: str) -> None:
    first = FIRST_LINES[api].removesuffix(b" HTTP/1.1")
    data = request(first, b"Expect: 100-continue", CHUNKED, attacks.TYPE, body=b"zz\r\n" + SMUGGLED)
    invitation, answer = target.send([data])
    assert (invitation.status, invitation.fields) == (100, {})
    assert_refusal(answer, 400, api)
    target.new_records(1)


@pytest.mark.parametrize(
    ("path", "api"), [(b"/nowhere", "platform"), (b"/v1/nowhere", "openai"), (b"/healthz", "platform")]
)
@pytest.mark.parametrize("attack", {**attacks.FRAMING, **attacks.LINES, **attacks.HOSTS}.values())
def test_heads_on_the_way_of_the_handlers(target: Target, attack: attacks.Attack, path: bytes, api: str) -> None:
    if attack is not attacks.FRAMING["an upgrade with bad chunks"]:
        assert_refused(target, [attack.data(b"POST %b HTTP/1.1" % path)], 400, api)


@pytest.mark.parametrize(
    ("path", "api"), [(b"/nowhere", "platform"), (b"/v1/nowhere", "openai"), (b"/healthz", "platform")]
)
@pytest.mark.parametrize("attack", attacks.CHUNKS.values(), ids=[name[:60] for name in attacks.CHUNKS])
def test_bodies_on_the_way_of_the_handlers(target: Target, attack: attacks.Attack, path: bytes, api: str) -> None:
    """The head decides, so the answer is out before the body is found to be none."""
    with target.connect() as attacker:
        attacker.sendall(attack.data(b"POST %b HTTP/1.1" % path))
        got = b""
        try:
            while data := attacker.recv(65536):
                got += data
        except ConnectionResetError:
            pass  # a fault, see the test below that is expected to fail
    (answer,) = read_answers(got)
    assert_refusal(answer, 405 if path == b"/healthz" else 404, api)
    target.new_records(1)


def test_a_broken_body_on_the_way_of_the_handlers_is_one_access_line(target: Target) -> None:
    target.send([request(b"GET /healthz", CHUNKED, body=b"zz\r\n")])
    target.new_records(1)


def test_an_answer_survives_a_broken_body_behind_it(target: Target) -> None:
    """A reset may take an answer away that the client has not read yet (RFC 9112, 9.6)."""
    (answer,) = target.send([request(b"POST /nowhere", CHUNKED, body=b"zz\r\n" + b"x" * 2_000_000)])
    assert answer.status == 404


@pytest.mark.parametrize(
    ("first", "size"),
    [
        (b"GET /chatgpt?prompt=x", b"100000000"),
        (b"GET /v1/models", b"100000000"),
        (b"GET /healthz", b"100000000"),
        (b"POST /api", b"0" * 30 + b"100000000"),
    ],
)
def test_a_length_is_looked_at_before_the_body_is_invited(target: Target, first: bytes, size: bytes) -> None:
    """Contract, section 6: the declared length comes before the body."""
    with target.connect() as client:
        client.sendall(request(first, attacks.TYPE, b"Expect: 100-continue", b"Content-Length: " + size))
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("whole", [True, False], ids=["at once", "in two"])
def test_a_target_that_is_too_long_is_refused_in_the_shape_of_its_api(target: Target, whole: bool) -> None:
    data = request(b"GET /v1/models/" + b"x" * 70_000)
    assert_refused(target, [data] if whole else [data[:100], data[100:]], 414, "openai")


def test_a_target_that_is_too_long(target: Target) -> None:
    for pieces in ([b"GET /", b"x" * 70_000], [request(b"GET /chatgpt?prompt=" + b"x" * 70_000)]):
        assert_refused(target, pieces, 414, "platform")
