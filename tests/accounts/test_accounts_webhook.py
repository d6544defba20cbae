from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from chatgpt_platform.accounts.webhook import (
    QUEUE,
    TRIES,
    Webhook,
    parts_of,
    pause,
    signature,
    signing_key,
    wait_of,
)  # fmt: skip
from support.clock import FakeTimeLoop
from support.loops import LOOPS, LoopFactory
from support.receiver import RESET, SILENCE, Hook, Receiver
from support.tls import served

NOW = 1_790_000_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "webhooks.md"
PAUSES = (5, 25, 125, 625, 3125, 7200, 7200)


class Rig:
    """A webhook and its receiver on a loop whose time stands still."""

    def __init__(self, loop: FakeTimeLoop, *answers: int | bytes, path: str = "/in", **options: Any) -> None:
        self.loop = loop
        self.receiver = Receiver(*answers)
        loop.run_until_complete(self.receiver.__aenter__())
        options = {"random": lambda: 0.5, "wall": lambda: NOW + loop.time(), **options}
        self.webhook = Webhook(self.receiver.url + path, SECRET, logging.getLogger("test.webhook"), **options)

    def send(self, *numbers: int) -> None:
        for number in numbers:
            self.loop.call_soon(self.webhook.send, {"type": "test.event", "number": number})

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(500):
            if condition():
                return
            self.loop.settle()
        raise AssertionError("waited in vain")

    def hooked(self, count: int) -> list[Hook]:
        """So many came, and no more."""
        self.until(lambda: len(self.receiver.hooks) >= count)
        self.loop.settle()
        assert len(self.receiver.hooks) == count
        return self.receiver.hooks

    def numbers(self) -> list[int]:
        return [json.loads(hook.body)["number"] for hook in self.receiver.hooks]

    def close(self) -> None:
        closing = self.loop.create_task(self.webhook.close())
        while not closing.done():
            self.loop.advance(0.5)
        closing.result()
        self.loop.run_until_complete(self.receiver.__aexit__(None, None, None))


@pytest.fixture
def loop(caplog: pytest.LogCaptureFixture) -> Iterator[FakeTimeLoop]:
    """Each warning that is expected is looked at, and cleared."""
    with FakeTimeLoop() as loop:
        yield loop
        loop.settle()
        assert not asyncio.all_tasks(loop)
    gc.collect()
    assert not [record for record in caplog.get_records("call") if record.levelno >= logging.WARNING]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def is_genuine() -> Callable[[str, dict[str, str], bytes], bool]:
    """The documentation's own code, in the time of these tests."""
    names: dict[str, Any] = {}
    code = DOCUMENTATION.read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    exec(compile(code, DOCUMENTATION, "exec"), names)

    class Time:
        now = float(NOW)

        def time(self) -> float:
            return self.now

    names["time"] = Time()

    def check(secret: str, headers: dict[str, str], body: bytes, later: float = 1000) -> bool:
        names["time"].now = NOW + later
        return bool(names["is_genuine"](secret, headers, body))

    return check


def test_an_event_is_delivered_and_signed(
    loop: FakeTimeLoop, caplog: pytest.LogCaptureFixture, is_genuine: Callable[..., bool]
) -> None:
    rig = Rig(loop, path="/in/?team=3&token=hidden")
    rig.send(1)
    (hook,) = rig.hooked(1)
    rig.close()
    assert (hook.method, hook.path) == ("POST", "/in/?team=3&token=hidden")
    assert hook.headers["content-type"] == "application/json"
    assert hook.headers["webhook-timestamp"] == str(NOW + 1000)
    assert json.loads(hook.body) == {"type": "test.event", "number": 1}
    assert is_genuine(SECRET, hook.headers, hook.body)
    assert warnings(caplog) == []


def test_what_was_tampered_with_does_not_verify(loop: FakeTimeLoop, is_genuine: Callable[..., bool]) -> None:
    rig = Rig(loop)
    rig.send(1)
    (hook,) = rig.hooked(1)
    rig.close()
    assert not is_genuine(SECRET, hook.headers, hook.body.replace(b"1", b"2"))
    assert not is_genuine(SECRET, hook.headers, hook.body + b" ")
    assert not is_genuine("whsec_" + "A" * 32, hook.headers, hook.body)
    for name, other in (("id", "msg_2"), ("timestamp", str(NOW + 1001)), ("signature", "v1,AAAA ä v2,x")):
        assert not is_genuine(SECRET, {**hook.headers, f"webhook-{name}": other}, hook.body)
    assert is_genuine(SECRET, hook.headers, hook.body, 1299)
    assert not is_genuine(SECRET, hook.headers, hook.body, 1301)  # it was recorded, and sent again
    both = {**hook.headers, "webhook-signature": "v1,AAAA " + hook.headers["webhook-signature"]}
    assert is_genuine(SECRET, both, hook.body)


