"""install.sh on a Debian that really boots: what it refuses, upgrades, does with the key, and removes."""

from __future__ import annotations

import filecmp
import hashlib
import os
import socket
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import requests

import processes
from support.booted import Machine
from support.service import (
    INSTALL,
    KEY,
    KEY_FILE,
    NAME,
    NEWER,
    PATIENCE,
    PROGRAM,
    SETTINGS,
    UNIT,
    Service,
    drop_in,
    until,
)

OTHER_KEY: Final = "sk-another-one-for-the-tests"
NO_KEY: Final = "two words"
OPENPTY: Final[Any] = getattr(os, "openpty", None)  # Windows has none, and runs no test of this module


def traces(machine: Machine) -> list[str]:
    """What lies about of us outside the archives; the drop-in of these tests does not count."""
    found = machine.run("find", "/", "-xdev", "-name", "*chatgpt*", "-not", "-path", "/opt/*")
    return [line for line in found.splitlines() if not line.startswith(f"/{UNIT}.d")]


def placed(machine: Machine) -> dict[str, str]:
    """The files of the folders that hold program, configuration, key and unit, each with a digest."""
    folders = (machine.root / Path(name).parent for name in (PROGRAM, SETTINGS, UNIT))
    files = [file for folder in folders for file in folder.glob("*") if file.is_file() and not file.is_symlink()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def foreign(executable: Path) -> bytes:
    """The program for another kind of processor."""
    head = bytearray(executable.read_bytes()[:4096])
    head[18:20] = (0x15, 0x00)  # e_machine: 64-bit PowerPC
    return bytes(head)


def test_what_cannot_be_installed_is_one_line_and_leaves_nothing(machine: Machine, executable: Path) -> None:
    (machine.root / "opt/foreign").write_bytes(foreign(executable))
    (machine.root / "opt/empty").touch()
    archive = "/opt/release"
    no_systemd = f"mount -t tmpfs none /run/systemd && exec {INSTALL}"
    for command, part in (
        ([INSTALL, KEY], "--help"),
        ([INSTALL, "--key-file"], "--key-file"),
        ([INSTALL, "--keep-config"], "--remove"),
        ([INSTALL, "--key-file", "/nowhere"], "--key-file"),
        ([INSTALL, "--key-file", "/opt/empty"], "empty"),
        ([INSTALL, "--executable", "/nowhere"], "/nowhere"),
        ([INSTALL, "--executable", "/opt/foreign"], "does not run"),
        (["sh", "-c", f"cat {INSTALL} | setpriv --reuid=65534 sh -s"], "root"),
        (["unshare", "--mount", "sh", "-c", no_systemd], "systemd"),
        (["sh", "-c", f"cp {INSTALL} /opt && /opt/install.sh --executable {archive}/{NAME}"], ".service"),
    ):
        said = machine.run(*command, fails=True)
        assert said.startswith("install.sh: "), said
        assert part in said
        assert len(said.splitlines()) == 1, said
        assert KEY not in said
    assert traces(machine) == []


def test_a_first_installation_that_is_refused_leaves_nothing(machine: Machine) -> None:
    before = [*traces(machine), *placed(machine)]
    said = machine.run(INSTALL, "--key-file", "-", text=NO_KEY, fails=True)
    assert "API_KEY_FILE" in said
    assert "nothing was changed" in said
    assert NO_KEY not in said
    assert [*traces(machine), *placed(machine)] == before


def test_a_failing_installation_takes_away_only_what_it_made(machine: Machine, executable: Path) -> None:
    """Neither the folder for temporary files that its caller has, nor what stands in its own way."""
    theirs, folder = machine.root / "opt/theirs", machine.root / Path(SETTINGS).parent
    theirs.mkdir()
    given = {"TMPDIR": "/opt/theirs"}
    # Interrupted before it has a folder of its own.
    early = machine.root / "opt/early"
    early.mkdir()
    (early / "mkdir").write_text("#!/bin/sh\nkill -TERM $PPID\n", "utf-8")
    (early / "mkdir").chmod(0o755)
    machine.run("sh", "-c", f"PATH=/opt/early:$PATH exec {INSTALL}", environment=given, fails=True)
    assert theirs.is_dir()
    folder.touch()
    assert "cannot be made" in machine.run(INSTALL, environment=given, fails=True)
    assert theirs.is_dir()
    folder.unlink()
    folder.mkdir()
    (machine.root / "opt/foreign").write_bytes(foreign(executable))
    assert "does not run" in machine.run(INSTALL, "--executable", "/opt/foreign", environment=given, fails=True)
    assert theirs.is_dir()
    assert list(folder.iterdir()) == []
    folder.rmdir()


def test_an_upgrade_that_is_refused_changes_nothing(service: Service) -> None:
    config = service.machine.root / SETTINGS
    former, pid, good = placed(service.machine), service.show("MainPID"), config.read_text("utf-8")
    said = service.machine.run(NEWER, "--key-file", "-", text=NO_KEY, fails=True)
    assert "API_KEY_FILE" in said
    assert placed(service.machine) == former
    config.write_text("limits: {day: many}\n", "utf-8")
    wrong = placed(service.machine)
    try:
        said = service.machine.run(NEWER, "--key-file", "-", text=OTHER_KEY, fails=True)
        assert "chatgpt.yaml:1: limits.day" in said
        assert "nothing was changed" in said
        assert placed(service.machine) == wrong
    finally:
        config.write_text(good, "utf-8")
    assert service.show("MainPID") == pid
    assert service.show("NeedDaemonReload") == "no"
    assert service.ask().status_code == 200
    service.machine.run("systemctl", "restart", NAME)
    assert service.ask().status_code == 200


def test_a_port_in_use_is_named_by_the_installation(service: Service) -> None:
    port = processes.free_port()
    with (
        drop_in(service.machine, "zz-taken", f"Environment=PORT={port}"),
        socket.create_server(("", port)),
    ):
        said = service.machine.run(INSTALL, fails=True)
    assert said.startswith(f"install.sh: {NAME} does not start: port {port} is in use")
    assert len(said.splitlines()) == 1
    until(lambda: service.show("ActiveState") == "active")


def test_an_upgrade_keeps_configuration_and_key(service: Service) -> None:
    root = service.machine.root
    config = root / SETTINGS
    config.write_text(config.read_text("utf-8") + "# mine\n", "utf-8")
    former = service.show("MainPID")
    service.machine.run(NEWER)
    assert service.show("MainPID") != former
    assert filecmp.cmp(root / PROGRAM, root / Path(NEWER[1:]).with_name(NAME), shallow=False)
    assert (root / UNIT).read_text("utf-8").endswith("# newer\n")
    assert config.read_text("utf-8").endswith("# mine\n")
    assert (root / KEY_FILE).read_text("utf-8") == f"{KEY}\n"
    assert [file for file in placed(service.machine) if file.endswith(".new")] == []
    assert service.ask().status_code == 200


def test_without_a_key_callers_bring_their_own(service: Service) -> None:
    service.machine.run(INSTALL, "--remove", "--keep-config")
    (service.machine.root / KEY_FILE).unlink()
    assert "each caller must bring one" in service.machine.run(INSTALL)
    assert service.ask().status_code == 400
    assert service.ask(api_key="sk-of-a-caller").status_code == 200


def test_a_key_put_there_by_hand_counts_from_the_next_run_on(service: Service) -> None:
    key = service.machine.root / KEY_FILE
    key.unlink(missing_ok=True)
    service.machine.run(INSTALL)
    assert service.ask().status_code == 400
    key.write_text(f"{OTHER_KEY}\n", "utf-8")
    key.chmod(0o644)
    service.machine.run(INSTALL)
    assert service.ask().status_code == 200
    assert oct(key.stat().st_mode)[-3:] == "600"
    assert key.read_text("utf-8") == f"{OTHER_KEY}\n"


def test_a_key_in_the_environment_replaces_the_former(service: Service) -> None:
    assert "sudo --preserve-env=API_KEY ./install.sh" in service.machine.run(INSTALL, "--help")
    service.machine.run(INSTALL, environment={"API_KEY": KEY})
    assert (service.machine.root / KEY_FILE).read_text("utf-8") == f"{KEY}\n"
    assert service.ask().status_code == 200


def test_the_key_is_asked_for_and_not_shown(service: Service) -> None:
    service.machine.run(INSTALL, "--remove", "--keep-config")
    key = service.machine.root / KEY_FILE
    key.unlink()
    ours, theirs = OPENPTY()
    command = ["setsid", "--ctty", *service.machine.command(INSTALL)]
    with (
        subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process,
        os.fdopen(ours, "rb+", 0) as terminal,
    ):
        os.close(theirs)
        said = b""
        while not said.endswith(b": "):
            said += terminal.read(1000)
        terminal.write(f"{KEY}\n".encode())
        while b" runs. " not in said:
            said += terminal.read(1000)
        assert process.wait(PATIENCE) == 0
    assert KEY not in said.decode()
    assert key.read_text("utf-8") == f"{KEY}\n"
    assert service.ask().status_code == 200


def test_removed_it_leaves_nothing_and_its_key_is_nowhere(service: Service) -> None:
    places = service.machine.run(
        "grep", "-rlsF", "--devices=skip", KEY, "/etc", "/var", "/usr/local", "/run", "/tmp"
    )
    assert places.split() == [f"/etc/{NAME}/api_key", f"/run/credentials/{NAME}.service/api_key"]
    assert service.machine.run(INSTALL, "--remove", "--keep-config").startswith(f"{NAME} is removed")
    assert traces(service.machine) == [f"/etc/{NAME}", f"/etc/{NAME}/chatgpt.yaml"]
    assert service.machine.run(INSTALL, "--remove") == f"{NAME} is removed.\n"
    assert traces(service.machine) == []
    assert KEY not in service.journal()
    service.machine.run("systemctl", "status", NAME, fails=True)
    with pytest.raises(requests.ConnectionError):
        service.ask()
