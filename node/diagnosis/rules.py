"""From facts to findings: why this node, or its network, does not make progress, or soon will not.

Each rule is a function of the snapshot alone. `diagnose` returns what they found, worst first; a
node without any fault or warning gets the finding `healthy`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from node.diagnosis.facts import DiskFacts, Facts, Members, PeerFacts, Standing
from node.errors import InvalidConfig, StartRefused

SILENT_MS = 15_000  # three status messages
UNLINKED_MS = 6_000  # one, where our own connection to the peer is down too
STALL_WARNING_MS = 10_000
STALL_FAULT_MS = 30_000
WAITING_MS = 30_000
COSIGNING_MS = 30_000
NO_PROGRESS_MS = 30_000
DROPPED_RECENTLY_MS = 600_000
AHEAD_BLOCKS = 8
SYNC_SLOW_MS = 500
MIB = 1024 * 1024
DISK_FAULT_BYTES = 256 * MIB
DISK_WARNING_BYTES = 2_048 * MIB
DISK_WARNING_PERCENT = 5
POOL_WARNING_PERCENT = 90
DAY_MS = 86_400_000
CERTIFICATE_NOTICE_DAYS = 60
CERTIFICATE_WARNING_DAYS = 30
CERTIFICATE_FAULT_DAYS = 7


class Severity(IntEnum):
    """How bad a finding is."""

    OK = 0
    WARNING = 1
    FAULT = 2

    @property
    def word(self) -> str:
        """Its stable name."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cause with what was seen; its words are in `node.diagnosis.words`.

    `refusal` is that of a start, which has words of its own.
    """

    code: str
    severity: Severity
    values: dict[str, str | int] = field(default_factory=dict)
    refusal: StartRefused | InvalidConfig | None = None


Rule = Callable[[Facts], Iterator[Finding]]


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Findings of every rule, worst first, in the order of the rules."""
    found = [finding for rule in RULES for finding in rule(facts)]
    if all(finding.severity is Severity.OK for finding in found):
        found.insert(0, _ok("healthy", height=facts.height, epoch=facts.view.epoch))
    return tuple(sorted(found, key=lambda finding: -finding.severity))


def worst(findings: tuple[Finding, ...]) -> Severity:
    """The severity of the worst finding."""
    return max((finding.severity for finding in findings), default=Severity.OK)


def _ok(code: str, **values: str | int) -> Finding:
    return Finding(code=code, severity=Severity.OK, values=values)


def _warning(code: str, **values: str | int) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, values=values)


def _fault(code: str, **values: str | int) -> Finding:
    return Finding(code=code, severity=Severity.FAULT, values=values)


def _names(members: Members) -> str:
    return ", ".join(members)


def _is_heard(peer: PeerFacts) -> bool:
    return 0 <= peer.silent_ms < (SILENT_MS if peer.is_connected else UNLINKED_MS)


def _without(all_members: Members, present: Members) -> Members:
    return tuple(member for member in all_members if member not in present)


# --- who is there -----------------------------------------------------------------------------


def check_quorum(facts: Facts) -> Iterator[Finding]:
    """Fewer validators are heard than a quorum needs."""
    view = facts.view
    heard = tuple(
        member
        for member in view.validators
        if member == facts.member
        or any(peer.member == member and _is_heard(peer) for peer in facts.peers)
    )
    if len(heard) >= view.quorum:
        return
    missing = _without(view.validators, heard)
    yield _fault(
        "quorum-missing",
        heard=len(heard),
        quorum=view.quorum,
        needed=view.quorum - len(heard),
        missing=_names(missing),
    )


def check_silence(facts: Facts) -> Iterator[Finding]:
    """Validators that are not heard, each with since when and how the link is."""
    for peer in facts.peers:
        if not peer.is_validator or _is_heard(peer):
            continue
        code = "peer-silent" if peer.is_connected else "peer-unreachable"
        if peer.silent_ms < 0:
            code += "-since-start"
        yield _warning(
            code,
            member=peer.member,
            address=peer.address or "?",
            silent_s=max(peer.silent_ms, 0) // 1000,
        )


def check_link(facts: Facts) -> Iterator[Finding]:
    """A peer is heard, but our own connection to it is not up: it does not hear us."""
    for peer in facts.peers:
        if peer.is_validator and _is_heard(peer) and not peer.is_connected:
            yield _warning("peer-deaf", member=peer.member, address=peer.address or "?")


# --- what the view waits for ------------------------------------------------------------------


