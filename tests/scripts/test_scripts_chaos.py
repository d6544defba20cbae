"""scripts/chaos.py, in short: five seconds of it, with no eye on the clock; and its parts that need no gateway."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import chaos
import chaos_rig
import environment
import native
import processes
from chaos_load import End, Plan, Told
from chaos_verdict import Arrival
from chatgpt_platform.simulator.request import Request
from processes import ProcessError

SEED = "387"  # brings every kind of weather within five seconds


def test_nobody_gets_hurt() -> None:
    flags = ["--seconds", "5", "--rate", "100", "--seed", SEED]
    done = subprocess.run(
        [sys.executable, chaos.__file__, *flags], capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"seed {SEED}: ")
    assert "show a fault" in done.stdout
    assert done.stdout.count("met: ") > 10, "its weather is bad enough"


@pytest.mark.parametrize("wrong", [["--seconds", "0"], ["--rate", "-1"], ["--rate", "inf"], ["--seed", "x"]])
def test_a_wrong_command_line(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        chaos.parse(wrong)
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "path", "command"),
    [
        ([], environment.ROOT, [sys.executable, "-m", "chatgpt_platform"]),
        (["--native"], Path("native"), [sys.executable, "-OO", "-m", "chatgpt_platform"]),
        (["--executable", "program"], environment.ROOT, [str(Path("program").resolve())]),
    ],
)
def test_the_gateway_that_is_asked_for(
    flags: list[str], path: Path, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "make", lambda: Path("native"))
    started: list[tuple[list[str], str]] = []

    def process(command: list[str], folder: Path, log: Path, env: dict[str, str]) -> None:
        started.append((command, env["PYTHONPATH"]))
        raise ProcessError("enough")

    monkeypatch.setattr(processes, "Process", process)
    with pytest.raises(ProcessError, match="enough"):
        asyncio.run(chaos.run(chaos.parse(flags), 1, tmp_path))
    ((got, where),) = started
    assert got[: len(command) + 1] == [*command, "serve"]
    assert where == str(path)


def test_a_story_tells_both_sides() -> None:
    told = Told(Plan(12, 0.0, "openai", stream=True), 1.0, 2.0, b"HTTP/1.1 200 OK", End.CLOSED)
    said = chaos_rig.story(told, [Arrival(1.5, "first", "reset")], ["no head"])
    assert "call-0000012, openai stream, 1.000 to 2.000, closed: no head" in said
    assert "1.500 first: reset" in said


@pytest.mark.parametrize(
    ("fault", "key", "body", "met"),
    [
        ("", "a-1", b"{}", ""),
        ("reset", "a-wrong", b"{}", "reset"),
        ("", "a-wrong", b"{}", "key refused"),
        ("comments", "a-busy", b"{}", "key busy"),
        ("", "a-broke", b"{}", "key broke"),
        ("no-done", "a-1", b'{"stream": false}', ""),
        ("no-done", "a-1", b'{"stream": true}', "no-done"),
    ],
)
def test_what_a_call_met(fault: str, key: str, body: bytes, met: str) -> None:
    request = Request("POST", "/v1/chat/completions", {"Authorization": f"Bearer {key}"}, body, fault)
    assert chaos_rig._met(request) == met


def test_what_a_log_tells(tmp_path: Path) -> None:
    assert chaos_rig.complaints("all is well\nTask was destroyed but it is pending!\n") == [
        "Task was destroyed but it is pending!"
    ]
    log = tmp_path / "access.log"
    log.write_text('{"request_id": "r1"}\n{"request_id": "r2"}\n{"request_id": "r2"}\n', "utf-8")
    told = [
        Told(
            Plan(number, 0.0, "openai", stream=False),
            raw=b"HTTP/1.1 200 OK\r\nX-Request-Id: %b\r\n\r\n" % identifier,
        )
        for number, identifier in enumerate([b"r1", b"r2", b"r3"])
    ]
    assert chaos_rig.missing_records(told, log) == [
        "call-0000001 has 2 records in the access log",
        "call-0000002 has 0 records in the access log",
    ]
