"""The dashboard's and the alerts' expressions, asked of a real Prometheus that scrapes the executable."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import yaml

import processes
from chatgpt_platform.simulator.server import Behaviour, Simulator
from support import debian
from support.background import Background
from support.gateway import wait_until
from support.program import PATIENCE, ROOT, serving
from support.scraped import PROMETHEUS, alert_rules, dashboard, dashboard_expressions
from support.tools import Unavailable

CASES: Final = Path(__file__).with_name("alerts.yml")
CHAT: Final = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two three"}]}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Debian's Prometheus is for Linux")


@pytest.fixture(scope="module")
def programs() -> Path:
    """Where ``prometheus`` and ``promtool`` lie."""
    try:
        folder = debian.unpacked(ROOT / "build" / "debian" / "prometheus", "prometheus") / "usr" / "bin"
        subprocess.run([str(folder / "promtool"), "--version"], capture_output=True, timeout=PATIENCE, check=True)
    except Unavailable as reason:
        pytest.skip(str(reason))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"Debian's promtool does not run here: {error}")
    return folder


def promtool(folder: Path, *arguments: str, text: str | None = None) -> str:
    """What it says, warnings and all."""
    done = subprocess.run(
        [str(folder / "promtool"), *arguments],
        input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


class Scraper:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._api: Final = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **parameters: str) -> Any:
        """The data of its answer; None while it has none to give."""
        try:
            answer = requests.get(f"{self._api}/{path}", params=parameters, timeout=PATIENCE)
        except requests.ConnectionError:  # it starts yet
            return None
        if answer.status_code == 503:
            return None
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def results(self, expression: str) -> list[Any]:
        data = self.get("query", query=expression)
        return [] if data is None else list(data["result"])


@contextmanager
def prometheus(programs: Path, folder: Path, *targets: int) -> Iterator[Scraper]:
    """One that scrapes these ports of this machine, as often as makes a test short."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": "250ms", "evaluation_interval": "250ms"}
    config["rule_files"] = [str(PROMETHEUS / "alerts.yml")]
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in targets]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    port = processes.free_port()
    arguments = (f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}",
                 f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn")  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(programs / "prometheus"), *arguments], stdout=log, stderr=log)
        try:
            yield Scraper(port)
        finally:
            process.terminate()
            process.wait(PATIENCE)


@contextmanager
def gateway(executable: Path, folder: Path, fail: str = "") -> Iterator[tuple[str, int]]:
    """The executable before a simulator: its URL, and the port of its metrics."""
    folder.mkdir()
    with Background() as background:
        simulator = Simulator(Behaviour(fail=fail))

        async def listen() -> int:
            return simulator.listen()

        upstream, port = background.run(listen()), processes.free_port()
        given = {
            "TMPDIR": str(folder),
            "API_KEY": "test-key-1",
            "BASE_URL": f"http://127.0.0.1:{upstream}/v1",
            "CHATGPT_METRICS__PORT": str(port),
        }
        try:
            with serving(directory=folder, environment=given, command=[str(executable)]) as program:
                yield program.url, port
        finally:
            background.run(simulator.stop())


def call(url: str) -> list[int]:
    """A call of each kind; their statuses."""
    chat = f"{url}/v1/chat/completions"
    answers = (
        requests.get(f"{url}/chatgpt", params={"prompt": "x"}, timeout=PATIENCE),
        requests.post(chat, json=CHAT, timeout=PATIENCE),
        requests.post(chat, json={**CHAT, "stream": True}, timeout=PATIENCE),
        requests.get(f"{url}/nowhere", timeout=PATIENCE),
    )
    return [answer.status_code for answer in answers]


def test_the_files_are_sound(programs: Path) -> None:
    assert f"{len(alert_rules())} rules found" in promtool(
        programs, "check", "rules", str(PROMETHEUS / "alerts.yml")
    )
    assert "is valid" in promtool(programs, "check", "config", str(PROMETHEUS / "prometheus.yml"))


def test_each_alert_fires_when_it_should_and_not_else(programs: Path, tmp_path: Path) -> None:
    text = CASES.read_text("utf-8")
    assert [rule["alert"] for rule in alert_rules() if f'alertname="{rule["alert"]}"' not in text] == []
    cases = tmp_path / "cases.yml"
    cases.write_text(text.replace("ALERTS]", f"{PROMETHEUS / 'alerts.yml'}]"), "utf-8")
    assert "SUCCESS" in promtool(programs, "test", "rules", str(cases))


def test_prometheus_reads_it_all(executable: Path, programs: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        sound, port = stack.enter_context(gateway(executable, tmp_path / "sound"))
        refused, other_port = stack.enter_context(gateway(executable, tmp_path / "refused", fail="401"))
        # Before the first scrape: what rises is seen from the second one on.
        assert call(sound) == [200, 200, 200, 404]
        assert call(refused) == [401, 401, 401, 404]
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text
        assert promtool(programs, "check", "metrics", text=text) == ""
        scraper = stack.enter_context(prometheus(programs, tmp_path, port, other_port, processes.free_port()))
        ask_dashboard(scraper)
        ask_alerts(scraper)
        assert scraper.results('sum(chatgpt_calls_total{api="openai", status="200"})')[0]["value"][1] == "2"


def ask_dashboard(scraper: Scraper) -> None:
    wait_until(lambda: len(scraper.results("up == 1")) == 2, PATIENCE, 0.1)
    asked = dashboard_expressions("1m")
    assert len(asked) > 30
    silent = list(asked)

    def all_tell() -> bool:
        silent[:] = [expression for expression in silent if not scraper.results(expression)]
        return not silent

    try:
        wait_until(all_tell, PATIENCE, 0.25)
    except AssertionError:
        pytest.fail(f"no result: {silent}")
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            metric, _, label = variable["definition"].removeprefix("label_values(").rstrip(")").rpartition(", ")
            assert scraper.get(f"label/{label}/values", **{"match[]": metric.replace("$job", ".+")})


def ask_alerts(scraper: Scraper) -> None:
    """All are evaluated; those fire that are due at once: a key was refused."""

    def rules() -> list[dict[str, Any]]:
        data = scraper.get("rules")
        return [rule for group in (data or {"groups": []})["groups"] for rule in group["rules"]]

    wait_until(lambda: {rule["health"] for rule in rules()} == {"ok"}, PATIENCE, 0.1)
    assert [rule["name"] for rule in rules()] == [rule["alert"] for rule in alert_rules()]
    wait_until(lambda: "firing" in states(rules(), "KeyRefused"), PATIENCE, 0.1)
    (alert,) = next(rule for rule in rules() if rule["name"] == "KeyRefused")["alerts"]
    assert alert["annotations"]["summary"].startswith("key 1 of upstream openai at 127.0.0.1:")
    assert states(rules(), "GatewayDown") == {"pending"}, "one of three, and not for a minute yet"
    assert states(rules(), "LogLinesLost") == set()


def states(rules: list[dict[str, Any]], name: str) -> set[str]:
    """Those of a rule's alerts."""
    return {alert["state"] for rule in rules if rule["name"] == name for alert in rule["alerts"]}
