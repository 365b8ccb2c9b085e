"""Bodies of what is registered on the ledger, and pages of them."""

import msgspec

from contracts.engine import hash_policy_set
from ledger import registry
from ledger.custody.certificates import hash_certificate
from ledger.custody.encryption import format_encryption_key, hash_encryption_key
from ledger.governance.keys import EncryptionKey, Gateway
from ledger.keys import format_public_key
from node.api.schemas.base import Body


class MemberBody(Body, frozen=True, kw_only=True):
    """An agency."""

    id: str
    name_zh: str
    name_en: str
    region: str
    kind: str
    status: str
    credit: int


class OfficerBody(Body, frozen=True, kw_only=True):
    """A key of a member with its roles."""

    key: str
    member: str
    roles: tuple[str, ...]
    status: str


class EncryptionKeyBody(Body, frozen=True, kw_only=True):
    """A key that payloads for a member are sealed to, up to its last day if it has one.

    `hash` names it in sealed payloads. It is in force from one height on, and where another took
    its place, up to the one before `until_height`, else 0.
    """

    key: str
    hash: str
    not_after: str
    from_height: int
    until_height: int


class FieldBody(Body, frozen=True, kw_only=True):
    """One field of a dataset."""

    id: str
    name_zh: str
    name_en: str
    sensitivity: str


class DatasetBody(Body, frozen=True, kw_only=True):
    """A kind of records."""

    id: str
    version: int
    name_zh: str
    name_en: str
    category: str
    fields: tuple[FieldBody, ...]
    deadline_hours: int


class LegalBasisBody(Body, frozen=True, kw_only=True):
    """A statute or agreement; empty lists mean all."""

    id: str
    title_zh: str
    title_en: str
    article: str
    authority: str
    in_force_from: str
    in_force_to: str
    parties: tuple[str, ...]
    purposes: tuple[str, ...]
    categories: tuple[str, ...]


class PurposeBody(Body, frozen=True, kw_only=True):
    """What shared information may be used for."""

    id: str
    name_zh: str
    name_en: str


class MemberPage(Body, frozen=True, kw_only=True):
    """A page of members."""

    items: list[MemberBody]
    next: str | None


class OfficerPage(Body, frozen=True, kw_only=True):
    """A page of officers."""

    items: list[OfficerBody]
    next: str | None


class DatasetPage(Body, frozen=True, kw_only=True):
    """A page of datasets."""

    items: list[DatasetBody]
    next: str | None


class LegalBasisPage(Body, frozen=True, kw_only=True):
    """A page of legal bases."""

    items: list[LegalBasisBody]
    next: str | None


class PurposePage(Body, frozen=True, kw_only=True):
    """A page of purposes."""

    items: list[PurposeBody]
    next: str | None


class ContractBody(Body, frozen=True, kw_only=True):
    """One Cedar policy file."""

    id: str
    text: str


class CertificateBody(Body, frozen=True, kw_only=True):
    """A TLS certificate: its hash, and its bytes in hex digits."""

    sha256: str
    der: str


class GatewayBody(Body, frozen=True, kw_only=True):
    """Where the payloads of a member are fetched since a height, and what that place shows."""

    address: str
    certificates: list[CertificateBody]
    height: int


class MemberGatewayBody(GatewayBody, frozen=True, kw_only=True):
    """The payload gateway of a member."""

    member: str


class GatewayPage(Body, frozen=True, kw_only=True):
    """A page of payload gateways."""

    items: list[MemberGatewayBody]
    next: str | None


class ContractsBody(Body, frozen=True, kw_only=True):
    """The contracts in force; `hash` covers engine, schema and texts."""

    version: int
    hash: str
    engine: str
    schema: str
    contracts: tuple[ContractBody, ...]


def officer_body(officer: registry.Officer) -> OfficerBody:
    """JSON shape of an officer."""
    return OfficerBody(
        key=format_public_key(officer.key),
        member=officer.member,
        roles=tuple(officer.roles),
        status=officer.status,
    )


def gateway_body(gateway: Gateway) -> GatewayBody:
    """JSON shape of a member's payload gateway."""
    return GatewayBody(
        address=gateway.address,
        certificates=[
            CertificateBody(sha256=hash_certificate(each).hex(), der=each.hex())
            for each in gateway.certificates
        ],
        height=gateway.height,
    )


def member_gateway_body(gateway: Gateway) -> MemberGatewayBody:
    """The same, with whose it is."""
    fields = msgspec.structs.asdict(gateway_body(gateway))
    return MemberGatewayBody(member=gateway.member, **fields)


def encryption_key_body(held: EncryptionKey) -> EncryptionKeyBody:
    """JSON shape of an encryption key."""
    return EncryptionKeyBody(
        key=format_encryption_key(held.key),
        hash=hash_encryption_key(held.key).hex(),
        not_after=held.not_after,
        from_height=held.from_height,
        until_height=held.until_height,
    )


def contracts_body(policies: registry.PolicySet) -> ContractsBody:
    """JSON shape of the policy set in force."""
    return ContractsBody(
        version=policies.version,
        hash=hash_policy_set(policies).hex(),
        engine=policies.engine,
        schema=policies.schema,
        contracts=tuple(
            ContractBody(id=contract.id, text=contract.text) for contract in policies.contracts
        ),
    )
