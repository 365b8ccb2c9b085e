"""What must never happen, said again in the oracle's own words: nothing here comes from the rules.

It sees the votes that honest validators signed and the certificates that can exist, as plain
triples (kind, view, block name), and the table of blocks. Its arithmetic is its own, so a fault of
the production predicates cannot hide in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

NOTARIZE, NULLIFY, FINALIZE = "notarize", "nullify", "finalize"

CONTRADICTION = "an honest validator contradicts itself"  # I1, I2, I3
TWO_HASHES = "a view has two notarized blocks"  # L2
EXCLUSION = "a view is finalized and nullified"  # L1
UNNOTARIZED = "a final block was never notarized"  # L3
FORK = "two final blocks are not on one chain"  # the theorem of CONSENSUS 1.5
EVERYTHING = (CONTRADICTION, TWO_HASHES, EXCLUSION, UNNOTARIZED, FORK)

Said = tuple[str, int, str]  # kind, view, name of the block ("" for a nullify)


@dataclass(frozen=True, slots=True)
class Block:
    """A proposal: its view and the name of its parent. The parent of a genesis is itself.

    `is_again`: no new block but its parent once more, in a later view.
    """

    name: str
    view: int
    parent: str
    is_seal: bool = False
    is_again: bool = False


def is_quorum(count: int, validators: int) -> bool:
    """More than two thirds of the validators, by counting in thirds."""
    return 3 * count > 2 * validators


def faults_of_votes(votes: Iterable[Said]) -> set[str]:
    """I1, I2, I3 for one validator: the pairs of votes that no honest validator signs."""
    for one, other in combinations(sorted(votes), 2):
        (kind, view, name), (other_kind, other_view, other_name) = one, other
        if view != other_view:
            continue
        is_skipped = NULLIFY in (kind, other_kind)
        if is_skipped and FINALIZE in (kind, other_kind):
            return {CONTRADICTION}
        if not is_skipped and name != other_name:
            return {CONTRADICTION}
    return set()


def faults_of_certificates(certificates: Iterable[Said], blocks: dict[str, Block]) -> set[str]:
    """L1, L2, L3 and the theorem, over all certificates that can exist."""
    held = sorted(certificates)
    notarized = [(view, name) for kind, view, name in held if kind == NOTARIZE]
    skipped = [view for kind, view, _ in held if kind == NULLIFY]
    final = [(view, name) for kind, view, name in held if kind == FINALIZE]
    faults = set()
    if len({view for view, _ in notarized}) < len(notarized):
        faults.add(TWO_HASHES)
    if any(view in skipped for view, _ in final):
        faults.add(EXCLUSION)
    if any(each not in notarized for each in final):
        faults.add(UNNOTARIZED)
    chains = {tuple(chain_of(name, blocks)) for _, name in final}
    chains |= {(*chain, "next epoch") for chain in chains if blocks[chain[-1]].is_seal}
    for one, other in combinations(sorted(chains, key=len), 2):
        if other[: len(one)] != one:
            faults.add(FORK)
    return faults


def chain_of(name: str, blocks: dict[str, Block]) -> list[str]:
    """The blocks from the genesis to this one, each once.

    After a final seal block the next epoch can make any block final: one is put after each.
    """
    block = blocks[name]
    if block.parent == name:
        return [name]
    chain = chain_of(block.parent, blocks)
    return chain if block.is_again else [*chain, name]
