"""A new gateway: fresh keys, `gateway.toml`, and what makes it known to the others.

HOME/keys/gateway.key       of the service officer
HOME/keys/encryption.key    opens payloads
HOME/keys/gateway-tls.key   with gateway.crt for other gateways
HOME/gateway.toml           the shipped sample with the values of this gateway
HOME/application.json       three actions, which one proposal puts to the vote
"""

import datetime as dt
import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from ledger.codec import Value
from ledger.custody.certificates import verify_certificate
from ledger.custody.decryption import SEED_BYTES, derive_encryption_key
from ledger.custody.encryption import verify_encryption_key
from ledger.errors import InvalidCertificate, InvalidKey, InvalidSignature
from ledger.governance.actions import Action, AddOfficer, OfficerKey, prove_key, verify_key
from ledger.governance.keys import SetEncryptionKey, SetGateway
from tools.custody.making import KeyMaker
from tools.exits import InvalidInput
from tools.founding import make_certificate, new_secret_key, read_file

CONFIG = "gateway.toml"
APPLICATION = "application.json"
FILE_BYTES_MAX = 65_536
# The fields of each shipped dataset in which the folder connector looks for subjects.
SUBJECT_FIELDS = {
    "registration": ("uscc",),
    "filing": ("uscc",),
    "incentive": ("uscc",),
    "invoice": ("seller-uscc", "buyer-uscc"),
    "account": ("holder-tin",),
}
# What the sample says after this heading are examples of connectors and receivers.
_PLUGS = re.compile(r"(?:^#[^\n]*\n)*^\[receiver\]$", re.MULTILINE)
_HEADING = re.compile(r"\[([a-z]+)\]\Z")
_KEY = re.compile(r"([a-z_]+) = ")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPlan:
    """What a gateway is made of. `datasets` has the options of a connector for each dataset."""

    member: str
    node: str
    listen: str
    datasets: Mapping[str, Mapping[str, Any]]
    receiver: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]


