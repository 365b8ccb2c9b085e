"""Properties: rules, wire bytes, the log and the core under inputs nobody thought of."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledger.errors import InvalidEncoding
from ledger.quorum.votes import (
    decode_subject,
    decode_vote,
    encode_subject,
    encode_vote,
    is_contradiction,
    size_subject,
)
from node.simplex import rules
from node.simplex.errors import CorruptChain, CorruptQuorum, CorruptWal, InvalidMessage
from node.simplex.messages import (
    decode_message,
    encode_certificate,
    encode_message,
    size_certificate,
)
from node.simplex.rules import Place
from node.simplex.types import (
    Block,
    BlockRecord,
    Certificate,
    CertificateRecord,
    DataArrived,
    FloorRecord,
    Frontier,
    Kind,
    Message,
    OwnVote,
    PeerVote,
    Proposal,
    Status,
    Subject,
    Vote,
    WalRecord,
)
from node.simplex.wal import MAGIC, decode_segment, encode_record
from tests.unit.node.simplex.builders import GENESIS, Bench, certify, make_block, sign, subject_of

N, X, F = Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE
U64 = st.integers(0, 2**64 - 1)
VIEWS = st.integers(1, 2**64 - 2)
HASHES = st.binary(min_size=32, max_size=32)
SIGNATURES = st.binary(min_size=64, max_size=64)


@st.composite
def subjects(draw: st.DrawFn, epoch: int | None = None) -> Subject:
    kind, view = draw(st.sampled_from(Kind)), draw(VIEWS)
    chosen = draw(U64) if epoch is None else epoch
    if kind is X:
        return Subject(kind=kind, epoch=chosen, view=view)
    return Subject(
        kind=kind,
        epoch=chosen,
        view=view,
        height=draw(U64),
        parent_view=draw(st.integers(0, view - 1)),
        block_hash=draw(HASHES),
    )


@st.composite
def votes(draw: st.DrawFn, epoch: int | None = None) -> Vote:
    return Vote(
        subject=draw(subjects(epoch)),
        signer=draw(st.integers(0, 2**16 - 1)),
        signature=draw(SIGNATURES),
    )


@st.composite
def certificates(draw: st.DrawFn, epoch: int | None = None) -> Certificate:
    committee = draw(st.integers(4, 30))
    signers = tuple(sorted(draw(st.sets(st.integers(0, committee - 1), max_size=5))))
    return Certificate(
        subject=draw(subjects(epoch)),
        committee=committee,
        signers=signers,
        signatures=tuple(draw(SIGNATURES) for _ in signers),
    )


@st.composite
def messages(draw: st.DrawFn) -> Message:
    epoch = draw(U64)
    few = st.lists(certificates(epoch), max_size=3).map(tuple)
    match draw(st.integers(1, 5)):
        case 1:
            return draw(votes(epoch))
        case 2:
            return draw(certificates(epoch))
        case 3:
            return Proposal(
                header=draw(st.binary(max_size=200)),
                refs=tuple(draw(st.lists(HASHES, max_size=4))),
                justification=draw(few),
                vote=draw(votes(epoch)),
            )
        case 4:
            many = tuple(draw(st.lists(votes(epoch), max_size=3)))
            return Frontier(epoch=epoch, certificates=draw(few), votes=many)
        case _:
            return Status(
                epoch=epoch,
                view=draw(U64),
                final_view=draw(U64),
                final_height=draw(U64),
                time_ms=draw(U64),
                signer=draw(st.integers(0, 2**16 - 1)),
                signature=draw(SIGNATURES),
            )


# Votes and messages


@given(votes())
def test_votes_and_subjects_have_one_encoding(vote: Vote) -> None:
    assert decode_vote(encode_vote(vote)) == vote
    data = encode_subject(vote.subject)
    assert decode_subject(data) == vote.subject
    assert len(data) == size_subject(vote.subject)


@given(st.binary(max_size=160))
def test_any_bytes_are_refused_or_the_one_encoding_of_a_vote(data: bytes) -> None:
    readers: list[tuple[Callable[[bytes], Vote | Subject], Callable[..., bytes]]] = [
        (decode_vote, encode_vote),
        (decode_subject, encode_subject),
    ]
    for decode, encode in readers:
        try:
            value = decode(data)
        except InvalidEncoding:
            continue
        assert encode(value) == data


@given(messages())
def test_messages_have_one_encoding(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(certificates())
def test_the_size_of_a_certificate_is_known_without_encoding_it(certificate: Certificate) -> None:
    assert size_certificate(certificate) == len(encode_certificate(certificate))


@given(messages(), st.data())
def test_a_changed_message_is_refused_or_another_one(message: Message, data: st.DataObject) -> None:
    encoded = bytearray(encode_message(message))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != encoded[at]))
    try:
        other = decode_message(bytes(encoded))
    except InvalidMessage:
        return
    assert other != message
    assert encode_message(other) == bytes(encoded)


@given(st.binary(max_size=400))
def test_noise_is_refused_or_the_one_encoding_of_a_message(data: bytes) -> None:
    try:
        message = decode_message(data)
    except InvalidMessage:
        return
    assert encode_message(message) == data


# Contradiction and rules


@given(subjects(), subjects())
def test_contradiction_is_symmetric_and_never_of_a_vote_with_itself(a: Subject, b: Subject) -> None:
    assert is_contradiction(a, b) == is_contradiction(b, a)
    assert not is_contradiction(a, a)


SMALL = st.integers(0, 6)


@given(
    current=st.integers(1, 9), final_view=SMALL, notarized=st.sets(SMALL), nullified=st.sets(SMALL)
)
def test_what_r3_chooses_r5_accepts(
    current: int, final_view: int, notarized: set[int], nullified: set[int]
) -> None:
    """A leader's parent is one that every voter with the same certificates accepts."""
    hashes = {view: bytes([view]) for view in notarized | {final_view}}
    parent_view = rules.choose_parent(
        current=current, final_view=final_view, notarized=hashes, nullified=nullified
    )
    places = {
        view: rules.judge_place(
            view=current,
            parent_view=view,
            parent_hash=hashes[view],
            final_view=final_view,
            notarized=hashes,
            nullified=nullified,
        )
        for view in hashes
    }
    justified = [view for view, place in places.items() if place is Place.JUSTIFIED]
    assert parent_view == max(justified, default=None)