def check_finality(facts: Facts) -> Iterator[Finding]:
    """Something waits, and nothing became final for long: what the current view waits for."""
    if facts.standing is not Standing.VALIDATOR or facts.stalled_ms < STALL_WARNING_MS:
        return
    make = _fault if facts.stalled_ms >= STALL_FAULT_MS else _warning
    view = facts.view
    yield make(
        "no-finality",
        stalled_s=facts.stalled_ms // 1000,
        view=view.view,
        epoch=view.epoch,
        leader=view.leader,
        final_view=view.final_view,
        certified=view.certified or "-",
        certified_view=view.certified_view,
    )
    if facts.sync.is_behind:
        return
    if view.awaited == "notarize" and not view.has_proposal:
        yield make("waits-for-proposal", view=view.view, leader=view.leader)
    for kind in ("notarize", "nullify", "finalize"):
        voters = view.votes.get(kind, ())
        # Votes to skip the view are told besides what it waits for: they may overtake it.
        if kind == view.awaited or (kind == "nullify" and 0 < len(voters) < view.quorum):
            yield make(
                f"waits-for-{kind}",
                view=view.awaited_view,
                votes=len(voters),
                quorum=view.quorum,
                voters=_names(voters) or "-",
                missing=_names(_without(view.validators, voters)),
            )


