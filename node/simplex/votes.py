"""Votes and certificates: one strict verifier, tallies, evidence (R12), stores of one epoch."""

from nacl import bindings, exceptions

from ledger.quorum.votes import BODY_AT, encode_subject, encode_vote, is_contradiction, signed_vote
from node.simplex import rules
from node.simplex.errors import CorruptQuorum, InvalidEvidence, InvalidMessage
from node.simplex.messages import encode_certificate, signed_status
from node.simplex.types import HASH_BYTES, Certificate, Evidence, Kind, Status, Subject, Vote

VERIFIED_MAX = 16_384  # remembered signatures, about 300 bytes each
# Certificates kept above the final view. Without finality views take seconds, so this is days; a
# peer that repeats the past of a long chain, and no finalization, cannot fill more memory.
CERTIFICATES_MAX = 65_536


class Verifier:
    """Checks signatures under the validators of one epoch with libsodium, each only once.

    The cache key is the signer, the full signed bytes and the signature: a remembered "yes" can
    never stand for other bytes. A "no" is not remembered.
    """

    def __init__(self, *, network_id: bytes, validators: tuple[bytes, ...]) -> None:
        self.network_id = network_id
        self._keys = validators
        self._quorum = rules.count_quorum(len(validators))
        self._verified: dict[bytes, None] = {}

    def verify_vote(self, vote: Vote) -> None:
        """Raises `InvalidMessage` unless the named validator signed the vote."""
        message = signed_vote(self.network_id, vote.subject)
        self._verify(vote.signer, message, vote.signature)

    def verify_status(self, status: Status) -> None:
        """Raises `InvalidMessage` unless the named validator signed the status."""
        message = signed_status(self.network_id, status)
        self._verify(status.signer, message, status.signature, remember=False)

    def verify_certificate(self, certificate: Certificate) -> None:
        """Raises `InvalidMessage` unless a quorum of this epoch's validators signed."""
        if certificate.committee != len(self._keys):
            raise InvalidMessage("a certificate is of another number of validators")
        if len(certificate.signers) < self._quorum:
            raise InvalidMessage("a certificate has no quorum")
        message = signed_vote(self.network_id, certificate.subject)
        pairs = zip(certificate.signers, certificate.signatures, strict=True)
        for signer, signature in pairs:
            self._verify(signer, message, signature)

    def remember_own(self, vote: Vote) -> None:
        """This node made the signature just now: it need not be verified."""
        message = signed_vote(self.network_id, vote.subject)
        self._remember(_cache_key(vote.signer, message, vote.signature))

    def _verify(
        self, signer: int, message: bytes, signature: bytes, *, remember: bool = True
    ) -> None:
        if signer >= len(self._keys):
            raise InvalidMessage("a signer is not a validator of this epoch")
        key = _cache_key(signer, message, signature)
        if key in self._verified:
            return
        try:
            bindings.crypto_sign_open(signature + message, self._keys[signer])
        except (exceptions.BadSignatureError, exceptions.ValueError, ValueError):
            raise InvalidMessage("a signature does not verify") from None
        if remember:
            self._remember(key)

    def _remember(self, key: bytes) -> None:
        if len(self._verified) >= VERIFIED_MAX:
            del self._verified[next(iter(self._verified))]
        self._verified[key] = None


