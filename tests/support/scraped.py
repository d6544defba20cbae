"""What a gateway's /metrics told, and the expressions that dashboards and alerts ask Prometheus.

told = scraped(requests.get(url + "/metrics").text)
told.value("chatgpt_calls_total", endpoint="chatgpt", status="200")
for expression in dashboard_expressions() + alert_expressions():
    assert told.lacks(expression) == []
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from support.program import ROOT

PROMETHEUS = ROOT / "packaging" / "prometheus"
OF_TARGET = {"job", "instance"}
"""Labels that Prometheus gives each sample."""

_NAME = re.compile(r'(?<![\w"$])(chatgpt_\w+|process_\w+)(\{[^}]*\})?')
_MATCHER = re.compile(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring) \(([^)]*)\)")


class Scraped:
    """Samples by their names. ``families``: as the text tells them."""

    def __init__(self, text: str) -> None:
        self.families: list[Metric] = list(text_string_to_metric_families(text))
        self.samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in self.families:
            for sample in family.samples:
                self.samples.setdefault(sample.name, []).append((sample.labels, sample.value))

    def value(self, name: str, **labels: str) -> float:
        """The sum over all samples with these labels; 0 where there are none."""
        return sum(value for has, value in self.samples.get(name, []) if labels.items() <= has.items())

    def lacks(self, expression: str) -> list[str]:
        """What an expression asks for and no sample has: names, labels, values of labels."""
        labels = {
            label.strip() for group in _GROUPING.findall(expression) for label in group.split(",")
        } - OF_TARGET
        missing = []
        for name, matchers in _NAME.findall(expression):
            samples = [has for has, _ in self.samples.get(name, [])]
            if not samples:
                missing.append(name)
            known = set().union(*samples)
            missing += [f"{name}: {label}" for label in labels - known]
            for label, sign, value in _MATCHER.findall(matchers):
                if label in OF_TARGET:
                    continue
                if label not in known:
                    missing.append(f"{name}: {label}")
                elif sign in ("=", "=~") and not any(re.fullmatch(value, has[label]) for has in samples):
                    missing.append(f"{name}: {label} {sign} {value}")
        return missing


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((PROMETHEUS / "dashboard.json").read_text("utf-8"))
    return read


def dashboard_expressions(window: str = "5m") -> list[str]:
    """Those of all panels, as Grafana would send them with every variable at "all"."""
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    for variable, value in (("$__rate_interval", window), ("$job", ".+"), ("$instance", ".+")):
        found = [expression.replace(variable, value) for expression in found]
    assert not any("$" in expression for expression in found)
    return found


def alert_rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text("utf-8"))["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def alert_expressions() -> list[str]:
    return [rule["expr"] for rule in alert_rules()]
