"""Details of the ledger's rules are told in both languages: read from the source, none left out."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import contracts
from tests.refusals import CHINESE
from tools import exits
from tools.cli import main
from tools.commands import completion
from tools.words import LANGUAGES, catalogue, select_language
from tools.words.details import patterns, tell_detail

RULES = Path(contracts.__path__[0])
PLACE = re.compile(r"{[^{}]*}")
CODE = re.compile(r"(?:{side}|[a-z]+)(?:-[a-z]+)*")
WORD = re.compile(r"[a-z]{2,}")


def text_of(node: ast.AST | None) -> str:
    """A text with its places as `{...}`; empty for all else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (getattr(part, "value", None) for part in node.values)
        return "".join(part if isinstance(part, str) else "{...}" for part in parts)
    return ""


def details_in(source: str) -> Iterator[tuple[str, str]]:
    """Code and sentence of each refusal and fault, the sentence as it was last assigned before."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        assigned = [
            (each.lineno, each.targets[0].id, each.value)
            for each in ast.walk(function)
            if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
        ]
        for call in ast.walk(function):
            name = getattr(getattr(call, "func", None), "id", "")
            if not isinstance(call, ast.Call) or name not in ("refused", "unfit", "Fault"):
                continue
            named = {each.arg: each.value for each in call.keywords}
            code, detail = [*call.args, named.get("code"), named.get("detail")][:2]
            if isinstance(detail, ast.Name):
                before = [each for each in assigned if each[0] < call.lineno]
                values = [value for _, name, value in sorted(before, key=lambda row: row[0])
                          if name == detail.id]  # fmt: skip
                detail = values[-1] if values else None
            yield (code.value if isinstance(code, ast.Constant) else "", text_of(detail))
            if isinstance(code, ast.JoinedStr):
                yield from ((side + text_of(code).removeprefix("{...}"), text_of(detail))
                            for side in ("provider", "recipient"))  # fmt: skip


def sentences() -> set[tuple[str, str]]:
    """Those with words of their own; the rest is a name, a number or a digest."""
    found = set().union(*(details_in(path.read_text("utf-8")) for path in RULES.rglob("*.py")))
    return {
        (code, detail) for code, detail in found
        if code and " " in detail and WORD.search(PLACE.sub("", detail))
    }  # fmt: skip


def filled(detail: str) -> str:
    """A sentence with values in its places."""
    return PLACE.sub("x-1", detail)


def test_the_scan_finds_sentences() -> None:
    source = (
        "def f(side):\n"
        '    detail = f"{a} is {b}"\n    yield Fault(code="one", detail=detail)\n'
        '    detail = "no way"\n    refused("two", detail)\n    unfit(f"{side}-three", name)\n'
    )
    assert set(details_in(source)) == {
        ("one", "{...} is {...}"), ("two", "no way"), ("", ""), ("provider-three", ""),
        ("recipient-three", ""),
    }  # fmt: skip


@pytest.fixture
def chinese() -> Iterator[None]:
    select_language(["--lang", "zh"])
    yield
    select_language(["--lang", "en"])


@pytest.mark.usefixtures("chinese")
def test_every_sentence_of_the_rules_is_told_in_chinese() -> None:
    found = sentences()
    assert len(found) > 60
    left = {
        (code, detail) for code, detail in found
        if not CHINESE.search(tell_detail(code, filled(detail)))
    }  # fmt: skip
    assert left == set()


def test_the_rules_can_say_each_of_these_sentences() -> None:
    found = sentences()
    for code, known in patterns().items():
        said = [".+".join(map(re.escape, PLACE.split(text))) for of, text in found if of == code]
        for key in known:
            assert any(re.fullmatch(each, filled(catalogue("en")[key])) for each in said), key


def test_values_stay_as_they_are_and_other_texts_too(chinese: None) -> None:
    del chinese
    assert tell_detail("event-expired", "expired at height 7, now 9") == "已在高度 7 过期，现在为 9"
    assert tell_detail("not-a-party", "only a / b may do c.d here") == "此处只有 a / b 可以 c.d"
    assert tell_detail("not-a-party", "{member} has no part in {0}") == "{member} 未参与 {0}"
    for code, detail in (
        ("event-expired", "cn-3301-tax"), ("unknown", "expired at height 7, now 9"),
        ("not-a-party", "only " + "x" * 1_000 + " may do c here"), ("duplicate", ""),
    ):  # fmt: skip
        assert tell_detail(code, detail) == detail


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refused_event_is_told_in_one_language(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(**_: object) -> None:
        raise exits.RefusedEvent("not-a-voter", "cn-3301-tax has no validator in this epoch")

    monkeypatch.setattr(completion.command, "callback", end)
    told = CliRunner().invoke(main, ["completion", "bash", "--lang", language]).stderr
    text = catalogue(language)["details.not-a-voter.1"].format(member="cn-3301-tax")
    assert f"{text} [not-a-voter]" in told
    assert ("has no validator" in told) is (language == "en")