def check_sync(facts: Facts) -> Iterator[Finding]:
    """This node is behind, and whether it gets on."""
    sync = facts.sync
    if sync.is_behind:
        left = max(sync.target_height - facts.height, 0)
        values: dict[str, str | int] = {
            "height": facts.height,
            "target": sync.target_height,
            "source": sync.source or "-",
        }
        if sync.progress_ms_ago >= NO_PROGRESS_MS:
            yield _fault("catch-up-stalled", **values, stalled_s=sync.progress_ms_ago // 1000)
        else:
            rate = sync.blocks_per_minute
            eta_s = left * 60 // rate if rate else 0
            yield _warning("catching-up", **values, left=left, rate=rate, eta_s=eta_s)
    elif sync.best_height >= facts.height + AHEAD_BLOCKS:
        yield _warning(
            "peer-ahead", height=facts.height, member=sync.best_peer, claimed=sync.best_height
        )


# --- the machine ------------------------------------------------------------------------------


def check_clock(facts: Facts) -> Iterator[Finding]:
    """Our clock against the median of the peers' clocks (CONSENSUS 6.5)."""
    skew_ms = facts.clock_skew_ms
    if skew_ms is None or 2 * abs(skew_ms) <= facts.precision_ms:
        return
    make = _fault if abs(skew_ms) > facts.precision_ms else _warning
    # Positive: the others are ahead, so ours is behind.
    code = "clock-behind" if skew_ms > 0 else "clock-ahead"
    yield make(code, skew_ms=abs(skew_ms), precision_ms=facts.precision_ms)


def check_peer_clocks(facts: Facts) -> Iterator[Finding]:
    """Clocks of single peers that differ from ours by more than the precision, if ours is right."""
    if facts.clock_skew_ms is None or 2 * abs(facts.clock_skew_ms) > facts.precision_ms:
        return
    for peer in facts.peers:
        offset_ms = peer.clock_offset_ms
        if offset_ms is not None and abs(offset_ms) > facts.precision_ms:
            yield _warning("peer-clock", member=peer.member, offset_ms=offset_ms)


def check_disk(facts: Facts) -> Iterator[Finding]:
    """Free space, and how long a durable write takes."""
    yield from judge_disk(facts.disk)


def judge_disk(disk: DiskFacts) -> Iterator[Finding]:
    """The same for a node that does not run."""
    values: dict[str, str | int] = {"path": disk.path, "free_mb": disk.free_bytes // MIB}
    few = disk.free_bytes * 100 < disk.total_bytes * DISK_WARNING_PERCENT
    if disk.free_bytes < DISK_FAULT_BYTES:
        yield _fault("disk-full", **values)
    elif few or disk.free_bytes < DISK_WARNING_BYTES:
        yield _warning("disk-low", **values)
    if disk.sync_ms is not None and disk.sync_ms >= SYNC_SLOW_MS:
        yield _warning("disk-slow", path=disk.path, sync_ms=disk.sync_ms)


def check_certificates(facts: Facts) -> Iterator[Finding]:
    """TLS certificates, own and pinned."""
    now_ms = facts.wall_ms
    yield from judge_certificate(facts.member, facts.certificate_expires_ms, now_ms, whose="own")
    for peer in facts.peers:
        if peer.certificate_expires_ms is not None:
            yield from judge_certificate(
                peer.member, peer.certificate_expires_ms, now_ms, whose="peer"
            )


def judge_certificate(
    member: str, expires_ms: int, wall_ms: int, *, whose: str
) -> Iterator[Finding]:
    """One certificate: 60, 30 and 7 days before it ends, and after."""
    days = (expires_ms - wall_ms) // DAY_MS
    if days < 0:
        yield _fault(f"certificate-expired-{whose}", member=member, days=-days)
    elif days < CERTIFICATE_FAULT_DAYS:
        yield _fault(f"certificate-expires-{whose}", member=member, days=days)
    elif days < CERTIFICATE_WARNING_DAYS:
        yield _warning(f"certificate-expires-{whose}", member=member, days=days)
    elif days < CERTIFICATE_NOTICE_DAYS:
        yield _ok(f"certificate-expires-{whose}", member=member, days=days)


# --- the network's rules ----------------------------------------------------------------------


def check_software(facts: Facts) -> Iterator[Finding]:
    """Other versions; another contract engine decides otherwise, so blocks are not voted for."""
    for peer in facts.peers:
        theirs, ours = peer.software, facts.software
        if theirs is None:
            continue
        if theirs.engine != ours.engine:
            yield _fault(
                "engine-differs", member=peer.member, theirs=theirs.engine, ours=ours.engine
            )
        elif theirs.version != ours.version:
            yield _warning(
                "version-differs", member=peer.member, theirs=theirs.version, ours=ours.version
            )


def check_standing(facts: Facts) -> Iterator[Finding]:
    """This node does not vote, and why."""
    match facts.standing:
        case Standing.JOINING:
            yield _warning("standing-joining", member=facts.member)
        case Standing.REMOVED:
            yield _warning("standing-removed", member=facts.member)
        case Standing.OBSERVER:
            yield _warning("standing-observer", member=facts.member)
        case Standing.VALIDATOR:
            return


def check_change(facts: Facts) -> Iterator[Finding]:
    """A pending change of the validators: what it waits for."""
    change = facts.change
    if change is None:
        return
    values: dict[str, str | int] = {
        "next_epoch": change.next_epoch,
        "ready": len(change.ready),
        "quorum": change.quorum,
        "missing": _names(_without(change.validators, change.ready)),
        "height": facts.height,
        "activate_height": change.activate_height,
    }
    if len(change.ready) < change.quorum:
        # Before its height, nobody needs to be ready yet.
        make = _warning if facts.height >= change.activate_height else _ok
        yield make("change-waits-for-readiness", **values)
    elif facts.height < change.activate_height:
        yield _ok("change-waits-for-height", **values)


def check_cosigning(facts: Facts) -> Iterator[Finding]:
    """The log is ahead of its newest quorum checkpoint, so there are no receipts."""
    state = facts.cosigning
    if state.checkpoint_size >= state.tree_size or state.behind_ms < COSIGNING_MS:
        return
    yield _warning(
        "cosigning-behind",
        tree_size=state.tree_size,
        checkpoint_size=state.checkpoint_size,
        behind_s=state.behind_ms // 1000,
        lines=len(state.signers),
        quorum=state.quorum,
        missing=_names(_without(facts.view.validators, state.signers)),
    )


def check_contradictions(facts: Facts) -> Iterator[Finding]:
    """Validators that signed two contradicting votes (R12)."""
    for member in facts.contradictions:
        if member == facts.member:
            yield _fault("own-contradiction", member=member)
        else:
            yield _warning("contradiction", member=member)


# --- load -------------------------------------------------------------------------------------


def check_pool(facts: Facts) -> Iterator[Finding]:
    """Pending events: too many, or waiting for too long."""
    pool = facts.pool
    if pool.count >= pool.count_max:
        yield _fault("pool-full", count=pool.count, count_max=pool.count_max)
    elif pool.count * 100 >= pool.count_max * POOL_WARNING_PERCENT:
        yield _warning("pool-nearly-full", count=pool.count, count_max=pool.count_max)
    if pool.count and pool.oldest_ms >= WAITING_MS:
        yield _warning("events-waiting", count=pool.count, oldest_s=pool.oldest_ms // 1000)


def check_drops(facts: Facts) -> Iterator[Finding]:
    """Messages that did not fit into a queue within the last ten minutes."""
    for code, drops in (("frames-dropped", facts.frames), ("messages-dropped", facts.messages)):
        if drops.count and drops.last_ms_ago < DROPPED_RECENTLY_MS:
            yield _warning(code, count=drops.count, last_s=drops.last_ms_ago // 1000)


RULES: tuple[Rule, ...] = (
    check_quorum,
    check_silence,
    check_link,
    check_finality,
    check_sync,
    check_clock,
    check_peer_clocks,
    check_disk,
    check_certificates,
    check_software,
    check_standing,
    check_change,
    check_cosigning,
    check_contradictions,
    check_pool,
    check_drops,
)
