"""The gateway and the upstreams of scripts/chaos.py, their weather, and what is left of a run.

The gateway's settings here are short in every way, so that a run meets each timeout. It is imported inside the
project's environment only: the upstreams are the product's own simulator.
"""

import asyncio
import http.client
import json
import re
import shutil
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import trustme

import chaos_faults
import proc_usage
import processes
from chaos_faults import Period, Schedule
from chaos_load import Load, Plan, Told
from chaos_verdict import Arrival
from chatgpt_platform.simulator.server import Behaviour, Request, Simulator
from programs import Program

UPSTREAMS: Mapping[str, Mapping[str, object]] = {
    "first": {"api_keys": ["first-1", "first-2", "first-wrong"], "weight": 2},
    "second": {"api_keys": ["second-1", "second-busy", "second-2"]},
    "third": {"api_keys": ["third-1", "third-2", "third-broke"], "priority": 1},
}
"""Their names and settings; the third is behind TLS, and is asked when the others cannot."""

_TLS = "third"
_TIMEOUTS = {"connect": "1s", "first_byte": "4s", "idle": "4s", "total": "15s"}
_SETTINGS: Mapping[str, object] = {
    "server": {"heartbeat": "500ms", "timeouts": {"drain": "5s"}},
    "metrics": {"allow": ["127.0.0.0/8"]},
}
_PATIENCE = 10.0  # seconds for what is left to go away
_CALL = re.compile(rb"call-(\d{7})")
_REQUEST_ID = re.compile(rb"\r\nx-request-id: *(\S+)\r\n", re.IGNORECASE)
_KEYS = {"wrong": "key refused", "busy": "key busy", "broke": "key broke"}
_COMPLAINTS = re.compile(r"Traceback|was destroyed|never retrieved|never awaited|Unclosed|Exception ignored")
_NO_CHANGE_WITHOUT_STREAM = ("no-done",)


class Rig:
    """One run. `weather`: what it was in fact, in Unix seconds, once the run is over."""

    def __init__(self, folder: Path, random: Random, program: Program) -> None:
        self._folder = folder
        self._random = random
        self._program = program
        self._simulators: dict[str, Simulator] = {}
        self.weather: list[Schedule] = []

    async def run(self, planned: Sequence[Plan], seconds: float) -> tuple[list[Told], list[str]]:
        """Makes the calls; what became of them, and what was left over."""
        port = processes.free_port()
        (self._folder / "chatgpt.yaml").write_text(json.dumps(self._settings()), "utf-8")
        output = self._folder / "output.log"
        flags = ["--host", processes.LOOPBACK, "--port", str(port), "--config", str(self._folder / "chatgpt.yaml")]
        command = [*self._program.command, "serve", *flags]
        environment = processes.clean_environment(PYTHONPATH=str(self._program.path))
        schedules = [
            chaos_faults.schedule(name, seconds, self._random, tls=name == _TLS) for name in self._simulators
        ]
        try:
            with processes.Process(command, self._folder, output, environment) as gateway:
                await asyncio.to_thread(gateway.wait_until_ready, port, "/readyz")
                before = descriptors(gateway.pid)
                load = Load(port, planned)
                weather = asyncio.create_task(self._change(schedules), name="the weather")
                await load.run()
                await self._calm(weather)
                left = await self._left(gateway, port, before)
        finally:
            for simulator in self._simulators.values():
                await simulator.stop()
        left += complaints(output.read_text("utf-8", errors="replace"))
        left += missing_records(load.told, self._folder / "logs" / "access.log")
        return load.told, left

    def arrivals(self) -> dict[int, list[Arrival]]:
        """What the upstreams saw of each call, by its number."""
        found: dict[int, list[Arrival]] = {}
        for name, simulator in self._simulators.items():
            for request in simulator.seen:
                if match := _CALL.search(request.body):
                    found.setdefault(int(match[1]), []).append(Arrival(request.at, name, _met(request)))
        return found

    def keep_logs(self) -> Path:
        """Copies what the gateway wrote to where it outlives the run."""
        kept = Path(tempfile.mkdtemp(prefix="chatgpt-platform-chaos-logs-"))
        shutil.copytree(self._folder, kept, dirs_exist_ok=True)
        return kept

    def _settings(self) -> dict[str, object]:
        """Starts the upstreams and gives the gateway's settings."""
        authority = trustme.CA()
        ca_file = self._folder / "authority.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(processes.LOOPBACK).configure_cert(served)
        listed = []
        for name, settings in UPSTREAMS.items():
            tls = served if name == _TLS else None
            random = Random(self._random.random())
            self._simulators[name] = simulator = Simulator(random=random, remember=None, tls=tls)
            scheme = "https" if tls else "http"
            address = f"{scheme}://{processes.LOOPBACK}:{simulator.listen()}/v1"
            trusted = {"ca_file": str(ca_file)} if tls else {}
            listed.append({"name": name, "base_url": address, "timeouts": _TIMEOUTS, **trusted, **settings})
        return {**_SETTINGS, "upstreams": listed, "logging": {"directory": str(self._folder / "logs")}}

    async def _change(self, schedules: Sequence[Schedule]) -> None:
        """Makes the weather, and writes down when it really changed."""
        began = time.monotonic()
        simulators = list(self._simulators.values())
        self.weather = [Schedule(each.upstream, []) for each in schedules]
        for at, place, period in chaos_faults.changes(schedules):
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            simulators[place].behaviour = _behaviour(period)
            self._note(place, period)

    def _note(self, place: int, period: Period) -> None:
        now = time.time()
        past = list(self.weather[place].periods)
        past[-1:] = [replace(last, end=now) for last in past[-1:]]
        current = replace(period, begin=now, end=float("inf"))
        self.weather[place] = replace(self.weather[place], periods=[*past, current])

    async def _calm(self, weather: "asyncio.Task[None]") -> None:
        """The calls are over: all is well again."""
        weather.cancel()
        with suppress(asyncio.CancelledError):
            await weather
        for simulator in self._simulators.values():
            simulator.behaviour = Behaviour()

    async def _left(self, gateway: processes.Process, port: int, before: int) -> list[str]:
        """What has not gone away a while after the last call."""
        left = []
        simulators = self._simulators.values()
        if not await _until(lambda: not any(each.stats.under_way for each in simulators)):
            left.append(f"{sum(each.stats.under_way for each in simulators)} upstream calls under way")
        left += await asyncio.to_thread(under_way, port)
        for simulator in simulators:  # which closes the connections that the gateway keeps for later
            await simulator.stop()
        if not await _until(lambda: descriptors(gateway.pid) <= before):
            left.append(f"{descriptors(gateway.pid) - before} descriptors: {_open_files(gateway.pid)}")
        await asyncio.to_thread(gateway.stop, _PATIENCE)
        if gateway.exit_code != 0:
            left.append(f"the gateway ended with exit code {gateway.exit_code}")
        return left


