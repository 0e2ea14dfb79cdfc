"""Value flow: which call may have needed what an earlier one returned.

A call may depend on an earlier one beside it where something that this one returned is among its
arguments: a word or piece of text of four letters or digits, a number, an object. What was known
before the earlier call began, such as the question that both are asked, is no evidence. What nobody
saw, as the result of a call that failed, may be anything.

Sharing nothing is no proof: a result may be hashed, decide a branch, or be written somewhere.
"""

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from pytest_agentperf.measure.concurrency.spans.span import Span
from pytest_agentperf.measure.concurrency.spans.values import UNKNOWN, Atom, Values

__all__ = ["by_parent", "dependencies", "words"]

# Of the calls that returned the same word, those that are remembered: the last ones.
_MAX_SOURCES: Final = 32
_LEAST_LETTERS: Final = 4
_WORDS: Final = re.compile(r"\d+\.\d+|[^\W_]+")
_FIRST_OF_EAST_ASIA: Final = "\u2e80"  # of scripts that put no blanks between words


def by_parent(spans: Iterable[Span]) -> Mapping[int | None, list[Span]]:
    """Return the spans that stand beside each other, in order of beginning."""
    found: defaultdict[int | None, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda each: each.id):
        found[span.parent].append(span)
    return found


def dependencies(spans: Iterable[Span], *, assume: bool = True) -> Mapping[int, frozenset[int]]:
    """Return for each span those that ended before it, beside it, and that it may depend on.

    What depends on one that depends on a third is not said to depend on the third.

    Args:
        spans: The spans.
        assume: Whether values that nobody saw may be anything, or nothing.
    """
    groups = by_parent(spans)
    known = _first_known(span for group in groups.values() for span in group)
    found: dict[int, frozenset[int]] = {}
    for group in groups.values():
        flow = _Flow(known, assume=assume)
        ended = deque(sorted(group, key=lambda each: (each.end, each.id)))
        for span in group:
            while ended[0].end <= span.start and ended[0].id < span.id:
                flow.add(ended.popleft())
            found[span.id] = flow.into(span)
    return found


_Moment: TypeAlias = tuple[float, int, bool]
"""A time, the span that begins or ends then, and whether it ends: in the order of what happened."""


def _first_known(spans: Iterable[Span]) -> Mapping[Atom, _Moment]:
    """Return when each whole text or number was first given to a call, or returned by one."""
    known: dict[Atom, _Moment] = {}
    for span in spans:
        given, returned = (span.start, span.id, False), (span.end, span.id, True)
        for values, moment in ((span.arguments, given), (span.result, returned)):
            for atom in values.atoms:
                known[atom] = min(known.get(atom, moment), moment)
    return known


def words(atom: Atom, *, given: bool = False) -> set[str]:
    """Return the pieces of *atom* by which it is known again, whatever their case.

    Args:
        atom: A text or a number.
        given: Whether it is an argument: then a text's numbers of one digit are no evidence.
    """
    if isinstance(atom, bytes):
        atom = atom.decode(errors="replace")
    if isinstance(atom, float) and atom.is_integer():
        atom = int(atom)
    if not isinstance(atom, str):
        return {str(abs(atom))}
    return {piece for word in _WORDS.findall(atom.casefold()) for piece in _pieces(word, given)}


def _pieces(word: str, given: bool) -> Iterator[str]:  # noqa: FBT001
    if word[0] >= _FIRST_OF_EAST_ASIA:
        yield from (word[at : at + 2] for at in range(len(word) - 1))
    elif len(word) >= _LEAST_LETTERS or (word[0].isdigit() and len(word) > given):
        yield word


class _Flow:
    """What the spans beside each other have returned so far."""

    def __init__(self, known: Mapping[Atom, _Moment], *, assume: bool) -> None:
        self._known = known
        self._assume = assume
        self._ended: deque[int] = deque(maxlen=_MAX_SOURCES)
        self._unknown: deque[int] = deque(maxlen=_MAX_SOURCES)
        self._starts: dict[int, _Moment] = {}
        self._sources: defaultdict[object, deque[int]] = defaultdict(
            lambda: deque(maxlen=_MAX_SOURCES)
        )

    def add(self, span: Span) -> None:
        """Note that *span* has ended."""
        self._ended.append(span.id)
        self._starts[span.id] = (span.start, span.id, False)
        result = UNKNOWN if span.error else span.result
        if self._assume and not result.is_whole:
            self._unknown.append(span.id)
        pieces: set[object] = {word for atom in result.atoms for word in words(atom)}
        for piece in pieces | (result.objects - span.arguments.objects):
            self._sources[piece].append(span.id)
        if len(result.atoms) == 1 and result.atoms[0] != "":
            self._sources[_Whole, result.atoms[0]].append(span.id)

    def into(self, span: Span) -> frozenset[int]:
        """Return the ended spans that *span* may depend on."""
        given = span.arguments
        if self._assume and not given.is_whole:
            return frozenset(self._ended)
        found = set(self._unknown).union(*(self._of(key) for key in _keys(given)))
        for atom in given.atoms:
            known = self._known[atom]
            for word in words(atom, given=True):
                found.update(each for each in self._of(word) if known > self._starts[each])
        return frozenset(found)

    def _of(self, piece: object) -> Iterable[int]:
        return self._sources.get(piece, ())


class _Whole:
    """Marks results that are one text or number: what gets the same may well have got it thence."""


def _keys(given: Values) -> Iterator[object]:
    yield from given.objects
    for atom in given.atoms:
        yield _Whole, atom
