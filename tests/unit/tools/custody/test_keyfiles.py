"""Key files of every kind: read strictly, opened, written whole and private."""

import errno
import os
import stat
from pathlib import Path
from typing import Literal

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ledger.custody.keystore import Cost
from tools.custody.keyfiles import (
    _place,
    format_plain,
    open_key_file,
    read_key_file,
    seal,
    write_private,
)
from tools.custody.passphrase import Ways
from tools.exits import ToolError

CHEAP = Cost(passes=1, memory_kib=8)
SECRET = bytes(range(32))
PHRASE = "correct horse battery"


def code_of(path: Path) -> str:
    with pytest.raises(ToolError) as caught:
        read_key_file(path)
    assert SECRET.hex() not in f"{caught.value} {caught.value.detail}"
    return caught.value.code


@pytest.fixture
def ways(tmp_path: Path) -> Ways:
    write_private(tmp_path / "phrase", PHRASE.encode())
    return Ways(file=tmp_path / "phrase")


@pytest.mark.parametrize("algorithm", ["ed25519", "p256"])
def test_every_kind_gives_the_same_secret(
    tmp_path: Path, ways: Ways, algorithm: Literal["ed25519", "p256"]
) -> None:
    path = tmp_path / "a.key"
    write_private(path, format_plain(SECRET, algorithm))
    plain = read_key_file(path)
    assert open_key_file(plain, Ways()) == SECRET
    assert not plain.is_protected
    write_private(path, seal(SECRET, algorithm, PHRASE, cost=CHEAP), replace=True)
    sealed = read_key_file(path)
    assert sealed.is_protected
    assert sealed.secret is None
    assert (sealed.public_key, sealed.fingerprint) == (plain.public_key, plain.fingerprint)
    assert open_key_file(sealed, ways) == SECRET


def test_a_wrong_pass_phrase_and_a_damaged_file_are_two_errors(tmp_path: Path, ways: Ways) -> None:
    path = tmp_path / "a.key"
    write_private(path, seal(SECRET, "ed25519", PHRASE + "!", cost=CHEAP))
    with pytest.raises(ToolError) as caught:
        open_key_file(read_key_file(path), ways)
    assert caught.value.code == "passphrase-wrong"
    assert PHRASE not in caught.value.detail
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    assert code_of(path) == "keystore-damaged"


def test_what_is_no_key_file(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    rsa_like = ed25519.Ed25519PrivateKey.from_private_bytes(SECRET)
    other_curve = ec.derive_private_key(5, ec.SECP384R1())
    form = (Encoding.PEM, PrivateFormat.PKCS8)
    locked = ec.derive_private_key(5, ec.SECP256R1()).private_bytes(
        *form, BestAvailableEncryption(b"x")
    )
    for content in (
        b"",
        b"\xff",
        format_plain(SECRET, "ed25519")[:-4],
        format_plain(SECRET, "ed25519") + b"x",
        format_plain(SECRET, "p256")[:-40],
        rsa_like.private_bytes(*form, NoEncryption()),
        other_curve.private_bytes(*form, NoEncryption()),
        locked,
        b"x" * 8_193,
    ):
        write_private(path, content, replace=True)
        assert code_of(path) == "key-invalid", content[:40]
    assert code_of(tmp_path / "none") == "key-unreadable"
    path.chmod(0o640)
    assert code_of(path) == "key-readable"


def test_a_tls_key_is_the_same_key_afterwards() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_numbers().private_value.to_bytes(32, "big")
    again = load_pem_private_key(format_plain(secret, "p256"), password=None)
    assert isinstance(again, ec.EllipticCurvePrivateKey)
    assert again.private_numbers() == key.private_numbers()


def test_a_file_is_private_whole_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    write_private(path, b"one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ToolError) as caught:
        write_private(path, b"two")
    assert caught.value.code == "file-exists"
    assert path.read_bytes() == b"one"
    path.chmod(0o644)
    write_private(path, b"two", replace=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b"two"
    assert [each.name for each in tmp_path.iterdir()] == ["a.key"]
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    with pytest.raises(ToolError):
        write_private(tmp_path / "dangling", b"x")
    with pytest.raises(FileNotFoundError):
        write_private(tmp_path / "none" / "a.key", b"x")


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_private(tmp_path / "a.key", b"one")
    assert (tmp_path / "a.key").read_bytes() == b"one"
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_came_meanwhile_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "draft").write_bytes(b"two")
    (tmp_path / "a.key").write_bytes(b"one")
    with pytest.raises(FileExistsError):
        _place(tmp_path / "draft", tmp_path / "a.key")
    assert (tmp_path / "a.key").read_bytes() == b"one"
