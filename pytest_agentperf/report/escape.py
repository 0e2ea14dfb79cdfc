"""Escaping: every text from outside is untrusted, whoever writes it out."""

import hashlib
import re
from typing import Final

__all__ = [
    "encodable",
    "github_property",
    "github_text",
    "markdown_code",
    "markdown_text",
    "openmetrics_label",
    "plain_line",
    "shorten",
    "shorten_name",
    "toml_string",
    "valid_text",
]

# Patterns are compiled when they are first used.
# Controls but for none, and the characters that reverse the direction of writing.
_CONTROLS: Final = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
# Controls that a basic string of TOML may not hold.
_TOML_CONTROLS: Final = "[\x00-\x1f\x7f]"
# What Markdown could take for more than text; "_" between letters is no emphasis.
_MARKDOWN: Final = r"(?i)[\\`*\[\]<>&|~$!@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|[#%](?=\w)"
# What begins a mention or a reference on GitHub or GitLab, which a space of no width ends.
_REFERENCES: Final = frozenset("@#!%~")


def valid_text(text: str) -> str:
    """Return *text* with lone surrogates spelled out, so that it can be encoded."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def encodable(text: str, encoding: str | None) -> str:
    """Return *text* with what *encoding*, that of a stream, does not have spelled out."""
    name = encoding or "ascii"
    return text.encode(name, "backslashreplace").decode(name)


def plain_line(text: str) -> str:
    """Return *text* as one line for a terminal: controls are spelled out."""
    if text.isprintable():  # as nearly all are
        return text
    return re.sub(_CONTROLS, lambda match: f"\\x{ord(match[0]):02x}", valid_text(text))


def shorten(text: str, most: int) -> str:
    """Return *text* with its middle left out where it has more than *most* characters."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def shorten_name(text: str, most: int) -> str:
    """Return *text* in at most *most* bytes of UTF-8, such that no other text becomes the same."""
    if len(text.encode()) <= most:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    kept = text.encode()[: most - len(f"…{digest}".encode())].decode(errors="ignore")
    return f"{kept}…{digest}"


def toml_string(text: str) -> str:
    """Return *text* as a basic string of TOML, quotes included."""
    escaped = valid_text(text).replace("\\", "\\\\").replace('"', '\\"')
    escaped = re.sub(_TOML_CONTROLS, lambda match: f"\\u{ord(match[0]):04x}", escaped)
    return f'"{escaped}"'


def markdown_text(text: str) -> str:
    """Return *text* as text within a line of Markdown, also in the cell of a table."""
    return re.sub(_MARKDOWN, _spell_for_markdown, plain_line(text))


def _spell_for_markdown(match: re.Match[str]) -> str:
    entity = f"&#{ord(match[0])};"
    return f"{entity}&#8203;" if match[0] in _REFERENCES else entity


def markdown_code(text: str) -> str:
    """Return *text* as code within a line of Markdown, where nothing is taken for a reference."""
    escaped = re.sub(_MARKDOWN, lambda match: f"&#{ord(match[0])};", plain_line(text))
    return f"<code>{escaped}</code>"


def openmetrics_label(text: str) -> str:
    """Return *text* as the value of a label, quotes included."""
    escaped = plain_line(text).replace("\\", "\\\\").replace('"', '\\"')
    # GitLab takes everything behind a "#" for a comment, also within quotes.
    return '"{}"'.format(escaped.replace("#", "%23"))


def github_text(text: str) -> str:
    """Return *text* as the message of a workflow command of GitHub."""
    return plain_line(text).replace("%", "%25")


def github_property(text: str) -> str:
    """Return *text* as a property of a workflow command of GitHub."""
    return github_text(text).replace(":", "%3A").replace(",", "%2C")
