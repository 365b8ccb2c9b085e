"""Cases of governance: one of each action, and what is kept in the state about votes."""

import msgspec

from contracts.credit.behaviours import DEFAULT_RULES
from ledger.codec import Codec
from ledger.custody.encryption import ENCRYPTION_KEY_BYTES
from ledger.custody.rotation import sign_rotation
from ledger.exchange.matters import DEFAULT_DEADLINES
from ledger.genesis import Genesis, hash_genesis
from ledger.governance.actions import (
    Action,
    AddOfficer,
    Application,
    LiftFreeze,
    OfficerKey,
    ReinstateMember,
    RemoveContract,
    RetireMember,
    RevokeOfficer,
    SanctionMember,
    SetBasis,
    SetCodeList,
    SetContract,
    SetCreditRules,
    SetDataset,
    SetDeadlines,
    SetFreeze,
    SetParameters,
    SetPurpose,
    SetRecordSchema,
    SetRiskRules,
    SetRoles,
    SetRule,
    SetSchema,
    SetSunset,
    SuspendMember,
    VotingRule,
    prove_key,
    sign_application,
)
from ledger.governance.keys import (
    ENCRYPTION_KEYS,
    GATEWAYS,
    TERMS,
    EncryptionKey,
    Gateway,
    RotateOfficer,
    SetEncryptionKey,
    SetGateway,
    SetTerm,
    Term,
)
from ledger.governance.proposals import (
    BALLOT_BOXES,
    REVISIONS,
    VOTING_RULES,
    WAITINGS,
    BallotBox,
    Revision,
    Waiting,
)
from ledger.governance.registers import (
    CODE_LISTS,
    RECORD_SCHEMAS,
    SUNSETS,
    Code,
    CodeList,
    RecordSchema,
    Sunset,
)
from ledger.keys import SecretKey
from ledger.registry import Contract, Freeze
from ledger.state import (
    PARAMETERS_BEFORE_KEY,
    SUNSETS_KEY,
    ballot_box_key,
    code_list_key,
    encryption_key,
    gateway_key,
    recipient_key,
    record_schema_key,
    record_schema_version_key,
    revision_key,
    term_key,
    voting_rule_key,
)
from tests.vectors.exchange_cases import RULES

PROPOSAL = b"\x09" * 32
_RECIPIENT = EncryptionKey(
    member="north",
    key=b"\x01" * ENCRYPTION_KEY_BYTES,
    not_after="",
    from_height=258,
    until_height=2**33,
    previous=PROPOSAL,
)
_GATEWAY = Gateway(
    member="north",
    address="gate.example.org:8443",
    certificates=(b"\x30" * 4, b"\x31" * 258),
    height=258,
)
RECORD_SCHEMA = RecordSchema(dataset="account", version=258, text='{"type": "object"}')
CODE_LIST = CodeList(
    id="oecd-crs-sm-3.0",
    version=1,
    name_zh="状态信息代码",
    name_en="Status message codes",
    authority="OECD",
    source="https://www.oecd.org/",
    codes=(Code(code="50007", name_zh="未通过模式校验", name_en="Failed schema validation"),),
)
SUNSET = Sunset(target="dataset/account", date="2027-01-31", proposal=PROPOSAL, ended=True)
_ACTIONS = Codec(tuple[Action, ...], size_bytes_max=131_072)


# The table of behaviours grows; frozen bytes do not.
_FIRST = frozenset(
    ("answered-in-time", "answered-late", "delivery-rejected", "refused-unfounded",
     "reviewed-late", "sanctioned")
)  # fmt: skip
_CREDIT_RULES = msgspec.structs.replace(
    DEFAULT_RULES,
    weights=tuple(each for each in DEFAULT_RULES.weights if each.behaviour in _FIRST),
)