@given(
    view=SMALL, final_view=SMALL, parent_view=SMALL, nullified=st.sets(SMALL), more=st.sets(SMALL)
)
def test_more_certificates_never_take_a_place_away(
    view: int, final_view: int, parent_view: int, nullified: set[int], more: set[int]
) -> None:
    def judge(held: set[int]) -> Place:
        return rules.judge_place(
            view=view,
            parent_view=parent_view,
            parent_hash=b"p",
            final_view=final_view,
            notarized={parent_view: b"p"},
            nullified=held,
        )

    before, after = judge(nullified), judge(nullified | more)
    assert before is after or (before, after) == (Place.NOT_YET, Place.JUSTIFIED)


@given(
    view=SMALL,
    current=SMALL,
    final_view=SMALL,
    notarized=st.sampled_from([None, b"a", b"b"]),
    own=st.sampled_from([None, b"a", b"b"]),
    has_nullified=st.booleans(),
    has_finalized=st.booleans(),
)
def test_no_state_allows_both_a_finalize_and_a_nullify(
    *,
    view: int,
    current: int,
    final_view: int,
    notarized: bytes | None,
    own: bytes | None,
    has_nullified: bool,
    has_finalized: bool,
) -> None:
    """I2, whatever came before; and I9: a finalize needs the notarization."""
    may_finalize = rules.may_finalize(
        view=view,
        current=current,
        final_view=final_view,
        notarized_hash=notarized,
        own_notarized_hash=own,
        has_nullified=has_nullified,
        has_finalized=has_finalized,
    )
    may_nullify = rules.may_nullify(
        view=view, current=current, has_nullified=has_nullified, has_finalized=has_finalized
    )
    assert not (may_finalize and may_nullify)
    assert not (may_finalize and (has_nullified or notarized is None))
    assert not (may_nullify and has_finalized)


