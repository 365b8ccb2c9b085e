"""The state that executing the log produces, and its digest.

State is a map of byte keys to canonical values. Keys are a two-byte prefix and an id:

    m/ member id            Member            i/ member id 00 nonce(16)   digest of the event (32)
    o/ officer key (33)     Officer           x/ exchange id (32)         Exchange
    d/ dataset id           Dataset           c/ requester 00 provider 00 purpose 00 year
    l/ legal basis id       LegalBasis                                    PairCounters
    u/ purpose id           Purpose           f/                          tuple of Freeze
    p/                      PolicySet         v/                          tuple of Validator
    n/                      Parameters        r/                          registry version (8 bytes)
    h/                      epoch (8 bytes)   e/ epoch(8)                 EpochRecord
    q/                      Pending           g/ proposal digest (32)     Proposal
    a/ member id            Reachable         y/ epoch(8) view(8) member  digest of the event (32)
    t/ class of actions     VotingRule        b/ proposal digest, member  BallotBox
    w/                      tuple of Waiting  s/ target 00 height(8)      Revision
    k/ member id            Credit            k/ member id 00 number(8)   GradeChange
    k/                      CreditRules       k/ member id 01 day(8)      tuple of CreditCause
    j/ officer key (33)     Term              z/ member id                key hash (32)
                                              z/ 00 key hash (32)         EncryptionKey
    R/ dataset id 00 version(2)               RecordSchema
    V/ dataset id           its newest record schema's version (2 bytes)
    L/ code list id         CodeList          S/                          tuple of Sunset
    N/                      the Parameters before those in force
    X/ exchange id (32)     Matters           I/ incident id (32)         Incident
    J/ member id            OpenIncidents     J/                          DeadlineRules
    K/ exchange id (32)     Risk              K/                          RiskRules
    H/ member id            Habit             H/ requester 00 provider    Habit
    C/ requester 00 year, C/ requester 00 year 00 provider,
    C/ requester 00 year 00 provider 00 purpose                           Receipts
    G/ member id            Gateway
    A/ member id            AccessAnchor
    M/ message id HMAC (32) Message           D/ document id HMAC (32)    Document

Its digest is made in `ledger.lthash.digest`.
"""

from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_KEYS_KEPT = 4_096
# What the steps of exchanges put, in every block. All else changes seldom: registers, rules, votes.
_FLOWING = frozenset((b"i/", b"x/", b"X/", b"c/", b"C/", b"k/", b"H/", b"K/", b"M/", b"D/"))


class StateReader(Protocol):
    """Read access to a state: the whole port that execution needs."""

    def get(self, key: bytes, /) -> bytes | None:
        """Value of `key`, or None."""


