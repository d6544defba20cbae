"""scripts/demo.py from end to end, in the interpreter that runs the tests; and what it says when it cannot."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import demo
import environment
import processes
from demo import Answer, StepError

GENEROUS = 60  # seconds; only a guard against hanging


def answer(status: int, text: str) -> Answer:
    return Answer(status, http.client.HTTPMessage(), text)


def test_the_tour_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run(processes.free_port(), once=True) == 0
    out = capsys.readouterr().out
    assert [line[:5] for line in out.splitlines() if line.startswith("== ")] == [f"== {n}." for n in (1, 2, 3, 4)]
    assert out.count("$ curl") == 6
    assert "result: 6 turns" in out
    assert "HTTP 429" in out
    assert "failed:" not in out


@pytest.mark.skipif(os.name != "posix", reason="Windows cannot send Ctrl-C to one process")
def test_it_serves_on_until_ctrl_c_and_leaves_nothing_behind() -> None:
    port = processes.free_port()
    code = f"import demo, processes; processes.stop_on_signals(); raise SystemExit(demo.run({port}, once=False))"
    paths = os.pathsep.join([str(environment.ROOT), str(Path(demo.__file__).parent)])
    child = subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        env=processes.clean_environment(PYTHONPATH=paths),
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                if line.startswith("Serving until Ctrl-C"):
                    child.send_signal(signal.SIGINT)
                    break
            assert child.wait(GENEROUS) == 0
            assert processes.is_free(port)
        finally:
            child.kill()


def test_a_port_in_use_is_named_with_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind((processes.LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        assert demo.run(port, once=True) == 1
    assert capsys.readouterr().err == (
        f"Port {port} is in use; choose another: python3 scripts/demo.py --port {port + 1}\n"
    )


def test_a_failed_step_is_a_line_and_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert not demo.take_tour(processes.free_port())  # nobody serves there
    lines = capsys.readouterr().out.splitlines()
    assert [line[:14] for line in lines if "failed: " in line] == [f"Step {n} failed:" for n in (1, 2, 3, 4)]


def test_success_is_what_has_a_text() -> None:
    good = '{"code": 200, "data": {"response": "Hello"}}'
    assert demo.require_success(answer(200, good))["data"]["response"] == "Hello"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (500, '{"code": 500, "data": {"response": "why"}}'),
        (200, '{"data": {"response": " "}}'),
        (200, '{"data": {"response": null}}'),
        (200, '{"data": []}'),
        (200, "[]"),
        (200, "no JSON"),
    ],
)
def test_anything_else_fails_the_step(status: int, text: str) -> None:
    with pytest.raises(StepError):
        demo.require_success(answer(status, text))


def test_none_of_the_users_settings_reach_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "CHATGPT_CONFIG", "CHATGPT_SERVER__PORT", "LANG", "PORT", "HTTP_PROXY"):
        monkeypatch.setenv(name, "leaked")
    assert "leaked" not in processes.clean_environment(MINUTE_LIMIT="5").values()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_every_polite_signal_interrupts(name: str) -> None:
    if not hasattr(signal, name):
        pytest.skip(f"this platform has no {name}")
    number = getattr(signal, name)
    polite = ("SIGINT", "SIGTERM", "SIGHUP")
    before = {one: signal.getsignal(getattr(signal, one)) for one in polite if hasattr(signal, one)}
    try:
        processes.stop_on_signals()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    finally:
        for one, handler in before.items():
            signal.signal(getattr(signal, one), handler)


def test_a_signal_during_the_start_still_stops_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = processes.Process(command, tmp_path, tmp_path / "log", processes.clean_environment())
    with pytest.raises(KeyboardInterrupt):
        child.__enter__()
    assert started[0].poll() is not None


def test_a_child_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('the reason')"]
    child = processes.Process(command, tmp_path, tmp_path / "log", processes.clean_environment())
    with child, pytest.raises(processes.ProcessError, match="the reason"):
        child.wait_until_ready(processes.free_port(), "/", GENEROUS)


def test_a_child_that_ignores_the_polite_request_is_ended(tmp_path: Path) -> None:
    code = (
        "import signal, time\n"
        "for name in ('SIGTERM', 'SIGBREAK'):\n"
        "    if hasattr(signal, name):\n"
        "        signal.signal(getattr(signal, name), signal.SIG_IGN)\n"
        "print('deaf', flush=True)\n"
        "time.sleep(600)\n"
    )
    log = tmp_path / "log"
    with processes.Process([sys.executable, "-c", code], tmp_path, log, processes.clean_environment()) as child:
        while "deaf" not in log.read_text("utf-8"):
            assert child.is_running()
        child.stop(patience=0.05)
        assert not child.is_running()
