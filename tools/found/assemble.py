"""One genesis of a source and of founder files, each of which was verified when it was read.

A source that lists members says who was agreed upon: then every file must be of a listed member and
say the same of it, and every listed member that is to have officers must have handed in a file. A
source without members leaves all that to the files.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contracts.drafts.check import find_policy_set_faults
from contracts.shipped import load_shipped
from ledger.genesis import Genesis, verify_genesis
from ledger.keys import fingerprint
from ledger.quorum.founding import derive_log_key
from ledger.quorum.lists import VALIDATORS_MIN
from ledger.registry import Member, Officer, PolicySet, Validator
from tools.exits import InvalidInput
from tools.found.founder import Founder, FounderFile, FoundingMember
from tools.founding import Source, SourceMember, read_file
from tools.words import say

# Of a founder whose credit the source does not say: good standing, and room both ways.
FOUNDING_CREDIT = 850
POLICY_BYTES_MAX = 131_072


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A verified founder file, and what to call it in messages."""

    name: str
    file: FounderFile


def assemble(
    source: Source, files: Sequence[NamedFile], *, policy_set: PolicySet, now: dt.datetime
) -> Genesis:
    """The genesis. Raises `InvalidInput`, or `InvalidGenesis` with every fault of the source."""
    _refuse_doubles(files)
    _refuse_unagreed(source, files)
    founders = {each.file.founder.member.id: each.file.founder for each in files}
    listed = [member.id for member in source.members]
    # Validators keep the order of the source; where it lists none, that of their ids.
    in_order = [founders[id_] for id_ in (listed or sorted(founders)) if id_ in founders]
    validators = tuple(founder.node.validator for founder in in_order if founder.node is not None)
    if len(validators) < VALIDATORS_MIN:
        raise InvalidInput("founders-too-few", f"{len(validators)} < {VALIDATORS_MIN}")
    genesis = Genesis(
        version=1,
        name=source.name,
        origin=source.origin,
        time_ms=int(now.timestamp() * 1_000),
        log_key=bytes(33),
        parameters=source.parameters,
        validators=validators,
        members=_members(source, in_order),
        officers=tuple(sorted(_officers(in_order), key=lambda officer: officer.key)),
        datasets=tuple(sorted(source.datasets, key=lambda dataset: dataset.id)),
        legal_bases=tuple(sorted(source.legal_bases, key=lambda basis: basis.id)),
        purposes=tuple(sorted(source.purposes, key=lambda purpose: purpose.id)),
        freezes=source.freezes,
        policy_set=policy_set,
    )
    genesis = msgspec.structs.replace(genesis, log_key=derive_log_key(genesis).public)
    verify_genesis(genesis)
    return genesis


def _refuse_doubles(files: Sequence[NamedFile]) -> None:
    """No member, address, certificate or key stands in two places. Raises `InvalidInput`."""
    first: dict[str | bytes, str] = {}
    for each in files:
        for what, value in _unique_values(each.file.founder):
            if value in first:
                detail = f"{each.name}: {what}, stands in {first[value]} too"
                raise InvalidInput("founder-double", detail)
            first[value] = each.name


def _unique_values(founder: Founder) -> Iterator[tuple[str, str | bytes]]:
    yield say("found.of_member", member=founder.member.id), founder.member.id
    for officer in founder.officers:
        yield _of_key(officer.key, ", ".join(officer.roles)), officer.key
    if founder.node is not None:
        validator, address = founder.node.validator, founder.node.address
        yield say("found.of_address", address=address), address
        yield _of_key(validator.consensus_key, "consensus"), validator.consensus_key
        yield _of_key(validator.cosigning_key, "cosigning"), validator.cosigning_key
        yield say("found.of_certificate"), validator.tls_certificate


def _of_key(key: bytes, use: str) -> str:
    return say("found.of_key", public=fingerprint(key), use=use)


def _refuse_unagreed(source: Source, files: Sequence[NamedFile]) -> None:
    listed = {member.id: member for member in source.members}
    for each in files:
        founder = each.file.founder
        if founder.origin != source.origin:
            detail = f"{each.name}: {founder.origin}, not {source.origin}"
            raise InvalidInput("founder-other-network", detail)
        if not listed:
            continue
        if founder.member.id not in listed:
            raise InvalidInput("founder-unexpected", f"{each.name}: {founder.member.id}")
        for what, agreed, said in _compare(listed[founder.member.id], founder):
            if agreed != said:
                detail = f"{each.name}: {what}: {said}, not {agreed}"
                raise InvalidInput("founder-not-agreed", detail)
    handed_in = frozenset(each.file.founder.member.id for each in files)
    missing = [
        member.id
        for member in source.members
        if member.id not in handed_in and (member.officers or member.validator)
    ]
    if missing:
        raise InvalidInput("founder-missing", ", ".join(missing))


