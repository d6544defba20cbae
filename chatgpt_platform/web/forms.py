"""Multipart forms, read by Tornado's parser, with its limits on the number and size of parts."""

from __future__ import annotations

from tornado import httputil

from chatgpt_platform.errors import Kind, Problem


def read_multipart(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """The text fields of a ``multipart/form-data`` body. Raises Problem when it cannot be read."""
    fields: dict[str, list[bytes]] = {}
    files: dict[str, list[httputil.HTTPFile]] = {}
    try:
        httputil.parse_body_arguments(content_type, body, fields, files)
        return [(name, value.decode()) for name, values in fields.items() for value in values]
    except httputil.HTTPInputError as error:
        raise Problem(Kind.BAD_REQUEST, "bad_form", detail=str(error)) from None
    except UnicodeDecodeError:
        raise Problem(Kind.BAD_REQUEST, "not_utf8") from None
