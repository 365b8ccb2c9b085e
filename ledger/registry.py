"""What the ledger knows of parties and rules: the values behind genesis and governance.

All are canonical values (`ledger.codec`) kept in the state under the keys of `ledger.state`, and
named in genesis. Lists that form a set are sorted by id and have no duplicates.
"""

from typing import Annotated, Literal, NamedTuple, TypeAlias

from msgspec import Meta

from ledger.codec import Codec, MemoCodec, Value
from ledger.scalars import Date, Hash32, Identifier, PeerAddress, PublicKeyBytes, Text, Uint

MemberKind = Literal["tax", "department", "provider", "foreign", "supervisor", "auditor"]
MemberStatus = Literal["applied", "active", "suspended", "retired"]
Role = Literal["requester", "approver", "provider", "admin", "auditor", "supervisor"]
Sensitivity = Literal["public", "internal", "personal", "secret"]
Name = Annotated[str, Meta(min_length=1, max_length=120)]
Score = Annotated[int, Meta(ge=0, le=1_000)]
Points = Annotated[int, Meta(ge=-1_000, le=1_000)]
Grade = Literal["A", "B", "C", "D"]
ChangeReason = Literal["behaviour", "window", "rules"]


class Member(Value, frozen=True, kw_only=True, cache_hash=True):
    """An agency. `region` is a GB/T 2260 code, or ISO 3166 alpha-2 for a foreign authority.

    `credit` is the score that it starts with; what became of it stands in its `Credit`.
    """

    id: Identifier
    name_zh: Name
    name_en: Name
    region: Annotated[str, Meta(min_length=2, max_length=6)]
    kind: MemberKind
    status: MemberStatus
    credit: Score


class Officer(Value, frozen=True, kw_only=True, cache_hash=True):
    """A key of a member with roles; the ledger knows no person's name."""

    key: PublicKeyBytes
    member: Identifier
    roles: tuple[Role, ...]
    status: Literal["active", "revoked"]


class Validator(Value, frozen=True, kw_only=True):
    """A voting node: its consensus key, cosigning key and pinned TLS certificate (DER)."""

    member: Identifier
    consensus_key: PublicKeyBytes
    cosigning_key: PublicKeyBytes
    tls_certificate: Annotated[bytes, Meta(max_length=2_048)]


class EpochRecord(Value, frozen=True, kw_only=True):
    """An epoch's validators in the order that votes count them, and the height of its first block.

    The list of epoch 0 stands as in genesis; later lists are sorted by member.
    """

    epoch: Uint
    first_height: Uint
    validators: tuple[Validator, ...]


class PendingChange(Value, frozen=True, kw_only=True):
    """A decided change of the validator list that waits for its height and for its validators.

    `set_hash` is that of the whole next list, `ready` the members of it that said so, sorted.
    """

    proposal: Hash32
    validators: tuple[Validator, ...]
    set_hash: Hash32
    activate_height: Uint
    ready: tuple[Identifier, ...]


class Pending(Value, frozen=True, kw_only=True):
    """The pending change, if there is one: the state never deletes, so "none" is a value."""

    change: PendingChange | None


class Reachable(Value, frozen=True, kw_only=True):
    """Where the node of a member's validator is reached, as its addition said."""

    member: Identifier
    address: PeerAddress


class DatasetField(Value, frozen=True, kw_only=True):
    """One field of a dataset that a request can name."""

    id: Identifier
    name_zh: Name
    name_en: Name
    sensitivity: Sensitivity


class Dataset(Value, frozen=True, kw_only=True, cache_hash=True):
    """A kind of records. Every tax member provides every dataset unless a contract says no."""

    id: Identifier
    version: Annotated[int, Meta(ge=1, le=65_535)]
    name_zh: Name
    name_en: Name
    category: Identifier
    fields: Annotated[tuple[DatasetField, ...], Meta(min_length=1, max_length=64)]
    deadline_hours: Annotated[int, Meta(ge=1, le=8_760)]