class CertificateStore:
    """Verified certificates at and above the final view (CONSENSUS 1.2).

    `notarized` maps views to block hashes and includes the final view; `nullified` maps views to
    their nullification. Contradicting certificates raise `CorruptQuorum` (I6).
    """

    def __init__(self, *, final_view: int, final_height: int, final_hash: bytes) -> None:
        assert len(final_hash) == HASH_BYTES, "a start needs the hash of its final block"
        self.final_view = final_view
        self.final_height = final_height
        self.notarized: dict[int, bytes] = {final_view: final_hash}
        self.notarizations: dict[int, Certificate] = {}
        self.nullified: dict[int, Certificate] = {}
        self.finalization: Certificate | None = None

    @property
    def final_hash(self) -> bytes:
        """Hash of the block at the final view."""
        return self.notarized[self.final_view]

    @property
    def view_max(self) -> int:
        """The highest view with a certificate (the final view at least)."""
        return max(*self.notarized, *self.nullified, self.final_view)

    @property
    def newest(self) -> Certificate | None:
        """The certificate of the highest view."""
        view = self.view_max
        return self.nullified.get(view) or self.proof_of(view)

    def is_news(self, certificate: Certificate) -> bool:
        """Is it worth verifying? At the final view also: the first finalization, contradictions."""
        subject = certificate.subject
        view = subject.view
        if view < self.final_view:
            return False
        is_full = len(self.nullified) + len(self.notarizations) >= CERTIFICATES_MAX
        if is_full and subject.kind is not Kind.FINALIZE:
            return False
        if subject.kind is Kind.NULLIFY:
            return view not in self.nullified
        if view in self.notarized and not self._agrees(subject):
            return True
        if subject.kind is Kind.NOTARIZE:
            return view not in self.notarized
        return view != self.final_view or self.finalization is None

    def add(self, certificate: Certificate) -> None:
        """Store a verified certificate that `is_news`."""
        self._check_contradiction(certificate)
        subject = certificate.subject
        view = subject.view
        match subject.kind:
            case Kind.NULLIFY:
                self.nullified[view] = certificate
            case Kind.NOTARIZE:
                self.notarized[view] = subject.block_hash
                self.notarizations[view] = certificate
            case Kind.FINALIZE:
                self.notarized[view] = subject.block_hash
                self.finalization = certificate
                self.final_height = subject.height
                self._prune(view)

    def sync(self, *, view: int, height: int, block_hash: bytes) -> None:
        """State sync proved a later final block without its finalization certificate."""
        if view > self.final_view:
            self.notarized[view] = block_hash
            self.finalization = None
            self.final_height = height
            self._prune(view)

    def proof_of(self, view: int) -> Certificate | None:
        """A certificate that block of `view` is notarized; None for the genesis."""
        if self.finalization is not None and view == self.final_view:
            return self.finalization
        return self.notarizations.get(view)

    def signers_of(self, view: int) -> tuple[int, ...]:
        """Who can be asked for the block of `view`."""
        certificate = self.proof_of(view)
        return () if certificate is None else certificate.signers

    def above_final(self, view: int) -> list[Certificate]:
        """Certificates of one view above the final one."""
        held = (self.notarizations.get(view), self.nullified.get(view))
        return [each for each in held if each is not None and view > self.final_view]

    def _agrees(self, subject: Subject) -> bool:
        """The body is that of the block certified in this view."""
        proof = self.proof_of(subject.view)
        if proof is None:
            return self.notarized[subject.view] == subject.block_hash
        return body_of(proof.subject) == body_of(subject)

    def _prune(self, view: int) -> None:
        self.final_view = view
        for table in (self.notarized, self.notarizations, self.nullified):
            for old in [old for old in table if old < view]:
                del table[old]
        self.notarizations.pop(view, None)

    def _check_contradiction(self, certificate: Certificate) -> None:
        subject = certificate.subject
        view = subject.view
        finalized = self.finalization if view == self.final_view else None
        other: Certificate | None = None
        if subject.kind is Kind.NULLIFY:
            other = finalized
        elif view in self.notarized and not self._agrees(subject):
            other = self.proof_of(view)
            if other is None:
                raise CorruptQuorum(
                    f"view {view} has a certificate for another block than the start block",
                    first=b"",
                    second=encode_certificate(certificate),
                )
        elif subject.kind is Kind.FINALIZE:
            other = self.nullified.get(view)
        if other is not None:
            raise CorruptQuorum(
                f"view {view} has two contradicting certificates (I6)",
                first=encode_certificate(other),
                second=encode_certificate(certificate),
            )


def _cache_key(signer: int, message: bytes, signature: bytes) -> bytes:
    return signer.to_bytes(2, "big") + signature + message


def body_of(subject: Subject) -> bytes:
    """What two votes of one view must share to be about the same proposal."""
    return encode_subject(subject)[BODY_AT:]


def nullify_subject(epoch: int, view: int) -> Subject:
    """The subject of "skip this view"."""
    return Subject(kind=Kind.NULLIFY, epoch=epoch, view=view)


def split_certificate(certificate: Certificate) -> list[Vote]:
    """The votes in a certificate."""
    pairs = zip(certificate.signers, certificate.signatures, strict=True)
    return [
        Vote(subject=certificate.subject, signer=signer, signature=signature)
        for signer, signature in pairs
    ]


