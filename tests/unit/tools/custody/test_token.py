"""Keys on a real PKCS#11 token: SoftHSM2, in a folder of its own.

Skipped only where the extra `hsm` or SoftHSM2 is absent (`apt-get install softhsm2`).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ledger.custody.rotation import decode_rotation_json
from ledger.custody.token_uri import TokenUri
from ledger.events import ShareApproved, sign_event, verify_event
from ledger.genesis import encode_genesis_json
from ledger.keys import format_public_key, parse_public_key, verify_signature
from tests.softhsm import MODULE, PIN, fresh_token, needs_token
from tests.terminal import Terminal
from tests.unit.ledger.builders import make_genesis
from tools.cli import main
from tools.custody.passphrase import Ways
from tools.custody.signer import describe_key, open_signer
from tools.custody.token import parse_uri
from tools.exits import ERROR, NOT_FOUND, OK, ToolError


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with fresh_token(tmp_path_factory.mktemp("hsm")) as folder:
        yield folder


@pytest.fixture
def pin(token: Path) -> Path:
    return token / "pin"


def run(*arguments: object) -> Any:
    line = [*map(str, arguments), "--json", "--lang", "en"]
    result = CliRunner().invoke(main, ["keys", *line])
    assert PIN not in result.output
    return {**json.loads(result.stdout), "exit": result.exit_code}


def code_of(*arguments: object) -> str:
    return str(run(*arguments)["error"]["code"])


def make(name: str, pin: Path) -> str:
    uri = f"pkcs11:token=tally;object={name}"
    assert run("generate", uri, "--passphrase-file", pin)["exit"] == OK
    return uri


@needs_token
def test_a_key_is_made_on_the_token_and_signs_events(pin: Path) -> None:
    uri = make("admin", pin)
    shown = run("show", uri)
    assert (shown["kind"], shown["protected"]) == ("token", True)
    with click.Context(main):  # the session ends with the command
        signer = open_signer(uri, Ways(file=pin))
        assert open_signer(uri, Ways()) is signer
        signature = signer.sign(b"domain\0", b"message")
        event = sign_event(
            signer,
            network=bytes(32),
            member="cn-3301-tax",
            nonce=bytes(16),
            expires_height=9,
            body=ShareApproved(exchange=bytes(32), comment=""),
        )
    assert format_public_key(signer.public) == shown["public_key"]
    verify_signature(signer.public, b"domain\0", b"message", signature)
    verify_event(event)
    assert event.officer == signer.public
    assert code_of("generate", uri, "--passphrase-file", pin) == "token-key-exists"


@needs_token
def test_a_signature_of_another_key_is_not_handed_out(pin: Path) -> None:
    uri = make("honest", pin)
    with click.Context(main):
        signer = open_signer(uri, Ways(file=pin))
        signer.public = b"\x01" + signer.public[:0:-1]  # type: ignore[misc]  # a token gone wrong
        with pytest.raises(ToolError) as caught:
            signer.sign(b"domain\0", b"message")
    assert caught.value.code == "token-failed"


@needs_token
def test_a_private_key_cannot_leave_the_token(token: Path, pin: Path) -> None:
    import pkcs11

    make("kept", pin)
    with pkcs11.lib(MODULE).get_token(token_label="tally").open(user_pin=PIN) as session:
        key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label="kept")
        assert key[pkcs11.Attribute.SENSITIVE]
        assert not key[pkcs11.Attribute.EXTRACTABLE]
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            _ = key[pkcs11.Attribute.VALUE]


@needs_token
def test_keys_of_tokens_are_listed_by_a_uri_that_finds_them(pin: Path) -> None:
    make("listed%20%7f", pin)
    rows = run("hsm")["keys"]
    row = next(row for row in rows if "listed" in row["uri"])
    assert "object=listed%20%7F" in row["uri"]
    assert describe_key(row["uri"]).public_key == row["public_key"]
    assert run("hsm", "--module", MODULE)["keys"][0]["uri"].endswith(f"?module-path={MODULE}")


@needs_token
def test_what_is_not_there(pin: Path) -> None:
    make("one", pin)
    assert code_of("show", "pkcs11:token=tally;object=none") == "token-key-not-found"
    assert code_of("show", "pkcs11:token=none;object=one") == "token-not-found"
    assert run("show", "pkcs11:token=none;object=one")["exit"] == NOT_FOUND
    # Two keys answer to no name.
    make("two", pin)
    assert code_of("show", "pkcs11:token=tally") == "token-key-not-found"
    uri = "pkcs11:token=tally;object=one?module-path=/nowhere.so"
    assert code_of("show", uri) == "hsm-module-not-found"
    not_a_library = f"pkcs11:object=one?module-path={pin}"
    assert code_of("show", not_a_library) == "token-failed"


@needs_token
def test_a_wrong_pin_is_tried_once(pin: Path, tmp_path: Path) -> None:
    uri = make("careful", pin)
    (tmp_path / "wrong").write_text("000000")
    (tmp_path / "wrong").chmod(0o600)
    with pytest.raises(ToolError) as caught:
        open_signer(uri, Ways(file=tmp_path / "wrong"))
    assert caught.value.code == "pin-wrong"
    arguments = ["keys", "generate", "pkcs11:token=tally;object=x", "--lang", "en"]
    with Terminal(arguments) as terminal:
        terminal.answer("Pass phrase or PIN of pkcs11:token=tally;object=x", "000000")
        assert terminal.end() == ERROR
        assert terminal.shown.count("PIN of") == 1
        assert "[pin-wrong]" in terminal.shown


@needs_token
def test_a_key_on_a_token_succeeds_a_file(pin: Path, tmp_path: Path) -> None:
    (tmp_path / "genesis.json").write_bytes(encode_genesis_json(make_genesis()))
    old, new = make("old", pin), make("new", pin)
    made = run(
        *("rotate", old, "--genesis", tmp_path / "genesis.json", "--member", "cn-3301-tax"),
        *("--new", new, "--rotation", tmp_path / "rotation.json"),
        *("--passphrase-file", pin, "--new-passphrase-file", pin),
    )
    assert made["exit"] == OK, made
    signed = decode_rotation_json((tmp_path / "rotation.json").read_bytes())
    assert signed.rotation.new_key == parse_public_key(describe_key(new).public_key)


@needs_token
def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    assert code_of("hsm") == "hsm-missing"
    assert code_of("show", "pkcs11:object=a") == "hsm-missing"


# URIs, which need no token.


def test_a_uri_is_read() -> None:
    uri = parse_uri("pkcs11:token=a%20b;object=%E7%AC%A6;id=%01%ff;type=private?module-path=/a.so")
    assert uri == TokenUri(token="a b", object="符", id=b"\x01\xff", module_path="/a.so")


@given(
    token=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    object_=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    id_=st.none() | st.binary(min_size=1, max_size=20),
)
def test_what_is_written_is_read_back(token: str | None, object_: str, id_: bytes | None) -> None:
    uri = TokenUri(token=token, object=object_, id=id_)
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("pkcs11:", "token-uri-invalid"),
        ("pkcs11:object", "token-uri-invalid"),
        ("pkcs11:object=a;object=b", "token-uri-invalid"),
        ("pkcs11:colour=red", "token-uri-invalid"),
        ("pkcs11:module-path=/a.so", "token-uri-invalid"),
        ("pkcs11:object=a?", "token-uri-invalid"),
        ("pkcs11:object=a?module-path=/a;b", "token-uri-invalid"),
        ("pkcs11:object=%f", "token-uri-invalid"),
        ("pkcs11:object=%ff", "token-uri-invalid"),
        ("pkcs11:object=a b", "token-uri-invalid"),
        ("pkcs11:type=public;object=a", "token-uri-invalid"),
        ("pkcs11:object=" + "a" * 1_100, "token-uri-invalid"),
        ("pkcs11:object=a?pin-value=493817", "token-pin-in-uri"),
        ("pkcs11:object=a?pin-source=file:/pin", "token-pin-in-uri"),
    ],
)
def test_what_is_no_uri(text: str, code: str) -> None:
    with pytest.raises(ToolError) as caught:
        parse_uri(text)
    assert caught.value.code == code
    assert PIN not in caught.value.detail