class GatewayApplication(Value, frozen=True, kw_only=True):
    """What the members vote on, as a file: the officer, the encryption key, the address."""

    format: Literal["tallystick-gateway-v1"]
    officer: AddOfficer
    encryption: SetEncryptionKey
    gateway: SetGateway

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions of a proposal."""
        return (self.officer, self.encryption, self.gateway)


def folder_connector(dataset: str) -> dict[str, Any]:
    """A connector that reads `records/DATASET.csv`."""
    return {
        "name": "folder",
        "options": {
            "path": "records",
            "files": "{dataset}.csv",
            "format": "csv",
            "subject_fields": SUBJECT_FIELDS[dataset],
        },
    }


def folder_receiver() -> dict[str, Any]:
    """A receiver that writes to `received`."""
    return {"name": "folder", "options": {"path": "received"}}


def make_gateway(
    directory: Path, plan: GatewayPlan, *, network: bytes, maker: KeyMaker
) -> GatewayApplication:
    """Write keys, configuration and application into a folder. Raises `InvalidInput`.

    `listen` is where the others connect: a host and a port. `maker` is prepared.
    """
    check_new(directory)
    host = plan.listen.rpartition(":")[0].strip("[]")
    keys = directory / "keys"
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    officer, seed = new_secret_key(), os.urandom(SEED_BYTES)
    key_pem, certificate_pem = make_certificate(plan.member, dt.datetime.now(dt.UTC), host=host)
    maker.write(keys / "gateway.key", officer)
    maker.write_secret(keys / "encryption.key", seed, "mlkem768-x25519")
    maker.write_secret(keys / "gateway-tls.key", _scalar(key_pem), "p256")
    (keys / "gateway.crt").write_bytes(certificate_pem)
    for name in ("records", "received"):
        (directory / name).mkdir(mode=0o700, exist_ok=True)
    certificate = x509.load_pem_x509_certificate(certificate_pem).public_bytes(Encoding.DER)
    service = OfficerKey(
        key=officer.public,
        roles=("provider", "requester"),
        possession=prove_key(officer, network, plan.member),
    )
    application = GatewayApplication(
        format="tallystick-gateway-v1",
        officer=AddOfficer(member=plan.member, officer=service),
        encryption=SetEncryptionKey(
            member=plan.member, key=derive_encryption_key(seed), not_after=""
        ),
        gateway=SetGateway(member=plan.member, address=plan.listen, certificates=(certificate,)),
    )
    data = msgspec.json.format(msgspec.json.encode(application)) + b"\n"
    (directory / APPLICATION).write_bytes(data)
    # Last: a folder without it is not a gateway.
    (directory / CONFIG).write_text(format_config(plan), "utf-8")
    return application


def check_new(directory: Path) -> None:
    """Raises `InvalidInput` if there is a gateway in the folder."""
    if (directory / CONFIG).exists():
        raise InvalidInput("file-exists", str(directory / CONFIG))


def _scalar(key_pem: bytes) -> bytes:
    key = load_pem_private_key(key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "certificates are made with P-256"
    return key.private_numbers().private_value.to_bytes(32, "big")


def read_application(path: Path, network: bytes) -> GatewayApplication:
    """The file of a new gateway, every proof checked. Raises `InvalidInput`."""
    try:
        data = read_file(path, size_bytes_max=FILE_BYTES_MAX)
        application = msgspec.json.decode(data, type=GatewayApplication)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("gateway-file-invalid", f"{path}: {error}") from None
    owners = {
        each.member for each in (application.officer, application.encryption, application.gateway)
    }
    if len(owners) > 1:
        raise InvalidInput("gateway-file-tampered", f"{path}: {', '.join(sorted(owners))}")
    try:
        verify_key(network, application.officer.member, application.officer.officer)
        verify_encryption_key(application.encryption.key)
        for certificate in application.gateway.certificates:
            verify_certificate(certificate)
    except (InvalidKey, InvalidSignature, InvalidCertificate) as error:
        raise InvalidInput("gateway-file-tampered", f"{path}: {error}") from None
    return application


def format_config(plan: GatewayPlan) -> str:
    """`gateway.toml` of a plan: the sample, with its comments and the values of the plan."""
    sample = (files("config") / "gateway.toml").read_text("utf-8")
    cut = _PLUGS.search(sample)
    assert cut is not None, "the sample has a receiver"
    values: dict[str, dict[str, Any]] = {
        "gateway": {"member": plan.member, "node": plan.node, "listen": _bound(plan.listen)}
    }
    for section, table in plan.settings.items():
        values[section] = {**values.get(section, {}), **table}
    head = "".join(_fill(sample[: cut.start()], values))
    left = [f"{section}.{key}" for section, table in values.items() for key in table]
    assert not left, f"the sample has no {left}"
    return head + "\n".join(_format_plugs(plan)) + "\n"


def _bound(address: str) -> str:
    """Where to listen for an address: a name may be that of another machine in front of this."""
    host, _, port = address.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return f"0.0.0.0:{port}"
    return address


def _fill(sample: str, values: dict[str, dict[str, Any]]) -> list[str]:
    """Lines of the sample; values that were put in are taken away."""
    section, lines = "", []
    for line in sample.rstrip("\n").split("\n"):
        if heading := _HEADING.match(line):
            section = heading[1]
        key = _KEY.match(line)
        if key is not None and key[1] in values.get(section, {}):
            lines.append(f"{key[1]} = {_toml(values[section].pop(key[1]))}\n")
        else:
            lines.append(line + "\n")
    return [*lines, "\n"]


def _format_plugs(plan: GatewayPlan) -> list[str]:
    tables = {"receiver": plan.receiver}
    tables |= {f"datasets.{name}": options for name, options in plan.datasets.items()}
    return [
        f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    ]


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    # A JSON string is a TOML string.
    return json.dumps(value, ensure_ascii=False)
