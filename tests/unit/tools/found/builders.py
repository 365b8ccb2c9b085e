"""Founder files of four agencies; keyword arguments lie about one thing."""

import datetime as dt
from functools import cache
from pathlib import Path
from typing import Any

from ledger.genesis import Genesis
from ledger.keys import SecretKey
from ledger.registry import Role
from tests.builders import hash32
from tools.found.assemble import NamedFile, assemble
from tools.found.founder import FounderFile, FoundingMember, make_founder
from tools.founding import NodeSecrets, Source, new_node, read_source
from tools.localnet import shipped_policy_set

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
ORIGIN = "exchange.example/log"
MEMBERS = ("cn-3100-tax", "cn-3205-tax", "cn-3301-tax", "cn-3302-tax")
SOURCE_PATH = Path(__file__).parents[4] / "config" / "founding" / "network.toml"


def host(member: str) -> str:
    return f"node.{member}.example"


@cache
def node(member: str) -> NodeSecrets:
    return new_node(member, NOW, host=host(member))


def officers(member: str) -> dict[Role, SecretKey]:
    roles: tuple[Role, ...] = ("requester", "approver", "provider", "admin")
    return {role: SecretKey(hash32(f"{member}/{role}")) for role in roles}


def founding_member(member: str, **lies: Any) -> FoundingMember:
    fields = {"name_zh": f"税务局 {member}", "name_en": f"Bureau {member}", "region": "330100"}
    return FoundingMember(id=member, **{**fields, "kind": "tax", **lies})


def founder(id_: str, **lies: Any) -> FounderFile:
    fields: dict[str, Any] = {
        "member": founding_member(id_),
        "origin": ORIGIN,
        "officers": officers(id_),
        "node": node(id_),
        "address": f"{host(id_)}:7101",
        **lies,
    }
    return make_founder(fields.pop("member"), **fields)


def files(*others: FounderFile, without: str = "") -> list[NamedFile]:
    """Founder files of the four but one, and others; each is named after its member."""
    founders = [founder(member) for member in MEMBERS if member != without]
    return [NamedFile(f"{each.founder.member.id}.json", each) for each in (*founders, *others)]


def source() -> Source:
    return read_source(SOURCE_PATH)


def genesis(*others: FounderFile, without: str = "") -> Genesis:
    return assemble(
        source(), files(*others, without=without), policy_set=shipped_policy_set(), now=NOW
    )
