"""Events that some take and others refuse, events that nobody can take, and blocks with them."""

import msgspec

from ledger.events import Event, parse_event
from node.peers.wire import EventList, FrameType, encode_frame
from tests import builders
from tests.simulation.adversaries.insider import Insider

ACTS_MAX = 40


class Poison(Insider):
    """Honest in consensus. Its events are not."""

    NAME = "poison"

    def act(self) -> None:
        if self.done["acts"] >= ACTS_MAX:
            return
        self.done["acts"] += 1
        kinds = (
            self._expiring,
            self._malformed,
            self._rivals,
            self._unsigned,
            self._unfit,
            self._lonely,
            self._in_block,
        )
        kind = self.random.choice(kinds)
        kind()
        self.done[kind.__name__.removeprefix("_")] += 1

    def _make(self, *, expires: int = 50, what: str = "", **changed: object) -> Event:
        label = f"poison {self.member} {self.done['acts']} {what}"
        height = self.chain.log.tip.height
        return builders.request(
            label=label,
            network=self.world.ground.network,
            expires_height=height + expires,
            **changed,
        )

    def _tell(self, to: str | None, *events: bytes) -> None:
        self.send(to, encode_frame(FrameType.EVENTS, EventList(events=events)))

    def _someone(self) -> str:
        return self.random.choice(self.peers)

    def _expiring(self) -> None:
        """Good at the next height only: who is a block ahead refuses it. Too old, too new."""
        for expires in (0, 1, 1, 2, 10**6):
            self._tell(self._someone(), self._make(expires=expires, what=str(expires)).data)

    def _malformed(self) -> None:
        data = self._make().data
        flipped = bytearray(data)
        flipped[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        for bad in (b"", data[:-1], data + b"\0", bytes(flipped), self.random.randbytes(300)):
            self._tell(None, self._make(what="good").data, bad)
        self.send(None, bytes([FrameType.EVENTS]) + self.random.randbytes(50))

    def _rivals(self) -> None:
        """One nonce, two bodies: each half of the others has another one in its pool."""
        one, other = self._make(), self._make(case="another")
        for half, event in zip(self.halves(), (one, other), strict=True):
            for peer in half:
                self._tell(peer, event.data)

    def _forged(self) -> Event:
        """A good event but for its signature."""
        event = self._make(what="forged")
        signature = event.signature[:1] + self.random.randbytes(len(event.signature) - 1)
        data = event.data.replace(event.signature, signature)
        return parse_event(data)

    def _unsigned(self) -> None:
        self._tell(None, self._forged().data)

    def _unfit(self) -> None:
        """What no block may include, and what blocks include as refused."""
        stranger = builders.request(
            label=f"stranger {self.done['acts']}",
            network=self.world.ground.network,
            expires_height=self.chain.log.tip.height + 50,
            key=builders.key_of("nobody", "requester"),
        )
        elsewhere = builders.request(label="elsewhere", network=bytes(32), expires_height=50)
        refused = self._make(what="dataset", dataset="no-such-dataset")
        repeated = [event.data for event in self.world.ground.events[:5]]
        self._tell(None, stranger.data, elsewhere.data, refused.data, *repeated)

    def _lonely(self) -> None:
        """A good event that only one of the others gets."""
        self._tell(self._someone(), self._make().data)

    def _in_block(self) -> None:
        """Our own blocks will hold an event with a wrong signature, and one that has expired."""
        pool = self.chain.pool
        pool.hold(self._forged())
        old = self._make(expires=0, what="old")
        pool.hold(msgspec.structs.replace(old, expires_height=old.expires_height + 50))
