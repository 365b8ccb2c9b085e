"""Evidence that a validator contradicted itself (CONSENSUS R12), judged without a node.

1. Both votes name one signer of the epoch's list.
2. They contradict each other: no honest validator signs both.
3. Both signatures verify under the signer's consensus key.
"""

from collections.abc import Sequence

from ledger.errors import InvalidEvidence, InvalidSignature
from ledger.keys import verify_raw
from ledger.quorum.votes import Vote, is_contradiction, signed_vote
from ledger.registry import Validator


def verify_equivocation(
    network: bytes, validators: Sequence[Validator], first: Vote, second: Vote
) -> None:
    """Check evidence against the validators of the votes' epoch. Raises `InvalidEvidence`."""
    signer = first.signer
    if signer != second.signer or signer >= len(validators):  # 1
        raise InvalidEvidence(f"votes of signers {signer} and {second.signer}")
    if not is_contradiction(first.subject, second.subject):  # 2
        raise InvalidEvidence("an honest validator may sign both votes")
    key = validators[signer].consensus_key[1:]
    for vote in (first, second):
        try:
            verify_raw(key, signed_vote(network, vote.subject), vote.signature)  # 3
        except InvalidSignature:
            member = validators[signer].member
            raise InvalidEvidence(f"a vote is not signed by {member}") from None