class LegalBasis(Value, frozen=True, kw_only=True):
    """A statute or agreement. Empty `parties`, `purposes` or `categories` mean all."""

    id: Identifier
    title_zh: Name
    title_en: Name
    article: Annotated[str, Meta(max_length=64)]
    authority: Name
    in_force_from: Date
    in_force_to: Date
    parties: tuple[Identifier, ...]
    purposes: tuple[Identifier, ...]
    categories: tuple[Identifier, ...]


class Purpose(Value, frozen=True, kw_only=True):
    """What shared information may be used for."""

    id: Identifier
    name_zh: Name
    name_en: Name


class Freeze(Value, frozen=True, kw_only=True):
    """An emergency stop. Empty strings are wildcards: all empty freezes everything."""

    requester: str
    provider: str
    dataset: str
    reason: Text


class Contract(Value, frozen=True, kw_only=True):
    """One Cedar policy file: its id is the file's name without the ending."""

    id: Identifier
    text: Annotated[str, Meta(max_length=32_768)]


class PolicySet(Value, frozen=True, kw_only=True):
    """The contracts in force together. Its hash covers the engine's version and the schema."""

    version: Uint
    engine: Annotated[str, Meta(max_length=64)]
    schema: Annotated[str, Meta(max_length=65_536)]
    contracts: tuple[Contract, ...]


class Parameters(Value, frozen=True, kw_only=True):
    """Numbers that every node must share. Times in milliseconds."""

    block_events_max: Annotated[int, Meta(ge=1, le=1_000)]
    block_bytes_max: Annotated[int, Meta(ge=65_536, le=8_388_608)]
    delta_ms: Annotated[int, Meta(ge=10, le=10_000)]
    heartbeat_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)]
    precision_ms: Annotated[int, Meta(ge=10, le=60_000)]
    message_delay_ms: Annotated[int, Meta(ge=10, le=60_000)]
    expiry_blocks_max: Annotated[int, Meta(ge=10, le=10_000_000)]


class Exchange(Value, frozen=True, kw_only=True):
    """State of one exchange; its id is the digest of the request. Times are block times."""

    status: str
    requester: Identifier
    provider: Identifier
    dataset: Identifier
    purpose: Identifier
    legal_basis: Identifier
    urgency: str
    period_days: Uint
    requested_by: PublicKeyBytes
    requested_ms: Uint
    requested_index: Uint
    changed_ms: Uint
    changed_height: Uint
    decision: str
    deadline_ms: Uint
    retention_days: Uint
    redact: tuple[str, ...]
    fields: tuple[str, ...]
    subject_count: Uint
    commitment: Annotated[bytes, Meta(max_length=32)]
    record_count: Uint


class PairCounters(Value, frozen=True, kw_only=True):
    """Reciprocity figures of one ordered pair (requester, provider), purpose and year."""

    asked: Uint
    permitted: Uint
    reviewed: Uint
    denied: Uint
    refused: Uint
    delivered: Uint
    late: Uint
    records: Uint


CREDIT_BUCKETS_MAX = 24
# Rules with other buckets leave those of the old length in the window for a while.
CREDIT_BUCKETS_KEPT_MAX = 2 * CREDIT_BUCKETS_MAX
CREDIT_BEHAVIOURS_MAX = 32
CREDIT_CAUSES_MAX = 3
GRADE_CAUSES_MAX = 8


class CreditWeight(Value, frozen=True, kw_only=True):
    """What one act of a behaviour is worth, and the most that all in the window give or take."""

    behaviour: Identifier
    points: Points
    limit: Score


class CreditRules(Value, frozen=True, kw_only=True):
    """How credit is computed. The window is the last `buckets` buckets of `bucket_days` each.

    `base` is where every member starts; None: at its own `Member.credit`. `grade_a` is the least
    score of grade A, and so on. Weights and the reasons for which a refusal costs nothing are
    sorted; a behaviour without a weight here has that of the software's own table.
    """

    version: Uint
    base: Score | None
    minimum: Score
    maximum: Score
    bucket_days: Annotated[int, Meta(ge=1, le=366)]
    buckets: Annotated[int, Meta(ge=1, le=CREDIT_BUCKETS_MAX)]
    grade_a: Score
    grade_b: Score
    grade_c: Score
    weights: Annotated[tuple[CreditWeight, ...], Meta(max_length=CREDIT_BEHAVIOURS_MAX)]
    permitted_reasons: Annotated[tuple[Identifier, ...], Meta(max_length=64)]


