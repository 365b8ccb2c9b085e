"""Sentences without a code: each one that our sources say is told in Chinese, and no other."""

import ast
import errno
import inspect
import json
import json.decoder
import os
import re
import socket
import ssl
import tomllib
import tomllib._parser as toml_parser
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

import contracts
import ledger
import node
import tools
from contracts.words.sentences import CHARS_MAX, parse, sections, tell
from ledger.errors import CorruptStore, StoreFailed
from ledger.storage import installed_engines, open_store
from tests.refusals import CHINESE
from tests.sentences import PLACE, filled, is_sentence, sentences_in, text_of, words_of, yields_in

ROOT = Path(contracts.__path__[0]).parent
# Of libraries: provoked below. All others are ours, and stand in our sources.
OF_OTHERS = ("system", "tls", "http", "python", "stores", "click", "toml", "json", "shape")
ERRORS = re.compile(r"(Invalid|Corrupt|NotYet|Wrong|Snapshot|Staging)\w+|StoreFailed|OSError")
RULES = re.compile(r"refused|unfit|Fault")
# What only the log of a node tells stands in English there, like all lines of a log.
OF_NODES = re.compile(r"Problem|Failed|Corrupt\w+|StoreFailed|WalFailed|InvalidStatus|InvalidToken")
OF_TOOLS = re.compile(rf"{ERRORS.pattern}|ValueError|invalid_bundle|_diverged|Unreachable|NotFound")
# Generators of faults of a file, and lists of them.
LISTS = (
    "ledger/genesis.py", "ledger/quorum/founding.py", "ledger/quorum/lists.py",
    "contracts/risk/reasons.py", "contracts/credit/score.py", "tools/found/assemble.py",
    "tools/found/founder.py",
)  # fmt: skip


def read(folder: Any) -> Iterator[str]:
    for path in sorted(Path(folder.__path__[0]).rglob("*.py")):
        # A program of its own, for who has nothing of ours; and our bugs.
        if path.name != "standalone.py" and "bench" not in path.parts:
            yield path.read_text("utf-8")


def texts_in(source: str) -> Iterator[str]:
    """All texts of a source, wherever they stand."""
    return map(text_of, ast.walk(ast.parse(source)))


@cache
def said() -> set[tuple[str, str]]:
    """Code, or none, and sentence of all that people may read."""
    found: set[tuple[str, str]] = set()
    for folder, names in (
        (ledger, ERRORS), (contracts, RULES), (contracts, ERRORS), (node, OF_NODES),
        (tools, OF_TOOLS),
    ):  # fmt: skip
        for text in read(folder):
            found.update(sentences_in(text, names))
            parts = sentences_in(text, re.compile("diverge"))
            found.update(("replay-diverged", part) for _, part in parts)
    for place in LISTS:
        found.update(("", text) for text in yields_in((ROOT / place).read_text("utf-8")))
    return found


def test_every_sentence_of_our_sources_is_told_in_chinese() -> None:
    found = said()
    assert len(found) > 300
    left = sorted(
        (code, text) for code, text in found if not CHINESE.search(tell(filled(text), "zh", code))
    )
    assert left == []


def test_no_sentence_of_ours_is_idle() -> None:
    """Each stands in a source, whole or behind names."""
    there = {text for _, text in said()}
    for folder in (ledger, contracts, node, tools):
        there.update(text for source in read(folder) for text in texts_in(source))
    # What stands in quotation marks is told as it stands.
    there = {text.replace("'{...}'", "{...}") for text in there}
    there |= {end for text in there for end in ends_of(text)}
    found = {filled(text) for text in there}
    patterns = [
        re.compile(".*".join(map(re.escape, PLACE.split(text))), re.DOTALL)
        for text in there
        if PLACE.search(text) and is_sentence(text)
    ]
    for name, table in sections().items():
        for english in map(filled, table if name not in OF_OTHERS else ()):
            assert english in found or any(each.fullmatch(english) for each in patterns), english


def ends_of(text: str) -> Iterator[str]:
    parts = text.split(": ")
    return (": ".join(parts[at:]) for at in range(1, len(parts)))


# What is told.