class Overlay:
    """Changes on top of a parent state; the parent is never modified while an overlay is used."""

    __slots__ = ("_recalled", "changes", "parent_value")

    def __init__(self, parent: StateReader) -> None:
        self.changes: dict[bytes, bytes] = {}
        # Value of a key before this overlay.
        self.parent_value: Callable[[bytes], bytes | None] = parent.get
        self._recalled: dict[tuple[Any, ...], Any] = {}

    def get(self, key: bytes, /) -> bytes | None:
        """Value of `key` here or in the parent."""
        value = self.changes.get(key)
        return value if value is not None else self.parent_value(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set `key`. Nothing in the state is ever deleted: retirement is a value."""
        self.changes[key] = value
        if key[:2] not in _FLOWING:
            self._recalled.clear()

    def recall(self, find: Callable[..., T], *about: Hashable) -> T:
        """`find(self, *about)`, which reads no flowing key: found once while no other is put.

        What `find` raises is not kept.
        """
        question = (find, about)
        answer: T | None = self._recalled.get(question)
        if answer is None:
            answer = self._recalled[question] = find(self, *about)
        return answer

    def rebase(self, parent: StateReader) -> None:
        """Read through `parent` from now on; it must hold what the old parent chain held."""
        self.parent_value = parent.get


class MapState:
    """A state held in memory: for auditors, snapshots and tests."""

    __slots__ = ("get", "pairs")

    def __init__(self, pairs: Mapping[bytes, bytes] | None = None) -> None:
        self.pairs: dict[bytes, bytes] = dict(pairs or {})
        # Value of a key, or None. The dictionary's own: execution asks it sixteen times an event.
        self.get: Callable[[bytes], bytes | None] = self.pairs.get


@lru_cache(_KEYS_KEPT)
def member_key(member: str) -> bytes:
    """State key of a member."""
    return b"m/" + member.encode()


def officer_key(officer: bytes) -> bytes:
    """State key of an officer (33-byte public key)."""
    return b"o/" + officer


def term_key(officer: bytes) -> bytes:
    """State key of the term of an officer's key; without a value it has no end."""
    return b"j/" + officer


def recipient_key(member: str) -> bytes:
    """State key of the hash of the encryption key that a member has now."""
    return b"z/" + member.encode()


def encryption_key(key_hash: bytes) -> bytes:
    """State key of an encryption key; no member's id begins with a zero byte."""
    return b"z/\0" + key_hash


def gateway_key(member: str) -> bytes:
    """State key of where the payloads of a member are fetched."""
    return b"G/" + member.encode()


@lru_cache(_KEYS_KEPT)
def dataset_key(dataset: str) -> bytes:
    """State key of a dataset."""
    return b"d/" + dataset.encode()


@lru_cache(_KEYS_KEPT)
def legal_basis_key(legal_basis: str) -> bytes:
    """State key of a legal basis."""
    return b"l/" + legal_basis.encode()


@lru_cache(_KEYS_KEPT)
def purpose_key(purpose: str) -> bytes:
    """State key of a purpose."""
    return b"u/" + purpose.encode()


def nonce_key(member: str, nonce: bytes) -> bytes:
    """State key under which a member's nonce names its event."""
    return b"i/" + member.encode() + b"\0" + nonce


def exchange_key(exchange: bytes) -> bytes:
    """State key of an exchange."""
    return b"x/" + exchange


@lru_cache(_KEYS_KEPT)
def counters_key(requester: str, provider: str, purpose: str, year: int) -> bytes:
    """State key of the reciprocity counters of an ordered pair, purpose and year."""
    return b"c/" + b"\0".join(
        (requester.encode(), provider.encode(), purpose.encode(), str(year).encode())
    )


def epoch_key(epoch: int) -> bytes:
    """State key of the record of an epoch."""
    return b"e/" + epoch.to_bytes(8, "big")


def proposal_key(proposal: bytes) -> bytes:
    """State key of a proposal (digest of the event that proposed it)."""
    return b"g/" + proposal


def evidence_key(epoch: int, view: int, member: str) -> bytes:
    """State key under which the first evidence about a member in one view stands."""
    return b"y/" + epoch.to_bytes(8, "big") + view.to_bytes(8, "big") + member.encode()


def voting_rule_key(action_class: str) -> bytes:
    """State key of the rule by which votes on a class of actions count."""
    return b"t/" + action_class.encode()


def ballot_box_key(proposal: bytes, member: str) -> bytes:
    """State key of the keys with which a member has approved a proposal."""
    return b"b/" + proposal + member.encode()


def revision_key(target: str, height: int) -> bytes:
    """State key of a change of what `target` names (`dataset/account`), in force from `height`."""
    return b"s/" + target.encode() + b"\0" + height.to_bytes(8, "big")


def reachable_key(member: str) -> bytes:
    """State key of the address of a member's node."""
    return b"a/" + member.encode()


@lru_cache(_KEYS_KEPT)
def credit_key(member: str) -> bytes:
    """State key of the credit of a member."""
    return b"k/" + member.encode()


def grade_change_key(member: str, number: int) -> bytes:
    """State key of a change of a member's grade; the first has the number 0."""
    return b"k/" + member.encode() + b"\0" + number.to_bytes(8, "big")


def credit_causes_key(member: str, day: int) -> bytes:
    """State key of the newest causes of a member's credit in the bucket that began on `day`."""
    return b"k/" + member.encode() + b"\1" + day.to_bytes(8, "big")


def record_schema_key(dataset: str, version: int) -> bytes:
    """State key of one version of the record schema of a dataset."""
    return b"R/" + dataset.encode() + b"\0" + version.to_bytes(2, "big")


def record_schema_version_key(dataset: str) -> bytes:
    """State key of the newest version of the record schema of a dataset."""
    return b"V/" + dataset.encode()


def code_list_key(code_list: str) -> bytes:
    """State key of a code list."""
    return b"L/" + code_list.encode()


def matters_key(exchange: bytes) -> bytes:
    """State key of what became of an exchange after its delivery."""
    return b"X/" + exchange


def incident_key(incident: bytes) -> bytes:
    """State key of an incident (digest of the event that reported it)."""
    return b"I/" + incident


def open_incidents_key(member: str) -> bytes:
    """State key of how many incidents about a member are open."""
    return b"J/" + member.encode()


def risk_key(exchange: bytes) -> bytes:
    """State key of the risk of the request that opened an exchange; without a value it was 0."""
    return b"K/" + exchange


def habit_key(requester: str, provider: str = "") -> bytes:
    """State key of how a member used to ask a provider, or everybody."""
    return b"H/" + b"\0".join(each.encode() for each in (requester, provider) if each)


@lru_cache(4_096)
def receipts_key(requester: str, year: int, provider: str = "", purpose: str = "") -> bytes:
    """State key of what a member received in a year: of everybody, a provider, for a purpose."""
    names = (requester, str(year), provider, purpose)
    return b"C/" + b"\0".join(each.encode() for each in names if each)


def access_key(member: str) -> bytes:
    """State key of the last anchor of the access log of a member's node."""
    return b"A/" + member.encode()


def message_key(message: bytes) -> bytes:
    """State key of a message of documents, by the commitment of its id."""
    return b"M/" + message


def document_key(document: bytes) -> bytes:
    """State key of a document, by the commitment of its id."""
    return b"D/" + document


FREEZES_KEY = b"f/"
POLICY_SET_KEY = b"p/"
VALIDATORS_KEY = b"v/"
PARAMETERS_KEY = b"n/"
REGISTRY_VERSION_KEY = b"r/"
EPOCH_KEY = b"h/"
PENDING_KEY = b"q/"
WAITING_KEY = b"w/"
# No member has an empty id.
CREDIT_RULES_KEY = b"k/"
SUNSETS_KEY = b"S/"
PARAMETERS_BEFORE_KEY = b"N/"
DEADLINE_RULES_KEY = b"J/"
RISK_RULES_KEY = b"K/"
