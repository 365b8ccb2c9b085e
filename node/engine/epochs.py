"""Epochs: who votes now, under which number, and how the consensus core of an epoch is made.

Everything here follows from the final log and its state, so a node that was stopped between any two
instructions starts in the right epoch. Outside the core a node is named by its member; the core
knows validators by their index in the epoch's list, and other peers by indexes from n up (`Seats`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from contracts.lookup import (
    find_epoch,
    find_reachable,
    read_epoch,
    read_parameters,
    read_pending,
)
from ledger.genesis import Genesis, hash_genesis
from ledger.registry import Validator
from ledger.state import StateReader
from node.chain import Chain
from node.config import Address
from node.peers.links import Peer
from node.simplex.core import Simplex
from node.simplex.types import Config, Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch: its ordered validators, and the hash of view 0 (the seal block before it)."""

    number: int
    validators: tuple[Validator, ...]
    genesis_hash: bytes

    @property
    def members(self) -> tuple[str, ...]:
        """Members of the validators, in list order."""
        return tuple(validator.member for validator in self.validators)

    @property
    def faulty_max(self) -> int:
        """f, the number of faulty validators that do no harm."""
        return (len(self.validators) - 1) // 3


class Seats:
    """Indexes that the core of one epoch has for peers: validators first, then others as met."""

    def __init__(self, members: tuple[str, ...]) -> None:
        self._members = list(members)
        self._indexes = {member: index for index, member in enumerate(members)}

    def index_of(self, member: str) -> int:
        """Index of a member; one that has none gets the next."""
        if member not in self._indexes:
            self._indexes[member] = len(self._members)
            self._members.append(member)
        return self._indexes[member]

    def member_at(self, index: int) -> str:
        """Member of an index."""
        return self._members[index]


def sealed_meta(epoch: int) -> bytes:
    """Meta name of the finalization of an epoch's seal block, as a consensus message."""
    return f"sealed/{epoch}".encode()


def pinned_peers(log: StateReader, member: str, addresses: Mapping[str, Address]) -> list[Peer]:
    """Whom a node of `member` speaks with: validators in force, decided next, and those before.

    Those before may still need what ended their epoch. An address of the configuration is preferred
    to the one on the ledger: an operator knows the way from here.
    """
    record, pending = read_epoch(log), read_pending(log)
    before = find_epoch(log, record.epoch - 1) if record.epoch else None
    certificates: dict[str, list[bytes]] = {}
    for validators in (
        record.validators,
        pending.validators if pending is not None else (),
        before.validators if before is not None else (),
    ):
        for each in validators:
            known = certificates.setdefault(each.member, [])
            if each.tls_certificate not in known:
                known.append(each.tls_certificate)
    return [
        Peer(
            member=name,
            certificates=tuple(known),
            address=addresses.get(name) or _ledger_address(log, name),
        )
        for name, known in sorted(certificates.items())
        if name != member
    ]


def _ledger_address(log: StateReader, member: str) -> Address | None:
    reachable = find_reachable(log, member)
    if reachable is None:
        return None
    host, _, port = reachable.address.rpartition(":")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


CoreFactory = Callable[[Config, Chain, Signer | None], Simplex]


def make_simplex(config: Config, chain: Chain, signer: Signer | None) -> Simplex:
    """The core that a node runs."""
    return Simplex(config=config, application=chain, signer=signer)


class Epochs:
    """The present epoch as the node takes part in it: as validator `me`, or as observer (None)."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        chain: Chain,
        member: str,
        consensus_key: bytes,
        signer: Signer,
        make_core: CoreFactory = make_simplex,
    ) -> None:
        self.member = member
        self._network = hash_genesis(genesis)
        self._chain = chain
        self._consensus_key = consensus_key
        self._signer = signer
        self._make_core = make_core
        self._first_voted = 0
        self.enter()

    def enter(self) -> None:
        """Be in the epoch of the block after the log's tip."""
        log = self._chain.log
        record = read_epoch(log)
        is_first = record.epoch == 0
        self.current = Epoch(
            number=record.epoch,
            validators=record.validators,
            genesis_hash=self._network if is_first else log.block_hash_at(record.first_height - 1),
        )
        self.seats = Seats(self.current.members)
        self.me = self._find_me() if record.epoch >= self._first_voted else None
        self._chain.me = self.me

    def observe_until(self, epoch: int) -> None:
        """Be an observer in every epoch before this one, the last in which this node voted."""
        self._first_voted = epoch
        self.enter()

    def is_over(self) -> bool:
        """Whether the log's tip is the seal block of the epoch that this object is in."""
        return read_epoch(self._chain.log).epoch != self.current.number

    def _find_me(self) -> int | None:
        for index, validator in enumerate(self.current.validators):
            if (validator.member, validator.consensus_key) == (self.member, self._consensus_key):
                return index
        return None

    @property
    def others(self) -> tuple[str, ...]:
        """Members of the other validators."""
        return tuple(member for member in self.current.members if member != self.member)

    def make_core(self) -> Simplex:
        """A core of the present epoch that starts from the log's tip.

        Its timers are those in force there. Members that change them later change those of the next
        core: they need not be equal on all nodes at one instant, and a core is not made anew for
        them.
        """
        epoch, log = self.current, self._chain.log
        tip, parameters = log.tip, read_parameters(log)
        config = Config(
            network_id=self._network,
            epoch=epoch.number,
            validators=tuple(each.consensus_key[1:] for each in epoch.validators),
            me=self.me,
            genesis_hash=epoch.genesis_hash,
            rotation=int.from_bytes(epoch.genesis_hash[:8], "big") % len(epoch.validators),
            delta_ms=parameters.delta_ms,
            precision_ms=parameters.precision_ms,
            message_delay_ms=parameters.message_delay_ms,
            heartbeat_ms=parameters.heartbeat_ms,
            final_view=tip.view if tip.epoch == epoch.number else 0,
            final_height=tip.height,
            final_hash=tip.block_hash,
        )
        return self._make_core(config, self._chain, None if self.me is None else self._signer)