def _compare(agreed: SourceMember, founder: Founder) -> Iterator[tuple[str, object, object]]:
    for name in ("name_zh", "name_en", "region", "kind"):
        yield name, getattr(agreed, name), getattr(founder.member, name)
    yield "validator", agreed.validator, founder.node is not None
    roles = sorted(role for officer in founder.officers for role in officer.roles)
    yield "officers", ", ".join(sorted(agreed.officers)), ", ".join(roles)


def _members(source: Source, founders: Sequence[Founder]) -> tuple[Member, ...]:
    credit = {member.id: member.credit for member in source.members}
    described: Sequence[SourceMember | FoundingMember] = source.members or [
        founder.member for founder in founders
    ]
    members = (
        Member(
            id=each.id,
            name_zh=each.name_zh,
            name_en=each.name_en,
            region=each.region,
            kind=each.kind,
            status="active",
            credit=credit.get(each.id, FOUNDING_CREDIT),
        )
        for each in described
    )
    return tuple(sorted(members, key=lambda member: member.id))


def _officers(founders: Sequence[Founder]) -> Iterator[Officer]:
    for founder in founders:
        for officer in founder.officers:
            yield Officer(
                key=officer.key, member=founder.member.id, roles=officer.roles, status="active"
            )


def read_policies(directory: Path) -> PolicySet:
    """The contracts of a folder: every `*.cedar`, and `schema.cedarschema` if it is there.

    Without a schema of its own it has that of the shipped contracts. Raises `InvalidInput`.
    """
    shipped = load_shipped()
    schema = directory / "schema.cedarschema"
    values = {
        "version": shipped.version,
        "engine": shipped.engine,
        "schema": _read_text(schema) if schema.exists() else shipped.schema,
        "contracts": [
            {"id": path.stem, "text": _read_text(path)}
            for path in sorted(directory.glob("*.cedar"), key=lambda path: path.stem)
        ],
    }
    try:
        policy_set = msgspec.convert(values, PolicySet)
    except msgspec.ValidationError as error:
        raise InvalidInput("contracts-invalid", f"{directory}: {error}") from None
    verify_contracts(policy_set)
    return policy_set


def verify_contracts(policy_set: PolicySet) -> None:
    """The first set obeys the rules that votes hold later ones to. Raises `InvalidInput`."""
    faults = find_policy_set_faults(policy_set)
    if faults:
        found = (f"{each.contract or '-'}: {each.code} {each.detail}" for each in faults)
        raise InvalidInput("contracts-invalid", "; ".join(found))


def _read_text(path: Path) -> str:
    try:
        return read_file(path, size_bytes_max=POLICY_BYTES_MAX).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("contracts-invalid", f"{path}: {error}") from None


def find_changes(genesis: Genesis, file: FounderFile) -> list[str]:
    """Where a genesis is not what this founder handed in, a few words each; empty if it is."""
    founder = file.founder
    id_ = founder.member.id
    changes = []
    if genesis.origin != founder.origin:
        changes.append(f"origin: {genesis.origin}, not {founder.origin}")
    member = next((each for each in genesis.members if each.id == id_), None)
    if member is None:
        changes.append(f"members: {id_} is missing")
    else:
        changes += [
            f"{name}: {getattr(member, name)}, not {getattr(founder.member, name)}"
            for name in ("name_zh", "name_en", "region", "kind")
            if getattr(member, name) != getattr(founder.member, name)
        ]
        if member.status != "active":
            changes.append(f"status: {member.status}, not active")
    changes += _changed_keys(genesis, founder)
    if genesis.log_key != derive_log_key(genesis).public:
        changes.append("log_key: not the one that follows from the rest of the genesis")
    return changes


def _changed_keys(genesis: Genesis, founder: Founder) -> Iterator[str]:
    id_ = founder.member.id
    handed_in = {officer.key: officer.roles for officer in founder.officers}
    found = {officer.key: officer for officer in genesis.officers if officer.member == id_}
    for key in sorted(handed_in.keys() | found.keys()):
        if key not in found:
            yield f"officers: key {fingerprint(key)} is missing"
        elif key not in handed_in:
            yield f"officers: key {fingerprint(key)} is not ours"
        elif (found[key].roles, found[key].status) != (handed_in[key], "active"):
            yield f"officers: key {fingerprint(key)} has other roles, or is revoked"
    ours: list[Validator] = [founder.node.validator] if founder.node is not None else []
    if [each for each in genesis.validators if each.member == id_] != ours:
        yield "validators: keys or certificate are not ours"