@given(current=U64, final_view=U64, validators=st.integers(4, 30))
def test_growth_is_bounded_and_never_shrinks(
    current: int, final_view: int, validators: int
) -> None:
    top, bottom = rules.growth(current=current, final_view=final_view, validators=validators)
    above = rules.growth(current=current + 1, final_view=final_view, validators=validators)
    assert bottom <= top <= 16 * bottom
    assert above[0] * bottom >= top * above[1]
    assert rules.scale_ms(900, (top, bottom), 5_000) <= 5_000


@given(parent_seal=st.booleans(), view=st.integers(1, 9), block_view=st.integers(1, 9))
def test_only_the_seal_follows_the_seal(parent_seal: bool, view: int, block_view: int) -> None:
    again = rules.is_reproposal(view=view, block_view=block_view)
    allowed = rules.may_follow(is_parent_seal=parent_seal, is_reproposal=again)
    assert allowed == (parent_seal == (block_view < view))


# The log


@st.composite
def records(draw: st.DrawFn) -> WalRecord:
    match draw(st.integers(1, 5)):
        case 1:
            return OwnVote(vote=draw(votes()))
        case 2:
            return PeerVote(vote=draw(votes()))
        case 3:
            return BlockRecord(
                hash=draw(HASHES),
                header=draw(st.binary(max_size=80)),
                refs=tuple(draw(st.lists(HASHES, max_size=2))),
                events=tuple(draw(st.lists(st.binary(max_size=20), max_size=2))),
            )
        case 4:
            return CertificateRecord(certificate=draw(certificates()))
        case _:
            return FloorRecord(
                epoch=draw(U64), view=draw(U64), height=draw(U64), block_hash=draw(HASHES)
            )


def lay_out(held: list[WalRecord]) -> tuple[bytes, list[int]]:
    """Bytes of a segment, and where its records end."""
    data, ends = MAGIC, [len(MAGIC)]
    for record in held:
        data += encode_record(record)
        ends.append(len(data))
    return data, ends


@given(st.lists(records(), max_size=5))
def test_every_record_is_read_back(held: list[WalRecord]) -> None:
    data, _ = lay_out(held)
    assert decode_segment(data) == (held, len(data))


@settings(max_examples=20)
@given(st.lists(records(), min_size=1, max_size=3))
def test_a_cut_at_any_byte_leaves_the_whole_records_before_it(held: list[WalRecord]) -> None:
    data, ends = lay_out(held)
    for length in range(len(data)):
        whole = sum(end <= length for end in ends[1:])
        valid = ends[whole] if length >= len(MAGIC) else 0
        assert decode_segment(data[:length]) == (held[:whole], valid)


@settings(max_examples=10)
@given(st.lists(records(), min_size=2, max_size=3), st.integers(0, 7))
def test_a_flipped_bit_in_any_byte_is_never_read_as_something_else(
    held: list[WalRecord], bit: int
) -> None:
    """In the last record it is a torn tail; everywhere else the log is refused."""
    data, ends = lay_out(held)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << bit
        try:
            read = decode_segment(bytes(damaged))
        except CorruptWal:
            assert at < ends[-2]
        else:
            assert at >= ends[-2]
            assert read == (held[:-1], ends[-2])


# The core

KINDS = st.sampled_from(Kind)
NEAR = st.integers(1, 6)
WHICH = st.integers(0, 1)


