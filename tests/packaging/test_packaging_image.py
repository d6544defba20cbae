"""The image: the Dockerfile built for real, run as users run it, and both compose files brought up.

The two base images are stand-ins, made from the Debian packages that the real ones consist of; ``buildah`` and
``podman`` do what Docker does. Nothing is fetched but packages, from where this host has its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import trustme
import yaml

from chatgpt_platform import __version__
from chatgpt_platform.simulator.server import Behaviour
from processes import free_port
from support import compose, containers, debian, host_pip, tools
from support.containers import Container, Engine, Failed
from support.gateway import wait_until
from support.program import ROOT, Reader, serving
from support.simulated import KEY, simulated
from support.tools import Unavailable

# What python:3.11-bookworm has of all that the build needs.
BUILD_PACKAGES: Final = ("python3", "python3-venv", "libpython3.11-dev", "gcc", "libc6-dev", "ca-certificates")
COMMIT: Final = "0123456789ab"
USER: Final = "65532:65532"
PATIENCE: Final = 30.0

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="root on Linux runs containers"
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    try:
        tools.need(**containers.PROGRAMS)
    except Unavailable as reason:
        pytest.skip(str(reason))
    made = Engine(ROOT / "build" / "containers")
    made.clear()
    yield made
    made.clear()


class Built:
    """The image, the stand-in that it was made on, and what the build said."""

    def __init__(self, image: str, base: str, said: str) -> None:
        self.image: Final = image
        self.base: Final = base
        self.said: Final = said


@pytest.fixture(scope="module")
def built(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Built:
    trees = ROOT / "build" / "debian"
    try:
        build_tree = debian.minimal(trees / "build", BUILD_PACKAGES)
        base_tree = debian.distroless(trees / "distroless")
    except Unavailable as reason:
        pytest.skip(str(reason))
    build = engine.import_tree(build_tree, "build")
    certificates = f"ENV SSL_CERT_FILE=/{debian.CERTIFICATES}"
    base = engine.import_tree(base_tree, "base", certificates, f"USER {debian.NONROOT}")
    image, said = engine.build(
        ROOT,
        "chatgpt-platform",
        {"BUILD_IMAGE": build, "RUNTIME_IMAGE": base, "COMMIT": COMMIT},
        host_pip.carried(tmp_path_factory.mktemp("pip") / "pip.conf"),
    )
    return Built(image, base, said)


class Running:
    """A container that serves on a port of this host."""

    def __init__(self, container: Container, port: int) -> None:
        self.container: Final = container
        self.url: Final = f"http://127.0.0.1:{port}"

    def ask(self, path: str = "/chatgpt", **more: str) -> dict[str, Any]:
        answer = requests.get(self.url + path, params={"prompt": "Hello", **more}, timeout=PATIENCE)
        body: dict[str, Any] = answer.json()
        return body

    def warnings(self) -> list[str]:
        return [line for line in self.container.logs.splitlines() if "WARNING" in line]


@contextmanager
def running(
    engine: Engine, built: Built, *options: str, command: Sequence[str] = ("serve", "--demo")
) -> Iterator[Running]:
    """The image on this host's network, so that its upstream may be on this host's loopback."""
    port = free_port()
    own = ("--network", "host", "--env", f"PORT={port}", "--env", "CHATGPT_SERVER__HOST=127.0.0.1")
    with engine.container(built.image, *command, options=(*own, *options)) as container:
        container.wait_for(" serves http")
        yield Running(container, port)


def root_owned(tmp_path: Path, name: str = "logs") -> Path:
    """The folder that Docker makes for a bind mount whose source is not there."""
    folder = tmp_path / name
    folder.mkdir(mode=0o755)
    return folder


def served_by(container: Container) -> tuple[set[int], set[int], int]:
    """Users, groups and capabilities of the process that serves; the first one only waits for it."""
    launcher, service = container.processes()
    assert service.parent
    assert launcher.users <= {0, debian.NONROOT}
    return service.users, service.groups, service.capabilities


# --- what the build is sent, what the image holds and says


def test_no_key_and_no_log_is_sent_to_the_build(engine: Engine, tmp_path: Path) -> None:
    wanted = {"chatgpt.spec", "chatgpt_platform/a.py", "packaging/locks/build.txt", "scripts/build.py"}
    unwanted = {
        ".env", ".git/config", "build/a", "chatgpt.yaml", "chatgpt_platform/__pycache__/a.pyc", "compose.yaml",
        "config/chatgpt.yaml", "logs/app.log", "packaging/docker/api_key.txt", "packaging/docker/logs/app.log",
    }  # fmt: skip
    for name in wanted | unwanted:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x", "utf-8")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n", "utf-8")
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    image, _ = engine.build(tmp_path, "sent", {}, [])
    with engine.mounted(image) as sent:
        assert {str(path.relative_to(sent)) for path in sent.rglob("*") if path.is_file()} == wanted


def test_it_holds_the_executable_and_nothing_else(engine: Engine, built: Built) -> None:
    with engine.mounted(built.base) as base, engine.mounted(built.image) as image:
        added = {str(path.relative_to(image)) for path in image.rglob("*")} - {
            str(path.relative_to(base)) for path in base.rglob("*")
        }
        assert added == {"chatgpt-platform", "app", "app/logs", "app/state"}
        assert {(image / name).stat().st_uid for name in ("app/logs", "app/state")} == {debian.NONROOT}
        assert (image / "chatgpt-platform").stat().st_uid == 0
        shells = [name for name in ("sh", "bash", "dash", "busybox") if (image / "bin" / name).exists()]
        assert shells == []


def test_it_says_what_docker_has_to_know(engine: Engine, built: Built) -> None:
    (said,) = json.loads(engine.podman("image", "inspect", built.image))
    config = said["Config"]
    assert config["Entrypoint"] == ["/chatgpt-platform"]
    assert config["Cmd"] == ["serve"]
    assert config["StopSignal"] in {"SIGTERM", "15"}
    assert set(config["ExposedPorts"]) == {"5000/tcp"}
    assert config["User"] == "0"
    assert said["HealthCheck" if "HealthCheck" in said else "Healthcheck"]["Test"] == [
        "CMD", "/chatgpt-platform", "healthcheck",
    ]  # fmt: skip
    assert {
        "CHATGPT_LOGGING__DIRECTORY=/app/logs", "CHATGPT_STATE__DIRECTORY=/app/state",
        f"CHATGPT_SERVER__USER={USER}",
    } <= set(config["Env"])  # fmt: skip
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == COMMIT
    assert labels["org.opencontainers.image.licenses"] == "GPL-3.0-or-later"


def test_the_build_tried_the_executable_out(built: Built) -> None:
    tried = [line for line in built.said.splitlines() if line.startswith("ok     ")]
    assert any("version" in line for line in tried)
    assert any("serve --demo" in line for line in tried)


def test_it_tells_its_commit(engine: Engine, built: Built) -> None:
    said = engine.podman("run", "--rm", "--network", "none", built.image, "version")
    assert f"chatgpt-platform {__version__}\n" in said
    assert f"commit {COMMIT}\n" in said


# --- as whom it serves


def test_started_as_root_it_owns_the_mount_and_serves_as_nobody(
    engine: Engine, built: Built, tmp_path: Path
) -> None:
    logs = root_owned(tmp_path)
    with running(engine, built, "--volume", f"{logs}:/app/logs") as gateway:
        assert served_by(gateway.container) == ({65532}, {65532}, 0)
        assert gateway.ask()["code"] == 200
        wait_until(lambda: '"path":"/chatgpt"' in (logs / "access.log").read_text("utf-8"))
        assert {each.stat().st_uid for each in (logs, *logs.iterdir())} == {65532}
        assert gateway.warnings() == []
        engine.podman("healthcheck", "run", gateway.container.id)
        engine.podman("kill", "--signal", "HUP", gateway.container.id)
        gateway.container.wait_for("the settings were read again")
        engine.podman("restart", "--time", "10", gateway.container.id)
        wait_until(lambda: gateway.container.logs.count(" serves http") == 2, PATIENCE)
        assert gateway.ask()["code"] == 200
        assert served_by(gateway.container) == ({65532}, {65532}, 0)
        assert gateway.container.stop() == 0
    assert (logs / "app.log").read_text("utf-8").count("stopped") == 2


def test_logs_that_an_older_container_wrote_as_root_are_written_on(
    engine: Engine, built: Built, tmp_path: Path
) -> None:
    logs = root_owned(tmp_path)
    (logs / "access.log").write_text("{}\n", "utf-8")
    with running(engine, built, "--volume", f"{logs}:/app/logs") as gateway:
        gateway.ask()
        wait_until(lambda: (logs / "access.log").read_text("utf-8").count("\n") == 2)
        assert gateway.warnings() == []


def test_started_with_a_user_nothing_is_ever_root(engine: Engine, built: Built, tmp_path: Path) -> None:
    with running(engine, built, "--user", USER) as gateway:
        assert {user for each in gateway.container.processes() for user in each.users} == {65532}
        assert gateway.ask()["code"] == 200
        assert gateway.warnings() == []  # /app/logs of the image is the user's
    with running(engine, built, "--user", USER, "--volume", f"{root_owned(tmp_path)}:/app/logs") as gateway:
        assert gateway.ask()["code"] == 200
        (warning,) = gateway.warnings()
        assert "/app/logs cannot be written" in warning
        assert "chown -R 65532" in warning


def test_without_capabilities_it_warns_and_serves(engine: Engine, built: Built, tmp_path: Path) -> None:
    logs, state = root_owned(tmp_path), root_owned(tmp_path, "state")
    mounts = ("--volume", f"{logs}:/app/logs", "--volume", f"{state}:/app/state")
    with running(engine, built, "--cap-drop", "all", *mounts) as gateway:
        assert gateway.ask()["code"] == 200
        (warning,) = gateway.warnings()
        assert "server.user" in warning
        assert f"--user {USER}" in warning
        users, _, capabilities = served_by(gateway.container)
        assert (users, capabilities) == ({0}, 0)
        wait_until(lambda: '"path":"/chatgpt"' in (logs / "access.log").read_text("utf-8"))


def test_with_the_few_capabilities_it_needs_it_serves_as_nobody(
    engine: Engine, built: Built, tmp_path: Path
) -> None:
    some = [part for name in ("CHOWN", "SETUID", "SETGID") for part in ("--cap-add", name)]
    state = root_owned(tmp_path, "state")
    mounts = ("--volume", f"{root_owned(tmp_path)}:/app/logs", "--volume", f"{state}:/app/state")
    options = ("--cap-drop", "all", *some, *mounts)
    with running(engine, built, *options) as gateway:
        (warning,) = gateway.warnings()
        assert "hand signals on" in warning
        assert served_by(gateway.container)[0] == {0}
        assert gateway.container.stop() == 0
    with running(engine, built, *options, "--cap-add", "KILL") as gateway:
        assert gateway.warnings() == []
        assert served_by(gateway.container) == ({65532}, {65532}, 0)
        assert gateway.container.stop() == 0
    # What root wrote before is the user's now.
    assert {each.stat().st_uid for each in (state, *state.iterdir())} == {65532}


# --- keys, and what is known of their use


@pytest.mark.parametrize("user", ["", USER], ids=["started as root", "never root"])
def test_keys_are_made_in_it_and_outlive_it(engine: Engine, built: Built, tmp_path: Path, user: str) -> None:
    state = root_owned(tmp_path, "state")
    options: tuple[str, ...] = ("--volume", f"{state}:/app/state", "--env", "CHATGPT_ACCESS__REQUIRE_KEY=true")
    if user:
        shutil.chown(state, debian.NONROOT, debian.NONROOT)
        options += ("--user", user)
    with running(engine, built, *options) as gateway:
        assert gateway.ask()["code"] == 400
        key = in_container(gateway, "keys", "create", "--name", "alice", "--budget", "5.00/month").strip()
        wait_until(lambda: gateway.ask(api_key=key)["code"] == 200)
        assert gateway.warnings() == []
        assert gateway.container.stop() == 0
    with running(engine, built, *options) as gateway:
        engine.podman("kill", gateway.container.id)
        engine.podman("start", gateway.container.id)
        wait_until(lambda: gateway.container.logs.count(" serves http") == 2, PATIENCE)
        assert gateway.ask(api_key=key)["code"] == 200
        wait_until(lambda: in_container(gateway, "usage", "--format", "csv").count("\nalice,2,2,") == 1)
        in_container(gateway, "keys", "revoke", "alice")
        wait_until(lambda: gateway.ask(api_key=key)["code"] == 401)
        assert gateway.container.stop() == 0
    files = [state, *state.iterdir()]
    assert {each.stat().st_uid for each in files} == {65532}
    assert {each.stat().st_mode & 0o777 for each in files[1:]} == {0o600}
    assert [each for each in files[1:] if key.encode() in each.read_bytes()] == []


def test_a_state_directory_of_somebody_else_s_is_one_line(engine: Engine, built: Built, tmp_path: Path) -> None:
    mount = f"{root_owned(tmp_path, 'state')}:/app/state"
    with pytest.raises(Failed) as failed:
        engine.podman("run", "--rm", "--user", USER, "--volume", mount, built.image)
    said = [line for line in str(failed.value).splitlines() if "/app/state" in line and "podman" not in line]
    assert len(said) == 1
    assert "the cure" in said[0].lower()
    assert "exit code 2" in str(failed.value)


def in_container(gateway: Running, *command: str) -> str:
    """What a command that ``docker exec`` starts prints, as README.md has it."""
    return gateway.container.execute("/chatgpt-platform", *command)


def test_what_a_kill_has_left_is_cleared_though_it_is_roots(engine: Engine, built: Built) -> None:
    with running(engine, built) as gateway:
        engine.podman("kill", gateway.container.id)
        engine.podman("start", gateway.container.id)
        wait_until(lambda: gateway.container.logs.count(" serves http") == 2, PATIENCE)
        changed = engine.podman("diff", gateway.container.id).splitlines()
        copies = {line.split("/")[2] for line in changed if line.startswith("A /tmp/_MEI")}
        assert len(copies) == 1
        assert gateway.container.stop() == 0
        assert "/tmp/_MEI" not in engine.podman("diff", gateway.container.id)


# --- how it ends


def test_a_stream_that_is_under_way_is_finished(engine: Engine, built: Built) -> None:
    with running(engine, built) as gateway:
        reader = Reader(gateway.url)
        assert gateway.container.stop() == 0
        assert reader.whole()


def test_an_endless_stream_is_cut_before_docker_kills(engine: Engine, built: Built) -> None:
    with simulated(Behaviour(interval=0.05, tokens=10_000)) as upstream:
        options = ("--env", f"API_KEY={KEY}", "--env", f"BASE_URL={upstream.base_url}")
        with running(engine, built, *options, command=["serve"]) as gateway:
            reader = Reader(gateway.url)
            assert gateway.container.stop() == 0, "not 137, which it would be had it been killed"
            assert not reader.whole()
            assert "still under way after 8 s" in gateway.container.logs
            wait_until(lambda: not upstream.simulator.under_way)


# --- what it trusts


def test_the_certificates_of_the_image_are_what_it_trusts(engine: Engine, built: Built, tmp_path: Path) -> None:
    ours, other = trustme.CA(), trustme.CA()
    issued = ours.issue_cert("localhost")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(tmp_path / "certificate.pem", append=True)
    tls = {
        "CHATGPT_SERVER__TLS__CERTIFICATE": str(tmp_path / "certificate.pem"),
        "CHATGPT_SERVER__TLS__KEY": str(tmp_path / "key.pem"),
    }
    with serving("--demo", directory=tmp_path, environment=tls) as upstream:
        for authority, code in ((ours, 200), (other, 502)):
            trusted = tmp_path / f"{code}.pem"
            authority.cert_pem.write_to_path(trusted)
            options = ("--volume", f"{trusted}:/{debian.CERTIFICATES}:ro", "--env", f"API_KEY={KEY}")
            address = ("--env", f"BASE_URL=https://localhost:{upstream.port}/v1")
            with running(engine, built, *options, *address, command=["serve"]) as gateway:
                assert gateway.ask()["code"] == code


# --- the compose files


def test_one_line_builds_it_wherever_it_is_told() -> None:
    places = ("Dockerfile", "README.md", "README.zh-CN.md", "packaging/docker/compose.yaml")
    told = [re.findall(r"docker build .+", (ROOT / place).read_text("utf-8")) for place in places]
    line = 'docker build -t chatgpt-platform --build-arg COMMIT="$(git rev-parse --short=12 HEAD)" .'
    assert told == [[line]] * len(places)


def test_the_compose_file_is_the_original_one_but_for_image_and_state() -> None:
    assert yaml.safe_load((compose.FILES / "compose.yaml").read_text("utf-8")) == {
        "version": "3",
        "services": {
            "web": {
                "image": "${CHATGPT_IMAGE:-chatgpt-platform:latest}",
                "ports": ["5000:5000"],
                "restart": "always",
                "environment": {
                    "API_KEY": "YourOpenAIApiKey",
                    "HOUR_LIMIT": 50,
                    "MINUTE_LIMIT": 3,
                    "SECOND_LIMIT": 1,
                    "ROUTE": "api",
                },
                "volumes": ["./logs:/app/logs", "./state:/app/state"],
            }
        },
    }


@pytest.fixture(scope="module")
def command() -> list[str]:
    try:
        return compose.installed(ROOT / "build")
    except Unavailable as reason:
        pytest.skip(str(reason))


def test_the_compose_file_brought_up(engine: Engine, built: Built, command: list[str], tmp_path: Path) -> None:
    logs, state = tmp_path / "logs", tmp_path / "state"
    with compose.up(engine, command, tmp_path, "compose.yaml") as made:
        assert made.ask()["code"] == 200
        assert made.ask()["code"] == 429, "SECOND_LIMIT"
        assert served_by(made.container()) == ({65532}, {65532}, 0)
        wait_until(lambda: (logs / "access.log").read_text("utf-8").count('"path":"/api"') == 2)
        made.run("restart")
        assert made.ask()["code"] == 200
        container = made.container()
        assert container.inspect()["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert {each.stat().st_uid for each in (state, *state.iterdir())} == {65532}
    assert (state / "ledger.db").exists()
    text = (logs / "app.log").read_text("utf-8")
    assert (text.count(" serves http"), text.count("stopped")) == (2, 2)
    assert KEY not in text
    with pytest.raises(Failed):
        engine.podman("inspect", container.id)


def test_the_hardened_compose_file_brought_up(
    engine: Engine, built: Built, command: list[str], tmp_path: Path
) -> None:
    key = tmp_path / "api_key.txt"
    key.write_text(KEY + "\n", "utf-8")
    key.chmod(0o400)
    shutil.chown(key, debian.NONROOT, debian.NONROOT)
    with compose.up(engine, command, tmp_path, "compose.hardened.yaml") as made:
        assert made.ask()["code"] == 200
        container = made.container()
        processes = container.processes()
        assert [each.users for each in processes] == [{65532}, {65532}]
        assert [each.capabilities for each in processes] == [0, 0]
        said = container.inspect()
        assert said["HostConfig"]["ReadonlyRootfs"] is True
        assert said["HostConfig"]["Memory"] == 512 * 2**20
        assert said["HostConfig"]["PidsLimit"] == 64
        assert "no-new-privileges" in str(said["HostConfig"]["SecurityOpt"])
        assert KEY not in json.dumps(said)
        assert [line for line in container.logs.splitlines() if "cannot be written" in line] == []
        engine.podman("healthcheck", "run", container.id)
        mounts = {each["Destination"]: Path(each["Source"]) for each in said["Mounts"]}
        wait_until(lambda: '"path":"/api"' in (mounts["/app/logs"] / "access.log").read_text("utf-8"))
        assert (mounts["/app/state"] / "ledger.db").stat().st_uid == debian.NONROOT
