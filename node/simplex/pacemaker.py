"""Where a node stands and what time it is there: the current view, demand (R9), timers (R8).

Every time is computed from the state when it is asked for: a timer of a view that was left cannot
fire. Monotonic times in milliseconds.
"""

from node.simplex import rules
from node.simplex.proposals import Candidate, ProposalBook
from node.simplex.types import Application, Block, Config, Kind, Now
from node.simplex.votes import CertificateStore, OwnVotes, Tally

GATHER_DELTAS = 3  # a leader gathers events for this part of delta at most, where many come
VOTE_VIEWS_AHEAD = 4  # votes and proposals this far above the current view are kept (I13)


class Pacemaker:
    """The current view of one epoch and its demand. Reads the other machines, changes none."""

    def __init__(
        self,
        *,
        config: Config,
        application: Application,
        store: CertificateStore,
        tally: Tally,
        own: OwnVotes,
        proposals: ProposalBook,
    ) -> None:
        self.view = config.final_view + 1
        self.now = Now(mono_ms=0, wall_ms=0)
        self._config = config
        self._application = application
        self._store = store
        self._tally = tally
        self._own = own
        self._proposals = proposals
        self._count = len(config.validators)
        self._faulty_max = rules.count_faulty_max(self._count)
        self._quorum = rules.count_quorum(self._count)
        self._entered_ms = 0
        self._demand_ms: int | None = None
        self._may_propose_ms: int | None = None
        self._gathers_until_ms: int | None = None
        self._started_ms = 0
        self._heard_ms: dict[int, int] = {}
        self._missed_ms: dict[int, int] = {}
        self._final_seal: tuple[bytes, bool] = (b"", False)  # final hash, and what it is

    @property
    def has_demand(self) -> bool:
        """True if demand held when it was last updated."""
        return self._demand_ms is not None

    def start(self, now: Now) -> None:
        """The process starts: every validator counts as heard just now."""
        self.now = now
        self._entered_ms = now.mono_ms
        self._started_ms = now.mono_ms

    def enter(self, view: int) -> None:
        """Only `Simplex._enter` (R1) calls this."""
        self.view = view
        self._entered_ms = self.now.mono_ms
        self._demand_ms = None
        self._may_propose_ms = None
        self._gathers_until_ms = None

    def hear(self, peer: int) -> None:
        """A well-formed message of a validator's link."""
        if peer < self._count:
            self._heard_ms[peer] = self.now.mono_ms

    def note_timeout(self) -> None:
        """The timer of the current view ran out: since demand began its leader had the chance."""
        timeout_ms = self.timeout_ms()
        if (
            timeout_ms is not None
            and self._demand_ms is not None
            and self.now.mono_ms >= timeout_ms
        ):
            self._missed_ms[self.leader(self.view)] = self._demand_ms

    def leader(self, view: int) -> int:
        """Index of a view's leader."""
        return rules.leader_of(view, validators=self._count, rotation=self._config.rotation)

    def is_leader(self) -> bool:
        """True if this node leads the current view."""
        return self._config.me == self.leader(self.view)

    def parent_view(self) -> int | None:
        """R3 in the current view."""
        return rules.choose_parent(
            current=self.view,
            final_view=self._store.final_view,
            notarized=self._store.notarized,
            nullified=self._store.nullified,
        )

    def is_in_window(self, view: int) -> bool:
        """R2: votes of the view are kept."""
        return rules.is_in_window(
            view,
            current=self.view,
            final_view=self._store.final_view,
            ahead=VOTE_VIEWS_AHEAD,
        )

    def may_notarize(self) -> bool:
        """R4, R5: no own notarize or nullify in the current view."""
        return rules.may_notarize(
            view=self.view,
            current=self.view,
            has_notarized=self._own.has(Kind.NOTARIZE, self.view),
            has_nullified=self._own.has(Kind.NULLIFY, self.view),
        )

    def is_timely(self, block: Block) -> bool:
        """CONSENSUS 6.5, judged once, at the first receipt."""
        return rules.is_timely(
            block.time_ms,
            wall_ms=self.now.wall_ms,
            precision_ms=self._config.precision_ms,
            delay_ms=self._config.message_delay_ms,
            factor=self._growth(),
        )

    def is_ahead(self, block: Block) -> bool:
        """Its time is later than our clock allows, at the first receipt."""
        return block.time_ms > self.now.wall_ms + self._config.precision_ms

    def accepts_time(self, candidate: Candidate) -> bool:
        """CONSENSUS 6.5, and a time ahead of our clock where no child can have an earlier one.

        Once the clocks of a quorum were ahead and are right again, no other block can be made:
        the chain would stand still for as long as they were ahead.
        """
        block = candidate.block
        if candidate.is_timely or block is None or not candidate.is_ahead:
            return candidate.is_timely
        parent = self._application.block(block.parent_hash)
        return parent is not None and rules.is_earliest(block.time_ms, parent_ms=parent.time_ms)

    def waits_for_clock(self, parent: Block) -> bool:
        """The parent is ahead of our clock: wait for it, if that is at most the precision (6.5).

        What is further ahead is not caught up with by waiting: see `accepts_time`.
        """
        if self._may_propose_ms is None:
            ahead_ms = parent.time_ms + 1 - self.now.wall_ms
            wait_ms = max(ahead_ms, 0) if ahead_ms <= self._config.precision_ms else 0
            self._may_propose_ms = self.now.mono_ms + wait_ms
        return self.now.mono_ms < self._may_propose_ms

    def gathers(self, parent: Block) -> bool:
        """Events come in numbers: wait for more of them, a short part of every validator's timer.

        A block costs all nodes about the same whether it holds one event or fifty. Counted from the
        start of the view: who comes after a pause is not made to wait.
        """
        until_ms = self._entered_ms + self._config.delta_ms // GATHER_DELTAS
        waits = self.now.mono_ms < until_ms and self._application.expects_more(parent.hash)
        self._gathers_until_ms = until_ms if waits else None
        return waits

    def last_heard_ms(self) -> tuple[int | None, ...]:
        """Monotonic time of the last message of each validator; None: nothing since the start."""
        return tuple(self._heard_ms.get(peer) for peer in range(self._count))

    def awaited(self) -> tuple[Kind, int] | None:
        """The certificate that this node waits for, and its view; None: it is idle."""
        if self.is_final_seal() or not self.is_unsettled():
            return None
        view = self.view
        if self._own.has(Kind.NULLIFY, view) or self._is_given_up():
            return Kind.NULLIFY, view
        tip = max(self._store.notarized)
        if tip > self._store.final_view and not self.has_proposal():
            return Kind.FINALIZE, tip
        return Kind.NOTARIZE, view

    def update_demand(self) -> None:
        """Timers start when demand first holds in the view, and stop when it is gone."""
        if not self._is_demanded():
            self._demand_ms = None
        elif self._demand_ms is None:
            self._demand_ms = self.now.mono_ms

    def is_seal(self, block: Block | None) -> bool:
        """The block ends this epoch. The one at view 0 ended the epoch before."""
        return block is not None and block.is_seal and block.epoch == self._config.epoch

    def is_final_seal(self) -> bool | None:
        """This epoch is over: its seal block is final. None while the final block is unknown."""
        final_hash = self._store.final_hash
        if self._final_seal[0] != final_hash:
            block = self._application.block(final_hash)
            if block is None:
                return None
            self._final_seal = (final_hash, self.is_seal(block))
        return self._final_seal[1]

    def may_vote(self) -> bool:
        """I5 for the epoch: an own vote may be cast at all."""
        if self._config.me is None:
            return False
        return rules.may_vote(is_final_seal=self.is_final_seal())

    def wants_block(self) -> bool:
        """R9: (a) pending events, (b) flush, (e) heartbeat: what an own block may be for."""
        tip = self._tip_view()
        if self._waiting_seal() is None and self._application.has_pending(
            self._store.notarized[tip]
        ):
            return True
        times_ms = (self._flush_ms(), self._heartbeat_ms())
        return any(each is not None and self.now.mono_ms >= each for each in times_ms)

    def has_expired(self) -> bool:
        """R7: the leader's own nullify, a view that is lost, the timer (R8), a leader nobody hears.

        Who cast nullify casts no finalize: with more than f of them the view cannot become final
        any more; with split votes none of its blocks can be notarized. Waiting for the own timer
        would only delay the next view.
        """
        leader = self.leader(self.view)
        is_lost = self._is_given_up() or self._tally.is_split(self.view)
        if self._tally.has_voted(Kind.NULLIFY, self.view, leader) or is_lost:
            return True
        timeout_ms = self.timeout_ms()
        if timeout_ms is None:
            return False
        return self.now.mono_ms >= timeout_ms or self._is_silent(leader)

    def is_unsettled(self) -> bool:
        """R10: demand holds, or a notarized view above the final one is not final."""
        if self.is_final_seal():
            return False
        return self.has_demand or max(self._store.notarized) > self._store.final_view

    def wake_times_ms(self) -> list[int | None]:
        """When a timer of the current view can next change something."""
        times: list[int | None] = []
        if not self.may_vote():
            return times
        if not self._own.has(Kind.NULLIFY, self.view):
            times.append(self.timeout_ms())
        if self._demand_ms is None:
            times += [self._flush_ms(), self._heartbeat_ms()]
        elif self._may_propose_ms is not None and self._may_propose_ms > self.now.mono_ms:
            times.append(self._may_propose_ms)
        if self._gathers_until_ms is not None and self._gathers_until_ms > self.now.mono_ms:
            times.append(self._gathers_until_ms)
        return times

    def _is_demanded(self) -> bool:
        """R9: (c) a proposal was received, (d) more than f nullify, or a block is wanted."""
        if self._config.me is None or self.is_final_seal():
            return False
        return self.has_proposal() or self._is_given_up() or self.wants_block()

    def _is_given_up(self) -> bool:
        """More than f nullify votes of the current view: one honest validator at least cast one."""
        return self._tally.count_nullify(self.view, self._config.epoch) > self._faulty_max

    @property
    def demand_ms(self) -> int | None:
        """Monotonic time since when demand holds in the current view."""
        return self._demand_ms

    def has_proposal(self) -> bool:
        """A proposal of the current view was seen, or made."""
        has_notarized = self._own.has(Kind.NOTARIZE, self.view)
        return has_notarized or self._proposals.first(self.view) is not None

    def _tip_view(self) -> int:
        """R3's parent, or the highest notarized view while R3 has none."""
        parent_view = self.parent_view()
        return max(self._store.notarized) if parent_view is None else parent_view

    def _waiting_seal(self) -> Block | None:
        """The tip, if it is a seal block that is notarized but not final: no event can follow."""
        tip = self._tip_view()
        if tip == self._store.final_view:
            return None
        block = self._application.block(self._store.notarized[tip])
        return block if self.is_seal(block) else None

    def _flush_ms(self) -> int | None:
        """R9 (b): T_fin = 4 delta after entering, if the tip is notarized but not final.

        A seal block at once, but only once: with finalize votes missing, views that only repeat it
        would otherwise follow each other as fast as messages go. At once as well what was nullified
        too: its own finalize votes can never be enough, only a child makes it final.
        """
        tip = self._tip_view()
        if tip == self._store.final_view:
            return None
        if tip in self._store.nullified:
            return self._entered_ms
        seal = self._waiting_seal()
        if seal is not None and seal.view == tip:
            return self._entered_ms
        return self._entered_ms + 4 * self._config.delta_ms

    def _heartbeat_ms(self) -> int | None:
        tip = self._application.block(self._store.notarized[self._tip_view()])
        if tip is None:
            return None
        age_ms = self.now.wall_ms - tip.time_ms
        return self.now.mono_ms + max(0, self._config.heartbeat_ms - age_ms)

    def _growth(self) -> tuple[int, int]:
        return rules.growth(
            current=self.view, final_view=self._store.final_view, validators=self._count
        )

    def timeout_ms(self) -> int | None:
        """R8: when the current view's timer runs out, None: it is not running.

        Until a proposal is seen 2 delta g, then 3 delta g, from the first demand. A proposal that
        came with a wrong time gets no vote here however long the timer is: 2 delta.
        """
        if self._demand_ms is None:
            return None
        delta_ms = self._config.delta_ms
        if self._is_untimely():
            return self._demand_ms + 2 * delta_ms
        base_ms = (3 if self.has_proposal() else 2) * delta_ms
        return self._demand_ms + rules.scale_ms(base_ms, self._growth(), self._config.cap_ms)

    def _is_untimely(self) -> bool:
        """The proposal that this node could vote for does not have a time that it accepts."""
        candidate = self._proposals.first(self.view)
        return candidate is not None and not self.accepts_time(candidate)

    def _is_silent(self, leader: int) -> bool:
        """R8: not heard while a quorum was; fails open when fewer are active.

        Not heard: for long, or since it let the timer of an earlier view of its own run out. So a
        dead validator costs one timeout, and then nothing until it is heard again.
        """
        long_ago_ms = self.now.mono_ms - self._config.silent_leader_ms
        silent_since_ms = max(long_ago_ms, self._missed_ms.get(leader, long_ago_ms))
        if leader == self._config.me or self._since_ms(leader) > silent_since_ms:
            return False
        active = [
            peer
            for peer in range(self._count)
            if peer == self._config.me or self._since_ms(peer) > long_ago_ms
        ]
        return len(active) >= self._quorum

    def _since_ms(self, peer: int) -> int:
        """When a validator was last heard, the start of the process at least."""
        return self._heard_ms.get(peer, self._started_ms)