class OneCore(RuleBasedStateMachine):
    """Validator 1 of 4 gets any mixture of votes, certificates, proposals, time and kills.

    The three others may sign anything: what the node itself signs must never contradict, even
    where it can only stop because more than f are faulty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(me=1)
        self.cast: dict[Vote, None] = {}
        self.final_view = 0
        self.can_run = True

    def block(self, view: int, which: int) -> Block:
        """One of two blocks of a view, on the epoch's genesis; the second is a seal block."""
        time_ms = GENESIS.time_ms + 1 + which
        return make_block(view=view, proposer=(view - 1) % 4, time_ms=time_ms, is_seal=which == 1)

    def subject(self, kind: Kind, view: int, which: int) -> Subject:
        return subject_of(X, view=view) if kind is X else subject_of(kind, self.block(view, which))

    def run_step(self, step: Callable[[], object]) -> None:
        held = len(self.bench.records)
        try:
            step()
        except (CorruptQuorum, CorruptChain):
            self.restart()
            return
        fresh = [each.vote for each in self.bench.records[held:] if isinstance(each, OwnVote)]
        assert self.bench.effects.sync or not fresh, "I4"
        for vote in fresh:
            for other in self.cast:
                assert not is_contradiction(other.subject, vote.subject), "I1 to I3"
            self.cast[vote] = None
        assert self.bench.core.final_view >= self.final_view, "I8"
        self.final_view = self.bench.core.final_view

    def restart(self) -> None:
        try:
            self.bench = Bench.restarted(self.bench)
        except (CorruptQuorum, CorruptChain):
            self.can_run = False  # its log already holds what it must stop for

    @precondition(lambda self: self.can_run)
    @rule(kind=KINDS, view=NEAR, which=WHICH, by=st.sampled_from([0, 2, 3]))
    def vote(self, kind: Kind, view: int, which: int, by: int) -> None:
        vote = sign(self.subject(kind, view, which), by)
        self.run_step(lambda: self.bench.receive(vote, by))

    @precondition(lambda self: self.can_run)
    @rule(kind=KINDS, view=NEAR, which=WHICH)
    def certify(self, kind: Kind, view: int, which: int) -> None:
        certificate = certify(self.subject(kind, view, which), signers=(0, 2, 3))
        self.run_step(lambda: self.bench.receive(certificate))

    @precondition(lambda self: self.can_run)
    @rule(view=NEAR, which=WHICH)
    def give(self, view: int, which: int) -> None:
        block = self.block(view, which)
        self.bench.application.absorb(block, ())
        self.run_step(lambda: self.bench.step(DataArrived(block_hash=block.hash)))

    @precondition(lambda self: self.can_run)
    @rule(view=NEAR, which=WHICH, skipped=st.integers(0, 4))
    def propose(self, view: int, which: int, skipped: int) -> None:
        block = self.block(view, which)
        if block.proposer != 1:
            views = range(max(1, view - skipped), view)
            subjects = [subject_of(X, view=each) for each in views]
            justification = [certify(each, signers=(0, 2, 3)) for each in subjects]
            proposal = self.bench.propose(block, *justification)
            self.run_step(lambda: self.bench.receive(proposal))

    @precondition(lambda self: self.can_run)
    @rule(milliseconds=st.sampled_from([1, 599, 1_500, 20_000]))
    def wait(self, milliseconds: int) -> None:
        time_ms = self.bench.time_ms + milliseconds
        self.run_step(lambda: self.bench.tick(time_ms))

    @precondition(lambda self: self.can_run)
    @rule()
    def submit(self) -> None:
        self.run_step(self.bench.submit)

    @precondition(lambda self: self.can_run)
    @rule()
    def rotate(self) -> None:
        live = self.bench.core.live_records()
        assert self.bench.signer is not None
        self.bench.signer.check_rotation(live)
        self.bench.records = live

    @precondition(lambda self: self.can_run)
    @rule()
    def kill(self) -> None:
        self.restart()

    @invariant()
    def memory_is_bounded(self) -> None:
        core = self.bench.core
        assert all(len(each) <= 2 for each in core._proposals._views.values()), "I13"
        assert all(len(each) <= 12 for each in core._tally._first.values()), "I13"
        assert all(view > core.final_view for view in core._tally._first)
        assert core.final_view < core.current_view

    @invariant()
    def no_timer_spins(self) -> None:
        wake_ms = self.bench.effects.wake_ms
        assert wake_ms is None or wake_ms > self.bench.time_ms


TestOneCore = OneCore.TestCase
TestOneCore.settings = settings(max_examples=50, stateful_step_count=30)