def governance_cases(genesis: Genesis) -> dict[str, bytes]:
    """Bytes of every action, with the tag that a proposal carries, and of the votes' values."""
    cases = {action.__struct_config__.tag: action for action in _actions(genesis)}
    rule = VotingRule(action_class="keys", share=500, factors=2)
    waiting = (Waiting(height=2**33, proposal=PROPOSAL),)
    return {str(tag): _ACTIONS.encode((action,)) for tag, action in cases.items()} | {
        "ballot box": BALLOT_BOXES.encode(BallotBox(officers=(b"\x01" * 33,))),
        "voting rule": VOTING_RULES.encode(rule),
        "waiting": WAITINGS.encode(waiting),
        "revision": REVISIONS.encode(Revision(proposal=PROPOSAL, height=258)),
        "ballot box key": ballot_box_key(PROPOSAL, "north"),
        "voting rule key": voting_rule_key("keys"),
        "revision key": revision_key("dataset/account", 258),
        "term": TERMS.encode(Term(not_after="2027-06-30")),
        "term key": term_key(b"\x01" * 33),
        "encryption key": ENCRYPTION_KEYS.encode(_RECIPIENT),
        "encryption key key": encryption_key(PROPOSAL),
        "recipient key": recipient_key("north"),
        "gateway": GATEWAYS.encode(_GATEWAY),
        "gateway key": gateway_key("north"),
        "record schema": RECORD_SCHEMAS.encode(RECORD_SCHEMA),
        "code list": CODE_LISTS.encode(CODE_LIST),
        "sunsets": SUNSETS.encode((SUNSET,)),
        "record schema key": record_schema_key("account", 258),
        "record schema version key": record_schema_version_key("account"),
        "code list key": code_list_key("oecd-crs-sm-3.0"),
        "sunsets key": SUNSETS_KEY,
        "parameters before key": PARAMETERS_BEFORE_KEY,
    }


def _actions(genesis: Genesis) -> tuple[Action, ...]:
    network = hash_genesis(genesis)
    key = SecretKey(b"\x11" * 32)
    officer = OfficerKey(
        key=key.public, roles=("admin",), possession=prove_key(key, network, "center")
    )
    asked = Application(
        id="center",
        name_zh="中心税务局",
        name_en="Center Tax Bureau",
        region="420100",
        kind="tax",
        contact="",
        keys=(officer,),
    )
    freeze = Freeze(requester="north", provider="", dataset="account", reason="演练")
    return (
        sign_application(key, network, asked),
        SuspendMember(member="west", grounds="违规"),
        ReinstateMember(member="west", grounds="已整改"),
        RetireMember(member="west", grounds="合并"),
        SanctionMember(member="west", points=50, grounds="逾期"),
        AddOfficer(member="center", officer=officer),
        SetRoles(key=key.public, roles=("admin", "approver")),
        RevokeOfficer(key=key.public, grounds="离任"),
        RotateOfficer(
            statement=sign_rotation(key, SecretKey(b"\x12" * 32), network=network, member="center")
        ),
        SetTerm(member="center", key=key.public, not_after="2027-06-30"),
        SetEncryptionKey(
            member="center", key=b"\x01" * ENCRYPTION_KEY_BYTES, not_after="2027-06-30"
        ),
        SetGateway(
            member="center", address="[2001:db8::1]:8443", certificates=_GATEWAY.certificates
        ),
        SetContract(contract=Contract(id="stop", text="forbid(principal, action, resource);")),
        RemoveContract(id="stop"),
        SetSchema(schema="entity Member;"),
        SetDataset(dataset=genesis.datasets[0]),
        SetBasis(basis=genesis.legal_bases[0]),
        SetPurpose(purpose=genesis.purposes[0]),
        SetRecordSchema(record_schema=RECORD_SCHEMA),
        SetCodeList(code_list=CODE_LIST),
        SetSunset(target="dataset/account", date="2027-01-31"),
        SetParameters(parameters=genesis.parameters),
        SetCreditRules(rules=_CREDIT_RULES),
        SetRiskRules(rules=RULES),
        SetDeadlines(rules=DEFAULT_DEADLINES),
        SetRule(rule=VotingRule(action_class="keys", share=500, factors=2)),
        SetFreeze(freeze=freeze),
        LiftFreeze(requester="north", provider="", dataset="account"),
    )
