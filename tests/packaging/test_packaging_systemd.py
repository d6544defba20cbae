"""The service on a Debian that really boots: asked, reloaded, killed, hung, stopped."""

from __future__ import annotations

import re
import threading
from functools import partial
from typing import Final

import pytest
import requests

from support.program import Reader
from support.service import KEY_FILE, NAME, PATIENCE, PROGRAM, SETTINGS, UNIT, Service, drop_in, until

FIGURE: Final = 1.5  # the most exposure that systemd-analyze may see
LONG: Final = "a b c d e f g h " * 10  # is answered word by word


def test_it_serves_as_soon_as_it_is_installed(service: Service) -> None:
    assert service.ask().json()["code"] == 200, "the upstream answers only calls with a key"
    assert service.show("StatusText") == f"serves http://0.0.0.0:{service.port}"
    modes = {name: (service.machine.root / name).stat() for name in (
        PROGRAM, UNIT, SETTINGS, KEY_FILE,
    )}  # fmt: skip
    assert [oct(each.st_mode)[-3:] for each in modes.values()] == ["755", "644", "644", "600"]
    assert {(each.st_uid, each.st_gid) for each in modes.values()} == {(0, 0)}
    assert service.machine.run("systemctl", "is-enabled", NAME).strip() == "enabled"
    logs = service.machine.root / "var/log/private" / NAME
    until(lambda: '"status":200' in (logs / "access.log").read_text("utf-8"))
    assert f"serves http://0.0.0.0:{service.port}" in (logs / "app.log").read_text("utf-8")


def test_systemd_has_nothing_to_complain_of(service: Service) -> None:
    assert service.machine.run("systemd-analyze", "verify", f"/{UNIT}") == ""
    assert "Unknown key" not in service.journal()
    said = service.machine.run("systemd-analyze", "security", "--no-pager", NAME)
    figure = re.search(r"Overall exposure level for .*: ([\d.]+)", said)
    assert figure is not None
    assert float(figure[1]) <= FIGURE, said


def test_a_process_of_it_can_do_nothing_else(service: Service) -> None:
    """What the unit asks for is in force, and not just written down."""
    for pid in service.processes():
        status = dict(
            line.split(":\t", 1) for line in service.machine.run("cat", f"/proc/{pid}/status").splitlines()
        )
        assert int(status["Uid"].split()[0]) > 60_000
        assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_keys_are_made_beside_it_by_root_and_outlive_a_kill(service: Service) -> None:
    def command(*arguments: str) -> str:
        return service.machine.run(f"/{PROGRAM}", *arguments, environment={"TMPDIR": "/opt"})

    said = command("keys", "create", "--name", "alice")
    key = next(line for line in said.splitlines() if line.startswith("cgp_"))
    until(lambda: service.ask(api_key=key).status_code == 200)
    until(lambda: "\nalice,1,1," in command("usage", "--format", "csv"))
    first, program = sorted(service.processes())
    service.kill("KILL", program)
    service.wait_for_restart(first)
    assert service.ask(api_key=key).status_code == 200
    until(lambda: "\nalice,2,2," in command("usage", "--format", "csv"))
    command("keys", "revoke", "alice")
    until(lambda: service.ask(api_key=key).status_code == 401)
    state = service.machine.root / "var/lib/private" / NAME
    assert state.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in state.iterdir()} == {0o600}
    assert {each.stat().st_uid for each in state.iterdir()} == {state.stat().st_uid} != {0}


def test_no_request_fails_while_it_is_reloaded(service: Service) -> None:
    config = service.machine.root / SETTINGS
    former = config.read_text("utf-8")
    codes: list[int] = []
    enough = threading.Event()

    def load() -> None:
        with requests.Session() as session:
            while not enough.is_set():
                codes.append(session.post(f"{service.url}/chatgpt", json={"prompt": "x"}).status_code)

    def limited(limit: int) -> bool:
        return f"q={limit}000;" in service.ask().headers.get("ratelimit-policy", "")

    pid = service.show("MainPID")
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for limit in range(1001, 1006):
            config.write_text(f"limits: {{day: {limit}000}}\n", "utf-8")
            service.machine.run("systemctl", "reload", NAME)
            until(partial(limited, limit))
        config.write_text("limits: {day: many}\n", "utf-8")
        service.machine.run("systemctl", "reload", NAME)
        until(lambda: "refused" in service.show("StatusText"))
    finally:
        config.write_text(former, "utf-8")
        enough.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert len(codes) > 20
    assert set(codes) == {200}
    assert "chatgpt.yaml:1: limits.day" in service.journal()
    service.machine.run("systemctl", "reload", NAME)
    until(lambda: "refused" not in service.show("StatusText"))
    assert service.show("MainPID") == pid
    assert service.show("ActiveState") == "active"


@pytest.mark.parametrize("which", [0, 1], ids=["the launcher", "the program"])
def test_it_comes_back_after_a_kill(service: Service, which: int) -> None:
    former = sorted(service.processes())
    assert str(former[0]) == service.show("MainPID")
    assert len(former) == 2
    service.kill("KILL", former[which])
    service.wait_for_restart(former[0])
    assert not set(former) & set(service.processes()), "nothing of the former one runs on"


def test_its_signs_of_life_arrive(service: Service) -> None:
    pid, former = service.show("MainPID"), int(service.show("WatchdogTimestampMonotonic"))
    until(lambda: int(service.show("WatchdogTimestampMonotonic")) > former)
    assert service.show("MainPID") == pid, "a restart moves the time as well"


def test_a_program_that_hangs_is_killed_and_comes_back(service: Service) -> None:
    launcher, program = sorted(service.processes())
    service.kill("STOP", program)
    service.wait_for_restart(launcher)
    assert "Watchdog timeout" in service.journal()


def test_a_stop_lets_streams_finish(service: Service) -> None:
    # The program's own drain counts, even where the unit's patience is shorter.
    with drop_in(service.machine, "impatient", "TimeoutStopSec=500ms"):
        service.machine.run("systemctl", "restart", NAME)
        copies = service.machine.root / "var/cache/private" / NAME
        mine = f"_MEI{int(service.show('MainPID')):08x}*"
        assert len(list(copies.glob(mine))) == 1
        reader = Reader(service.url, LONG)
        service.machine.run("systemctl", "stop", NAME)
        assert reader.whole()
        assert service.show("Result") == "success"
        assert list(copies.glob(mine)) == [], "the unpacked copy is gone"
    service.machine.run("systemctl", "start", NAME)


def test_a_wrong_configuration_is_said_and_not_tried_again(service: Service) -> None:
    config = service.machine.root / SETTINGS
    former = config.read_text("utf-8")
    config.write_text("limits: {day: many}\n", "utf-8")
    try:
        service.machine.run("systemctl", "restart", NAME, fails=True)
        assert service.show("ActiveState") == "failed"
        assert "chatgpt.yaml:1: limits.day" in service.journal()
    finally:
        config.write_text(former, "utf-8")
    service.machine.run("systemctl", "start", NAME)
