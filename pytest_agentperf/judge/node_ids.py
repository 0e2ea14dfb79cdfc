"""Patterns for node ids.

    pattern ::= ids ["#" label]       the label begins at the last "#" behind the last "]"
    ids     ::= path ["::" names]

`*` and `?` match anything but "/" in the path, `**` crosses "/"; behind "::" all three match
anything. Brackets are literal: node ids contain them, and `fnmatch` would read a set of characters.
A path alone matches every test in it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["NodePattern", "split_label"]


@dataclass(frozen=True, slots=True)
class NodePattern:
    """A parsed pattern.

    Attributes:
        text: As the user wrote it.
        ids: The part in front of the label.
        label: The measurement that is meant, or None for all of the test.
        matches: Returns whether a node id is meant.
    """

    text: str
    ids: str
    label: str | None
    matches: Callable[[str], object]

    @property
    def is_exact(self) -> bool:
        """Whether it is one whole node id."""
        return "::" in self.ids and not _WILD.search(self.ids)

    @property
    def literal_characters(self) -> int:
        """How specific it is."""
        return len(_WILD.sub("", self.ids))

    @classmethod
    def parse(cls, text: str) -> "NodePattern":
        """Return *text* as a pattern."""
        ids, label = split_label(text)
        path, colons, names = ids.partition("::")
        expression = _translate(path, in_path=True)
        expression += "::" + _translate(names, in_path=False) if colons else "(?:::.*)?"
        return cls(text, ids, label, re.compile(expression, re.DOTALL).fullmatch)


def split_label(text: str) -> tuple[str, str | None]:
    """Return *text*, a node id or a pattern, without its label, and the label if it has one."""
    hash_at = text.rfind("#")
    has_label = hash_at > text.rfind("]")
    return (text[:hash_at], text[hash_at + 1 :]) if has_label else (text, None)


_WILD = re.compile(r"\*+|\?")
_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")


def _translate(pattern: str, *, in_path: bool) -> str:
    """Return *pattern* as a regular expression."""
    any_one = "[^/]" if in_path else "."
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": f"{any_one}*", "?": any_one}
    if not in_path:
        parts["**/"] = ".*/"
    return "".join(parts.get(token) or re.escape(token) for token in _TOKEN.findall(pattern))
