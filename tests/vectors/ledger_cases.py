"""Frozen bytes of the ledger: `python -m tests.vectors.ledger_cases` adds what is missing.

Each file in `ledger/` maps the name of a case to hex digits. A case that is in a file is never
changed by this program; a test compares every one with what the code makes today.
"""

import json
from pathlib import Path

from ledger.access.anchors import ACCESS_ANCHORS, AccessAnchor, AccessLogged
from ledger.blocks import HEADERS, RECORDS, Header, Obligations, Record, hash_header
from ledger.events import (
    Body,
    Event,
    ShareApproved,
    ShareDelivered,
    ShareReceived,
    ShareRefused,
    ShareRejected,
    ShareWithdrawn,
)
from ledger.genesis import (
    encode_genesis_json,
    genesis_state,
    hash_genesis,
    log_policy,
)
from ledger.governance.proposals import (
    PROPOSALS,
    GovernanceAcknowledged,
    GovernanceBalloted,
    GovernanceProposed,
    GovernanceWithdrawn,
    Proposal,
)
from ledger.keys import SecretKey
from ledger.lthash.digest import StateDigest, hash_state
from ledger.quorum.founding import derive_log_key, encode_signatures, sign_genesis
from ledger.quorum.governance import (
    AddValidator,
    EvidenceEquivocation,
    KeepValidators,
    RemoveValidator,
    ValidatorReady,
    prove_possession,
)
from ledger.quorum.lists import hash_consensus_keys, hash_validator_list
from ledger.registry import (
    CREDIT_CAUSES,
    CREDIT_RULES,
    CREDITS,
    DATASETS,
    EPOCH_RECORDS,
    EXCHANGES,
    FREEZES,
    GRADE_CHANGES,
    LEGAL_BASES,
    MEMBERS,
    OFFICERS,
    PAIR_COUNTERS,
    PARAMETERS,
    PENDINGS,
    PURPOSES,
    REACHABLES,
    VALIDATOR_LISTS,
    Credit,
    CreditBucket,
    CreditCause,
    CreditRules,
    CreditTally,
    CreditWeight,
    EpochRecord,
    Exchange,
    Freeze,
    GradeChange,
    PairCounters,
    Pending,
    PendingChange,
    Reachable,
)
from ledger.state import (
    access_key,
    counters_key,
    credit_causes_key,
    credit_key,
    epoch_key,
    evidence_key,
    grade_change_key,
    nonce_key,
    proposal_key,
    reachable_key,
)
from tests.unit.ledger.builders import (
    consensus_secret,
    make_chain,
    make_event,
    make_genesis,
    make_outcome,
    make_request,
    make_validator,
    officer_secret,
)
from tests.vectors.exchange_cases import exchange_bodies, exchange_cases
from tests.vectors.governance_cases import governance_cases

FOLDER = Path(__file__).parent / "ledger"
EXCHANGE = b"\x0e" * 32
COMMITMENT = b"\x0c" * 32
PROPOSAL = b"\x09" * 32


def event_cases() -> dict[str, bytes]:
    """Signed events, one of each kind."""
    bodies: dict[str, Body] = {
        "share.requested": make_request(),
        "share.approved": ShareApproved(exchange=EXCHANGE, comment="同意"),
        "share.refused": ShareRefused(exchange=EXCHANGE, reason="no-basis", text=""),
        "share.withdrawn": ShareWithdrawn(exchange=EXCHANGE, text=""),
        "share.delivered": ShareDelivered(
            exchange=EXCHANGE,
            commitment=COMMITMENT,
            record_count=70_000,
            schema_version=2,
            quality_digest=bytes(32),
            size_bytes=2**33,
            outbox_until_ms=1_767_225_600_000,
        ),
        "share.received": ShareReceived(
            exchange=EXCHANGE, commitment=COMMITMENT, record_count=70_000
        ),
        "share.rejected": ShareRejected(
            exchange=EXCHANGE,
            commitment=COMMITMENT,
            code_set="oecd-crs-sm-3.0",
            codes=(50_009, 98_001),
            text="",
        ),
    }
    bodies |= exchange_bodies()
    cases = {kind: make_event(7, body=body) for kind, body in bodies.items()} | _quorum_events()
    data = {kind: event.data for kind, event in cases.items()}
    return data | {f"{kind} digest": event.digest for kind, event in cases.items()}


