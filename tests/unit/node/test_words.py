"""Every cause that keeps a node or gateway from starting has words in both languages, filled in."""

import ast
import errno
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import node
from contracts.words import LANGUAGES, Language
from contracts.words import catalogue as rules
from ledger.errors import InvalidFounding
from node.api.problems import HTTP_CODES
from node.connectors.words import catalogue as connectors
from node.crs.words import catalogue as messages
from node.diagnosis.words import catalogue as findings
from node.errors import ConfigFault, InvalidConfig, StartRefused
from node.gateway.words import catalogue as gateway
from node.records.words import catalogue as records
from node.sealing.words import catalogue as sealing
from node.words import CONFIG_INVALID, catalogue, describe, tell_fault, tell_in_line
from tests.unit.tools.test_refusals import provoked
from tools.words import catalogue as tools

PLACE = re.compile(r"{(\w+)}")
FOLDER = Path(node.__path__[0])


def calls_in(source: str, *names: str) -> Iterator[tuple[str, set[str] | None]]:
    """Code and names of the values of each call of `names`; None where they are not literal."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call) or getattr(call.func, "id", "") not in names:
            continue
        given = {each.arg: each.value for each in call.keywords}
        code = given.pop("code", call.args[0] if call.args else None)
        if isinstance(code, ast.Constant):
            yield str(code.value), None if None in given else {str(name) for name in given}


def sources() -> list[str]:
    return [path.read_text("utf-8") for path in FOLDER.rglob("*.py")]


def start_codes() -> set[str]:
    return {code for text in sources() for code, _ in calls_in(text, "StartRefused")}


def fault_codes() -> set[str]:
    """Of the modules that read a configuration: other parts have faults of other kinds."""
    texts = (text for text in sources() if "InvalidValue" in text)
    names = ("ConfigFault", "_fault", "InvalidValue")
    return {code for text in texts for code, _ in calls_in(text, *names)}


def test_the_scan_finds_codes_and_their_values() -> None:
    source = 'StartRefused("one", path=1)\nConfigFault(code="two", line=2)\nf("no")\n'
    source += '_fault("three", a, **b)\n'
    assert dict(calls_in(source, "StartRefused", "ConfigFault", "_fault")) == {
        "one": {"path"}, "two": {"line"}, "three": None,
    }  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_has_words_and_none_is_idle(language: Language) -> None:
    assert set(catalogue(language)["starts"]) == start_codes() | {CONFIG_INVALID}
    assert set(catalogue(language)["faults"]) == fault_codes()
    stop = "。" if language == "zh" else "."
    for code, entry in catalogue(language)["starts"].items():
        assert set(entry) == {"title", "detail", "advice"}, code
        # What is to be typed ends without a stop.
        assert entry["advice"].endswith((stop, "}")), code
        assert not entry["title"].endswith(stop), code


def test_every_start_fills_the_places_of_its_words_in_both_languages() -> None:
    for text in sources():
        for code, values in calls_in(text, "StartRefused"):
            for language in LANGUAGES:
                said = " ".join(catalogue(language)["starts"][code].values())
                assert set(PLACE.findall(said)) == values, (code, language)


def test_both_languages_say_the_same_of_a_fault() -> None:
    zh, en = (catalogue(language)["faults"] for language in LANGUAGES)
    for code, text in en.items():
        places = [re.sub("_(zh|en)$", "", name) for name in PLACE.findall(text)]
        said = [re.sub("_(zh|en)$", "", name) for name in PLACE.findall(zh[code])]
        assert sorted(places) == sorted(said), code


def test_a_code_stands_in_no_other_catalogue() -> None:
    others = {
        *rules("en")["codes"], *HTTP_CODES, *findings("en"), *gateway("en"), *connectors("en"),
        *messages("en")["refusals"], *records("en")["refusals"], *sealing("en"),
        *(key.split(".")[1] for key in tools("en") if key.startswith("errors.")),
    }  # fmt: skip
    assert not others & {*start_codes(), *fault_codes(), CONFIG_INVALID}


def test_every_code_is_provoked() -> None:
    assert len(start_codes()) > 50
    assert {*start_codes(), *fault_codes(), CONFIG_INVALID} - provoked() == set()


def test_a_refusal_is_told_in_the_language_that_is_asked_for() -> None:
    error = StartRefused("start-key-open", setting="[keys] log", path="/a/log.key", mode="0640")
    zh, en = (describe(error, language) for language in LANGUAGES)
    assert (en.title, en.detail, en.advice) == (
        "Others can read a key file", "[keys] log, /a/log.key (mode 0640)",
        "Run: chmod 600 /a/log.key",
    )  # fmt: skip
    assert (zh.title, zh.detail, zh.advice) == (
        "他人可以读取密钥文件", "[keys] log，/a/log.key（权限 0640）",
        "请执行：chmod 600 /a/log.key",
    )  # fmt: skip
    assert tell_in_line(zh, "zh") == f"{zh.title}：{zh.detail} [start-key-open]"


@pytest.mark.parametrize(
    ("reason", "zh", "en"),
    [
        (FileNotFoundError(2, "No such file or directory", "/a"), "文件或文件夹不存在", ""),
        (OSError(errno.EADDRINUSE, "while binding: in use"), "", "Address already in use"),
        (OSError(errno.EXDEV, "no"), "不能跨设备链接", "Invalid cross-device link"),
        (
            socket.gaierror(-2, "Name or service not known"),
            "无法解析该主机名",
            "Name or service not known",
        ),
        # Its number is not one of the system.
        (ssl.SSLError(1, "NO_START_LINE"), "NO_START_LINE", "NO_START_LINE"),
        (OSError("cannot read from timed out object"), "cannot read", "cannot read"),
        (ValueError("no sense"), "no sense", "no sense"),
    ],
)
def test_what_the_system_refuses_is_told_in_words(reason: Exception, zh: str, en: str) -> None:
    error = StartRefused("start-genesis-unreadable", path="/a", reason=reason)
    for language, words in zip(LANGUAGES, (zh, en), strict=True):
        assert words in describe(error, language).detail


@pytest.mark.parametrize(
    ("reason", "zh"),
    [
        (InvalidFounding(("cn-3100-tax: its signature is missing",)), "cn-3100-tax：缺少其签名"),
        (
            InvalidFounding(("a: two different signatures", "of a kind that is new")),
            "a：有两个不同的签名；of a kind that is new",
        ),
        (
            msgspec.ValidationError("Expected `int`, got `str` - at `$.day`"),
            "须为 `int`，得到 `str`（`$.day`）",
        ),
        (ValueError("x" * 20_000 + ": its signature is missing"), "xxx: its signature is missing"),
    ],
)
def test_a_sentence_of_another_part_is_told_in_chinese(reason: Exception, zh: str) -> None:
    error = StartRefused("start-genesis-invalid", path="/a", reason=reason)
    assert describe(error, "zh").detail.endswith(zh)
    assert describe(error, "en").detail == f"/a: {reason}"


def test_a_shape_of_a_table_is_told_in_chinese() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"table": 1}, dict[str, str])
    fault = ConfigFault(code="table-malformed", values={"reason": caught.value})
    assert tell_fault(fault, "zh") == "格式不符合要求：须为 `str`，得到 `int`（`$[...]`）"


def test_faults_of_a_configuration_have_a_line_each_or_stand_in_one() -> None:
    counted = ConfigFault(
        code="count-wanted", line=7, setting="[work] processes", values={"low": 1, "high": 64}
    )
    error = InvalidConfig("gateway.toml", (counted, ConfigFault(code="hooks-same-id")))
    assert tell_fault(counted, "zh") == "第 7 行：[work] processes：须为 1 到 64 的整数"
    told = describe(error, "en")
    assert told.detail == (
        "gateway.toml\n  line 7: [work] processes: must be a whole number from 1 to 64"
        "\n  two hooks have one id"
    )
    assert tell_in_line(told, "en") == (
        "The configuration has faults: gateway.toml [start-config-invalid]; line 7: [work]"
        " processes: must be a whole number from 1 to 64; two hooks have one id"
    )
