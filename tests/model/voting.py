"""Every run of the voting rules of a few validators over a few views, one of them Byzantine.

The honest validators move by the production predicates of `node.simplex.rules`; `oracle` judges.

State. Of each honest validator: the votes it ever signed (a bit for every kind, view and block),
the view it is in, and its final view. The Byzantine validators have no state: their votes for every
subject are always there, so a certificate can exist as soon as quorum - f honest validators signed
its subject. Every validator of the model may lead: every block of the table is on offer to everyone
at any time, whether or not its parent is notarized.

Moves of one honest validator, each taken alone:

    notarize x     `may_notarize`, and `judge_place` says justified             R5 (and R4)
    nullify v      `may_nullify`                                                R7
    finalize v x   `may_finalize`                                               R6
    enter u+1      by any certificate that can exist, of view u >= its own      R1
    finality of v  it learns a finalization; its own votes up to v are
                   forgotten, as production prunes them, and stay signed         R11

Certificates. A validator acts on any choice of the certificates that can exist. So messages may be
lost, late and in any order; it may even act on less than it knew before. That allows more than a
real network does, hence what is found safe here is safe there. In each position `choose_parent`
(R3) must name a parent that `judge_place` accepts.

Seal blocks (section 3). A validator whose final block is a seal asks `may_vote`; a proposal and its
parent are put to `may_follow`. The next epoch is not played: once a seal block can be final, the
oracle takes some other block on it for final, as the next validators may make it.

Left out, because no vote depends on it: time, demand and timers (a timer may always have run out),
heights, data (always here), the window of votes, retransmission, crashes (a vote is durable before
it is sent, so a restart changes nothing).

Reduction. Honest validators are alike, so states are kept sorted; so are blocks that the table's
`symmetry` exchanges. The search is breadth-first: a counterexample is a shortest one.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations, product

from node.simplex import rules
from tests.model.oracle import (
    FINALIZE,
    NOTARIZE,
    NULLIFY,
    Block,
    Said,
    chain_of,
    faults_of_certificates,
    faults_of_votes,
)

GENESIS = "genesis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicates:
    """What honest validators go by: production, unless a test puts something else in place."""

    count_quorum: Callable[[int], int] = rules.count_quorum
    may_notarize: Callable[..., bool] = rules.may_notarize
    may_nullify: Callable[..., bool] = rules.may_nullify
    may_finalize: Callable[..., bool] = rules.may_finalize
    judge_place: Callable[..., rules.Place] = rules.judge_place
    choose_parent: Callable[..., int | None] = rules.choose_parent
    may_follow: Callable[..., bool] = rules.may_follow
    may_vote: Callable[..., bool] = rules.may_vote


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The blocks on offer and a renaming of blocks that changes nothing."""

    blocks: tuple[Block, ...]
    symmetry: Mapping[str, str] = field(default_factory=dict)

    @property
    def views(self) -> range:
        """Views 1 to the last."""
        return range(1, max(block.view for block in self.blocks) + 1)


ONE_VIEW = Table(
    blocks=(Block("a", 1, GENESIS), Block("b", 1, GENESIS)),
    symmetry={"a": "b", "b": "a"},
)
TWO_VIEWS = Table(
    blocks=(
        *ONE_VIEW.blocks,
        Block("c", 2, GENESIS),
        Block("d", 2, "a"),
        Block("e", 2, "b"),
    ),
    symmetry={"a": "b", "b": "a", "d": "e", "e": "d"},
)
SEALS = Table(
    blocks=(
        Block("s", 1, GENESIS, is_seal=True),
        Block("a", 1, GENESIS),
        Block("s again", 2, "s", is_again=True),
        Block("a again", 2, "a", is_again=True),
        Block("child of s", 2, "s"),
        Block("child of a", 2, "a"),
        Block("c", 2, GENESIS),
    ),
)
SEAL_IN_THREE_VIEWS = Table(
    blocks=(
        Block("s", 1, GENESIS, is_seal=True),
        Block("s again", 2, "s", is_again=True),
        Block("s by 1", 3, "s", is_again=True),
        Block("s by 2", 3, "s again", is_again=True),
        Block("child", 3, "s again"),
    ),
)


@dataclass(frozen=True, slots=True)
class Node:
    """One honest validator. `signed` is a set of subjects as bits."""

    signed: int
    view: int
    final_view: int


Move = tuple[str, Node]  # what is done, in words, and the validator after it
State = tuple[int, ...]  # one number of a `Node` for each honest validator, ascending


