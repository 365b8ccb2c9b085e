r"""What members can vote on: a tagged union of actions (`action` comes first in each).

    member.admit        an agency joins; it is active once one of its administrators acknowledges
    member.suspend      an active member may do nothing until it is reinstated
    member.reinstate    a suspended member is active again
    member.retire       a member leaves for good
    member.sanction     a member loses credit
    officer.add         a member gets another officer's key
    officer.roles       an officer has other roles
    officer.revoke      an officer's key signs no more; what it signed stays valid at its height
    officer.rotate, officer.term, encryption.set, gateway.set    `ledger.governance.keys`
    validator.add, validator.remove, validator.keep      `ledger.quorum.governance`
    contract.set, contract.remove, schema.set            the policy set in force
    dataset.set, basis.set, purpose.set                  the registries
    record-schema.set, code-list.set                     what records are, and codes in them
    sunset.set                                           the day on which one of these ends
    parameters.set, credit.set, rule.set                 numbers, credit, and how votes count
    risk.set                                             how the risk of requests is assessed
    deadlines.set                                        times that no contract sets
    freeze.set, freeze.lift                              emergency

A key that is not on the ledger yet signs `key_message` under `KEY_DOMAIN`: nobody can register a
key that another holds. An application is signed as a whole by one of its administrators' keys, over
`application_message` under `APPLICATION_DOMAIN`.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.exchange.matters import DeadlineRules
from ledger.exchange.risk import RiskRules
from ledger.governance.keys import RotateOfficer, SetEncryptionKey, SetGateway, SetTerm
from ledger.governance.registers import CodeList, RecordSchema, SunsetTarget
from ledger.keys import Signer, verify_signature
from ledger.quorum.governance import AddValidator, KeepValidators, RemoveValidator
from ledger.registry import (
    Contract,
    CreditRules,
    Dataset,
    Freeze,
    LegalBasis,
    MemberKind,
    Name,
    Parameters,
    Purpose,
    Role,
)
from ledger.scalars import Date, Identifier, PublicKeyBytes, SignatureBytes

KEY_DOMAIN = b"tallystick/officer-key/v1\0"
APPLICATION_DOMAIN = b"tallystick/application/v1\0"
APPLICANT_KEYS_MAX = 16
ACTIONS_MAX = 8
SCHEMA_CHARS_MAX = 32_768
SHARE_MAX = 1_000

Grounds = Annotated[str, Meta(min_length=1, max_length=500)]
Roles = Annotated[tuple[Role, ...], Meta(min_length=1, max_length=6)]
ActionClass = Literal["parties", "keys", "contracts", "parameters", "emergency"]


class OfficerKey(Value, frozen=True, kw_only=True):
    """A key with roles, and the proof (`prove_key`) that whoever hands it in holds it."""

    key: PublicKeyBytes
    roles: Roles
    possession: SignatureBytes


class Application(Value, frozen=True, kw_only=True):
    """An agency asks to become a member. `keys` are sorted, one of them an administrator's."""

    id: Identifier
    name_zh: Name
    name_en: Name
    region: Annotated[str, Meta(min_length=2, max_length=6)]
    kind: MemberKind
    contact: Annotated[str, Meta(max_length=200)]
    keys: Annotated[tuple[OfficerKey, ...], Meta(min_length=1, max_length=APPLICANT_KEYS_MAX)]


class AdmitMember(Value, frozen=True, kw_only=True, tag_field="action", tag="member.admit"):
    """The applicant joins; `signer` is its administrator who signed the application."""

    application: Application
    signer: PublicKeyBytes
    signature: SignatureBytes


class SuspendMember(Value, frozen=True, kw_only=True, tag_field="action", tag="member.suspend"):
    """The member's officers may do nothing until it is reinstated."""

    member: Identifier
    grounds: Grounds


class ReinstateMember(Value, frozen=True, kw_only=True, tag_field="action", tag="member.reinstate"):
    """The suspended member is active again."""

    member: Identifier
    grounds: Grounds


class RetireMember(Value, frozen=True, kw_only=True, tag_field="action", tag="member.retire"):
    """The member leaves for good; its id is never given again."""

    member: Identifier
    grounds: Grounds


class SanctionMember(Value, frozen=True, kw_only=True, tag_field="action", tag="member.sanction"):
    """The member loses `points` of credit."""

    member: Identifier
    points: Annotated[int, Meta(ge=1, le=1_000)]
    grounds: Grounds


class AddOfficer(Value, frozen=True, kw_only=True, tag_field="action", tag="officer.add"):
    """The member gets another officer. To rotate a key, add the next one and revoke the old one."""

    member: Identifier
    officer: OfficerKey


class SetRoles(Value, frozen=True, kw_only=True, tag_field="action", tag="officer.roles"):
    """The officer has these roles from now on."""

    key: PublicKeyBytes
    roles: Roles


class RevokeOfficer(Value, frozen=True, kw_only=True, tag_field="action", tag="officer.revoke"):
    """The key signs no more."""

    key: PublicKeyBytes
    grounds: Grounds


class SetContract(Value, frozen=True, kw_only=True, tag_field="action", tag="contract.set"):
    """The contract joins the policy set, or replaces the one of its id."""

    contract: Contract


class RemoveContract(Value, frozen=True, kw_only=True, tag_field="action", tag="contract.remove"):
    """The contract leaves the policy set."""

    id: Identifier


class SetSchema(Value, frozen=True, kw_only=True, tag_field="action", tag="schema.set"):
    """The contracts are written against this Cedar schema."""

    schema: Annotated[str, Meta(min_length=1, max_length=SCHEMA_CHARS_MAX)]