def _quorum_events() -> dict[str, Event]:
    """Events of governance and of nodes; the latter are signed with a consensus key."""
    network = hash_genesis(make_genesis())
    added = make_validator("center")
    actions = (
        AddValidator(
            validator=added,
            address="node.center.example:7001",
            possession=prove_possession(consensus_secret("center"), network, added),
        ),
        RemoveValidator(member="west"),
        KeepValidators(),
    )
    bodies = {
        "governance.proposed": GovernanceProposed(
            actions=actions, text="换届", activate_height=200, ballots_until_height=100
        ),
        "governance.balloted": GovernanceBalloted(proposal=PROPOSAL, approve=True, text=""),
        "governance.withdrawn": GovernanceWithdrawn(proposal=PROPOSAL),
        "governance.acknowledged": GovernanceAcknowledged(proposal=PROPOSAL),
    }
    said = {
        "validator.ready": ValidatorReady(next_epoch=1, set_hash=b"\x05" * 32, synced_height=99),
        "evidence.equivocation": EvidenceEquivocation(
            first=vote_bytes(network, COMMITMENT), second=vote_bytes(network, EXCHANGE)
        ),
        "access.logged": AccessLogged(
            period_from_ms=1_767_225_600_000,
            period_to_ms=1_767_312_000_000,
            entries=70_000,
            digest=COMMITMENT,
            previous=EXCHANGE,
        ),
    }
    secret = consensus_secret("north")
    events = {kind: make_event(7, body=body) for kind, body in bodies.items()}
    return events | {kind: make_event(7, secret=secret, body=body) for kind, body in said.items()}


def vote_bytes(network: bytes, block_hash: bytes) -> bytes:
    """A notarize vote of validator 2 in epoch 0, view 9, spelled out as CONSENSUS 1.1 has it."""
    numbers = b"".join(number.to_bytes(8, "big") for number in (0, 9, 5, 8))
    subject = b"\x01" + numbers + block_hash
    domain = b"tallystick/simplex/v1\0"
    signature = consensus_secret("south").sign_raw(domain + network + subject)
    return subject + (2).to_bytes(2, "big") + signature


def block_cases() -> dict[str, bytes]:
    """Headers, records, and what is derived of a chain of three blocks."""
    chain = make_chain((2, 0, 1))
    obligations = Obligations(redact=("amount",), deadline_hours=72, retention_days=365)
    refused = make_outcome(
        applied=False, code="provider-unknown", decision="", policies=(), policy_set=b""
    )
    event = make_event(7).data
    cases = {f"entry {at}": entry for at, entry in enumerate(chain.entries)}
    return cases | {
        "block hash": hash_header(chain.blocks[-1].header_bytes),
        "tree root": chain.range.root(),
        "state digest": StateDigest(chain.accumulator).digest(),
        "record with obligations": RECORDS.encode(
            Record(entry=2, event=event, outcome=make_outcome(obligations=obligations))
        ),
        "refused record": RECORDS.encode(Record(entry=2, event=event, outcome=refused)),
        "header with large numbers": HEADERS.encode(_large_header()),
    }


def _large_header() -> Header:
    most = 2**63 - 1
    return Header(
        entry=1,
        version=1,
        network=b"\xff" * 32,
        epoch=most,
        height=most,
        view=most,
        parent_view=most,
        proposer=29,
        time_ms=most,
        parent_hash=b"\xff" * 32,
        tree_size=most,
        tree_root=b"\xff" * 32,
        record_count=1_000,
        records_root=b"\xff" * 32,
        state_digest=b"\xff" * 32,
        engine="e" * 64,
        validators_hash=b"\xff" * 32,
        next_validators=b"\xff" * 32,
    )


def registry_cases() -> dict[str, bytes]:
    """One value of each registry type."""
    genesis = make_genesis()
    exchange = Exchange(
        status="permitted",
        requester="north",
        provider="south",
        dataset="invoices",
        purpose="audit",
        legal_basis="law-1",
        urgency="normal",
        period_days=365,
        requested_by=officer_secret("north").public,
        requested_ms=1_767_225_600_001,
        requested_index=1,
        changed_ms=1_767_225_600_002,
        changed_height=2,
        decision="permit",
        deadline_ms=1_767_484_800_001,
        retention_days=365,
        redact=(),
        fields=("amount",),
        subject_count=1,
        commitment=b"",
        record_count=0,
    )
    freeze = Freeze(requester="", provider="south", dataset="", reason="incident 7")
    counters = PairCounters(
        asked=1, permitted=2, reviewed=3, denied=4, refused=5, delivered=6, late=7, records=2**33
    )
    validators = genesis.validators
    change = PendingChange(
        proposal=PROPOSAL,
        validators=validators,
        set_hash=hash_validator_list(validators),
        activate_height=200,
        ready=("east", "north"),
    )
    proposal = Proposal(
        status="open",
        member="north",
        actions=(RemoveValidator(member="west"),),
        activate_height=200,
        ballots_until_height=100,
        approved=("north", "south"),
        rejected=("east",),
    )
    return {
        "epoch record": EPOCH_RECORDS.encode(
            EpochRecord(epoch=3, first_height=2**33, validators=validators)
        ),
        "pending": PENDINGS.encode(Pending(change=change)),
        "nothing pending": PENDINGS.encode(Pending(change=None)),
        "proposal": PROPOSALS.encode(proposal),
        "reachable": REACHABLES.encode(Reachable(member="north", address="[2001:db8::1]:7001")),
        "hash of the list": hash_validator_list(validators),
        "hash of the consensus keys": hash_consensus_keys(validators),
        "member": MEMBERS.encode(genesis.members[0]),
        "officer": OFFICERS.encode(genesis.officers[0]),
        "validators": VALIDATOR_LISTS.encode(genesis.validators),
        "dataset": DATASETS.encode(genesis.datasets[0]),
        "legal basis": LEGAL_BASES.encode(genesis.legal_bases[0]),
        "purpose": PURPOSES.encode(genesis.purposes[0]),
        "freezes": FREEZES.encode((freeze,)),
        "parameters": PARAMETERS.encode(genesis.parameters),
        "exchange": EXCHANGES.encode(exchange),
        "pair counters": PAIR_COUNTERS.encode(counters),
        **credit_cases(),
        **access_cases(),
    }