def names_in(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_a_sentence_in_chinese_has_no_place_of_its_own() -> None:
    for table in sections().values():
        for english, chinese in table.items():
            assert names_in(chinese) <= names_in(english), english
            assert CHINESE.search(chinese) or names_in(chinese), english


def test_every_sentence_is_told_as_itself() -> None:
    """None is taken for another one, whatever stands in its places."""
    for name, table in sections().items():
        code = name.removeprefix("codes.") if name.startswith("codes.") else ""
        for english, chinese in table.items():
            values = dict.fromkeys(names_in(english), "x-1")
            assert tell(english.format(**values), "zh", code) == chinese.format(**values), english


MISMATCH = (
    'Cannot connect to host a:1 ssl:True [SSLCertVerificationError: (1, "[SSL: CERTIFICATE_VERIFY_'
    "FAILED] certificate verify failed: Hostname mismatch, certificate is not valid for 'a'."
    ' (_ssl.c:1006)")]'
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/a/b.json: No such file or directory", "/a/b.json：文件或文件夹不存在"),
        ("a: two different signatures; of a new kind", "a：有两个不同的签名；of a new kind"),
        ("a: two different signatures; b: its signature is missing",
         "a：有两个不同的签名；b：缺少其签名"),
        ("/d was made by lmdb; the setting says leveldb", "/d 由 lmdb 创建，而配置写的是 leveldb"),
        # A place does not take what stands before the sentence.
        ("header: 9 bytes, at most 5 are allowed", "header：有 9 字节，最多允许 5 字节"),
        ("one\nbase64 is not canonical\n", "one\nbase64 不是规范形式\n"),
        ("a: b: c: d: not base64", "a：b：c：d：不是 base64"),
        ("[Errno 13] Permission denied: '/a'", "/a：没有权限（错误号 13）"),
        ("the tip of the log is damaged: Expected `int`, got `str` - at `$[0]`",
         "日志末端已损坏：须为 `int`，得到 `str`（`$[0]`）"),
        ("{0} is defined twice", "{0} 定义了两次"),
        (MISMATCH, "无法连接 a:1：证书验证失败：证书不是签给 a 的"),
        ("of nobody", "of nobody"), ("", ""), (" is defined twice", " is defined twice"),
        ("a" * CHARS_MAX + ": not base64", "a" * CHARS_MAX + ": not base64"),
    ],
)  # fmt: skip
def test_what_is_known_is_told_where_it_stands(text: str, told: str) -> None:
    assert tell(text, "zh") == told
    assert tell(text, "en") == text


def test_a_sentence_of_a_code_is_told_of_that_code_only() -> None:
    text = "cn-3301-tax is retired"
    assert tell(text, "zh", "member-state") == "cn-3301-tax 的状态为 retired"
    assert tell(text, "zh", "unchanged") == tell(text, "zh") == text


@given(st.lists(st.tuples(st.text("ab", min_size=1), st.text("ab:", min_size=1)), max_size=4),
       st.text("ab"), st.text("ab"))  # fmt: skip
def test_a_filled_sentence_is_found(pairs: list[tuple[str, str]], first: str, last: str) -> None:
    """Every place has something, and together with the texts it is what was said."""
    english = "".join(f"{text}{{p{number}}}" for number, (text, _) in enumerate(pairs))
    english = first + english.removeprefix(pairs[0][0]) + last if pairs else first + last
    values = {f"p{number}": value for number, (_, value) in enumerate(pairs)}
    found = parse(english, "").match(english.format(**values))
    assert found is not None
    assert english.format(**found) == english.format(**values)
    assert all(found.values())


@given(st.text("a:; \n'(`]", max_size=400))
def test_any_text_is_told_or_stays(text: str) -> None:
    assert tell(text, "en") == text
    assert tell(text, "zh").count("\n") == text.count("\n")


# What libraries and the system say.


def literals_in(module: Any) -> list[str]:
    """Messages in the calls of a module that make its errors, places filled."""
    found = []
    for call in ast.walk(ast.parse(inspect.getsource(module))):
        name = getattr(getattr(call, "func", None), "id", "")
        if isinstance(call, ast.Call) and name in ("suffixed_err", "JSONDecodeError"):
            found += [filled(text_of(each)) for each in call.args if " " in text_of(each)]
    return found


@words_of("python")
@pytest.mark.parametrize(
    ("module", "ending"),
    [(toml_parser, " (at line 3, column 5)"), (json.decoder, ": line 3 column 5 (char 40)")],
)
def test_what_the_parsers_of_python_say_is_told_in_chinese(module: Any, ending: str) -> None:
    found = literals_in(module)
    assert len(found) >= 4
    for text in found:
        told = tell(f"/a/file: {text}{ending}", "zh")
        assert re.fullmatch(f"/a/file：.*{CHINESE.pattern}.*（第 3 行第 5 列）", told), text


def test_what_the_system_says_is_told_in_chinese() -> None:
    """All but what devices and protocols say that nobody here uses."""
    said = {os.strerror(number) for number in errno.errorcode}
    known = set(sections()["system"])
    assert len(said & known) > 65
    for name in ("ENOENT", "EACCES", "ENOSPC", "EADDRINUSE", "ECONNREFUSED", "EHOSTUNREACH"):
        assert os.strerror(getattr(errno, name)) in known


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """Each field can be wrong in its own way."""

    day: Annotated[int, msgspec.Meta(ge=1, le=28)]
    every: Literal["month", "year"] = "month"
    id: Annotated[str, msgspec.Meta(pattern="^a$", max_length=3)] = "a"
    fields: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("a",)
    pair: tuple[int, int] = (0, 0)
    since: date = date(2026, 1, 1)
    data: bytes = b""


