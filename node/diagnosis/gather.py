"""Takes the snapshot that a diagnosis looks at, from the parts of a running node.

`Gatherer` also remembers the few times that no part keeps: when the tip moved, and since when it
has no quorum checkpoint.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ledger.blocks import quorum_of
from ledger.registry import EPOCH_RECORDS, PENDINGS, PendingChange
from ledger.state import PENDING_KEY, epoch_key
from node.diagnosis.facts import (
    ChangeFacts,
    CosigningFacts,
    DiskFacts,
    DropFacts,
    Facts,
    Members,
    PeerFacts,
    PoolFacts,
    Standing,
    SyncFacts,
    ViewFacts,
)
from node.diagnosis.machine import find_expiry_ms, read_disk
from node.engine.driver import Driver
from node.engine.ports import Clock, Workers
from node.peers.links import Links
from node.peers.software import own_software
from node.simplex.types import Kind, Now

RATE_WINDOW_MS = 60_000
DISK_MS = 2_000
TIPS_MAX = 256
FORMER_EPOCHS_MAX = 64
EVIDENCE_MAX = 256
EVIDENCE_PREFIX = b"y/"


class Gatherer:
    """Facts about one running node. Its data directory is named by the setting, not by its path."""

    def __init__(
        self,
        *,
        driver: Driver,
        links: Links,
        clock: Clock,
        workers: Workers,
        data_dir: Path,
        certificate_expires_ms: int,
    ) -> None:
        self._driver = driver
        self._links = links
        self._clock = clock
        self._workers = workers
        self._data_dir = data_dir
        self._certificate_expires_ms = certificate_expires_ms
        self._started_ms = clock.now().mono_ms
        self._tips: deque[tuple[int, int]] = deque(maxlen=TIPS_MAX)
        self._uncovered_ms: int | None = None
        self._covered_size = 0
        self._disk: DiskFacts | None = None
        self._disk_ms = 0

    # --- what happens ---------------------------------------------------------------------------

    def note_final(self) -> None:
        """Blocks are final and durable."""
        now_ms = self._clock.now().mono_ms
        self._tips.append((now_ms, self._driver.chain.log.tip.height))
        if self._uncovered_ms is None:
            self._uncovered_ms = now_ms

    def note_checkpoint(self) -> None:
        """A checkpoint may have got its quorum."""
        covered = self._driver.cosigner.checkpoint_size
        if covered == self._covered_size:
            return
        self._covered_size = covered
        is_all = covered >= self._driver.chain.log.tree_size
        self._uncovered_ms = None if is_all else self._clock.now().mono_ms

    # --- the snapshot ---------------------------------------------------------------------------

    async def facts(self) -> Facts:
        """The snapshot of now."""
        disk = await self._disk_facts()
        driver, now = self._driver, self._clock.now()
        log = driver.chain.log
        change = self._pending()
        index = 0 if log.tip.height == 0 else log.header_index(log.tip.height)
        return Facts(
            member=driver.epochs.member,
            standing=self._standing(change),
            wall_ms=now.wall_ms,
            height=log.tip.height,
            tip_time_ms=log.tip.time_ms,
            block_hash=log.tip.block_hash.hex(),
            header_index=index,
            stalled_ms=self._stalled_ms(now),
            precision_ms=driver.core.config.precision_ms,
            software=own_software(),
            certificate_expires_ms=self._certificate_expires_ms,
            clock_skew_ms=driver.core.clock_skew_ms(),
            view=self._view(),
            peers=self._peers(),
            sync=self._sync(now),
            disk=disk,
            pool=PoolFacts(
                count=len(driver.chain.pool),
                count_max=driver.chain.pool.events_max,
                oldest_ms=driver.chain.pool.oldest_ms(),
            ),
            change=None if change is None else _change_facts(change, driver.epochs.current.number),
            cosigning=self._cosigning(now),
            frames=_drops(self._links.dropped_frames(), self._links.last_drop_ms(), now),
            messages=_drops(driver.dropped_messages, driver.last_drop_ms, now),
            contradictions=self._contradictions(),
        )

    def _contradictions(self) -> Members:
        """Members against whom there is evidence: seen here, or on the ledger in this epoch."""
        epoch = self._driver.epochs.current.number
        prefix = EVIDENCE_PREFIX + epoch.to_bytes(8, "big")
        pairs = self._driver.chain.log.scan_state(prefix, prefix, EVIDENCE_MAX)
        accused = {key[len(prefix) + 8 :].decode() for key, _ in pairs}
        return tuple(sorted(accused | self._driver.contradicting))

    async def _disk_facts(self) -> DiskFacts:
        """Facts of at most `DISK_MS` ago: whoever asks often must not keep the workers busy."""
        now_ms = self._clock.now().mono_ms
        if self._disk is None or now_ms - self._disk_ms >= DISK_MS:
            self._disk_ms = now_ms
            self._disk = await self._workers.run(self._read_disk)
        return replace(self._disk, sync_ms=self._driver.sync_took_ms)

    def _read_disk(self) -> DiskFacts:
        return read_disk(
            self._data_dir,
            sync_ms=None,
            name="[node] data_dir",
        )

    def _pending(self) -> PendingChange | None:
        value = self._driver.chain.log.get(PENDING_KEY)
        return None if value is None else PENDINGS.decode(value).change

    def _standing(self, change: PendingChange | None) -> Standing:
        epochs = self._driver.epochs
        if epochs.me is not None:
            return Standing.VALIDATOR
        if change is not None and any(each.member == epochs.member for each in change.validators):
            return Standing.JOINING
        newest = epochs.current.number - 1
        for epoch in range(newest, max(newest - FORMER_EPOCHS_MAX, -1), -1):
            value = self._driver.chain.log.get(epoch_key(epoch))
            if value is not None and any(
                each.member == epochs.member for each in EPOCH_RECORDS.decode(value).validators
            ):
                return Standing.REMOVED
        return Standing.OBSERVER

    def _stalled_ms(self, now: Now) -> int:
        """How long something waits, at most since the tip moved."""
        oldest_ms = self._driver.chain.pool.oldest_ms()
        moved_ms = self._tips[-1][0] if self._tips else self._started_ms
        return min(oldest_ms, now.mono_ms - moved_ms)

    def _view(self) -> ViewFacts:
        members = self._driver.epochs.current.members
        seen = self._driver.core.snapshot()
        return ViewFacts(
            epoch=seen.epoch,
            view=seen.view,
            leader=members[seen.leader],
            quorum=seen.quorum,
            validators=members,
            has_proposal=seen.has_proposal,
            awaited=_word(seen.awaited),
            awaited_view=seen.awaited_view,
            votes={
                _word(kind): tuple(members[signer] for signer in signers)
                for kind, signers in sorted(seen.votes.items())
            },
            final_view=seen.final_view,
            certified=_word(seen.certified),
            certified_view=seen.certified_view,
        )

    def _peers(self) -> tuple[PeerFacts, ...]:
        current = self._driver.epochs.current
        pinned = {each.member: each.tls_certificate for each in current.validators}
        offsets_ms = {
            current.members[index]: offset_ms
            for index, offset_ms in self._driver.core.clock_offsets_ms().items()
        }
        return tuple(
            self._peer(member, pinned, offsets_ms.get(member)) for member in self._links.members
        )

    def _peer(
        self, member: str, pinned: Mapping[str, bytes], clock_offset_ms: int | None
    ) -> PeerFacts:
        return PeerFacts(
            member=member,
            clock_offset_ms=clock_offset_ms,
            address=self._links.address_of(member),
            is_validator=member in pinned,
            is_connected=self._links.is_connected(member),
            silent_ms=self._links.silent_ms(member),
            final_height=self._driver.sync.catchup.heights.get(member, 0),
            software=self._links.software_of(member),
            certificate_expires_ms=find_expiry_ms(pinned[member]) if member in pinned else None,
        )

    def _sync(self, now: Now) -> SyncFacts:
        catchup = self._driver.sync.catchup
        claims = sorted(catchup.heights.values(), reverse=True)
        believed = claims[catchup.faulty_max :]
        best = max(catchup.heights, key=lambda peer: catchup.heights[peer], default="")
        return SyncFacts(
            is_behind=catchup.is_behind,
            target_height=believed[0] if believed else 0,
            best_height=claims[0] if claims else 0,
            best_peer=best,
            source=catchup.asked or "",
            blocks_per_minute=self._rate(now),
            progress_ms_ago=now.mono_ms - (self._tips[-1][0] if self._tips else self._started_ms),
        )

    def _rate(self, now: Now) -> int:
        """Blocks a minute, from the tips of the last minute."""
        recent = [each for each in self._tips if each[0] > now.mono_ms - RATE_WINDOW_MS]
        if len(recent) < 2 or recent[-1][0] == recent[0][0]:
            return 0
        return (recent[-1][1] - recent[0][1]) * 60_000 // (recent[-1][0] - recent[0][0])

    def _cosigning(self, now: Now) -> CosigningFacts:
        size, cosigner = self._driver.chain.log.tree_size, self._driver.cosigner
        return CosigningFacts(
            tree_size=size,
            checkpoint_size=cosigner.checkpoint_size,
            behind_ms=0 if self._uncovered_ms is None else now.mono_ms - self._uncovered_ms,
            signers=cosigner.signers_of(size),
            quorum=quorum_of(len(self._driver.epochs.current.members)),
        )


def _word(kind: Kind | None) -> str:
    return "" if kind is None else kind.name.lower()


def _change_facts(change: PendingChange, epoch: int) -> ChangeFacts:
    members: Members = tuple(each.member for each in change.validators)
    return ChangeFacts(
        next_epoch=epoch + 1,
        activate_height=change.activate_height,
        validators=members,
        ready=change.ready,
        quorum=quorum_of(len(members)),
    )


def _drops(count: int, last_ms: int, now: Now) -> DropFacts:
    return DropFacts(count=count, last_ms_ago=now.mono_ms - last_ms if count else 0)