def descriptors(pid: int) -> int:
    """How many descriptors the process and its children hold; 0 where the system does not tell."""
    return len(_open_files(pid))


def under_way(port: int) -> list[str]:
    """The gauges of /metrics that say that calls are under way, where there is /metrics."""
    connection = http.client.HTTPConnection(processes.LOOPBACK, port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        return []
    gauges = [line for line in text.splitlines() if "under_way" in line and not line.startswith("#")]
    return [line for line in gauges if float(line.split()[-1])]


def complaints(output: str) -> list[str]:
    """Lines of the gateway's output that tell of a fault of its own."""
    return [line for line in output.splitlines() if _COMPLAINTS.search(line)]


def missing_records(told: Sequence[Told], log: Path) -> list[str]:
    """What is wrong with the access log: each call that was answered has one record."""
    records = Counter(json.loads(line)["request_id"] for line in log.read_text("utf-8").splitlines())
    found = []
    for one in told:
        match = _REQUEST_ID.search(one.raw)
        if match and records[match[1].decode()] != 1:
            found.append(f"{one.plan.name} has {records[match[1].decode()]} records in the access log")
    return found


def story(told: Told, met: Sequence[Arrival], wrong: Sequence[str]) -> str:
    """What was seen of one call on each side."""
    plan = told.plan
    kind = f"{plan.api} {'stream' if plan.stream else 'json'}"
    why = "; ".join(wrong) or "failed"
    lines = [f"{plan.name}, {kind}, {told.sent:.3f} to {told.ended:.3f}, {told.end.value}: {why}"]
    lines += [f"    {one.at:.3f} {one.upstream}: {one.fault or 'sound'}" for one in met]
    return "\n".join([*lines, f"    got {told.raw[:120]!r} ... {told.raw[-200:]!r}"])


def _met(request: Request) -> str:
    """The fault that a call met, the refusal of its key included."""
    fault = request.fault
    if fault in _NO_CHANGE_WITHOUT_STREAM and b'"stream":true' not in request.body.replace(b" ", b""):
        fault = ""
    if fault and fault not in chaos_faults.VALID:
        return fault
    return next((met for part, met in _KEYS.items() if part in request.key), fault)


def _behaviour(period: Period) -> Behaviour:
    return Behaviour(
        latency=period.latency,
        interval=period.interval,
        fail=period.fail,
        share=period.share,
        silence=chaos_faults.SILENCE,
    )


def _open_files(pid: int) -> list[str]:
    found = []
    for each in proc_usage.tree(pid) if proc_usage.PROC.is_dir() else ():
        for entry in (proc_usage.PROC / str(each) / "fd").iterdir():
            with suppress(OSError):  # closed between the two looks
                found.append(str(entry.readlink()))
    return found


async def _until(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True