@words_of("msgspec")
@pytest.mark.parametrize(
    "document",
    [
        {"day": "1"}, {}, {"day": 1, "x": 1}, {"day": 1, "every": "day"}, {"day": 0}, {"day": 29},
        {"day": 1, "id": "b"}, {"day": 1, "id": "long"}, {"day": 1, "fields": []},
        {"day": 1, "pair": [1]}, {"day": 1, "since": "1 May"}, {"day": 1, "data": "*"}, 10**30,
    ],
)  # fmt: skip
def test_what_is_said_of_a_shape_is_told_in_chinese(document: object) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(json.dumps({"table": document}), type=dict[str, Shape])
    told = tell(str(caught.value), "zh")
    assert "$[...]" in told
    assert not re.search("xpected|nvalid|Object|Integer", told), told


@words_of("msgspec")
@pytest.mark.parametrize(
    "data",
    [b"{", b"[1 2]", b"{1}", b"[1] 2", b'"\\x"', b'"\\ud800"', b"-", b"[1,]", b'{"a":1,}',
     b'{"a" 1}', b"x", b'["\xff"]', b'"\\u00zz"'],
)  # fmt: skip
def test_what_is_said_of_bytes_that_are_no_json_is_told_in_chinese(data: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)) as caught:
        msgspec.json.decode(data, type=Any)
    said_in = str(caught.value)
    assert not re.search("malformed|truncated|expected|nvalid", tell(said_in, "zh")), said_in


@words_of("msgspec", "python")
@pytest.mark.parametrize(
    "call",
    [
        b"\xff".decode, "\ud800".encode, lambda: date.fromisoformat("1 May"),
        lambda: date(2026, 2, 30), lambda: date(2026, 13, 1), lambda: int("one"),
        lambda: bytes.fromhex("zz"), lambda: tomllib.loads("a = 1\na = 2"),
        lambda: json.loads("{'a': 1}"), lambda: msgspec.msgpack.decode(b"\xc1"),
        Path("/no such/file").read_bytes, lambda: list(Path("/dev/null").iterdir()),
        lambda: socket.create_connection(("127.0.0.1", 1)),
        lambda: ssl.create_default_context(cafile="/dev/null"),
        lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(__file__),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_in_chinese(call: Callable[[], object]) -> None:
    with pytest.raises((ValueError, OSError)) as caught:
        call()
    told = tell(f"x: {caught.value}", "zh")
    assert CHINESE.search(told), told


def write_junk(pattern: str) -> Callable[[Path], object]:
    return lambda folder: [path.write_bytes(b"junk") for path in folder.glob(pattern)]


@words_of("lmdb")
@pytest.mark.parametrize(
    ("engine", "damage"),
    [
        ("leveldb", write_junk("CURRENT")), ("leveldb", write_junk("MANIFEST*")),
        ("lmdb", write_junk("data.mdb")),
        ("leveldb", lambda folder: [path.unlink() for path in folder.glob("MANIFEST*")]),
        ("leveldb", lambda folder: ((folder / "LOCK").unlink(), (folder / "LOCK").mkdir())),
    ],
)  # fmt: skip
def test_what_engines_say_of_a_damaged_store_is_told_in_chinese(
    engine: str, damage: Callable[[Path], object], data_dir: Path
) -> None:
    if engine not in installed_engines():
        pytest.skip("plyvel has no wheel here")
    store = open_store(data_dir / "store", engine)
    store.write({b"key": b"value"})
    store.close()
    damage(data_dir / "store" / engine)
    with pytest.raises((CorruptStore, StoreFailed)) as caught:
        open_store(data_dir / "store", engine)
    told = tell(str(caught.value), "zh")
    assert CHINESE.search(told), told
    assert not re.search("[a-z]{3,} [a-z]{3,}", told), told


@words_of("cryptography")
@pytest.mark.parametrize(
    "data",
    [b"junk", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
     b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\x80"],
)  # fmt: skip
def test_what_is_no_key_or_certificate_is_told_in_chinese(data: bytes) -> None:
    for read_pem in (x509.load_pem_x509_certificate, lambda pem: load_pem_private_key(pem, None)):
        with pytest.raises(ValueError, match=r"\w") as caught:
            read_pem(data)
        assert CHINESE.search(tell(str(caught.value), "zh")), caught.value
