"""Escaping: every text from outside is untrusted, whoever writes it out."""

import re
from typing import Final

__all__ = ["plain_line", "toml_string", "valid_text"]

# Controls but for none, and the characters that reverse the direction of writing.
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# Controls that a basic string of TOML may not hold.
_TOML_CONTROLS: Final = re.compile("[\x00-\x1f\x7f]")


def valid_text(text: str) -> str:
    """Return *text* with lone surrogates spelled out, so that it can be encoded."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def plain_line(text: str) -> str:
    """Return *text* as one line for a terminal: controls are spelled out."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", valid_text(text))


def toml_string(text: str) -> str:
    """Return *text* as a basic string of TOML, quotes included."""
    escaped = valid_text(text).replace("\\", "\\\\").replace('"', '\\"')
    escaped = _TOML_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", escaped)
    return f'"{escaped}"'