# Only execution writes it: a pattern would cost more to read than everything else of a record.
BehaviourId = Annotated[str, Meta(min_length=1, max_length=64)]


class CreditCause(NamedTuple):
    """An event that counts for a behaviour, its height, and what it is worth by itself.

    An array on the wire.
    """

    event: Hash32
    behaviour: BehaviourId
    points: Points
    height: Uint


CreditCauses: TypeAlias = Annotated[
    tuple[CreditCause, ...], Meta(max_length=CREDIT_CAUSES_MAX * CREDIT_BEHAVIOURS_MAX)
]


class CreditTally(NamedTuple):
    """How often a behaviour was seen. An array on the wire."""

    behaviour: BehaviourId
    amount: Uint


class CreditBucket(NamedTuple):
    """What was seen in the days from `start_day` (since 1970) on; tallies sorted by behaviour."""

    start_day: Uint
    tallies: Annotated[tuple[CreditTally, ...], Meta(max_length=CREDIT_BEHAVIOURS_MAX)]


class Credit(Value, frozen=True, kw_only=True):
    """Credit of a member as its last counted act left it; buckets in order of time.

    `changes` is how many changes of grade there were: each has a state key of its own. `causes` are
    the newest events of each behaviour in the bucket of `day`; those of other buckets stand under
    keys of their own, so that an act rewrites little.
    """

    score: Score
    grade: Grade
    rules_version: Uint
    changes: Uint
    buckets: Annotated[tuple[CreditBucket, ...], Meta(max_length=CREDIT_BUCKETS_KEPT_MAX)]
    day: Uint
    causes: CreditCauses


class GradeChange(Value, frozen=True, kw_only=True):
    """A member's grade changed: because of what it did, of time that passed, or of other rules.

    `causes` are the newest that point the way of the change, newest first. Where time passed, they
    are the events that left the window, with their points reversed.
    """

    before: Grade
    after: Grade
    score_before: Score
    score_after: Score
    reason: ChangeReason
    rules_version: Uint
    height: Uint
    time_ms: Uint
    causes: Annotated[tuple[CreditCause, ...], Meta(max_length=GRADE_CAUSES_MAX)]


MEMBERS = Codec(Member, size_bytes_max=2_048)
OFFICERS = Codec(Officer, size_bytes_max=2_048)
VALIDATOR_LISTS = Codec(tuple[Validator, ...], size_bytes_max=131_072)
EPOCH_RECORDS = Codec(EpochRecord, size_bytes_max=131_072)
PENDINGS = Codec(Pending, size_bytes_max=131_072)
REACHABLES = Codec(Reachable, size_bytes_max=1_024)
DATASETS = Codec(Dataset, size_bytes_max=65_536)
LEGAL_BASES = Codec(LegalBasis, size_bytes_max=65_536)
PURPOSES = Codec(Purpose, size_bytes_max=2_048)
FREEZES = Codec(tuple[Freeze, ...], size_bytes_max=65_536)
POLICY_SETS = Codec(PolicySet, size_bytes_max=4_194_304)
PARAMETERS = Codec(Parameters, size_bytes_max=2_048)
EXCHANGES = MemoCodec(Exchange, size_bytes_max=16_384, kept=4_096)
PAIR_COUNTERS = MemoCodec(PairCounters, size_bytes_max=1_024, kept=1_024)
CREDIT_RULES = Codec(CreditRules, size_bytes_max=16_384)
CREDITS = Codec(Credit, size_bytes_max=262_144)
CREDIT_CAUSES = Codec(tuple[CreditCause, ...], size_bytes_max=16_384)
GRADE_CHANGES = Codec(GradeChange, size_bytes_max=4_096)

EMPTY_COUNTERS = PairCounters(
    asked=0, permitted=0, reviewed=0, denied=0, refused=0, delivered=0, late=0, records=0
)
