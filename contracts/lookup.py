"""Typed reads of the registry in a state. Decoding is memoised by the exact bytes: pure."""

from functools import lru_cache

from ledger.access.anchors import ACCESS_ANCHORS, AccessAnchor
from ledger.governance.actions import VotingRule
from ledger.governance.keys import ENCRYPTION_KEYS, GATEWAYS, TERMS, EncryptionKey, Gateway
from ledger.governance.proposals import (
    BALLOT_BOXES,
    PROPOSALS,
    VOTING_RULES,
    WAITINGS,
    BallotBox,
    Proposal,
    Waiting,
)
from ledger.governance.registers import (
    CODE_LISTS,
    RECORD_SCHEMAS,
    SUNSETS,
    CodeList,
    RecordSchema,
    Sunset,
)
from ledger.registry import (
    DATASETS,
    EMPTY_COUNTERS,
    EPOCH_RECORDS,
    EXCHANGES,
    FREEZES,
    LEGAL_BASES,
    MEMBERS,
    OFFICERS,
    PAIR_COUNTERS,
    PARAMETERS,
    PENDINGS,
    POLICY_SETS,
    PURPOSES,
    REACHABLES,
    VALIDATOR_LISTS,
    Dataset,
    EpochRecord,
    Exchange,
    Freeze,
    LegalBasis,
    Member,
    Officer,
    PairCounters,
    Parameters,
    PendingChange,
    PolicySet,
    Purpose,
    Reachable,
    Validator,
)
from ledger.state import (
    EPOCH_KEY,
    FREEZES_KEY,
    PARAMETERS_KEY,
    PENDING_KEY,
    POLICY_SET_KEY,
    SUNSETS_KEY,
    VALIDATORS_KEY,
    WAITING_KEY,
    StateReader,
    access_key,
    ballot_box_key,
    code_list_key,
    counters_key,
    dataset_key,
    encryption_key,
    epoch_key,
    evidence_key,
    exchange_key,
    gateway_key,
    legal_basis_key,
    member_key,
    officer_key,
    proposal_key,
    purpose_key,
    reachable_key,
    recipient_key,
    record_schema_key,
    record_schema_version_key,
    term_key,
    voting_rule_key,
)

_MEMO_ENTRIES_MAX = 4_096

_decode_member = lru_cache(_MEMO_ENTRIES_MAX)(MEMBERS.decode)
_decode_officer = lru_cache(_MEMO_ENTRIES_MAX)(OFFICERS.decode)
_decode_dataset = lru_cache(_MEMO_ENTRIES_MAX)(DATASETS.decode)
_decode_basis = lru_cache(_MEMO_ENTRIES_MAX)(LEGAL_BASES.decode)
_decode_freezes = lru_cache(16)(FREEZES.decode)
_decode_parameters = lru_cache(16)(PARAMETERS.decode)
_decode_validators = lru_cache(16)(VALIDATOR_LISTS.decode)
_decode_epoch = lru_cache(16)(EPOCH_RECORDS.decode)
_decode_pending = lru_cache(16)(PENDINGS.decode)
_decode_code_list = lru_cache(256)(CODE_LISTS.decode)
_decode_sunsets = lru_cache(16)(SUNSETS.decode)
_decode_purpose = lru_cache(256)(PURPOSES.decode)
_decode_rule = lru_cache(64)(VOTING_RULES.decode)


def find_member(state: StateReader, member: str) -> Member | None:
    """Member by id, or None."""
    data = state.get(member_key(member))
    return None if data is None else _decode_member(data)


def find_officer(state: StateReader, officer: bytes) -> Officer | None:
    """Officer by key, or None."""
    data = state.get(officer_key(officer))
    return None if data is None else _decode_officer(data)


def find_last_day(state: StateReader, officer: bytes) -> str:
    """The last day on which an officer's key signs; empty: it has no end."""
    data = state.get(term_key(officer))
    return "" if data is None else TERMS.decode(data).not_after


def find_encryption_key(state: StateReader, key_hash: bytes) -> EncryptionKey | None:
    """An encryption key by its hash, whether it is in force or superseded, or None."""
    data = state.get(encryption_key(key_hash))
    return None if data is None else ENCRYPTION_KEYS.decode(data)


def find_recipient(
    state: StateReader, member: str, height: int | None = None
) -> EncryptionKey | None:
    """The encryption key that a member had at a height, or has now; None: it had none."""
    key_hash = state.get(recipient_key(member)) or b""
    while key_hash:
        found = find_encryption_key(state, key_hash)
        assert found is not None, "every named key has its value"
        if height is None or found.from_height <= height:
            return found
        key_hash = found.previous
    return None


def find_gateway(state: StateReader, member: str) -> Gateway | None:
    """Where a member's payloads are fetched, also of one that is not active any more, or None."""
    data = state.get(gateway_key(member))
    return None if data is None else GATEWAYS.decode(data)


def find_dataset(state: StateReader, dataset: str) -> Dataset | None:
    """Dataset by id, or None."""
    data = state.get(dataset_key(dataset))
    return None if data is None else _decode_dataset(data)


@lru_cache(256)
def field_ids(dataset: Dataset) -> frozenset[str]:
    """Ids of the fields of a dataset."""
    return frozenset(field.id for field in dataset.fields)


def find_legal_basis(state: StateReader, legal_basis: str) -> LegalBasis | None:
    """Legal basis by id, or None."""
    data = state.get(legal_basis_key(legal_basis))
    return None if data is None else _decode_basis(data)


