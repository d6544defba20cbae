"""Who may answer a call, and whose key pays: by its model, and by what its caller brought."""

from __future__ import annotations

import re
from typing import Final

from chatgpt_platform.access.keys import KeyPolicy, bearer_token
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway.call import Call
from chatgpt_platform.upstream.fleet import LONGEST_KNOWN, Candidates, Fleet

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?"
)
_TRACESTATE: Final = re.compile(rb"[ -~\t]{1,512}")


class Routing:
    """The rules of one configuration."""

    def __init__(self, fleet: Fleet, keys: KeyPolicy) -> None:
        self._fleet: Final = fleet
        self._keys: Final = keys
        self._bearer_counts: Final = keys.takes_bearer(configured=fleet.all_keyed)
        """Whether there is an upstream for which it does."""

    def check_openai(self, call: Call) -> None:
        """What a call's head tells of who pays, before its model is known. Raises Problem."""
        if self._bearer_counts:
            bearer = bearer_token(call.header(b"authorization") or "")
            own = self._keys.own_on_openai(bearer=bearer, configured=False)
            if own is None and not self._fleet.any_keyed:
                raise Problem(Kind.MISSING_KEY, "missing_bearer")

    def check_platform(self, call: Call) -> None:
        """The same on the platform API, where the body may hold a key."""
        self._own_on_platform(call, None, configured=self._fleet.all_keyed)

    def assign_openai(self, call: Call, model: str) -> None:
        """Find the call its candidates. Raises Problem: nobody serves the model, or nobody pays."""
        fleet = self._fleet
        found = fleet.remembered(model) if len(model) <= LONGEST_KNOWN else fleet.candidates(model)
        if found is None or b"traceparent" in call.headers:
            found = self._candidates(call, model)
        if (not self._bearer_counts or call.credential is not None) and found.keyed:
            call.candidates = found.keyed
            return
        own = None
        if call.credential is None:
            bearer = bearer_token(call.header(b"authorization") or "")
            own = self._keys.own_on_openai(bearer=bearer, configured=bool(found.first.keys))
        self._assign(call, found, own, "missing_bearer")

    def assign_platform(self, call: Call, model: str, member: str | None) -> None:
        """The same on the platform API. ``member``: the key in the question."""
        found = self._candidates(call, model)
        own = None
        if call.credential is None:
            own = self._own_on_platform(call, member, configured=bool(found.first.keys))
        self._assign(call, found, own, "missing_key")

    def _own_on_platform(self, call: Call, member: str | None, *, configured: bool) -> str | None:
        bearer = bearer_token(call.header(b"authorization") or "")
        return self._keys.own_on_platform(
            member=member, header=call.header(b"apikey"), bearer=bearer, configured=configured
        )

    def _candidates(self, call: Call, model: str) -> Candidates:
        found = self._fleet.candidates(model)
        if found is None:
            raise Problem(Kind.UNKNOWN_MODEL, "model_not_served", param="model", model=model)
        if b"traceparent" in call.headers:
            _take_trace(call)
        return found

    def _assign(self, call: Call, found: Candidates, own: str | None, missing: str) -> None:
        if own is not None:
            # Only its caller knows whose key it is: no other upstream may see it.
            call.own_key = found.first.own_key(own)
            call.candidates = ((found.first,),)
            return
        if not found.keyed:
            raise Problem(Kind.MISSING_KEY, missing)
        call.candidates = found.keyed


def _take_trace(call: Call) -> None:
    """Hand on a trace as it came (W3C Trace Context, 3.2 and 3.3); one that is not valid is none."""
    parent = call.headers[b"traceparent"].strip()
    match = _TRACEPARENT.fullmatch(parent)
    if match is None or (match[2] and parent.startswith(b"00")):
        return
    call.record.trace_id = match[1].decode()
    call.trace = b"traceparent: %b\r\n" % parent
    state = call.headers.get(b"tracestate", b"").strip()
    if _TRACESTATE.fullmatch(state):
        call.trace += b"tracestate: %b\r\n" % state
