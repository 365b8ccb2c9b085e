"""Every fault that the gateway can show has words in both languages, in one catalogue only."""

import ast
from pathlib import Path

import pytest

import node.gateway
from contracts.words import LANGUAGES, Language
from contracts.words import catalogue as rules
from node.api.problems import HTTP_CODES
from node.connectors.words import catalogue as connectors
from node.crs.words import catalogue as messages
from node.gateway.words import catalogue, describe
from node.records.words import catalogue as records
from node.sealing.words import catalogue as sealing

FOLDER = Path(node.gateway.__path__[0])
# Which argument of a call is a code; `Fault` names it.
PLACES = {"Failed": 0, "hold": 1, "_problem": 1}


def codes_in(source: str) -> set[str]:
    """Every text in the place of a code, with and without a fallback, and constants by name."""
    found = set()
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        places = [each.value for each in call.keywords if name == "Fault" and each.arg == "code"]
        if name in PLACES and len(call.args) > PLACES[name]:
            places.append(call.args[PLACES[name]])
        found |= {
            each.value
            for place in places
            for each in ast.walk(place)
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and each.value
        }
    return found


def own_codes() -> set[str]:
    return set().union(*(codes_in(path.read_text("utf-8")) for path in FOLDER.rglob("*.py")))


def shared_codes(language: Language) -> list[set[str]]:
    """Codes of the catalogues of the parts."""
    return [
        set(connectors(language)),
        set(records(language)["refusals"]),
        set(messages(language)["refusals"]),
        set(sealing(language)),
        set(rules(language)["codes"]) | set(HTTP_CODES),
    ]


def test_the_scan_finds_codes() -> None:
    source = (
        'raise Failed(code or "one", "no")\nhold(job, "two", "no")\n'
        '_problem(web.HTTPGone, "three")\nFault(code="four", detail="no")\nfind("no")\n'
    )
    assert codes_in(source) == {"one", "two", "three", "four"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_has_words_and_none_is_idle(language: Language) -> None:
    others = set().union(*shared_codes(language))
    assert len(own_codes()) > 30
    assert set(catalogue(language)) == own_codes() - others
    stop = "。" if language == "zh" else "."
    for code, entry in catalogue(language).items():
        assert set(entry) == {"title", "advice"}, code
        assert entry["advice"].endswith(stop), code
        assert not entry["title"].endswith(stop), code


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_code_of_the_gateway_stands_in_no_other_catalogue(language: Language) -> None:
    for entries in shared_codes(language):
        assert not set(catalogue(language)) & entries


@pytest.mark.parametrize(
    ("code", "language", "title"),
    [
        ("work-stalled", "en", "Work made no progress and was ended"),
        ("work-stalled", "zh", "工作进程没有进展，已被终止"),
        ("files-missing", "en", "No file for the ask"),
        ("field-undefined", "en", "Field is not of the dataset"),
        ("sealed-truncated", "en", "The end is missing"),
        ("body-malformed", "en", "Malformed body"),
        ("xsd-changed", "en", "Schema file is not the one pinned"),
        ("oecd-80000", "en", "Document id was used before"),
        ("event-expired", "en", "Event expired"),
    ],
)
def test_words_come_from_the_catalogue_of_the_part(
    code: str, language: Language, title: str
) -> None:
    told = describe(code, "here", language)
    assert (told.code, told.title, told.detail) == (code, title, "here")
    assert told.advice


def test_a_code_that_nobody_knows_is_shown_as_it_is() -> None:
    told = describe("crs-portal-closed", "until 08:00", "en")
    assert (told.title, told.detail) == ("crs-portal-closed", "until 08:00")
    assert told.advice == connectors("en")["plugin-failed"]["advice"]


@pytest.mark.parametrize(
    ("code", "detail", "zh"),
    [
        ("node-unreachable", "Cannot connect to host a:1 ssl:default [Connection refused]",
         "无法连接 a:1：连接被拒绝"),
        ("body-malformed", "neither a request nor an offer", "既不是请求，也不是提供"),
        ("inbox-disk", "No space left on device", "磁盘已无空间"),
        ("work-died", "SealQuestion: exit -9", "SealQuestion：退出码 -9"),
        ("event-expired", "expired at height 7, now 9", "已在高度 7 过期，现在为 9"),
        ("option-file", "ca_file: /a: Permission denied", "ca_file：/a：没有权限"),
        ("partner-refused", "cn-3301-tax", "cn-3301-tax"),
    ],
)  # fmt: skip
def test_what_was_found_is_told_in_both_languages(code: str, detail: str, zh: str) -> None:
    assert describe(code, detail, "zh").detail == zh
    assert describe(code, detail, "en").detail == detail
