"""An independent oracle with its own arithmetic: a fault of the rules cannot hide in it."""

from node.simplex.types import Block, Certificate, Frontier, Kind, Message, Proposal, Vote


class Checker:
    """Sees every message sent and every block delivered by anyone."""

    def __init__(self, *, validators: int) -> None:
        self.quorum = (2 * validators) // 3 + 1
        self.votes: dict[tuple[int, int, Kind], bytes] = {}
        self.certified: dict[tuple[Kind, int], bytes] = {}
        self.floors: dict[tuple[int, int], int] = {}
        self.chain: dict[int, bytes] = {}

    def check_message(self, message: Message) -> None:
        """I1, I2, I3 over all processes of a validator, I6 over all certificates."""
        match message:
            case Vote():
                self._check_vote(message)
            case Certificate():
                self._check_certificate(message)
            case Proposal():
                self._check_vote(message.vote)
                for certificate in message.justification:
                    self._check_certificate(certificate)
            case Frontier():
                for vote in message.votes:
                    self._check_vote(vote)
                for certificate in message.certificates:
                    self._check_certificate(certificate)

    def check_delivery(self, node: int, committed: list[Block]) -> None:
        """All chains are prefixes of one chain."""
        block = committed[-1]
        held = self.chain.setdefault(block.height, block.hash)
        assert held == block.hash, f"fork at height {block.height} (node {node})"

    def check_floor(self, process: tuple[int, int], final_view: int) -> None:
        """I8 within one process (node, start); a crash may lose an unsynced finalization."""
        assert final_view >= self.floors.get(process, 0), "I8: the final view moved back"
        self.floors[process] = final_view

    def check_end(self, chains: list[list[Block]]) -> None:
        """Whole chains are equal, and every skipped view has a nullification somewhere."""
        assert all(chain == chains[0] for chain in chains), "chains differ"
        for parent, block in zip(chains[0], chains[0][1:], strict=False):
            assert block.parent_hash == parent.hash, "I7"
            assert block.parent_view == parent.view, "a parent view names its parent"
            for view in range(parent.view + 1, block.view):
                assert (Kind.NULLIFY, view) in self.certified, f"view {view} was skipped silently"

    def _check_vote(self, vote: Vote) -> None:
        subject = vote.subject
        key = (vote.signer, subject.view, subject.kind)
        held = self.votes.setdefault(key, subject.block_hash)
        assert held == subject.block_hash, f"I1/I3: two votes {key}"
        kinds = {kind for kind in Kind if (vote.signer, subject.view, kind) in self.votes}
        assert not {Kind.NULLIFY, Kind.FINALIZE} <= kinds, f"I2: {key}"
        finalized = self.votes.get((vote.signer, subject.view, Kind.FINALIZE))
        notarized = self.votes.get((vote.signer, subject.view, Kind.NOTARIZE))
        assert None in (finalized, notarized) or finalized == notarized, f"I3: {key}"

    def _check_certificate(self, certificate: Certificate) -> None:
        subject = certificate.subject
        assert len(set(certificate.signers)) >= self.quorum, "a certificate without a quorum"
        held = self.certified.setdefault((subject.kind, subject.view), subject.block_hash)
        assert held == subject.block_hash, f"I6: two certificates in view {subject.view}"
        kinds = {kind for kind in Kind if (kind, subject.view) in self.certified}
        assert not {Kind.NULLIFY, Kind.FINALIZE} <= kinds, f"I6 in view {subject.view}"
