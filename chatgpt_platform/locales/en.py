"""What callers are told, in English."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bad_request": "The request is not valid.",
        "missing_prompt": "The prompt is missing or blank: give prompt (or user_content).",
        "bad_json": "The body is not valid JSON.",
        "not_utf8": "The request is not valid UTF-8.",
        "too_deep": "The JSON is nested too deeply.",
        "not_an_object": "The JSON body must be an object.",
        "wrong_type_string": "{member} must be a string.",
        "wrong_type_integer": "{member} must be a whole number.",
        "wrong_type_number": "{member} must be a number.",
        "wrong_type_boolean": "{member} must be true or false.",
        "wrong_type_turns": "{member} must be a list of turns, each with a role and a content.",
        "out_of_range": "{member} must be at least {low}.",
        "duplicate_member": "{member} is given more than once.",
        "forbidden_member": "{member} cannot be chosen by a request.",
        "too_many_parameters": "Too many parameters: at most {limit} are read.",
        "bad_form": "The form cannot be read.",
        "missing_key": "There is no API key: give yours in the ApiKey header or as api_key.",
        "key_refused": "The API key was refused; please check it.",
        "address_denied": "Your address is not allowed to use this service.",
        "forbidden": "The model service does not allow this.",
        "not_found": "There is nothing at {path}.",
        "method_not_allowed": "The method {method} is not allowed here.",
        "too_large": "The request is too large: at most {limit}.",
        "media_type": "This content type is not read here; send one of: {types}.",
        "encoding": "Compressed request bodies are not read here; send the body as it is.",
        "too_many_requests": "Too many requests. Please try again in {seconds} s.",
        "upstream_busy": "The model service has too many requests right now. Please try again later.",
        "upstream_said": "The model service answered: {reason}",
        "unknown_model": "The model service does not know this model: {reason}",
        "upstream_refused": "The model service refused the request with status {status}.",
        "fault": "A fault in this gateway; the owner finds it in the log.",
        "bad_upstream": "The model service gave an answer that cannot be used.",
        "upstream_unreachable": "The model service cannot be reached.",
        "upstream_broke_off": "The model service broke off in the middle of its answer.",
        "upstream_too_large": "The answer of the model service is too large.",
        "upstream_timeout": "The model service was too slow.",
        "unavailable": "The service is not available right now. Please try again later.",
        "draining": "The service is shutting down. Please try again shortly.",
    }
)
