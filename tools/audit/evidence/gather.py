"""Collect the evidence of one exchange from a verified copy of a log.

The whole copy is verified and executed again: only so are the facts known that a decision stood on,
and that no event of the exchange is left out. Where an index of the copy has done that before, it
tells where to look.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from contracts.drafts.history import Happened
from contracts.engine import hash_policy_set
from contracts.lookup import find_proposal
from ledger.blocks import Header
from ledger.errors import Divergence
from ledger.events import GovernanceBody
from ledger.genesis import Genesis
from ledger.governance.proposals import GovernanceProposed
from ledger.registry import PolicySet
from ledger.state import StateReader
from ledger.tlog.merkle import prove_inclusion
from ledger.tlog.note import SignedNote
from ledger.tlog.tiles import ENTRIES_LEVEL, TILE_WIDTH, TilePath, TileReader, decode_entries
from ledger.verify import BlockEntries, LogCopy, open_copy
from tools.audit.divergence import diverged
from tools.audit.evidence.bundle import Evidence, Proven
from tools.audit.evidence.facts import Asked
from tools.audit.evidence.indexed import find_told, walk_to
from tools.audit.evidence.standing import select_governance
from tools.audit.evidence.story import Story, Told
from tools.audit.index.tables import Index
from tools.contract.past import MapAll, Past
from tools.exits import InvalidInput, NotFound
from tools.mirror import folder_reader
from tools.mirror.folder import OnProgress, no_progress


class _Notes:
    """What is noted on the way through a log."""

    def __init__(self, exchange: bytes) -> None:
        self._exchange = exchange
        self.events: list[Told] = []
        self.governance: list[Told] = []
        self.asked: dict[int, Asked] = {}
        self.policy_sets: dict[bytes, PolicySet] = {}

    def add(self, block: BlockEntries, happened: Iterable[Happened], policy_set: PolicySet) -> bool:
        """Note what belongs to the exchange; whether the contracts were asked about it."""
        happened = tuple(happened)
        for each in happened:
            if isinstance(each.event.body, GovernanceBody) and each.outcome.applied:
                self.governance.append(_tell(each, block.header))
            if each.event.exchange == self._exchange:
                self.events.append(_tell(each, block.header))
        return self.add_asked(happened, policy_set)

    def add_asked(self, happened: Iterable[Happened], policy_set: PolicySet) -> bool:
        """Note what the contracts were asked about the exchange; whether they were."""
        is_asked = False
        for each in happened:
            if each.event.exchange != self._exchange:
                continue
            if each.act is not None and each.facts is not None:
                facts = dict(each.facts)
                self.asked[each.index] = Asked(act=each.act, facts=facts, basis=each.basis)
                self.policy_sets[hash_policy_set(policy_set)] = policy_set
                is_asked = True
        return is_asked


def _tell(happened: Happened, header: Header) -> Told:
    return Told(index=happened.index, header=header, event=happened.event, outcome=happened.outcome)


def gather(
    directory: Path,
    exchange: bytes,
    genesis: Genesis | None,
    map_all: MapAll,
    on_progress: Callable[[int, int], None],
    *,
    size: int | None = None,
) -> Evidence:
    """Evidence of an exchange in a copy, or in its first `size` entries.

    Raises `NotFound`, `InvalidAnswer` for a bad copy, `InvalidInput` for one that is too short.
    """
    notes = _Notes(exchange)
    end = 0
    try:
        copy = open_copy(folder_reader(directory), genesis=genesis)
        past = Past(directory, copy.genesis)
        for block, happened in past.walk(map_all, on_progress):
            is_asked = notes.add(block, happened, past.policy_set)
            end = block.index + 1 + len(block.records)
            if is_asked or end == size:
                past.history.verify_state(block, map_all)
            if end == size:
                break
    except Divergence as error:
        raise diverged(error) from None
    if size not in (None, end):
        raise InvalidInput("log-other-size", f"{end} / {size}")
    return _conclude(copy, exchange, notes, past.history.state)


def gather_by_index(
    directory: Path, index: Index, exchange: bytes, on_progress: OnProgress = no_progress
) -> Evidence:
    """The same evidence from the index of the copy in a folder, and the state files there.

    Raises `NotFound`, `InvalidAnswer`, `InvalidInput`.
    """
    notes = _Notes(exchange)
    try:
        notes.events, notes.governance, heights = find_told(index, exchange)
        for _, happened, policy_set in walk_to(directory, index.copy, heights, on_progress):
            notes.add_asked(happened, policy_set)
        return _conclude(index.copy, exchange, notes, index.state)
    except Divergence as error:
        raise diverged(error) from None


def _conclude(copy: LogCopy, exchange: bytes, notes: _Notes, state: StateReader) -> Evidence:
    """The evidence, of what was noted and the state at the end."""
    if not notes.events or notes.events[0].event.digest != exchange:
        raise NotFound("exchange-not-found", exchange.hex())
    chosen = _choose_governance(notes, state)
    told = [*notes.events, *chosen]
    places = {index for each in told for index in (each.index, each.header.tree_size)}
    note = SignedNote.parse(copy.read("checkpoint") or b"")
    return Evidence(
        exchange=exchange,
        genesis=copy.genesis,
        proofs=tuple(copy.epochs.proofs[: copy.epochs.epoch_of(copy.checkpoint.size)]),
        note=note,
        entries=_prove(copy, sorted(places)),
        asked=notes.asked,
        policy_sets=notes.policy_sets,
    )


def _choose_governance(notes: _Notes, state: StateReader) -> tuple[Told, ...]:
    in_force = []
    for told in notes.governance:
        if isinstance(told.event.body, GovernanceProposed):
            proposal = find_proposal(state, told.event.digest)
            if proposal is not None and proposal.status == "in_force":
                in_force.append(told.event.digest)
    story = Story(events=tuple(notes.events), governance=())
    return select_governance(notes.governance, in_force, notes.events, story.members)


def _prove(copy: LogCopy, places: Iterable[int]) -> dict[int, Proven]:
    """Entries with their inclusion proofs, from the tiles of a copy that is verified."""
    size = copy.checkpoint.size

    def get_tile(level: int, index: int, width: int) -> bytes:
        path = TilePath(level=level, index=index, width=width).format()
        data = copy.read(path)
        assert data is not None, "the walk over the copy has read it"
        return data

    reader = TileReader(get_tile, size)
    found = {}
    for place in places:
        index, at = divmod(place, TILE_WIDTH)
        width = min(TILE_WIDTH, size - index * TILE_WIDTH)
        data = decode_entries(get_tile(ENTRIES_LEVEL, index, width), width)[at]
        found[place] = Proven(data=data, path=prove_inclusion(reader, place, size))
    return found
