"""Kinds for amounts with a unit: durations and sizes."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

from chatgpt_platform.settings.kinds import Mismatch, ScalarKind, TextKind
from chatgpt_platform.settings.nodes import Scalar


class Duration(TextKind[float]):
    """A time span in seconds, written with its unit: ``500ms``, ``30s``, ``1m30s``, ``2h``.

    ``days``: for how long things are kept: ``400d`` too, and a century at most instead of a week.
    """

    name = "duration"
    _MILLISECONDS: Final = MappingProxyType({"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000})
    _PART: Final = r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)"
    _LONGEST: Final = 168 * 3_600_000  # a week: beyond it an event loop's timers are not meant to go
    _CENTURY: Final = 36_500 * 86_400_000

    def __init__(self, *, zero: bool = False, days: bool = False) -> None:
        self._zero: Final = zero
        self._days: Final = days
        self._part: Final = self._PART.replace("|h)", "|h|d)") if days else self._PART
        such = "12h, 30d or 400d" if days else "500ms, 30s or 5m"
        self.expected = f"a duration{'' if zero else ' longer than 0'} with its unit, such as {such}"

    def read(self, text: str) -> float:
        if not re.fullmatch(f"(?:{self._part})+", text):
            raise Mismatch
        parts = re.findall(self._part, text)
        total = round(sum(float(number) * self._MILLISECONDS[unit] for number, unit in parts))
        if total == 0 and not self._zero:
            raise Mismatch
        if total > (self._CENTURY if self._days else self._LONGEST):
            raise Mismatch(f"a duration of at most {'36500d' if self._days else '168h'}")
        return total / 1000

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": f"^(?:{self._part})+$"}

    def yaml(self, value: float) -> str:
        days, milliseconds = 0, round(value * 1000)
        if self._days:
            days, milliseconds = divmod(milliseconds, 86_400_000)
        rest = f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
        if days:
            return f"{days}d{rest if milliseconds else ''}"
        return rest


class Size(ScalarKind[int]):
    """A number of bytes: ``10MiB``, ``50MB``, or plain digits; ``zero``: or 0."""

    name = "size"
    _UNITS: Final = MappingProxyType(
        {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
        | {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
    )
    _HIGHEST = 2**40

    def __init__(self, *, zero: bool = False) -> None:
        self._zero: Final = zero
        self.expected = f"{'0, or ' if zero else ''}a size from 1B to 1TiB, such as 512KiB, 10MiB or 1GiB"

    def convert(self, node: Scalar) -> int:
        if self._zero and node.text == "0":
            return 0
        match = re.fullmatch(r"([1-9][0-9]{0,12})([A-Za-z]{0,3})", node.text)
        if not match or (match[2] or "b").lower() not in self._UNITS:
            raise Mismatch
        size = int(match[1]) * self._UNITS[(match[2] or "b").lower()]
        if size > self._HIGHEST:
            raise Mismatch
        return size

    def json_schema(self) -> dict[str, object]:
        units = {"type": "string", "pattern": "^[1-9][0-9]{0,12}([KkMmGgTt]?[Ii]?[Bb])?$"}
        return {"anyOf": [{"type": "integer", "minimum": 0 if self._zero else 1, "maximum": self._HIGHEST}, units]}

    def yaml(self, value: int) -> str:
        if value == 0:
            return "0"
        for unit in ("TiB", "GiB", "MiB", "KiB"):
            if value % self._UNITS[unit.lower()] == 0:
                return f"{value // self._UNITS[unit.lower()]}{unit}"
        return f"{value}B"
