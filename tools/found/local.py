"""All steps of founding in one go, for networks on one machine: it plays every founder."""

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from ledger.genesis import Genesis
from ledger.keys import SecretKey
from ledger.quorum.founding import (
    GenesisSignatures,
    derive_log_key,
    merge_signatures,
    sign_genesis,
    verify_founders,
)
from ledger.registry import PolicySet
from tools.found.assemble import NamedFile, assemble
from tools.found.founder import ROLES, FoundingMember, host_of, make_founder
from tools.founding import NodeSecrets, Source, SourceMember, new_node, new_secret_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """A signed genesis and all keys behind it. `officers` maps (member, role) to a key."""

    genesis: Genesis
    signatures: GenesisSignatures
    log_key: SecretKey
    nodes: tuple[NodeSecrets, ...]
    officers: dict[tuple[str, str], SecretKey]


def found_network(
    source: Source, *, addresses: Sequence[str], policy_set: PolicySet, now: dt.datetime
) -> Founding:
    """Fresh keys for every officer and for a node at each of `addresses`, and the signed genesis.

    Raises `InvalidInput`, or `InvalidGenesis` with every fault of the source.
    """
    members = _with_validators(source.members, len(addresses))
    source = msgspec.structs.replace(source, members=members)
    voting = (member.id for member in members if member.validator)
    places = dict(zip(voting, addresses, strict=True))
    nodes = {id_: new_node(id_, now, host=host_of(place)) for id_, place in places.items()}
    officers = {
        member.id: {role: new_secret_key() for role in member.officers} for member in members
    }
    files = [
        NamedFile(
            member.id,
            make_founder(
                _describe(member),
                origin=source.origin,
                officers=officers[member.id],
                node=nodes.get(member.id),
                address=places.get(member.id, ""),
            ),
        )
        for member in members
        if member.officers
    ]
    genesis = assemble(source, files, policy_set=policy_set, now=now)
    signatures = merge_signatures(
        [
            sign_genesis(officers[id_]["admin"], genesis, member=id_, address=place)
            for id_, place in places.items()
        ]
    )
    verify_founders(genesis, signatures)
    return Founding(
        genesis=genesis,
        signatures=signatures,
        log_key=derive_log_key(genesis),
        nodes=tuple(nodes.values()),
        officers={(id_, role): key for id_, keys in officers.items() for role, key in keys.items()},
    )


def _with_validators(members: tuple[SourceMember, ...], nodes: int) -> tuple[SourceMember, ...]:
    """The source's members, so that exactly `nodes` validate: model agencies make up the number."""
    missing = nodes - sum(member.validator for member in members)
    added = (
        SourceMember(
            id=f"cn-model-{number:02d}-tax",
            name_zh=f"示范税务局{number}",
            name_en=f"Model Tax Bureau {number}",
            region="330000",
            kind="tax",
            credit=850,
            validator=True,
            officers=ROLES,
        )
        for number in range(1, missing + 1)
    )
    turn = itertools.count()
    return tuple(
        msgspec.structs.replace(member, validator=member.validator and next(turn) < nodes)
        for member in (*members, *added)
    )


def _describe(member: SourceMember) -> FoundingMember:
    return FoundingMember(
        id=member.id,
        name_zh=member.name_zh,
        name_en=member.name_en,
        region=member.region,
        kind=member.kind,
    )