def test_the_specification_s_own_example() -> None:
    # From the README of the Standard Webhooks' libraries.
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_of_any_other_form_is_its_own_bytes(is_genuine: Callable[..., bool]) -> None:
    secret = "ein Geheimnis für zwei"
    assert signing_key(secret) == secret.encode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW)}
    headers["webhook-signature"] = signature(signing_key(secret), "msg_1", str(NOW), b"{}")
    assert is_genuine(secret, headers, b"{}", 0)


@pytest.mark.parametrize(("text", "key"), [("whsec_AAEC", b"\0\1\2"), ("whsec_AA", b"\0"), ("whsec_AA==", b"\0")])
def test_base64_with_and_without_its_padding(text: str, key: bytes) -> None:
    assert signing_key(text) == key


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_A", "whsec_in valid", "whsec_ä"])
def test_a_secret_that_cannot_be_used(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook") as raised:
        Webhook("http://127.0.0.1:1/", secret, logging.getLogger("test.webhook"))
    assert len(secret) < 8 or secret not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["", "hooks.example", "ftp://hooks.example/", "https://", "https://a b/", "https://h/ä", "https://h/#x",
     "https://user:hidden@h/", "https://h:0/", "https://h:hidden/"],
)  # fmt: skip
def test_a_url_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        Webhook(url, SECRET, logging.getLogger("test.webhook"))
    assert "user" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        ("https://h", "https://h", b"/"),
        ("http://h:8080?", "http://h:8080", b"/"),
        ("https://[::1]:8443/a/b/?c=d&e", "https://[::1]:8443", b"/a/b/?c=d&e"),
    ],
)
def test_a_url_s_parts(url: str, base: str, path: bytes) -> None:
    assert parts_of(url) == (base, path)


@pytest.mark.parametrize("answer", [500, 404, 307, RESET, SILENCE, b"nonsense\r\n\r\n"])
def test_what_was_not_taken_is_tried_again_with_the_same_id(
    loop: FakeTimeLoop, caplog: pytest.LogCaptureFixture, is_genuine: Callable[..., bool], answer: int | bytes
) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig(loop, answer, 204, path="/in?token=hidden")
    rig.send(1)
    rig.hooked(1)
    if answer is SILENCE:
        loop.advance(9.5)
        assert not caplog.records
        loop.advance(1)
    rig.until(lambda: "tried again in 5 s" in caplog.text)
    loop.advance(4)
    rig.hooked(1)
    loop.advance(1)
    first, second = rig.hooked(2)
    rig.close()
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) in (5, 15, 16)
    assert is_genuine(SECRET, second.headers, second.body)
    assert first.body == second.body
    assert warnings(caplog) == []
    assert "hidden" not in caplog.text
    assert "whsec" not in caplog.text


def test_nobody_listens(loop: FakeTimeLoop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig(loop)
    loop.run_until_complete(rig.receiver.__aexit__(None, None, None))
    rig.send(1)
    rig.until(lambda: "ConnectionRefusedError" in caplog.text)
    rig.close()
    (line,) = warnings(caplog)
    assert "test.event is not sent" in line
    assert "cannot be reached" in line
    caplog.clear()


def test_the_pauses_and_the_end_of_them(loop: FakeTimeLoop, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(loop, 503)
    rig.send(1)
    rig.hooked(1)
    for tries, seconds in enumerate(PAUSES, 1):
        loop.advance(seconds - 1, step=seconds)
        rig.hooked(tries)
        loop.advance(1)
        rig.hooked(tries + 1)
    assert len(PAUSES) + 1 == TRIES
    rig.until(lambda: bool(warnings(caplog)))
    assert [line.partition(" at ")[2].partition(": ")[2] for line in warnings(caplog)] == [
        "given up after 8 tries: it answered 503"
    ]
    caplog.clear()
    loop.advance(10_000, step=1000)
    rig.hooked(TRIES)
    rig.send(2)  # has its own tries
    rig.hooked(TRIES + 1)
    rig.close()
    assert len(warnings(caplog)) == 1
    caplog.clear()


def test_pauses_grow_with_chance_and_a_bound() -> None:
    assert [pause(tries, lambda: 0.5) for tries in range(1, 8)] == list(PAUSES)
    assert [pause(1, lambda: 0.0), pause(1, lambda: 1.0)] == [3.75, 6.25]
    assert pause(8, lambda: 1.0) == 9000


@pytest.mark.parametrize(("asked", "seconds"), [(None, 5), (0, 5), (4, 5), (60, 60), (1e9, 7200)])
def test_a_retry_after_is_heeded_within_bounds(asked: float | None, seconds: float) -> None:
    assert pause(1, lambda: 0.5, asked) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        (b"", None),
        (b"soon", None),
        (b"-5", None),
        (b"\xb2", None),
        (b"120", 120),
        (b"9" * 400, 999_999_999),
        (b"Mon, 21 Sep 2026 14:15:20 GMT", 120),
        (b"Mon, 21 Sep 2026 14:15:20 -0000", 120),
        (b"Mon, 21 Sep 2026 10:00:00 GMT", 0),
    ],
)
def test_a_retry_after_is_read(header: bytes | None, seconds: float | None) -> None:
    assert wait_of(header, NOW) == seconds