class SetDataset(Value, frozen=True, kw_only=True, tag_field="action", tag="dataset.set"):
    """A dataset, new with version 1, or the next version of one."""

    dataset: Dataset


class SetBasis(Value, frozen=True, kw_only=True, tag_field="action", tag="basis.set"):
    """A legal basis, new or instead of the one of its id. It ends with its `in_force_to`."""

    basis: LegalBasis


class SetPurpose(Value, frozen=True, kw_only=True, tag_field="action", tag="purpose.set"):
    """A purpose, new or instead of the one of its id."""

    purpose: Purpose


class SetRecordSchema(
    Value, frozen=True, kw_only=True, tag_field="action", tag="record-schema.set"
):
    """The next version of what a record of a dataset must be."""

    record_schema: RecordSchema


class SetCodeList(Value, frozen=True, kw_only=True, tag_field="action", tag="code-list.set"):
    """A code list, new with version 1, or the next version of one."""

    code_list: CodeList


class SetSunset(Value, frozen=True, kw_only=True, tag_field="action", tag="sunset.set"):
    """The target is out of force from `date` on; None: it has no end, and is in force again."""

    target: SunsetTarget
    date: Date | None


class SetParameters(Value, frozen=True, kw_only=True, tag_field="action", tag="parameters.set"):
    """All numbers that nodes share."""

    parameters: Parameters


class SetCreditRules(Value, frozen=True, kw_only=True, tag_field="action", tag="credit.set"):
    """Credit is computed so from now on, also for what is in the window already."""

    rules: CreditRules


class SetRiskRules(Value, frozen=True, kw_only=True, tag_field="action", tag="risk.set"):
    """The risk of requests is assessed so from the next block on."""

    rules: RiskRules


class VotingRule(Value, frozen=True, kw_only=True):
    """More than `share` thousandths of the voters carry a proposal of the class.

    `factors`: how many different administrators' keys of a member make up its approval.
    """

    action_class: ActionClass
    share: Annotated[int, Meta(ge=0, le=SHARE_MAX)]
    factors: Annotated[int, Meta(ge=1, le=2)]


class SetRule(Value, frozen=True, kw_only=True, tag_field="action", tag="rule.set"):
    """Votes of the rule's class are counted so."""

    rule: VotingRule


class SetDeadlines(Value, frozen=True, kw_only=True, tag_field="action", tag="deadlines.set"):
    """The parties have so long for what no contract sets a time for.

    What is open already is due by these rules too, except where its event has set a day: consents,
    disputes and corrections keep theirs.
    """

    rules: DeadlineRules


class SetFreeze(Value, frozen=True, kw_only=True, tag_field="action", tag="freeze.set"):
    """Nothing moves on what is frozen: everything, a pair, or a dataset."""

    freeze: Freeze


class LiftFreeze(Value, frozen=True, kw_only=True, tag_field="action", tag="freeze.lift"):
    """The freeze of exactly this scope ends."""

    requester: str
    provider: str
    dataset: str


PartyAction: TypeAlias = (
    AdmitMember | SuspendMember | ReinstateMember | RetireMember | SanctionMember
)
OfficerAction: TypeAlias = (
    AddOfficer | SetRoles | RevokeOfficer | RotateOfficer | SetTerm | SetEncryptionKey | SetGateway
)
ValidatorAction: TypeAlias = AddValidator | RemoveValidator | KeepValidators
ContractAction: TypeAlias = SetContract | RemoveContract | SetSchema
RegistryAction: TypeAlias = (
    SetDataset | SetBasis | SetPurpose | SetRecordSchema | SetCodeList | SetSunset
)
ParameterAction: TypeAlias = SetParameters | SetCreditRules | SetRiskRules | SetRule | SetDeadlines
EmergencyAction: TypeAlias = SetFreeze | LiftFreeze
Action: TypeAlias = (
    PartyAction
    | OfficerAction
    | ValidatorAction
    | ContractAction
    | RegistryAction
    | ParameterAction
    | EmergencyAction
)

_APPLICATIONS = Codec(Application, size_bytes_max=16_384)


def key_message(network: bytes, member: str, key: bytes) -> bytes:
    """What a new officer's key signs under `KEY_DOMAIN`."""
    return network + key + member.encode()


def prove_key(key: Signer, network: bytes, member: str) -> bytes:
    """Signature (65 bytes) by the holder of a new officer's key."""
    return key.sign(KEY_DOMAIN, key_message(network, member, key.public))


def verify_key(network: bytes, member: str, officer: OfficerKey) -> None:
    """Check `officer.possession`. Raises `InvalidKey` or `InvalidSignature`."""
    message = key_message(network, member, officer.key)
    verify_signature(officer.key, KEY_DOMAIN, message, officer.possession)


def application_message(network: bytes, application: Application) -> bytes:
    """What an administrator of the applicant signs under `APPLICATION_DOMAIN`."""
    return network + _APPLICATIONS.encode(application)


def sign_application(key: Signer, network: bytes, application: Application) -> AdmitMember:
    """The application as an action. `key` is that of one of its administrators."""
    signature = key.sign(APPLICATION_DOMAIN, application_message(network, application))
    return AdmitMember(application=application, signer=key.public, signature=signature)


def verify_application(network: bytes, action: AdmitMember) -> None:
    """Check the signature and every key. Raises `InvalidKey` or `InvalidSignature`."""
    application = action.application
    message = application_message(network, application)
    verify_signature(action.signer, APPLICATION_DOMAIN, message, action.signature)
    for officer in application.keys:
        verify_key(network, application.id, officer)
