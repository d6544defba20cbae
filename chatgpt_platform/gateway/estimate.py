"""Tokens where the upstream tells none (stands in until the real rule is merged)."""


def prompt_tokens(body: bytes) -> int:
    return -(-len(body) // 4)


def text_tokens(text: str) -> int:
    return -(-len(text.encode(errors="replace")) // 4)


def completion_tokens(pieces: int, text_bytes: int) -> int:
    return pieces
