"""The one place where a Problem becomes an answer, in the caller's language and in the shape of its API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from chatgpt_platform import locales
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import conversation
from chatgpt_platform.gateway.call import Reply
from chatgpt_platform.gateway.endpoints import Api

JSON: Final = (b"content-type", b"application/json; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Renderer:
    """Renders Problems. ``language``: the setting; ``environment_language``: the raw LANG, the last resort."""

    language: str
    environment_language: str

    def reason(self, problem: Problem, accept_language: str) -> str:
        """What the caller is told, in its language."""
        return _writable(_said(locales.choose(self.language, accept_language, self.environment_language), problem))

    def reply(self, problem: Problem, api: Api, accept_language: str = "") -> Reply:
        """The answer to a call that failed."""
        status, body = self.body(problem, api, accept_language)
        headers = [JSON]
        if problem.retry_after is not None:
            headers.append((b"retry-after", b"%d" % problem.retry_after))
        if problem.kind is Kind.OVER_BUDGET:
            # The SDKs would try again at once, which is of no use to anybody (openai-python, _base_client).
            headers.append((b"x-should-retry", b"false"))
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        return Reply(status, headers, body)

    def body(self, problem: Problem, api: Api, accept_language: str = "") -> tuple[int, bytes]:
        """Status and body alone, as they also stand in the last event of a stream that broke off."""
        reason = self.reason(problem, accept_language)
        if api is Api.PLATFORM:
            return problem.kind.status, conversation.failure(problem.kind.status, reason)
        return problem.kind.openai_status, openai_error(problem, reason)


def openai_error(problem: Problem, reason: str) -> bytes:
    """The error object of OpenAI's API (API reference, "Error codes")."""
    kind = problem.kind
    param = None if problem.param is None else _writable(problem.param)
    error = {"message": reason, "type": kind.openai_type, "param": param, "code": kind.openai_code}
    return msgspec.json.encode({"error": error})


def _said(language: str, problem: Problem) -> str:
    values = {
        name: _said(language, value) if isinstance(value, Problem) else value
        for name, value in problem.values.items()
    }
    return locales.say(language, problem.text, values)


def _writable(text: str) -> str:
    """Without halves of surrogate pairs, of which no JSON can be made: they must not spoil this answer too."""
    return text.encode("utf-8", "replace").decode()
