"""Sentences that a source says, for tests: read from its syntax tree, places as `{...}`.

Libraries change their words from release to release: tests that hear them skip newer releases.
"""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version

import pytest

# The newest release of each library whose words `contracts/words/sentences.toml` knows.
KNOWN = {
    "aiohttp": (3, 14),
    "click": (8, 5),
    "cryptography": (50, 0),
    "lmdb": (3, 0),
    "msgspec": (0, 23),
    "python": (3, 13),
}

PLACE = re.compile(r"{[^{}]*}")
_OPTION = re.compile(r"--[a-z-]*")
_WORDS = re.compile(r"[a-z]{2,}[^a-z].*[a-z]{2,}|[a-z]{2,} ")


def words_of(*libraries: str) -> pytest.MarkDecorator:
    """A mark of tests that hear what these say: skipped where one of them is too new."""
    newer = [name for name in libraries if _release(name) > KNOWN[name]]
    return pytest.mark.skipif(bool(newer), reason=f"its words may be other ones: {newer}")


def _release(library: str) -> tuple[int, ...]:
    if library == "python":
        return sys.version_info[:2]
    return tuple(map(int, version(library).split(".")[:2]))


def text_of(node: ast.AST | None) -> str:
    """A text with its places as `{...}`; empty for all else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_part_of, node.values))
    return ""


def _part_of(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    is_quoted = isinstance(part, ast.FormattedValue) and part.conversion == ord("r")
    return "'{...}'" if is_quoted else "{...}"


def name_of(call: ast.Call) -> str:
    """The name of what is called."""
    return str(getattr(call.func, "id", getattr(call.func, "attr", "")))


def is_sentence(text: str) -> bool:
    """Whether it has words of its own; the rest is a name, a number or a digest."""
    bare = _OPTION.sub("", PLACE.sub("", text))
    return " " in bare.strip() and _WORDS.search(bare) is not None


def filled(text: str) -> str:
    """A sentence with values in its places."""
    return PLACE.sub("x-1", text)


def functions_in(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def sentences_in(source: str, names: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Code and sentence of each call of `names`; without a code the code is empty.

    A variable stands for what was last assigned to it before.
    """
    for function in functions_in(source):
        assigned = sorted(
            (each.lineno, each.targets[0].id, each.value)
            for each in ast.walk(function)
            if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
        )
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or not names.fullmatch(name_of(call)):
                continue
            before = {name: value for line, name, value in assigned if line < call.lineno}
            named = {each.arg: each.value for each in call.keywords}
            told = text_of(named.get("code", next(iter(call.args), None)))
            for value in (*call.args, *named.values()):
                meant = before.get(value.id) if isinstance(value, ast.Name) else value
                for part in meant.elts if isinstance(meant, ast.Tuple) else (meant,):
                    if is_sentence(text := text_of(part)):
                        yield ("" if " " in told else told), text


def yields_in(source: str) -> Iterator[str]:
    """The sentences that functions yield, or put in a list."""
    for function in functions_in(source):
        for node in ast.walk(function):
            if isinstance(node, ast.Yield):
                yield from filter(is_sentence, [text_of(node.value)])
            elif isinstance(node, ast.Call) and name_of(node) == "append":
                yield from filter(is_sentence, map(text_of, node.args))
