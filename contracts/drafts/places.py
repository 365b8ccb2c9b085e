"""Statements of a Cedar text, and where in a file something stands.

The parser names no place, so faults are placed here: a text is cut into statements at its
semicolons, and a word that the parser complains of is looked up among the words of its statement.
The scan is one pass: a string that does not end is reported, never scanned again.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_WORD = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|//[^\r\n]*|\w+|[^\w\s]', re.DOTALL)
_QUOTED = re.compile(r"`([^`]+)`")
UNFINISHED = "unexpected end of input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Line and column, both from 1; 0 and 0: the whole text."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A token of a text and its offset."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """Offset after the token."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement with its words, comments left out; `text` ends with its semicolon."""

    text: str
    start: int
    words: tuple[Word, ...]


NOWHERE = Place(line=0, column=0)


def place_of(text: str, offset: int) -> Place:
    """Line and column of an offset."""
    before = text[:offset]
    return Place(line=before.count("\n") + 1, column=offset - before.rfind("\n"))


def words_of(text: str) -> Iterator[Word]:
    """Tokens of a text, comments left out."""
    for match in _WORD.finditer(text):
        if not match[0].startswith("//"):
            yield Word(text=match[0], start=match.start())


def find_open_string(text: str) -> int | None:
    """Offset of a string that does not end, or None."""
    for word in words_of(text):
        if word.text[0] == '"' and not _is_closed(word.text):
            return word.start
    return None


def _is_closed(text: str) -> bool:
    # The pattern eats escapes in pairs, so a closing quote is a quote of its own.
    return len(text) > 1 and text[-1] == '"' and not _ends_escaped(text[:-1])


def _ends_escaped(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def split_statements(text: str) -> tuple[Statement, ...]:
    """The statements of a text; what follows the last semicolon, if anything, is one too."""
    found: list[Statement] = []
    words: list[Word] = []
    for word in words_of(text):
        words.append(word)
        if word.text == ";":
            found.append(_statement(text, words))
            words = []
    if words:
        found.append(_statement(text, words))
    return tuple(found)


def _statement(text: str, words: list[Word]) -> Statement:
    start = words[0].start
    return Statement(text=text[start : words[-1].end], start=start, words=tuple(words))


def find_parse_fault(statement: Statement, parse: Callable[[str], str | None]) -> int:
    """Offset in the whole text of the word at which `parse` gives up on a statement.

    `parse` returns its complaint, or None. The words before the bad one could still be finished,
    which its complaint says, so bisection finds it.
    """
    low, high = 0, len(statement.words)
    while low < high:
        middle = (low + high) // 2
        end = statement.words[middle].end - statement.start
        complaint = parse(statement.text[:end])
        if complaint is None or UNFINISHED in complaint:
            low = middle + 1
        else:
            high = middle
    if low == len(statement.words):
        return statement.words[-1].end
    return statement.words[low].start


def find_named(statement: Statement, complaint: str) -> int:
    """Offset of the first word of a statement that a complaint names, else of the statement."""
    for quoted in (*_QUOTED.findall(complaint), complaint.rpartition(": ")[2]):
        for name in (quoted, quoted.rpartition("::")[2].strip('"')):
            for word in statement.words:
                if word.text in (name, f'"{name}"'):
                    return word.start
    return statement.start


def find_id(statement: Statement) -> str:
    """Value of the annotation `@id` of a statement, or nothing."""
    words = [word.text for word in statement.words]
    for at in range(len(words) - 3):
        if words[at : at + 3] == ["@", "id", "("]:
            return words[at + 3].strip('"')
    return ""
