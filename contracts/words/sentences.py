"""Sentences without a code, told in the language of the reader: `sentences.toml`.

The rules of the ledger, other parts of this software, the system and its libraries say what they
found in one English sentence. Each section of the catalogue has such sentences, with places for
what was found, and their Chinese equals; those under `codes` are told of that code only.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from string import Formatter

from contracts.words import Language

# Nodes of others wrote it: what is longer is none of these sentences.
CHARS_MAX = 4_000
# A place of this name holds a sentence itself.
REASON = "reason"
_DEPTH_MAX = 4
_PARTS_MAX = 64
_NAMES_MAX = 4
_CODES_MAX = 256
_BETWEEN = ("; ", "；")
_BEFORE = (": ", "：")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence: the texts around its places, the names of these, and its Chinese equal."""

    texts: tuple[str, ...]
    names: tuple[str, ...]
    chinese: str

    def match(self, said: str) -> dict[str, str] | None:
        """What stands in its places, each as short as can be; None if it is another sentence.

        Takes time in proportion to the text, whatever the text is.
        """
        first, last = self.texts[0], self.texts[-1]
        if not self.names:
            return {} if said == first else None
        if not said.startswith(first) or not said.endswith(last):
            return None
        end = len(said) - len(last)
        places: dict[str, str] = {}
        at = len(first)
        for name, text in zip(self.names[:-1], self.texts[1:-1], strict=True):
            found = said.find(text, at + 1, end)
            if found < 0:
                return None
            places[name] = said[at:found]
            at = found + len(text)
        places[self.names[-1]] = said[at:end]
        return None if at >= end or self._is_torn(places) else places

    def _is_torn(self, places: Mapping[str, str]) -> bool:
        """Whether a place holds what is not of it: another sentence, or names before this one."""
        if any(_BETWEEN[0] in text for name, text in places.items() if name != REASON):
            return True
        return not self.texts[0] and self.names[0] != REASON and _BEFORE[0] in places[self.names[0]]


def tell(said: str, language: Language, code: str = "") -> str:
    """What was said, of a code or of none, in a language; an unknown sentence stays as it is.

    A known one may stand behind names and colons, and beside others.
    """
    if language == "en" or len(said) > CHARS_MAX:
        return said
    return "\n".join(_tell_line(line, code) or line for line in said.split("\n"))


def _tell_line(said: str, code: str, depth: int = 0) -> str | None:
    """A line in Chinese; None if nothing in it is known."""
    if depth == _DEPTH_MAX:
        return None
    if (whole := _tell_one(said, code, depth)) is not None:
        return whole
    parts = said.split(_BETWEEN[0], _PARTS_MAX - 1)
    told = [_tell_part(part, code, depth) for part in parts]
    if not any(told):
        return None
    return _BETWEEN[1].join(new or old for new, old in zip(told, parts, strict=True))


def _tell_part(said: str, code: str, depth: int) -> str | None:
    """A sentence that may stand behind names."""
    for count in range(_NAMES_MAX + 1):
        *names, sentence = said.split(_BEFORE[0], count)
        if len(names) == count and (told := _tell_one(sentence, code, depth)) is not None:
            return _BEFORE[1].join([*names, told])
    return None


def _tell_one(said: str, code: str, depth: int) -> str | None:
    for sentence in (*_of_code(code).find(said), *_of_all().find(said)):
        places = sentence.match(said)
        if places is None:
            continue
        told = {
            name: (name == REASON and _tell_line(text, "", depth + 1)) or text
            for name, text in places.items()
        }
        return sentence.chinese.format(**told)
    return None


@cache
def sections() -> Mapping[str, Mapping[str, str]]:
    """The English sentences of each section with their Chinese equals; a code's as `codes.…`."""
    source = files("contracts.words").joinpath("sentences.toml").read_text("utf-8")
    tables = tomllib.loads(source)
    codes = tables.pop("codes")
    return {**tables, **{f"codes.{code}": table for code, table in codes.items()}}


@dataclass(frozen=True, slots=True)
class _Table:
    """Sentences by their first character, each list with the most particular one first."""

    by_start: Mapping[str, tuple[Sentence, ...]]
    open: tuple[Sentence, ...]  # those that begin with a place

    def find(self, said: str) -> tuple[Sentence, ...]:
        """Those that may be what was said."""
        return self.by_start.get(said[:1], self.open)


@cache
def _of_all() -> _Table:
    tables = (table for name, table in sections().items() if not name.startswith("codes."))
    return _make({english: told for table in tables for english, told in table.items()})


@lru_cache(_CODES_MAX)
def _of_code(code: str) -> _Table:
    return _make(sections().get(f"codes.{code}", {}))


def _make(table: Mapping[str, str]) -> _Table:
    sentences = [parse(english, chinese) for english, chinese in table.items()]
    in_order = sorted(sentences, key=_rank)
    starts = {each.texts[0][:1] for each in sentences}
    by_start = {
        start: tuple(each for each in in_order if each.texts[0][:1] in ("", start))
        for start in starts
    }
    return _Table(by_start, by_start.get("", ()))


def _rank(sentence: Sentence) -> tuple[bool, bool, int]:
    """One without places before all, then what only says where; else the most text of its own."""
    is_where = sentence.texts[0] == "" and sentence.names[:1] == (REASON,)
    return bool(sentence.names), not is_where, -sum(map(len, sentence.texts))


def parse(english: str, chinese: str) -> Sentence:
    """A sentence of the catalogue, whose places are named in braces."""
    texts, names = [""], []
    for text, name, _, _ in Formatter().parse(english):
        texts[-1] += text
        if name is not None:
            names.append(name)
            texts.append("")
    assert all(texts[1:-1]), "a text stands between two places"
    return Sentence(texts=tuple(texts), names=tuple(names), chinese=chinese)