class Tally:
    """The first verified vote of every (kind, view, signer), counted by subject.

    A later vote never replaces an earlier one, so memory is at most 3 n votes a view (I13).
    """

    def __init__(self, *, committee: int, quorum: int) -> None:
        self._committee = committee
        self._quorum = quorum
        self._first: dict[int, dict[tuple[Kind, int], Vote]] = {}
        self._counts: dict[int, dict[Subject, dict[int, bytes]]] = {}
        self._reported: dict[int, dict[int, Vote]] = {}  # by view and signer: the second vote

    def is_known(self, vote: Vote) -> bool:
        """Was exactly this vote counted before? Then it is dropped without verification."""
        subject = vote.subject
        return self._first.get(subject.view, {}).get((subject.kind, vote.signer)) == vote

    def has_voted(self, kind: Kind, view: int, signer: int) -> bool:
        """True if a vote of this kind by this signer was seen in the view."""
        return (kind, signer) in self._first.get(view, {})

    def count_nullify(self, view: int, epoch: int) -> int:
        """Number of validators whose nullify of the view was seen."""
        return len(self._counts.get(view, {}).get(nullify_subject(epoch, view), ()))

    def is_split(self, view: int) -> bool:
        """No block of the view can get a quorum of honest notarize votes any more.

        Who cast a notarize or a nullify casts no other notarize: what is left cannot suffice, even
        for the block with the most votes. Faulty validators alone never bring this about.
        """
        first = self._first.get(view, {})
        decided = {signer for kind, signer in first if kind is not Kind.FINALIZE}
        votes = self._counts.get(view, {}).items()
        most = max((len(cast) for each, cast in votes if each.kind is Kind.NOTARIZE), default=0)
        return most + self._committee - len(decided) < self._quorum

    def voters(self, view: int) -> dict[Kind, tuple[int, ...]]:
        """Who voted in a view, by kind of vote."""
        first = self._first.get(view, {})
        return {
            kind: tuple(sorted(signer for each, signer in first if each is kind)) for kind in Kind
        }

    def add(self, vote: Vote) -> tuple[bool, Evidence | None]:
        """Count a verified vote. Returns (first of its kind, evidence against its signer)."""
        subject = vote.subject
        first = self._first.setdefault(subject.view, {})
        evidence = self.accuse(vote)
        key = (subject.kind, vote.signer)
        if key in first:
            return False, evidence
        first[key] = vote
        counts = self._counts.setdefault(subject.view, {})
        counts.setdefault(subject, {})[vote.signer] = vote.signature
        return True, evidence

    def certificate(self, subject: Subject) -> Certificate | None:
        """The certificate of the counted votes, if they are a quorum."""
        signatures = self._counts.get(subject.view, {}).get(subject, {})
        if len(signatures) < self._quorum:
            return None
        signers = tuple(sorted(signatures))
        return Certificate(
            subject=subject,
            committee=self._committee,
            signers=signers,
            signatures=tuple(signatures[signer] for signer in signers),
        )

    def votes_by_others(self, me: int | None) -> list[Vote]:
        """Every first vote of another validator, and what contradicts one, by view."""
        votes: list[Vote] = []
        for view in sorted(self._first):
            votes += self._first[view].values()
            votes += self._reported.get(view, {}).values()
        kept = dict.fromkeys(vote for vote in votes if vote.signer != me)
        return list(kept)

    def prune(self, final_view: int) -> None:
        """Forget the views at or below the final one."""
        for table in (self._first, self._counts, self._reported):
            for view in [view for view in table if view <= final_view]:
                del table[view]

    def accuse(self, vote: Vote) -> Evidence | None:
        """Evidence against the signer of a verified vote, once a view."""
        view = vote.subject.view
        first = self._first.get(view, {})
        if vote.signer in self._reported.get(view, ()):
            return None
        for kind in Kind:
            earlier = first.get((kind, vote.signer))
            if earlier is not None and is_contradiction(earlier.subject, vote.subject):
                self._reported.setdefault(view, {})[vote.signer] = vote
                return Evidence(first=earlier, second=vote)
        return None


def verify_evidence(evidence: Evidence, verifier: Verifier) -> None:
    """Both votes are by one validator, contradict each other and verify, or `InvalidEvidence`."""
    first, second = evidence.first, evidence.second
    if first.signer != second.signer:
        raise InvalidEvidence("two signers")
    if not is_contradiction(first.subject, second.subject):
        raise InvalidEvidence("an honest validator may sign both votes")
    try:
        verifier.verify_vote(first)
        verifier.verify_vote(second)
    except InvalidMessage as error:
        raise InvalidEvidence(str(error)) from None


class OwnVotes:
    """What this node signed above the floor: myN, myX, myF and the votes to send again (R10)."""

    def __init__(self) -> None:
        self._votes: dict[int, dict[Kind, Vote]] = {}

    def record(self, vote: Vote) -> None:
        """Remember an own vote. A contradiction here is our bug: I1, I2, I3."""
        votes = self._votes.setdefault(vote.subject.view, {})
        held = votes.get(vote.subject.kind)
        assert held is None or held == vote, "I1/I3: a second vote of one kind in one view"
        for other in votes.values():
            assert not is_contradiction(other.subject, vote.subject), "I2/I3: contradicting votes"
        votes[vote.subject.kind] = vote

    def has(self, kind: Kind, view: int) -> bool:
        """True if this node signed that kind in that view."""
        return kind in self._votes.get(view, {})

    def vote(self, kind: Kind, view: int) -> Vote | None:
        """The vote it signed."""
        return self._votes.get(view, {}).get(kind)

    def notarized_body(self, view: int) -> bytes | None:
        """Body of the own notarize vote (myN)."""
        vote = self.vote(Kind.NOTARIZE, view)
        return None if vote is None else body_of(vote.subject)

    def in_view(self, view: int) -> list[Vote]:
        """Own votes of a view, by kind."""
        votes = self._votes.get(view, {})
        return [votes[kind] for kind in sorted(votes)]

    def views(self) -> list[int]:
        """Views with own votes, ascending."""
        return sorted(self._votes)

    def prune(self, final_view: int) -> None:
        """Forget votes at or below the final view; the guard's floor covers them."""
        for view in [view for view in self._votes if view <= final_view]:
            del self._votes[view]


def size_vote(vote: Vote) -> int:
    """Number of bytes of `encode_vote`."""
    return len(encode_vote(vote))