def test_a_retry_after_puts_off_the_next_try(loop: FakeTimeLoop) -> None:
    busy = b"HTTP/1.1 429 Busy\r\nRetry-After: 100\r\nContent-Length: 0\r\n\r\n"
    rig = Rig(loop, busy, 204)
    rig.send(1)
    rig.hooked(1)
    loop.advance(99, step=33)
    rig.hooked(1)
    loop.advance(2)
    rig.hooked(2)
    rig.close()


def test_events_arrive_in_their_order_each_with_its_own_id(loop: FakeTimeLoop) -> None:
    rig = Rig(loop, 204, 500, 204)
    rig.send(1, 2, 3)
    rig.hooked(2)
    loop.advance(5.5)
    hooks = rig.hooked(4)
    rig.close()
    assert rig.numbers() == [1, 2, 2, 3]
    assert len({hook.headers["webhook-id"] for hook in hooks}) == 3


def test_a_service_that_is_gone_gets_nothing_more(loop: FakeTimeLoop, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(loop, 410)
    rig.send(1, 2)
    rig.hooked(1)
    rig.until(lambda: len(warnings(caplog)) == 3)
    rig.send(3)
    loop.advance(20_000, step=1000)
    rig.hooked(1)
    rig.close()
    assert "410 (Gone)" in warnings(caplog)[0]
    assert [line.rpartition(": ")[2] for line in warnings(caplog)[1:]] == ["the service wants no more"] * 3
    caplog.clear()


def test_what_finds_no_room_is_said(loop: FakeTimeLoop, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(loop, SILENCE)
    rig.send(*range(QUEUE + 1))
    rig.hooked(1)
    assert [line.rpartition(": ")[2] for line in warnings(caplog)] == [f"{QUEUE} others wait already"]
    rig.close()
    assert len(warnings(caplog)) == QUEUE + 1
    caplog.clear()


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}])
def test_what_is_no_json_is_said(loop: FakeTimeLoop, caplog: pytest.LogCaptureFixture, value: object) -> None:
    rig = Rig(loop)
    rig.webhook.send({"type": "test.event", "value": value})
    rig.close()
    (line,) = warnings(caplog)
    assert "cannot be written as JSON" in line
    caplog.clear()


def test_what_has_no_utf8_is_sent_all_the_same(loop: FakeTimeLoop) -> None:
    rig = Rig(loop)
    loop.call_soon(rig.webhook.send, {"type": "test.event", "value": "größer\ud800"})
    (hook,) = rig.hooked(1)
    rig.close()
    assert json.loads(hook.body)["value"] == "größer?"


def test_the_end_does_not_wait_for_a_pause(loop: FakeTimeLoop, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(loop, 500, 500, 204)
    rig.send(1, 2)
    rig.hooked(1)
    before = loop.now
    rig.close()
    assert loop.now - before <= 1
    assert rig.numbers() == [1, 1, 2]
    (line,) = warnings(caplog)
    assert line.endswith("the gateway is ending, and the last try failed: it answered 500")
    caplog.clear()


def test_the_end_waits_for_a_moment_only(loop: FakeTimeLoop, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(loop, SILENCE)
    rig.send(1, 2)
    rig.hooked(1)
    before = loop.now
    rig.close()
    assert 2 <= loop.now - before <= 3
    assert [line.rpartition(": ")[2] for line in warnings(caplog)] == [
        "the gateway ended before it was delivered"
    ] * 2
    caplog.clear()
    rig.webhook.send({"type": "test.event"})
    assert [line.rpartition(": ")[2] for line in warnings(caplog)] == ["the gateway is ending"]
    caplog.clear()


@pytest.mark.parametrize("make_loop", LOOPS.values(), ids=LOOPS)
def test_on_each_event_loop(make_loop: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    async def deliver() -> list[Hook]:
        async with Receiver() as receiver:
            webhook = Webhook(receiver.url, SECRET, logging.getLogger("test.webhook"))
            for number in range(20):
                webhook.send({"type": "test.event", "number": number})
            await webhook.close()
            return receiver.hooks

    with asyncio.Runner(loop_factory=make_loop) as runner:
        hooks = runner.run(deliver())
    assert [json.loads(hook.body)["number"] for hook in hooks] == list(range(20))
    assert warnings(caplog) == []


def test_over_tls_only_authorities_are_believed(
    loop: FakeTimeLoop, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    receiver = Receiver(tls=served(authority))
    loop.run_until_complete(receiver.__aenter__())
    url = f"https://localhost:{receiver.port}/in"
    for ca_file, taken in (("", False), (str(tmp_path / "authority.pem"), True)):
        webhook = Webhook(url, SECRET, logging.getLogger("test.webhook"), ca_file=ca_file)
        loop.call_soon(webhook.send, {"type": "test.event"})
        loop.settle()
        loop.run_until_complete(webhook.close())  # which tries it once
        assert len(receiver.hooks) == taken
        assert ("CERTIFICATE_VERIFY_FAILED" in caplog.text) is not taken
        caplog.clear()
    loop.run_until_complete(receiver.__aexit__(None, None, None))
