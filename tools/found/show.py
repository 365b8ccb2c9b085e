"""What a genesis says, for people and for programs."""

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from contracts.engine import hash_policy_set
from contracts.shipped import load_shipped
from ledger.blocks import quorum_of
from ledger.genesis import Genesis, hash_genesis
from ledger.keys import fingerprint, format_public_key
from tools.output import format_table, printable
from tools.words import language, say


def describe_genesis(genesis: Genesis) -> dict[str, Any]:
    """The genesis as a document with readable keys and hashes."""
    shipped = {contract.id: contract.text for contract in load_shipped().contracts}
    return {
        "network": hash_genesis(genesis).hex(),
        "name": genesis.name,
        "origin": genesis.origin,
        "time": dt.datetime.fromtimestamp(genesis.time_ms // 1_000, dt.UTC).isoformat(),
        "quorum": quorum_of(len(genesis.validators)),
        "validators": [
            {
                "member": each.member,
                "consensus_key": format_public_key(each.consensus_key),
                "cosigning_key": format_public_key(each.cosigning_key),
                "certificate_sha256": hashlib.sha256(each.tls_certificate).hexdigest(),
            }
            for each in genesis.validators
        ],
        "members": [_plain(member) for member in genesis.members],
        "officers": [
            {**_plain(officer), "key": format_public_key(officer.key)}
            for officer in genesis.officers
        ],
        "datasets": [_plain(dataset) for dataset in genesis.datasets],
        "purposes": [_plain(purpose) for purpose in genesis.purposes],
        "legal_bases": [_plain(basis) for basis in genesis.legal_bases],
        "contracts": {
            "version": genesis.policy_set.version,
            "engine": genesis.policy_set.engine,
            "hash": hash_policy_set(genesis.policy_set).hex(),
            "ids": [contract.id for contract in genesis.policy_set.contracts],
            "unlike_shipped": [
                contract.id
                for contract in genesis.policy_set.contracts
                if shipped.get(contract.id) != contract.text
            ],
            "left_out": sorted(
                shipped.keys() - {contract.id for contract in genesis.policy_set.contracts}
            ),
        },
        "parameters": _plain(genesis.parameters),
        "freezes": [_plain(freeze) for freeze in genesis.freezes],
    }


def _plain(value: msgspec.Struct) -> dict[str, Any]:
    plain = msgspec.to_builtins(value, builtin_types=(bytes,))
    assert isinstance(plain, dict), "a struct"
    return plain


def format_genesis(genesis: Genesis) -> str:
    """The genesis as pages of text in the chosen language, safe to print on a terminal."""
    document = describe_genesis(genesis)
    contracts = document["contracts"]
    head = {name: _cell(str(document[name])) for name in ("network", "name", "origin", "time")}
    lists = ", ".join
    parts = [
        say(
            "found.network",
            **head,
            validators=len(genesis.validators),
            quorum=document["quorum"],
        ),
        _format_members(genesis),
        _section(
            "officers",
            ("member", "roles", "key"),
            [
                (each.member, lists(each.roles), fingerprint(each.key))
                for each in sorted(genesis.officers, key=lambda each: (each.member, each.roles))
            ],
        ),
        _section(
            "datasets",
            ("id", "name", "category", "fields", "deadline_hours"),
            [
                (
                    each.id,
                    _name(each),
                    each.category,
                    str(len(each.fields)),
                    str(each.deadline_hours),
                )
                for each in genesis.datasets
            ],
        ),
        _section("purposes", ("id", "name"), [(each.id, _name(each)) for each in genesis.purposes]),
        _section(
            "legal_bases",
            ("id", "name", "in_force", "parties"),
            [
                (
                    each.id,
                    each.title_zh if language() == "zh" else each.title_en,
                    f"{each.in_force_from} – {each.in_force_to}",
                    lists(each.parties) or "*",
                )
                for each in genesis.legal_bases
            ],
        ),
        say(
            "found.contracts",
            version=contracts["version"],
            count=len(contracts["ids"]),
            ids=lists(contracts["ids"]),
            unlike=lists(contracts["unlike_shipped"]) or "-",
            left_out=lists(contracts["left_out"]) or "-",
            hash=contracts["hash"],
        ),
        _section(
            "parameters",
            ("id", "value"),
            [(name, f"{value:,}") for name, value in _plain(genesis.parameters).items()],
        ),
    ]
    return "\n\n".join(parts)


def _format_members(genesis: Genesis) -> str:
    nodes = {each.member: fingerprint(each.consensus_key) for each in genesis.validators}
    return _section(
        "members",
        ("member", "name", "region", "member_kind", "credit", "consensus_key"),
        [
            (
                each.id,
                _name(each),
                each.region,
                each.kind,
                str(each.credit),
                nodes.get(each.id, "-"),
            )
            for each in genesis.members
        ],
    )


def _name(value: Any) -> str:
    name: str = value.name_zh if language() == "zh" else value.name_en
    return name


def _section(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    title = say(f"found.{name}", count=len(rows))
    head = [say(f"column.{column}") for column in columns]
    return f"{title}\n{format_table(head, [[_cell(cell) for cell in row] for row in rows])}"


def _cell(text: str) -> str:
    """Text of one line without control characters: what others wrote must not forge rows."""
    return printable(text).replace("\n", "?")
