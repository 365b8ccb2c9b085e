"""An independent oracle with its own arithmetic: a fault of the rules cannot hide in it.

It sees every frame that anyone sends and every block that an honest node holds for final, counts
votes by itself, and imports no rule of the product. `Violation` names what does not hold:

- I1 to I3 over all processes of an honest validator; I6 over the union of all votes of all sites,
  whether or not anyone made certificates of them
- certificates that honest nodes send or follow have a quorum; quorums are large enough
- one chain: what honest nodes hold for final are prefixes of one chain, also after a restart
- every block of it is notarized, every view it skips is nullified, the end of it is finalized
- epochs: numbers, seal blocks, lists; no honest vote of an epoch whose seal is final there
- every event once; what was final stays; state digests and cosigned checkpoints fit the chain
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nacl import bindings, exceptions

from contracts.lookup import find_epoch
from ledger.blocks import HEADERS, RECORDS, Header
from ledger.log import Log
from ledger.lthash.digest import StateDigest
from ledger.quorum.lists import hash_validator_list
from ledger.quorum.votes import Vote
from ledger.registry import Validator
from ledger.tlog.checkpoint import Checkpoint, verify_cosignature
from ledger.tlog.note import COSIGNATURE_ED25519, Signature, SignedNote, VerifierKey
from node.history import read_final_block
from node.service import FinalBlock
from node.simplex.errors import InvalidMessage
from node.simplex.messages import decode_message
from node.simplex.types import (
    Certificate,
    CertificateRecord,
    Frontier,
    Message,
    OwnVote,
    PeerVote,
    Proposal,
    WalRecord,
)
from tests.simulation.world import HonestSite, Observer, World

CONSENSUS, COSIGNATURE, TIP = 1, 2, 3  # types of frames
STATUS = b"\x01\x05"  # a consensus message of this type
NOTARIZE, NULLIFY, FINALIZE = 1, 2, 3
DOMAIN = b"tallystick/simplex/v1\0"


class Violation(Exception):
    """Something that must hold does not."""


def require(condition: object, text: str, *values: object) -> None:
    """Raises `Violation`."""
    if not condition:
        raise Violation(text.format(*values))


def quorum(validators: int) -> int:
    """The smallest number of votes that is more than two thirds."""
    votes = 0
    while 3 * votes <= 2 * validators:
        votes += 1
    return votes


def intersecting(validators: int) -> int:
    """The smallest number of votes of which any two sets share more than a faulty third."""
    faulty = 0
    while 3 * (faulty + 1) < validators:
        faulty += 1
    votes = 0
    while 2 * votes - validators <= faulty:
        votes += 1
    return votes


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, by its definition. `leaves` are leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    both = merkle_root(leaves[:split]) + merkle_root(leaves[split:])
    return hashlib.sha256(b"\x01" + both).digest()


@dataclass(slots=True)
class Final:
    """A block of the one chain."""

    header: Header
    hash: bytes
    size: int  # of the tree that ends with it


@dataclass(slots=True)
class Views:
    """Votes of one view: signers by kind and body, and bodies by signer and kind."""

    counted: dict[tuple[int, bytes], dict[int, None]] = field(default_factory=dict)
    by_signer: dict[tuple[int, int], bytes] = field(default_factory=dict)


class Checker(Observer):
    """Watches one world. Raises `Violation` where it is seen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._network = world.ground.network
        self._genesis = world.ground.genesis
        self._faulty = frozenset(world.adversaries)
        self.chain: list[Final] = []
        self.lists: list[tuple[Validator, ...]] = [self._genesis.validators]
        self.recorded: dict[bytes, int] = {}  # height by event digest
        self.extended_us: list[int] = []
        self.chatter_us = 0  # when something other than a sign of life was sent
        self.nullified = 0
        self._leaves: list[bytes] = []
        self._roots: dict[int, bytes] = {}
        self._views: dict[tuple[int, int], Views] = {}
        self._known: dict[tuple[bytes, int, bytes], bool] = {}
        self._certified: dict[tuple[int, int, bytes], int] = {}  # kind, epoch, hash: view
        self._nullified: dict[tuple[int, int], None] = {}
        self._seen: set[bytes] = set()
        self._heights: dict[str, int] = {}
        self._keys: dict[tuple[int, str], VerifierKey] = {}
        world.lists = self.lists

    # --- votes --------------------------------------------------------------------------------

    def sent(self, sender: str, receivers: tuple[str, ...], frame: bytes) -> None:
        is_sign_of_life = frame[0] == TIP or frame[:2] == STATUS
        # Nodes that were voted out while they were behind may be linked with each other only, and
        # remind each other of what the network has long decided.
        is_inside = any(sender == validator.member for validator in self.lists[-1])
        if receivers and is_inside and not is_sign_of_life:
            self.chatter_us = self._world.loop.now_us
        if frame[0] == CONSENSUS:
            content = frame[1:]
            if (sender, content) not in self._seen:
                self._seen.add((sender, content))
                self._see_message(sender, content)
        elif frame[0] == COSIGNATURE and sender not in self._faulty:
            self._see_line(sender, frame[9:])

    def _see_message(self, sender: str, content: bytes) -> None:
        is_honest = sender not in self._faulty
        try:
            message = decode_message(content)
        except InvalidMessage:
            require(not is_honest, "{} sends a malformed message", sender)
            return
        for certificate in _certificates(message):
            self._see_certificate(certificate, is_honest=is_honest)
        for vote in _votes(message):
            is_own = self._see_vote(vote, is_honest=is_honest) == sender
            if is_own and is_honest:
                self._check_epoch_of_vote(sender, vote)

    def _see_certificate(self, certificate: Certificate, *, is_honest: bool) -> None:
        epoch = certificate.subject.epoch
        if epoch >= len(self.lists):
            require(not is_honest, "a certificate of an epoch that has not begun")
            return
        count = len(self.lists[epoch])
        is_quorum = len(frozenset(certificate.signers)) >= quorum(count)
        require(is_quorum or not is_honest, "a certificate without a quorum is sent")
        for signer, signature in zip(certificate.signers, certificate.signatures, strict=True):
            vote = Vote(subject=certificate.subject, signer=signer, signature=signature)
            self._see_vote(vote, is_honest=is_honest)

    def _see_vote(self, vote: Vote, *, is_honest: bool) -> str | None:
        """Count a vote; the member that signed it, or None if nobody did, as far as is known."""
        subject = vote.subject
        if subject.epoch >= len(self.lists):
            require(not is_honest, "an honest node sends a vote of an epoch that has not begun")
            return None
        body = b""
        if subject.kind != NULLIFY:
            body = struct.pack(">QQ", subject.height, subject.parent_view) + subject.block_hash
        head = struct.pack(">BQQ", subject.kind, subject.epoch, subject.view)
        key = (head + body, vote.signer, vote.signature)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._is_signed(vote, head + body)
            if known:
                self._count(vote, body)
        require(known or not is_honest, "an honest node sends a vote that nobody signed")
        return self.lists[subject.epoch][vote.signer].member if known else None

    def _is_signed(self, vote: Vote, subject: bytes) -> bool:
        epoch = vote.subject.epoch
        if vote.signer >= len(self.lists[epoch]):
            return False
        public = self.lists[epoch][vote.signer].consensus_key[1:]
        message = DOMAIN + self._network + subject
        try:
            bindings.crypto_sign_open(vote.signature + message, public)
        except (exceptions.BadSignatureError, ValueError):
            return False
        return True

    def _count(self, vote: Vote, body: bytes) -> None:
        subject, signer = vote.subject, vote.signer
        epoch, view, kind = subject.epoch, subject.view, int(subject.kind)
        votes = self._views.setdefault((epoch, view), Views())
        if self.lists[epoch][signer].member not in self._faulty:
            self._check_signer(votes, vote, body)
        signers = votes.counted.setdefault((kind, body), {})
        signers[signer] = None
        count = len(self.lists[epoch])
        if len(signers) >= quorum(count):
            if kind == NULLIFY:
                self.nullified += (epoch, view) not in self._nullified
                self._nullified[epoch, view] = None
            else:
                self._certified.setdefault((kind, epoch, subject.block_hash), view)
        if len(signers) >= intersecting(count):
            self._check_rivals(votes, epoch, view)

    def _check_signer(self, votes: Views, vote: Vote, body: bytes) -> None:
        """I1, I2, I3 of an honest validator, over all its processes."""
        kind, signer = int(vote.subject.kind), vote.signer
        where = f"epoch {vote.subject.epoch} view {vote.subject.view} signer {signer}"
        held = votes.by_signer.setdefault((signer, kind), body)
        require(held == body, "I1/I3: two votes of kind {} in {}", kind, where)
        own = {each: votes.by_signer.get((signer, each)) for each in (1, 2, 3)}
        both = own[NULLIFY] is not None and own[FINALIZE] is not None
        require(not both, "I2: nullify and finalize in {}", where)
        if own[NOTARIZE] is not None and own[FINALIZE] is not None:
            require(own[NOTARIZE] == own[FINALIZE], "I3: finalize of another block in {}", where)

    def _check_rivals(self, votes: Views, epoch: int, view: int) -> None:
        """I6: no two of a view's possible certificates contradict each other."""
        enough = intersecting(len(self.lists[epoch]))
        found = [each for each, signers in votes.counted.items() if len(signers) >= enough]
        for kind in (NOTARIZE, FINALIZE):
            bodies = [body for each, body in found if each == kind]
            require(len(bodies) <= 1, "I6: two of kind {} in epoch {} view {}", kind, epoch, view)
        kinds = [kind for kind, _ in found]
        is_split = NULLIFY in kinds and FINALIZE in kinds
        require(not is_split, "I6: finalized and nullified in epoch {} view {}", epoch, view)
        final = [body for kind, body in found if kind == FINALIZE]
        notarized = [body for kind, body in found if kind == NOTARIZE]
        if final and notarized:
            require(final == notarized, "L3: another block is final in {}.{}", epoch, view)

    def _check_epoch_of_vote(self, sender: str, vote: Vote) -> None:
        """I5: an honest node votes in the epoch of the block after its final tip only."""
        at = self._heights.get(sender, 0)
        expected = self._epoch_after(at)
        require(
            vote.subject.epoch == expected,
            "I5: {} votes in epoch {}, its log ends in epoch {}",
            sender,
            vote.subject.epoch,
            expected,
        )

    # --- final blocks -------------------------------------------------------------------------

    def started(self, site: HonestSite, records: Sequence[WalRecord]) -> None:
        """A restart: what was final stays, and what the disk says counts as said."""
        for record in records:
            match record:
                case OwnVote() | PeerVote():
                    self._see_vote(record.vote, is_honest=True)
                case CertificateRecord():
                    self._see_certificate(record.certificate, is_honest=True)
        log = site.driver_log
        before = self._heights.get(site.member, 0)
        require(log.tip.height >= before, "{} has lost final blocks", site.member)
        missed = [read_final_block(log, at) for at in range(before + 1, log.tip.height + 1)]
        if missed:
            self._deliver(site, log, missed)

    def final(self, site: HonestSite, blocks: tuple[FinalBlock, ...]) -> None:
        log = site.driver_log
        if blocks:
            self._deliver(site, log, blocks)
        self._heights[site.member] = log.tip.height

    def _deliver(self, site: HonestSite, log: Log, blocks: Sequence[FinalBlock]) -> None:
        name = site.member
        is_longer = False
        for block in blocks:
            height = block.header.height
            require(height > self._heights.get(name, 0), "{} delivers {} again", name, height)
            self._world.note(name.encode(), block.block_hash)
            if height <= len(self.chain):
                held = self.chain[height - 1].hash
                require(held == block.block_hash, "fork at height {} ({})", height, name)
            else:
                require(height == len(self.chain) + 1, "{} skips to height {}", name, height)
                self._extend(log, block)
                is_longer = True
            self._heights[name] = height
        if is_longer:
            self._check_finalized(blocks[-1])

    def _extend(self, log: Log, block: FinalBlock) -> None:
        header = block.header
        parent = self.chain[-1] if self.chain else None
        epoch = self._epoch_after(len(self.chain))
        begins = parent is None or parent.header.epoch != epoch
        parent_view = 0 if begins or parent is None else parent.header.view
        parent_hash = self._network if parent is None else parent.hash
        height = header.height
        require(header.epoch == epoch, "height {} is of epoch {}", height, header.epoch)
        require(header.parent_hash == parent_hash, "I7: parent of height {}", height)
        require(header.parent_view == parent_view, "parent view of height {}", height)
        require(header.view > parent_view, "views do not grow at height {}", height)
        skipped = range(parent_view + 1, header.view)
        silent = [view for view in skipped if (epoch, view) not in self._nullified]
        require(not silent, "views {} of epoch {} are skipped silently", silent, epoch)
        notarized = self._certified.get((NOTARIZE, epoch, block.block_hash))
        require(notarized is not None, "height {} is not notarized", height)
        require(header.tree_size == len(self._leaves), "tree size at height {}", height)
        require(header.tree_root == merkle_root(self._leaves), "tree root at height {}", height)
        self._record(log, block)
        self.chain.append(Final(header, block.block_hash, len(self._leaves)))
        self.extended_us.append(self._world.loop.now_us)
        if header.next_validators:
            record = find_epoch(log, epoch + 1)
            require(record is not None, "a seal block without a list at height {}", height)
            assert record is not None
            matches = hash_validator_list(record.validators) == header.next_validators
            require(matches, "the list of epoch {} is not that of its seal", epoch + 1)
            require(record.first_height == height + 1, "epoch {} begins elsewhere", epoch + 1)
            require(len(self.lists) == epoch + 1, "epoch {} is sealed twice", epoch)
            self.lists.append(record.validators)

    def _record(self, log: Log, block: FinalBlock) -> None:
        header_bytes, records = log.read_block(block.header.height)
        require(hashlib.sha256(header_bytes).digest() == block.block_hash, "a stored header")
        require(HEADERS.decode(header_bytes) == block.header, "a stored header differs")
        for data in (header_bytes, *records):
            self._leaves.append(hashlib.sha256(b"\0" + data).digest())
        for data in records:
            digest = hashlib.sha256(RECORDS.decode(data).event).digest()
            height = self.recorded.setdefault(digest, block.header.height)
            once = height == block.header.height
            require(once, "an event is final at {} and {}", height, block.header.height)
        require(len(records) == len(frozenset(records)), "a record stands twice in one block")

    def _check_finalized(self, last: FinalBlock) -> None:
        """The last of the blocks that were delivered together has a finalization somewhere."""
        key = (FINALIZE, last.header.epoch, last.block_hash)
        require(key in self._certified, "height {} is not finalized", last.header.height)

    def _epoch_after(self, height: int) -> int:
        if height == 0:
            return 0
        header = self.chain[height - 1].header
        return header.epoch + 1 if header.next_validators else header.epoch

    # --- checkpoints, and the end -------------------------------------------------------------

    def _root_of(self, size: int) -> bytes:
        if size not in self._roots:
            self._roots[size] = merkle_root(self._leaves[:size])
        return self._roots[size]

    def _see_line(self, sender: str, line: bytes) -> None:
        """An honest cosigner signs trees of the one chain, each by the keys of its epoch."""
        size = int.from_bytes(line[:8], "big")
        key = (sender.encode(), size, line)
        if key in self._known:
            return
        self._known[key] = True
        epoch = self._epoch_of_tree(size)
        require(epoch is not None, "{} cosigns a tree of {} that is not final", sender, size)
        assert epoch is not None
        signature = Signature.parse(line[8:].removesuffix(b"\n"))
        checkpoint = Checkpoint(origin=self._genesis.origin, size=size, root=self._root_of(size))
        verify_cosignature(signature, self._key_of(epoch, sender), checkpoint)

    def _epoch_of_tree(self, size: int) -> int | None:
        return next((each.header.epoch for each in self.chain if each.size == size), None)

    def _key_of(self, epoch: int, member: str) -> VerifierKey:
        found = self._keys.get((epoch, member))
        if found is None:
            raw = [each.cosigning_key for each in self.lists[epoch] if each.member == member]
            require(raw, "{} cosigns in epoch {} and is no validator", member, epoch)
            name = f"{self._genesis.origin}/{member}"
            found = VerifierKey(name=name, kind=COSIGNATURE_ED25519, raw=raw[0][1:])
            self._keys[epoch, member] = found
        return found

    def check_note(self, note_bytes: bytes) -> None:
        """A checkpoint that a node shows: a tree of the one chain, cosigned by its quorum."""
        note = SignedNote.parse(note_bytes)
        checkpoint = Checkpoint.parse(note.text)
        epoch = self._epoch_of_tree(checkpoint.size)
        require(epoch is not None, "a checkpoint of a tree of {}", checkpoint.size)
        assert epoch is not None
        require(checkpoint.root == self._root_of(checkpoint.size), "a checkpoint's root")
        signed = 0
        for validator in self.lists[epoch]:
            key = self._key_of(epoch, validator.member)
            line = note.find_signature(key)
            if line is not None:
                verify_cosignature(line, key, checkpoint)
                signed += 1
        require(signed >= quorum(len(self.lists[epoch])), "{} lines of a checkpoint", signed)

    def check_end(self, sites: Iterable[HonestSite]) -> None:
        """What the nodes that run hold fits the one chain, with its state and its checkpoint."""
        for site in sites:
            log = site.driver_log
            height = log.tip.height
            require(height == self._heights.get(site.member, 0), "{} is elsewhere", site.member)
            if height:
                header = self.chain[height - 1].header
                state = _digest_of(log)
                require(state == header.state_digest, "{} has another state", site.member)
                require(log.tree_size == self.chain[height - 1].size, "tree of {}", site.member)
            for digest, at in self.recorded.items():
                if at <= height:
                    has = log.index_of_event(digest) is not None
                    require(has, "{} lacks an event of height {}", site.member, at)
            note = site.driver.cosigner.checkpoint
            if note is not None:
                self.check_note(note)


def _digest_of(log: Log) -> bytes:
    digest = StateDigest()
    digest.add_all(log.scan_state(b"", b"", 1_000_000))
    return digest.digest()


def _certificates(message: Message) -> tuple[Certificate, ...]:
    match message:
        case Certificate():
            return (message,)
        case Proposal():
            return message.justification
        case Frontier():
            return message.certificates
    return ()


def _votes(message: Message) -> tuple[Vote, ...]:
    match message:
        case Vote():
            return (message,)
        case Proposal():
            return (message.vote,)
        case Frontier():
            return message.votes
    return ()
