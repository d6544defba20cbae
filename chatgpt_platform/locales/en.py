"""English; the yardstick for the other languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXTS: Final[Mapping[str, str]] = {
    # What was asked
    "bad_request": "The request cannot be understood.",
    "bad_http": "The request is not valid HTTP/1.1.",
    "request_timeout": "The request did not come in time.",
    "missing_prompt": "The prompt is missing. Please give it as prompt or user_content.",
    "blank_prompt": "The prompt is blank. Please write something in prompt or user_content.",
    "bad_json": "The body is not valid JSON.",
    "not_utf8": "The request is not valid UTF-8.",
    "too_deep": "The JSON is nested too deeply.",
    "not_an_object": "The JSON body must be an object.",
    "wrong_type_string": "{member} must be a string.",
    "wrong_type_integer": "{member} must be a whole number.",
    "wrong_type_number": "{member} must be a number.",
    "wrong_type_boolean": "{member} must be true or false.",
    "wrong_type_turns": (
        'The value of {member} must be a list of turns such as {{"role": "user", "content": "Hello"}}.'
    ),
    "wrong_type_turn": '{member} must be a turn such as {{"role": "user", "content": "Hello"}}.',
    "out_of_range": "{member} must be at least {low}.",
    "duplicate_member": "{member} is given more than once.",
    "forbidden_member": "A request cannot choose {member}.",
    "too_many_parameters": "There are too many parameters: at most {limit} are read.",
    "bad_form": "The form cannot be read.",
    "encoding": "Compressed request bodies are not read here.",
    "media_type": "This content type is not read here. Please send {types}.",
    "too_large": "The request is too large: at most {limit} are read.",
    "target_too_long": "The URL of the request is too long.",
    "headers_too_large": "The headers of the request are too large.",
    # Who asked
    "missing_key": "There is no API key. Please give one in the ApiKey header or as api_key.",
    "missing_bearer": "There is no API key. Please send one in the header Authorization: Bearer.",
    "key_refused": "The API key was refused.",
    "address_denied": "Your address is not allowed here.",
    "forbidden": "This is not allowed.",
    "too_many_requests": "Too many requests. Please try again in {seconds} s.",
    "key_expired": "The API key has expired.",
    "key_revoked": "The API key has been revoked.",
    "key_not_from_here": "This API key is not valid from your address.",
    "model_not_allowed": "This API key is not for the model {model}.",
    "too_many_requests_of_key": "Too many requests with this API key. Please try again in {seconds} s.",
    "too_many_tokens": "Too many tokens with this API key. Please try again in {seconds} s.",
    "key_busy": "Too many calls with this API key are under way. Please try again in {seconds} s.",
    "over_budget": "What this API key may use ({budget}) is used up. It starts anew at {time}.",
    "budget_low": "What this API key has left ({budget}) is too little for this call. It starts anew at {time}.",
    "budget_used_up": "What this API key may use ({budget}) is used up.",
    "budget_too_small": "This call needs more than this API key may use ({budget}).",
    "budget_in_use": "The rest of this API key's budget is held by other calls. Please try again in {seconds} s.",
    # Where to
    "not_found": "There is nothing at {path}.",
    "method_not_allowed": "The method {method} is not allowed here.",
    # What the model service did
    "upstream_busy": "The model service says that there are too many requests. Please try again later.",
    "upstream_said": "The model service answered: {reason}",
    "unknown_model": "The model service does not know this model: {reason}",
    "model_not_served": "No model service here offers {model}.",
    "upstream_refused": "The model service refused the request with status {status}.",
    "upstream_failed": "The model service failed with status {status}. Please try again later.",
    "bad_upstream": "The model service gave an answer that cannot be used.",
    "upstream_unreachable": "The model service cannot be reached.",
    "upstream_broke_off": "The model service broke off in the middle of its answer.",
    "upstream_too_large": "The answer of the model service is too large.",
    "upstream_timeout": "The model service took too long to answer.",
    "upstream_down": "{because} It is tried again in {seconds} s.",
    "upstream_no_stream": "The model service answered with something else than a stream.",
    # What happened here
    "fault": "Something went wrong here. The fault is ours, not yours.",
    "unavailable": "The service is not available at the moment. Please try again later.",
    "overloaded": "The service is too busy at the moment. Please try again in {seconds} s.",
    "draining": "The service is shutting down. Please try again shortly.",
    # Who used what
    "missing_token": "There is no admin token. Please send it in the header Authorization: Bearer.",
    "token_refused": "The admin token was refused.",
    "too_many_refusals": "Too many refused attempts. Please try again in {seconds} s.",
    "unknown_parameter": "There is no parameter {member} here.",
    "wrong_word": "{member} must be one of {words}.",
    "wrong_moment": (
        "{member} must be a date such as 2026-11-01, a date and time such as 2026-11-01T12:30, or "
        "how long ago, such as 24h, 7d or 2w."
    ),
    "too_long": "{member} is too long: at most {limit} characters.",
    "no_ledger": "This gateway keeps no account of calls: its state.directory is empty.",
    "ledger_failed": "The account of calls cannot be read at the moment.",
    "report_too_slow": "The report took too long. Please ask for a shorter span.",
}
