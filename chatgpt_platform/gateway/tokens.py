"""Token caps and model aliases: what the owner's ``models`` settings change in a request; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chatgpt_platform.errors import Kind, Problem

_REASONING: Final = re.compile(r"o\d|gpt-[5-9]")
"""Models, less a vendor's prefix, that want ``max_completion_tokens`` (OpenAI's API reference, chat)."""

RETIRED_MODEL: Final = "text-davinci-003"
"""The container's default model, long switched off; on the platform API it means ``models.default``."""


@dataclass(frozen=True, slots=True)
class TokenCap:
    """``default``: added where a request names none. ``cap``: the most a request may ask for. 0: neither."""

    default: int = 0
    cap: int = 0

    @property
    def limits(self) -> bool:
        """Whether there is anything to change."""
        return bool(self.default or self.cap)

    def changes(self, asked: Mapping[str, int | None], members: tuple[str, ...], model: str) -> dict[str, int]:
        """Which of ``members`` must be changed or added.

        ``asked``: what the request holds. Raises Problem for a figure below 1 while there is a cap: some
        upstreams read it as "no limit".
        """
        if not members:
            return {}
        given = {name: figure for name in members if (figure := asked.get(name)) is not None}
        if not given:
            figure = min(self.default or self.cap, self.cap or self.default)
            return {token_member(members, model): figure} if figure else {}
        if not self.cap:
            return {}
        for name, figure in given.items():
            if figure < 1:
                raise Problem(Kind.BAD_REQUEST, "out_of_range", param=name, member=name, low=1)
        return {name: self.cap for name, figure in given.items() if figure > self.cap}


def token_member(members: tuple[str, ...], model: str) -> str:
    """The member of an endpoint with which this model is told how long its answer may be."""
    return members[-1] if _REASONING.match(model.rpartition("/")[2]) else members[0]
