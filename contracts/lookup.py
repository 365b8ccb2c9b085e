"""Typed reads of the registry in a state. Decoding is memoised by the exact bytes: pure."""

from functools import lru_cache

from ledger.registry import (
    DATASETS,
    EMPTY_COUNTERS,
    EXCHANGES,
    FREEZES,
    LEGAL_BASES,
    MEMBERS,
    OFFICERS,
    PAIR_COUNTERS,
    PARAMETERS,
    Dataset,
    Exchange,
    Freeze,
    LegalBasis,
    Member,
    Officer,
    PairCounters,
    Parameters,
)
from ledger.state import (
    FREEZES_KEY,
    PARAMETERS_KEY,
    StateReader,
    counters_key,
    dataset_key,
    exchange_key,
    legal_basis_key,
    member_key,
    officer_key,
    purpose_key,
)

_MEMO_ENTRIES_MAX = 4_096

_decode_member = lru_cache(_MEMO_ENTRIES_MAX)(MEMBERS.decode)
_decode_officer = lru_cache(_MEMO_ENTRIES_MAX)(OFFICERS.decode)
_decode_dataset = lru_cache(_MEMO_ENTRIES_MAX)(DATASETS.decode)
_decode_basis = lru_cache(_MEMO_ENTRIES_MAX)(LEGAL_BASES.decode)
_decode_freezes = lru_cache(16)(FREEZES.decode)
_decode_parameters = lru_cache(16)(PARAMETERS.decode)


def find_member(state: StateReader, member: str) -> Member | None:
    """Member by id, or None."""
    data = state.get(member_key(member))
    return None if data is None else _decode_member(data)


def find_officer(state: StateReader, officer: bytes) -> Officer | None:
    """Officer by key, or None."""
    data = state.get(officer_key(officer))
    return None if data is None else _decode_officer(data)


def find_dataset(state: StateReader, dataset: str) -> Dataset | None:
    """Dataset by id, or None."""
    data = state.get(dataset_key(dataset))
    return None if data is None else _decode_dataset(data)


def find_legal_basis(state: StateReader, legal_basis: str) -> LegalBasis | None:
    """Legal basis by id, or None."""
    data = state.get(legal_basis_key(legal_basis))
    return None if data is None else _decode_basis(data)


def is_purpose(state: StateReader, purpose: str) -> bool:
    """Whether the purpose is registered."""
    return state.get(purpose_key(purpose)) is not None


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
