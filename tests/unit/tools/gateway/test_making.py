"""A new gateway: what it writes is what the daemon reads and the members verify."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from ledger.custody.decryption import derive_encryption_key, parse_seed
from ledger.keys import parse_secret_key
from node.config import Address
from node.gateway.__main__ import read_keys
from node.gateway.config import SETTINGS, read_gateway_config
from tools.custody.making import KeyMaker
from tools.custody.passphrase import Ways
from tools.exits import InvalidInput
from tools.gateway.making import (
    GatewayPlan,
    folder_connector,
    folder_receiver,
    make_gateway,
    read_application,
)
from tools.gateway.socket import DATA_DIR, SOCKET, socket_of

NETWORK = bytes(range(32))
MEMBER = "cn-3301-tax"


def plan(**changed: Any) -> GatewayPlan:
    values: dict[str, Any] = {
        "member": MEMBER,
        "node": "http://127.0.0.1:7201",
        "listen": "127.0.0.1:7401",
        "datasets": {"invoice": folder_connector("invoice")},
        "receiver": folder_receiver(),
        "settings": {},
        **changed,
    }
    return GatewayPlan(**values)


def make(directory: Path, **changed: Any) -> bytes:
    """The bytes of the application."""
    make_gateway(directory, plan(**changed), network=NETWORK, maker=KeyMaker(plain=True))
    return (directory / "application.json").read_bytes()


def test_the_daemon_reads_what_was_written(tmp_path: Path) -> None:
    make(tmp_path / "gate", settings={"work": {"processes": 7}, "keys": {"decryption_before": []}})
    config = read_gateway_config(tmp_path / "gate" / "gateway.toml")
    settings = config.settings
    assert settings["gateway", "member"] == MEMBER
    assert settings["gateway", "listen"] == Address("127.0.0.1", 7401)
    assert settings["work", "processes"] == 7
    assert config.connectors["invoice"].options["subject_fields"] == ["seller-uscc", "buyer-uscc"]
    assert set(config.connectors) == {"invoice"}
    assert config.receiver.name == "folder"
    # Every other setting stands in it with its default and a comment.
    text = (tmp_path / "gate" / "gateway.toml").read_text("utf-8")
    assert all(f"\n{row.key} = " in text for row in SETTINGS)
    assert text.count("\n# ") > len(SETTINGS)


def test_keys_are_private_and_belong_to_the_application(tmp_path: Path) -> None:
    make(tmp_path / "gate")
    application = read_application(tmp_path / "gate" / "application.json", NETWORK)
    keys = tmp_path / "gate" / "keys"
    for name in ("gateway.key", "encryption.key", "gateway-tls.key"):
        assert stat.S_IMODE((keys / name).stat().st_mode) == 0o600
    officer = parse_secret_key((keys / "gateway.key").read_text())
    seed = parse_seed((keys / "encryption.key").read_text())
    assert application.officer.officer.key == officer.public
    assert application.officer.officer.roles == ("provider", "requester")
    assert application.encryption.key == derive_encryption_key(seed)
    assert application.gateway.address == "127.0.0.1:7401"
    read = read_keys(read_gateway_config(tmp_path / "gate" / "gateway.toml").settings)
    assert read.seeds == (seed,)
    assert len(application.actions) == 3


def test_keystores_open_with_the_pass_phrase_that_the_configuration_names(tmp_path: Path) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text("a long enough pass phrase")
    phrase.chmod(0o600)
    maker = KeyMaker(ways=Ways(file=phrase))
    maker.prepare(tmp_path)
    made = make_gateway(
        tmp_path / "gate",
        plan(settings={"keys": {"passphrase_file": str(phrase)}}),
        network=NETWORK,
        maker=maker,
    )
    read = read_keys(read_gateway_config(tmp_path / "gate" / "gateway.toml").settings)
    assert read.officer.public == made.officer.officer.key
    assert derive_encryption_key(read.seeds[0]) == made.encryption.key


@pytest.mark.parametrize(
    ("address", "bound"),
    [
        ("gate.hangzhou.example:7401", "0.0.0.0:7401"),
        ("192.0.2.7:7401", "192.0.2.7:7401"),
        ("[2001:db8::7]:7401", "[2001:db8::7]:7401"),
    ],
)
def test_a_name_is_published_and_every_address_listened_at(
    address: str, bound: str, tmp_path: Path
) -> None:
    document = json.loads(make(tmp_path / "gate", listen=address))
    assert document["gateway"]["address"] == address
    config = read_gateway_config(tmp_path / "gate" / "gateway.toml")
    assert str(config.settings["gateway", "listen"]) == bound


def test_a_gateway_is_never_overwritten(tmp_path: Path) -> None:
    before = make(tmp_path / "gate")
    with pytest.raises(InvalidInput) as refused:
        make(tmp_path / "gate")
    assert refused.value.code == "file-exists"
    assert (tmp_path / "gate" / "application.json").read_bytes() == before


def test_a_setting_that_the_sample_lacks_is_our_own_fault(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="nonsense"):
        make(tmp_path / "gate", settings={"work": {"nonsense": 1}})


def turn(text: str) -> str:
    """Another value of the same form."""
    return text[:20] + ("A" if text[20] != "A" else "B") + text[21:]


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("format",), "tallystick-gateway-v2", "gateway-file-invalid"),
        (("extra",), 1, "gateway-file-invalid"),
        (("gateway", "member"), "cn-3302-tax", "gateway-file-tampered"),
        (("officer", "member"), "cn-3302-tax", "gateway-file-tampered"),
        (("encryption", "key"), "AAAA", "gateway-file-invalid"),
        (("gateway", "certificates"), ["AAAA"], "gateway-file-tampered"),
        (("officer", "officer", "possession"), turn, "gateway-file-tampered"),
    ],
)
def test_an_application_that_was_altered_is_refused(
    path: tuple[str, ...], value: object, code: str, tmp_path: Path
) -> None:
    document = json.loads(make(tmp_path / "gate"))
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value(place[path[-1]]) if callable(value) else value
    altered = tmp_path / "altered.json"
    altered.write_text(json.dumps(document))
    with pytest.raises(InvalidInput) as refused:
        read_application(altered, NETWORK)
    assert refused.value.code == code


def test_an_application_is_for_one_network(tmp_path: Path) -> None:
    make(tmp_path / "gate")
    with pytest.raises(InvalidInput) as refused:
        read_application(tmp_path / "gate" / "application.json", bytes(32))
    assert refused.value.code == "gateway-file-tampered"


def test_the_socket_is_where_the_daemon_puts_it(tmp_path: Path) -> None:
    defaults = {row.key: row.default for row in SETTINGS if row.section == "gateway"}
    assert (defaults["data_dir"], defaults["socket"]) == (DATA_DIR, SOCKET)
    config = tmp_path / "gateway.toml"
    config.write_text('[gateway]\nmember = "a"\n')
    assert socket_of(config) == tmp_path / DATA_DIR / SOCKET
    config.write_text('[gateway]\ndata_dir = "/srv/gate"\nsocket = "s"\n')
    assert socket_of(config) == Path("/srv/gate/s")


@pytest.mark.parametrize("text", [None, "[gateway", "x = 1", "[gateway]\ndata_dir = 3\n"])
def test_a_configuration_without_a_socket_is_refused(text: str | None, tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    if text is not None:
        config.write_text(text)
    with pytest.raises(InvalidInput) as refused:
        socket_of(config)
    assert refused.value.code == "gateway-config"