def find_exchange(state: StateReader, exchange: bytes) -> Exchange | None:
    """Exchange by id, or None."""
    data = state.get(exchange_key(exchange))
    return None if data is None else EXCHANGES.decode(data)


def read_counters(
    state: StateReader, requester: str, provider: str, purpose: str, year: int
) -> PairCounters:
    """Reciprocity figures; all zero where nothing happened."""
    data = state.get(counters_key(requester, provider, purpose, year))
    return EMPTY_COUNTERS if data is None else PAIR_COUNTERS.decode(data)


def read_freezes(state: StateReader) -> tuple[Freeze, ...]:
    """Emergency freezes in force."""
    data = state.get(FREEZES_KEY)
    return () if data is None else _decode_freezes(data)


def read_parameters(state: StateReader) -> Parameters:
    """Parameters in force. Genesis always has them."""
    data = state.get(PARAMETERS_KEY)
    assert data is not None, "a state without parameters was not made from a genesis"
    return _decode_parameters(data)


def read_validators(state: StateReader) -> tuple[Validator, ...]:
    """Validators of the epoch in force, in the order that votes count them."""
    data = state.get(VALIDATORS_KEY)
    assert data is not None, "a state without validators was not made from a genesis"
    return _decode_validators(data)


def read_epoch(state: StateReader) -> EpochRecord:
    """Record of the epoch in force, which is that of the next block."""
    data = state.get(EPOCH_KEY)
    assert data is not None, "a state without an epoch was not made from a genesis"
    record = find_epoch(state, int.from_bytes(data, "big"))
    assert record is not None, "every epoch has its record"
    return record


def find_epoch(state: StateReader, epoch: int) -> EpochRecord | None:
    """Record of an epoch, past or in force, or None."""
    data = state.get(epoch_key(epoch))
    return None if data is None else _decode_epoch(data)


def read_pending(state: StateReader) -> PendingChange | None:
    """The decided change of the validator list that waits, or None."""
    data = state.get(PENDING_KEY)
    assert data is not None, "a state that says nothing of a change was not made from a genesis"
    return _decode_pending(data).change


def find_proposal(state: StateReader, proposal: bytes) -> Proposal | None:
    """Proposal by the digest of the event that proposed it, or None."""
    data = state.get(proposal_key(proposal))
    return None if data is None else PROPOSALS.decode(data)


def find_ballot_box(state: StateReader, proposal: bytes, member: str) -> BallotBox | None:
    """Keys with which a member has approved a proposal, or None."""
    data = state.get(ballot_box_key(proposal, member))
    return None if data is None else BALLOT_BOXES.decode(data)


def find_voting_rule(state: StateReader, action_class: str) -> VotingRule | None:
    """The rule that members have set for a class of actions, or None."""
    data = state.get(voting_rule_key(action_class))
    return None if data is None else _decode_rule(data)


def read_waiting(state: StateReader) -> tuple[Waiting, ...]:
    """Carried proposals that wait for their height, in the order of their heights."""
    data = state.get(WAITING_KEY)
    return () if data is None else WAITINGS.decode(data)


def read_policy_set(state: StateReader) -> PolicySet:
    """The policy set in force."""
    data = state.get(POLICY_SET_KEY)
    assert data is not None, "a state without contracts was not made from a genesis"
    return POLICY_SETS.decode(data)


def find_purpose(state: StateReader, purpose: str) -> Purpose | None:
    """Purpose by id, or None."""
    data = state.get(purpose_key(purpose))
    return None if data is None else _decode_purpose(data)


def find_reachable(state: StateReader, member: str) -> Reachable | None:
    """Where a member's node is reached; None for those that genesis named."""
    data = state.get(reachable_key(member))
    return None if data is None else REACHABLES.decode(data)


def find_evidence(state: StateReader, epoch: int, view: int, member: str) -> bytes | None:
    """Digest of the event that holds evidence about a member in one view, or None."""
    return state.get(evidence_key(epoch, view, member))


def find_access_anchor(state: StateReader, member: str) -> AccessAnchor | None:
    """The last anchor of the access log of a member's node, or None."""
    data = state.get(access_key(member))
    return None if data is None else ACCESS_ANCHORS.decode(data)


def read_record_schema_version(state: StateReader, dataset: str) -> int:
    """The newest version of the record schema of a dataset; 0: it has none."""
    data = state.get(record_schema_version_key(dataset))
    return 0 if data is None else int.from_bytes(data, "big")


def find_record_schema(state: StateReader, dataset: str, version: int) -> RecordSchema | None:
    """One version of the record schema of a dataset, or None."""
    data = state.get(record_schema_key(dataset, version))
    return None if data is None else RECORD_SCHEMAS.decode(data)


def find_code_list(state: StateReader, code_list: str) -> CodeList | None:
    """Code list by id, or None."""
    data = state.get(code_list_key(code_list))
    return None if data is None else _decode_code_list(data)


def read_sunsets(state: StateReader) -> tuple[Sunset, ...]:
    """Everything with a last day, and what has ended, sorted by target."""
    data = state.get(SUNSETS_KEY)
    return () if data is None else _decode_sunsets(data)


def is_ended(state: StateReader, target: str) -> bool:
    """Whether a target (`dataset/account`) is out of force."""
    data = state.get(SUNSETS_KEY)
    return data is not None and target in _decode_ended(data)


@lru_cache(16)
def _decode_ended(data: bytes) -> frozenset[str]:
    return frozenset(each.target for each in _decode_sunsets(data) if each.ended)
