"""How much an honest node may remember, whatever it is sent (I13, and the queues of the engine)."""

from node.engine.cosign import FUTURE_LINES_MAX
from node.engine.driver import INPUTS_PER_PEER_MAX
from node.engine.duties import EVIDENCE_MAX
from node.engine.fetch import ORPHANS_MAX
from node.engine.ranges import QUESTIONS_PER_PEER_MAX, SNAPSHOTS_MAX
from node.engine.sync import RECENT_BLOCKS_MAX
from node.engine.sync import WANTED_MAX as BLOCKS_WANTED_MAX
from node.node import JUDGING_BYTES_MAX
from node.simplex.catchup import PEERS_MAX, WALKS_MAX, WANTED_MAX
from node.simplex.pacemaker import VOTE_VIEWS_AHEAD
from node.simplex.proposals import PROPOSALS_PER_VIEW_MAX, VIEWS_KEPT
from node.simplex.votes import CERTIFICATES_MAX, VERIFIED_MAX
from tests.simulation.checkers import require
from tests.simulation.world import LIMITS, HonestSite

KINDS = 3
TASKS_MAX = 2_000


def check_bounds(site: HonestSite) -> None:
    """Raises `Violation` where a node holds more than it may."""
    core, name = site.driver.core, site.member
    count, final, current = len(core.config.validators), core.final_view, core.current_view

    def at_most(what: str, found: int, limit: int) -> None:
        require(found <= limit, "{} holds {} {}, at most {} are allowed", name, found, what, limit)

    tally = core._tally
    for table in (tally._first, tally._counts, tally._reported):
        strange = [view for view in table if not final < view <= current + VOTE_VIEWS_AHEAD]
        # Certificates prove their own view: the votes in them are kept wherever it is.
        unproven = [view for view in strange if view not in core._store.nullified]
        unproven = [view for view in unproven if view not in core._store.notarized]
        at_most("views of votes outside of the window", len(unproven), 0)
    for view, votes in tally._first.items():
        at_most("votes of a view", len(votes), KINDS * count)
        at_most("subjects of a view", len(tally._counts.get(view, ())), KINDS * count)
    views = core._proposals._views
    at_most("views of proposals", len(views), VIEWS_KEPT + VOTE_VIEWS_AHEAD + 1)
    for proposals in views.values():
        at_most("proposals of a view", len(proposals), PROPOSALS_PER_VIEW_MAX)
    at_most("certificates", len(core._store.nullified), CERTIFICATES_MAX)
    at_most("verified signatures", len(core._verifier._verified), VERIFIED_MAX)
    at_most("wanted blocks", len(core._wanted._due_ms), WANTED_MAX + 1)
    at_most("peers replied to", len(core._retransmission._replied_ms), PEERS_MAX)
    at_most("places in frontiers", len(core._frontiers._resume_views), PEERS_MAX)
    at_most("walks", len(core._delivery._walks), WALKS_MAX)
    at_most("clocks", len(core._clock_offsets_ms), count)
    _check_engine(site)


def _check_engine(site: HonestSite) -> None:
    driver, name = site.driver, site.member
    peers = len(site.world.names)

    def at_most(what: str, found: int, limit: int) -> None:
        require(found <= limit, "{} holds {} {}, at most {} are allowed", name, found, what, limit)

    # One more for each own input: only messages of peers are dropped.
    at_most("inputs", len(driver._inputs), peers * INPUTS_PER_PEER_MAX + TASKS_MAX)
    at_most("tasks", len(driver._tasks), TASKS_MAX)
    at_most("replies to other epochs", len(driver._replied_ms), peers)
    at_most("evidence", len(driver.duties._evidence), EVIDENCE_MAX)
    sync = driver.sync
    at_most("blocks asked for", len(sync._wanted), BLOCKS_WANTED_MAX)
    at_most("recent blocks", len(sync._recent), RECENT_BLOCKS_MAX)
    at_most("orphans", len(sync._orphans._by_hash), ORPHANS_MAX)
    at_most("heights of peers", len(sync.catchup.heights), peers)
    answers = sync._answers
    at_most("questions", len(answers._questions), QUESTIONS_PER_PEER_MAX * peers)
    at_most("snapshots", len(answers._open), SNAPSHOTS_MAX)
    for sender, lines in driver.cosigner._future.items():
        at_most(f"early lines of {sender}", len(lines), FUTURE_LINES_MAX)
    assert site.process is not None, "a node that runs has a process"
    judging = site.process.node._judging_bytes
    at_most("bytes of events to judge", max(judging.values(), default=0), JUDGING_BYTES_MAX)
    at_most("pending events", len(driver.chain.pool), LIMITS.events_max)