class Model:
    """States are tuples of small numbers; `node` and `said` turn them into readable values."""

    def __init__(
        self, *, validators: int, table: Table, predicates: Predicates = Predicates()
    ) -> None:
        self.blocks = {block.name: block for block in table.blocks}
        self.blocks[GENESIS] = Block(GENESIS, 0, GENESIS)
        self.views = table.views
        self._predicates = predicates
        faulty = (validators - 1) // 3
        self.honest = validators - faulty
        needed = predicates.count_quorum(validators) - faulty
        self._subsets = list(combinations(range(self.honest), needed))
        self.subjects = _list_subjects(table)
        self._bits = {subject: 1 << at for at, subject in enumerate(self.subjects)}
        self._renamed = [
            self.subjects.index((kind, view, table.symmetry.get(name, name)))
            for kind, view, name in self.subjects
        ]
        self._nodes: list[Node] = []
        self._numbers: dict[Node, int] = {}
        self._twins: dict[int, int] = {}
        self._moves: dict[tuple[int, int], tuple[tuple[str, int], ...]] = {}
        self._vote_faults: dict[int, frozenset[str]] = {}
        self._certificate_faults: dict[int, frozenset[str]] = {}
        start = self._number(Node(0, 1, 0))
        self.start: State = (start,) * self.honest

    def node(self, number: int) -> Node:
        """The validator of that number."""
        return self._nodes[number]

    def said(self, signed: int) -> list[Said]:
        """A set of subjects in words."""
        return [subject for subject in self.subjects if signed & self._bits[subject]]

    def certified(self, state: State) -> int:
        """Subjects of which a certificate can exist."""
        signed = [self._nodes[number].signed for number in state]
        found = 0
        for subset in self._subsets:
            common = -1
            for at in subset:
                common &= signed[at]
            found |= common
        return found

    def canonical(self, state: Iterable[int]) -> State:
        """The one state that stands for all that differ by names only."""
        one = sorted(state)
        other = sorted([self._twins[number] for number in one])
        return tuple(min(one, other))

    def moves(self, state: State) -> Iterator[tuple[int, str, int]]:
        """(place of the validator, what it does, its number afterwards); of equal ones, one."""
        certified = self.certified(state)
        for at, number in enumerate(state):
            if at and number == state[at - 1]:
                continue
            key = (number, certified)
            found = self._moves.get(key)
            if found is None:
                node = self._nodes[number]
                acts = self._act(node, certified)
                found = tuple((text, self._number(after)) for text, after in acts)
                self._moves[key] = found
            for text, after in found:
                yield at, text, after

    def faults(self, state: State) -> set[str]:
        """What the oracle says of the state."""
        certified = self.certified(state)
        found = self._certificate_faults.get(certified)
        if found is None:
            found = frozenset(faults_of_certificates(self.said(certified), self.blocks))
            self._certificate_faults[certified] = found
        faults = set(found)
        for number in state:
            signed = self._nodes[number].signed
            if signed not in self._vote_faults:
                self._vote_faults[signed] = frozenset(faults_of_votes(self.said(signed)))
            faults |= self._vote_faults[signed]
        return faults

    def _number(self, node: Node) -> int:
        number = self._numbers.get(node)
        if number is None:
            number = self._add(node)
            signed = sum(
                1 << renamed for at, renamed in enumerate(self._renamed) if node.signed >> at & 1
            )
            twin = Node(signed, node.view, node.final_view)
            other = number if twin == node else self._add(twin)
            self._twins[number], self._twins[other] = other, number
        return number

    def _add(self, node: Node) -> int:
        self._numbers[node] = len(self._nodes)
        self._nodes.append(node)
        return self._numbers[node]

    def _hash(self, name: str) -> bytes:
        """A block that is proposed again keeps its hash."""
        return chain_of(name, self.blocks)[-1].encode()

    def _act(self, node: Node, certified: int) -> Iterator[Move]:
        yield from self._learn(node, certified)
        is_over = any(
            kind == FINALIZE and view == node.final_view and self._is_seal(name)
            for kind, view, name in self.said(certified)
        )
        if not self._predicates.may_vote(is_final_seal=is_over):
            return
        for table in self._choices(certified):
            self._check_parent(node, *table)
        for name, block in self.blocks.items():
            if block.view and self._may_notarize(node, block, certified):
                yield self._sign(node, (NOTARIZE, block.view, name))
            if block.view and self._may_finalize(node, block, certified):
                yield self._sign(node, (FINALIZE, block.view, name))
        for view in self.views:
            if self._predicates.may_nullify(
                view=view,
                current=node.view,
                has_nullified=self._has(node, NULLIFY, view),
                has_finalized=self._has(node, FINALIZE, view),
            ):
                yield self._sign(node, (NULLIFY, view, ""))

    def _learn(self, node: Node, certified: int) -> Iterator[Move]:
        """R1 and R11."""
        for kind, view, name in self.said(certified):
            what = f"{kind} {view} {name}".rstrip()
            if view >= node.view:
                yield (
                    f"enters view {view + 1} by {what}",
                    Node(node.signed, view + 1, node.final_view),
                )
            if kind == FINALIZE and view > node.final_view:
                yield (
                    f"learns finality by {what}",
                    Node(node.signed, max(node.view, view + 1), view),
                )

    def _sign(self, node: Node, subject: Said) -> Move:
        text = f"signs {subject[0]} {subject[1]} {subject[2]}".rstrip()
        return text, Node(node.signed | self._bits[subject], node.view, node.final_view)

    def _is_seal(self, name: str) -> bool:
        return self.blocks[chain_of(name, self.blocks)[-1]].is_seal

    def _may_notarize(self, node: Node, block: Block, certified: int) -> bool:
        predicates = self._predicates
        block_view = self.blocks[chain_of(block.name, self.blocks)[-1]].view
        is_again = rules.is_reproposal(view=block.view, block_view=block_view)
        may_follow = predicates.may_follow(
            is_parent_seal=self._is_seal(block.parent), is_reproposal=is_again
        )
        is_free = predicates.may_notarize(
            view=block.view,
            current=node.view,
            has_notarized=self._has(node, NOTARIZE, block.view),
            has_nullified=self._has(node, NULLIFY, block.view),
        )
        return (is_free and may_follow) and any(
            predicates.judge_place(
                view=block.view,
                parent_view=self.blocks[block.parent].view,
                parent_hash=self._hash(block.parent),
                final_view=node.final_view,
                notarized=notarized,
                nullified=nullified,
            )
            is rules.Place.JUSTIFIED
            for notarized, nullified in self._choices(certified)
        )

    def _may_finalize(self, node: Node, block: Block, certified: int) -> bool:
        """A block without a notarization is asked about too: the predicate must refuse it."""
        is_notarized = certified & self._bits[(NOTARIZE, block.view, block.name)]
        own = [
            name
            for name, each in self.blocks.items()
            if each.view == block.view and self._has(node, NOTARIZE, block.view, name)
        ]
        return self._predicates.may_finalize(
            view=block.view,
            current=node.view,
            final_view=node.final_view,
            notarized_hash=block.name.encode() if is_notarized else None,
            own_notarized_hash=own[0].encode() if own else None,
            has_nullified=self._has(node, NULLIFY, block.view),
            has_finalized=self._has(node, FINALIZE, block.view),
        )

    def _has(self, node: Node, kind: str, view: int, name: str | None = None) -> bool:
        """What the validator remembers: nothing at or below its final view."""
        return view > node.final_view and any(
            (kind, view) == subject[:2] and name in (None, subject[2])
            for subject in self.said(node.signed)
        )

    def _choices(self, certified: int) -> Iterator[tuple[dict[int, bytes], Container[int]]]:
        """Every choice of notarized block (or none) and nullification (or none) in each view."""
        options: list[list[tuple[bytes | None, bool]]] = []
        held = self.said(certified)
        for view in self.views:
            hashes: list[bytes | None] = [None]
            hashes += sorted({self._hash(name) for _, at, name in held if at == view and name})
            skips = [False, True] if (NULLIFY, view, "") in held else [False]
            options.append(list(product(hashes, skips)))
        for choice in product(*options):
            known = dict(zip(self.views, choice, strict=True))
            notarized = {0: GENESIS.encode()}
            notarized |= {view: each for view, (each, _) in known.items() if each is not None}
            yield notarized, {view for view, (_, is_skipped) in known.items() if is_skipped}

    def _check_parent(
        self, node: Node, notarized: dict[int, bytes], nullified: Container[int]
    ) -> None:
        """R3 and R5 agree: an honest leader's block is one that honest voters vote for."""
        if node.final_view not in notarized:
            return
        parent = self._predicates.choose_parent(
            current=node.view,
            final_view=node.final_view,
            notarized=notarized,
            nullified=nullified,
        )
        if parent is not None:
            place = rules.judge_place(
                view=node.view,
                parent_view=parent,
                parent_hash=notarized[parent],
                final_view=node.final_view,
                notarized=notarized,
                nullified=nullified,
            )
            assert place is rules.Place.JUSTIFIED, "R3 and R5 disagree"


def _list_subjects(table: Table) -> list[Said]:
    subjects: list[Said] = []
    for view in table.views:
        names = [block.name for block in table.blocks if block.view == view]
        subjects += [(NOTARIZE, view, name) for name in names]
        subjects.append((NULLIFY, view, ""))
        subjects += [(FINALIZE, view, name) for name in names]
    return subjects
