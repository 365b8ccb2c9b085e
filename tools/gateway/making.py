"""A new gateway: fresh keys, `gateway.toml`, and the actions that make it known to the others."""

import datetime as dt
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ledger.custody.decryption import SEED_BYTES, derive_encryption_key, format_seed
from ledger.governance.actions import Action, AddOfficer, OfficerKey, prove_key
from ledger.governance.keys import SetEncryptionKey, SetGateway
from ledger.keys import format_secret_key
from tools.founding import make_certificate, new_secret_key, write_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPlan:
    """What a gateway is made of. `datasets` has the options of a connector for each dataset."""

    member: str
    node: str
    listen: str
    datasets: Mapping[str, Mapping[str, Any]]
    receiver: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]


def make_gateway(directory: Path, plan: GatewayPlan, *, network: bytes) -> tuple[Action, ...]:
    """Write keys and configuration into a new folder; returns what the members vote on."""
    keys = directory / "keys"
    keys.mkdir(mode=0o700, parents=True)
    officer, seed = new_secret_key(), os.urandom(SEED_BYTES)
    host = plan.listen.rpartition(":")[0].strip("[]")
    key_pem, certificate_pem = make_certificate(plan.member, dt.datetime.now(dt.UTC), host=host)
    write_secret(keys / "gateway.key", format_secret_key(officer).encode())
    write_secret(keys / "encryption.key", format_seed(seed).encode())
    write_secret(keys / "gateway-tls.key", key_pem)
    (keys / "gateway.crt").write_bytes(certificate_pem)
    (directory / "gateway.toml").write_text(format_config(plan), "utf-8")
    certificate = x509.load_pem_x509_certificate(certificate_pem).public_bytes(Encoding.DER)
    service = OfficerKey(
        key=officer.public,
        roles=("provider", "requester"),
        possession=prove_key(officer, network, plan.member),
    )
    return (
        AddOfficer(member=plan.member, officer=service),
        SetEncryptionKey(member=plan.member, key=derive_encryption_key(seed), not_after=""),
        SetGateway(member=plan.member, address=plan.listen, certificates=(certificate,)),
    )


def format_config(plan: GatewayPlan) -> str:
    """`gateway.toml` of a plan."""
    sections: dict[str, Mapping[str, Any]] = {
        "gateway": {"member": plan.member, "node": plan.node, "listen": plan.listen},
    }
    for name, values in plan.settings.items():
        sections[name] = {**sections.get(name, {}), **values}
    sections["receiver"] = plan.receiver
    for name, values in plan.datasets.items():
        sections[f"datasets.{name}"] = values
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())
        for name, values in sections.items()
    )


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    # A JSON string is a TOML string.
    return json.dumps(value, ensure_ascii=False)
