"""Founder files: what is refused, each with the name of the file and one reason."""

import datetime as dt
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.keys import SecretKey
from tests.unit.tools.found.builders import (
    MEMBERS,
    founder,
    founding_member,
    host,
    node,
    officers,
)
from tools.exits import InvalidInput
from tools.found.founder import (
    _CODEC,
    FOUNDER_DOMAIN,
    POSSESSION_DOMAIN,
    Founder,
    FounderFile,
    decode_founder,
    encode_founder,
    host_of,
    read_founder,
)
from tools.founding import new_node

OWN, OTHER = MEMBERS[:2]


def refused(file: FounderFile | bytes) -> str:
    data = file if isinstance(file, bytes) else encode_founder(file)
    with pytest.raises(InvalidInput) as caught:
        decode_founder(data, name="own.json")
    assert caught.value.code == "founder-invalid"
    assert caught.value.detail.startswith("own.json: ")
    return caught.value.detail


def resign(changed: Founder, *, consensus: SecretKey | None = None) -> FounderFile:
    """The changed statement with signatures by the right keys, or another consensus key."""
    data = _CODEC.encode(changed)
    possession = (consensus or node(OWN).consensus).sign(POSSESSION_DOMAIN, data)
    admin = officers(OWN)["admin"]
    return FounderFile(
        founder=changed,
        key=admin.public,
        possession=possession,
        signature=admin.sign(FOUNDER_DOMAIN, data + possession),
    )


def change(value: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(value, **changes)


def test_a_file_is_read_as_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "founder.json"
    path.write_bytes(encode_founder(founder(OWN)))
    assert read_founder(path) == founder(OWN)
    for secret in (*officers(OWN).values(), node(OWN).consensus, node(OWN).cosigning):
        assert secret.seed.hex() not in path.read_text()


def test_an_agency_without_a_node(tmp_path: Path) -> None:
    keys: dict[Any, SecretKey] = {"auditor": SecretKey(b"a" * 32)}
    file = founder(OWN, node=None, address="", officers=keys)
    assert decode_founder(encode_founder(file), name="") == file
    file = founder(OWN, node=None, address="")
    assert "no node whose key could be proven" in refused(resign(file.founder))


def test_who_signs_for_a_node_is_an_admin() -> None:
    keys: dict[Any, SecretKey] = {"approver": SecretKey(b"a" * 32)}
    with pytest.raises(InvalidInput, match="not that of an admin officer"):
        founder(OWN, officers=keys)
    assert "not that of an admin" in refused(change(founder(OWN), key=node(OWN).consensus.public))


STATEMENTS: list[tuple[Callable[[Founder], Founder], str]] = [
    (lambda f: change(f, officers=f.officers[::-1]), "officers: not sorted"),
    (lambda f: change(f, officers=(f.officers[0], *f.officers)), "one stands twice"),
    (lambda f: change(f, member=change(f.member, name_zh="税\n务")), "cannot be shown"),
    (lambda f: change(f, member=change(f.member, name_en="\u202eoffice")), "cannot be shown"),
    (lambda f: change(f, member=change(f.member, id=OTHER)), f"the validator is that of {OWN}"),
    (lambda f: change(f, member=change(f.member, region="33")), "region"),
    (lambda f: change(f, node=change(f.node, address="h:0")), "address"),
    (lambda f: change(f, node=change(f.node, address="other.example:1")), "name other.example"),
]


@pytest.mark.parametrize(("wrong", "said"), STATEMENTS)
def test_statements_that_no_signature_makes_good(
    wrong: Callable[[Founder], Founder], said: str
) -> None:
    assert said in refused(resign(wrong(founder(OWN).founder)))


def test_a_validator_whose_key_is_not_held() -> None:
    other = node(OTHER).consensus
    assert "possession of the consensus key" in refused(
        resign(founder(OWN).founder, consensus=other)
    )
    statement = founder(OWN).founder
    assert statement.node is not None
    stolen = change(statement.node.validator, consensus_key=other.public)
    assert "possession of the consensus key" in refused(
        resign(change(statement, node=change(statement.node, validator=stolen)))
    )


@pytest.mark.parametrize("name", [host(OWN), "localhost", "127.0.0.1"])
def test_the_certificate_serves_under_its_name(name: str, tmp_path: Path) -> None:
    secrets = new_node(OWN, dt.datetime.now(dt.UTC), host=host(OWN))
    (tmp_path / "key").write_bytes(secrets.tls_key_pem)
    (tmp_path / "cert").write_bytes(secrets.tls_certificate_pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    client = ssl.create_default_context(cafile=str(tmp_path / "cert"))
    assert handshake(server, client, name) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, "other.example")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """Version agreed between two ends in memory, the client insisting on the server's name."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname=name)
    theirs = server.wrap_bio(up, down, server_side=True)
    for end in (ours, theirs, ours, theirs):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return ours.version()


def test_a_cosigning_key_of_an_unknown_algorithm() -> None:
    statement = founder(OWN).founder
    assert statement.node is not None
    unknown = change(statement.node.validator, cosigning_key=b"\x02" + bytes(32))
    assert "cosigning_key: unknown key algorithm" in refused(
        resign(change(statement, node=change(statement.node, validator=unknown)))
    )


def test_a_certificate_that_cannot_be_read() -> None:
    statement = founder(OWN).founder
    assert statement.node is not None
    broken = change(statement.node.validator, tls_certificate=b"\x30\x00")
    assert "tls_certificate: " in refused(
        resign(change(statement, node=change(statement.node, validator=broken)))
    )


def test_a_tampered_file() -> None:
    good = encode_founder(founder(OWN))
    for data, said in (
        (good.replace(b'"330100"', b'"330200"'), "signature: signature does not verify"),
        (good.replace(b"exchange.example", b"anothers.example"), "signature does not verify"),
        (good[:-1], "not in canonical form"),
        (good.replace(b'"kind"', b'"kinds"'), "unknown field"),
        (b"{}", "missing required field"),
        (b"[" * 5_000, ""),
    ):
        assert said in refused(data)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_byte_of_a_file_can_be_changed(place: int, flip: int) -> None:
    data = bytearray(encode_founder(founder(OWN)))
    data[place % len(data)] ^= flip
    refused(bytes(data))


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_bytes(b" " * 20_000)
    with pytest.raises(InvalidInput) as caught:
        read_founder(tmp_path / "large.json")
    assert caught.value.code == "file-too-large"


def test_data_that_no_file_may_hold_is_refused_when_it_is_made() -> None:
    for lies in (
        {"member": founding_member(OWN, region="Zhejiang")},
        {"origin": "UPPER"},
        {"address": f"{host(OWN)}"},
        {"address": "10.0.0.1:7101"},
    ):
        with pytest.raises(InvalidInput) as caught:
            founder(OWN, **lies)
        assert caught.value.code == "founder-invalid"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("node.example:7101", "node.example"),
        ("10.0.0.1:7101", "10.0.0.1"),
        ("[2001:db8:0:0::1]:7101", "2001:db8::1"),
    ],
)
def test_the_host_of_an_address(address: str, expected: str) -> None:
    assert host_of(address) == expected
