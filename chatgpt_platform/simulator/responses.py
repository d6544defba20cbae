"""The Responses API: one message as the answer, plain or as the full sequence of events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chatgpt_platform.simulator.answer import Answer, Document, Event, Refusal, plain, stream
from chatgpt_platform.simulator.conversation import MOST_TOKENS, Said, read_messages
from chatgpt_platform.simulator.request import Members
from chatgpt_platform.simulator.text import Reply, Script, compose, count

_RESPONSE_ID = "resp_simulated"
_MESSAGE_ID = "msg_simulated"
_PLACE: Document = {"item_id": _MESSAGE_ID, "output_index": 0, "content_index": 0}


@dataclass(frozen=True, slots=True)
class _Response:
    """What is answered. ``echoed``: members of the request that the response repeats."""

    echoed: Document
    created: int
    input_tokens: int
    reply: Reply

    @property
    def status(self) -> str:
        return "incomplete" if self.reply.cut else "completed"

    def begun(self) -> Document:
        """The response before anything is generated."""
        return self._document("in_progress", output=[], usage=None)

    def whole(self) -> Document:
        """The response at its end."""
        details = {"reason": "max_output_tokens"} if self.reply.cut else None
        return self._document(
            self.status, output=[self.message()], usage=self._usage(), incomplete_details=details
        )

    def message(self) -> Document:
        return _message(self.status, [_part(self.reply.text)])

    def _usage(self) -> Document:
        output_tokens = len(self.reply.pieces)
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.input_tokens + output_tokens,
        }

    def _document(self, status: str, **members: object) -> Document:
        return {
            "id": _RESPONSE_ID,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "truncation": "disabled",
            **self.echoed,
            **members,
        }


def responses(members: Members, script: Script) -> Answer:
    """``POST /v1/responses``. Nothing is stored, so there is no earlier response to go on from."""
    if members.raw("previous_response_id") is not None:
        raise Refusal(
            "The simulator stores no responses: send the earlier turns in 'input'.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    said = _read_input(members)
    maximum = members.integer("max_output_tokens", 1, MOST_TOKENS)
    echoed: Document = {
        "model": members.required_text("model"),
        "instructions": members.text("instructions") or None,
        "max_output_tokens": maximum,
        "metadata": members.raw("metadata") or {},
        "temperature": members.number("temperature", 0, 2),
        "top_p": members.number("top_p", 0, 1),
    }
    reply = compose(script, said.turn, said.last, maximum)
    response = _Response(echoed, script.now, said.tokens + count(members.text("instructions")), reply)
    if members.flag("stream"):
        return stream(_numbered(response), response.input_tokens)
    return plain(response.whole(), len(reply.pieces), response.input_tokens)


def _read_input(members: Members) -> Said:
    value = members.required("input")
    if isinstance(value, str):
        return Said(1, value, count(value))
    return read_messages(members, "input")


def _numbered(response: _Response) -> Iterator[Event]:
    """The events, each with its number and its name, which is also its ``type``."""
    for number, (name, members) in enumerate(_events(response)):
        yield Event(
            {"type": name, "sequence_number": number, **members},
            tokens=int(name == "response.output_text.delta"),
            name=name,
            final=name == f"response.{response.status}",
        )


def _events(response: _Response) -> Iterator[tuple[str, Document]]:
    text = response.reply.text
    item = {"output_index": 0}
    yield "response.created", {"response": response.begun()}
    yield "response.in_progress", {"response": response.begun()}
    yield "response.output_item.added", {**item, "item": _message("in_progress", [])}
    yield "response.content_part.added", {**_PLACE, "part": _part("")}
    for piece in response.reply.pieces:
        yield "response.output_text.delta", {**_PLACE, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**_PLACE, "text": text, "logprobs": []}
    yield "response.content_part.done", {**_PLACE, "part": _part(text)}
    yield "response.output_item.done", {**item, "item": response.message()}
    yield f"response.{response.status}", {"response": response.whole()}


def _message(status: str, content: list[Document]) -> Document:
    return {"id": _MESSAGE_ID, "type": "message", "role": "assistant", "status": status, "content": content}


def _part(text: str) -> Document:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
