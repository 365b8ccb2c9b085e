"""Tests that a mutation of the write-ahead log or the driver called for."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.keys import SecretKey
from node.peers.links import Channel
from node.peers.wire import FrameType
from node.simplex.errors import (
    ConflictingVote,
    CorruptWal,
)
from node.simplex.messages import decode_message
from node.simplex.types import (
    Frontier,
    Kind,
    Message,
    OwnVote,
    PendingChanged,
    Proposal,
    Vote,
)
from node.simplex.wal import MAGIC, Wal, decode_segment, encode_record
from tests.builders import VALIDATORS, hash32, request
from tests.unit.node.engine.network import Network, Site, opened, play
from tests.unit.node.simplex.builders import (
    sign,
    subject_of,
)
from tests.unit.node.world import Bench as WorldBench
from tests.unit.node.world import bench

N, X, F = Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE


# --- wal.py ---------------------------------------------------------------------------------------


def record_of(view: int) -> OwnVote:
    return OwnVote(vote=sign(subject_of(X, view=view), 0))


class Calls:
    """What the system is asked to make durable, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._by_descriptor(name))
        for name in ("rename", "unlink"):
            monkeypatch.setattr(os, name, self._by_path(name))

    def _by_descriptor(self, name: str) -> Callable[..., None]:
        real = getattr(os, name)

        def call(descriptor: int) -> None:
            self.made.append(f"{name} {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
            real(descriptor)

        return call

    def _by_path(self, name: str) -> Callable[..., None]:
        real = getattr(os, name)

        def call(path: Path, *others: Path) -> None:
            self.made.append(f"{name} {Path(path).name}")
            real(path, *others)

        return call


def test_a_segment_is_durable_under_its_name_before_the_old_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    wal, _ = Wal.open(tmp_path / "wal")
    assert calls.made == ["fsync 00000001.tmp", "rename 00000001.tmp", "fsync wal"]
    calls.made.clear()
    wal.rotate([record_of(1)])
    assert calls.made == [
        "fsync 00000002.tmp",
        "rename 00000002.tmp",
        "fsync wal",
        "unlink 00000001.wal",
        "fsync wal",
    ]
    calls.made.clear()
    wal.append([record_of(2)])
    assert calls.made == []
    assert wal.is_dirty
    wal.sync()
    assert calls.made == ["fdatasync 00000002.wal"]
    assert not wal.is_dirty
    wal.close()


def test_a_damaged_record_before_a_valid_one_is_no_torn_tail() -> None:
    one, two = encode_record(record_of(1)), encode_record(record_of(2))
    damaged = bytearray(one)
    damaged[-1] ^= 1
    with pytest.raises(CorruptWal):
        decode_segment(MAGIC + bytes(damaged) + two)
    records, valid = decode_segment(MAGIC + two + bytes(damaged))
    assert (records, valid) == ([record_of(2)], len(MAGIC) + len(two))


# --- driver.py ------------------------------------------------------------------------------------


class CheckedPort:
    """Transport of a site that looks at the log whenever something is sent (I4)."""

    def __init__(self, site: Site) -> None:
        self.votes = 0
        self._site = site
        self._port = site.engine._transport

    def send(self, peer: str | None, channel: Channel, frame: bytes) -> None:
        if frame[0] == FrameType.CONSENSUS:
            assert not self._site.engine._wal.is_dirty, "sent before the log was synced"
            own = self._own_votes(decode_message(frame[1:]))
            assert set(own) <= set(self._logged()), "a vote that is sent is not in the log"
            self.votes += len(own)
        self._port.send(peer, channel, frame)

    def is_connected(self, peer: str) -> bool:
        return self._port.is_connected(peer)

    def _own_votes(self, message: Message) -> list[Vote]:
        votes: tuple[Vote, ...] = ()
        match message:
            case Vote():
                votes = (message,)
            case Proposal():
                votes = (message.vote,)
            case Frontier():
                votes = message.votes
        return [vote for vote in votes if vote.signer == self._site.engine.epochs.me]

    def _logged(self) -> list[Vote]:
        (path,) = (self._site.folder / "wal").glob("*.wal")
        records, _ = decode_segment(path.read_bytes())
        return [record.vote for record in records if isinstance(record, OwnVote)]


def test_i4_every_vote_that_is_sent_is_in_the_synced_log(tmp_path: Path) -> None:
    async def test(network: Network) -> None:
        ports = []
        for site in network.running:
            port = CheckedPort(site)
            site.engine._transport = port
            ports.append(port)
        await network.record(request(label="one"))
        await network.record(request(label="two"))
        assert all(port.votes >= 4 for port in ports)

    play(tmp_path, VALIDATORS, test)


def test_the_driver_rotates_no_vote_away(tmp_path: Path) -> None:
    async def test() -> None:
        with bench(tmp_path) as mine:
            driver = mine.driver
            driver.put(mine_event(mine))
            await mine.rounds(3)
            live = driver.core.live_records()
            driver._rotate()
            driver.core.live_records = lambda: [  # type: ignore[method-assign]  # a faulty core
                record for record in live if not isinstance(record, OwnVote)
            ]
            with pytest.raises(ConflictingVote, match="lacks a vote"):
                driver._rotate()

    asyncio.run(test())


def mine_event(mine: WorldBench) -> PendingChanged:
    mine.ledger.pool.add(request())
    return PendingChanged()


def test_a_node_with_another_key_than_the_list_is_an_observer(tmp_path: Path) -> None:
    member = VALIDATORS[0]
    network = Network(tmp_path, VALIDATORS)
    for key, me in ((network.sites[member].consensus, 0), (SecretKey(hash32("other")), None)):
        network.sites[member].consensus = key
        with opened(network.sites[member]) as driver:
            assert driver.epochs.me == me