def access_cases() -> dict[str, bytes]:
    """One value about access logs."""
    anchor = AccessAnchor(digest=COMMITMENT, period_to_ms=1_767_312_000_000, entries=2**33)
    return {"access anchor": ACCESS_ANCHORS.encode(anchor)}


def credit_cases() -> dict[str, bytes]:
    """One value of each type about credit."""
    cause = CreditCause(EXCHANGE, "answered-late", -10, 300)
    credit = Credit(
        score=790,
        grade="B",
        rules_version=2,
        changes=1,
        buckets=(
            CreditBucket(20_430, (CreditTally("answered-in-time", 70_000),)),
            CreditBucket(20_460, (CreditTally("answered-late", 1), CreditTally("sanctioned", 99))),
        ),
        day=20_460,
        causes=(cause,),
    )
    rules = CreditRules(
        version=2,
        base=None,
        minimum=0,
        maximum=1_000,
        bucket_days=30,
        buckets=12,
        grade_a=800,
        grade_b=600,
        grade_c=400,
        weights=(CreditWeight(behaviour="answered-late", points=-10, limit=300),),
        permitted_reasons=("no-basis", "not-held"),
    )
    change = GradeChange(
        before="A",
        after="B",
        score_before=800,
        score_after=790,
        reason="behaviour",
        rules_version=2,
        height=300,
        time_ms=1_767_225_600_000,
        causes=(cause,),
    )
    return {
        "credit": CREDITS.encode(credit),
        "credit causes": CREDIT_CAUSES.encode((cause,)),
        "credit rules": CREDIT_RULES.encode(rules),
        "grade change": GRADE_CHANGES.encode(change),
    }


def state_cases() -> dict[str, bytes]:
    """Keys, accumulators and digests of small states."""
    digest = StateDigest()
    digest.add(b"k", b"v")
    return {
        "nonce key": nonce_key("north", bytes(range(16))),
        "epoch key": epoch_key(258),
        "proposal key": proposal_key(PROPOSAL),
        "access key": access_key("north"),
        "evidence key": evidence_key(1, 258, "north"),
        "reachable key": reachable_key("north"),
        "credit key": credit_key("north"),
        "credit causes key": credit_causes_key("north", 20_460),
        "grade change key": grade_change_key("north", 258),
        "counters key": counters_key("north", "south", "audit", 2026),
        "accumulator of k, v": digest.encode(),
        "digest of k, v": digest.digest(),
        "digest of nothing": hash_state(()),
        "digest of genesis": hash_state(genesis_state(make_genesis()).items()),
    }


def genesis_cases() -> dict[str, bytes]:
    """The genesis file, its network id and its policy of checkpoints."""
    genesis = make_genesis()
    return {
        "genesis.json": encode_genesis_json(genesis),
        "network id": hash_genesis(genesis),
        "policy": log_policy(genesis).format(),
    }


def founding_cases() -> dict[str, bytes]:
    """A founder's signature under the genesis as a file, and the log key that follows from it."""
    genesis = make_genesis()
    signed = sign_genesis(
        officer_secret("north"), genesis, member="north", address="node.north.example:7101"
    )
    return {
        "signature": signed.signatures[0].signature,
        "genesis.signatures.json": encode_signatures(signed),
        "log key": derive_log_key(genesis).public,
    }


def key_cases() -> dict[str, bytes]:
    """Public key and signature of a fixed seed."""
    key = SecretKey(bytes(range(32)))
    return {"public key": key.public, "signature": key.sign(b"domain\0", b"message")}


FILES = {
    "events.json": event_cases,
    "blocks.json": block_cases,
    "registry.json": registry_cases,
    "state.json": state_cases,
    "genesis.json": genesis_cases,
    "founding.json": founding_cases,
    "exchange.json": exchange_cases,
    "governance.json": lambda: governance_cases(make_genesis()),
    "keys.json": key_cases,
}


def read_frozen(name: str) -> dict[str, bytes]:
    """Cases of a file."""
    path = FOLDER / name
    if not path.exists():
        return {}
    frozen: dict[str, str] = json.loads(path.read_bytes())
    return {case: bytes.fromhex(digits) for case, digits in frozen.items()}


def add_missing() -> None:
    """Write the cases that no file has yet."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in FILES.items():
        cases = make() | read_frozen(name)
        text = json.dumps({case: data.hex() for case, data in cases.items()}, indent=1)
        (FOLDER / name).write_text(text + "\n")


if __name__ == "__main__":
    add_missing()
