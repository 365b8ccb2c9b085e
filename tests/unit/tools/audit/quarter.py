"""A log of the test network in which every kind of event happens, over three months."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from contracts.engine import ENGINE_VERSION, Contracts
from contracts.execute import BlockInput, execute
from ledger.events import Event
from ledger.lthash.digest import apply_changes
from ledger.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.tlog.note import COSIGNATURE_ED25519, ED25519, SignedNote, SigningKey
from tests import builders as make
from tests import exchanges as later
from tests.builders import TIME_MS
from tests.unit.contracts.drafts.pasts import write_copy
from tests.unit.ledger.builders import ChainBuilder

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
OTHER = "cn-3205-tax"
CONTRACTS = Contracts()
GENESIS = make.genesis()


class Log(ChainBuilder):
    """Executed blocks at chosen times; its copies are cosigned by the network's validators."""

    def __init__(self) -> None:
        super().__init__(GENESIS)

    def at(self, hours: int, *events: Event) -> None:
        """A block so many hours after the new year with the true outcomes of its events."""
        time_ms = TIME_MS + hours * HOUR_MS
        given = BlockInput(
            network=self.network,
            height=len(self.blocks) + 1,
            time_ms=time_ms,
            first_index=self.range.size + 1,
            events=events,
        )
        execution = execute(self.state, given, CONTRACTS)
        digest = apply_changes(self.accumulator, execution.overlay)
        self.add(
            records=execution.records,
            time_ms=time_ms,
            engine=ENGINE_VERSION,
            state_digest=digest.digest(),
        )
        self.accumulator = digest.encode()
        self.state.pairs.update(execution.overlay.changes)

    def checkpoint(self, cosigners: Sequence[str] = ()) -> bytes:
        origin = GENESIS.origin
        tree = Checkpoint(origin=origin, size=self.range.size, root=self.range.root())
        log_key = SigningKey(name=origin, kind=ED25519, seed=make.hash32("log"))
        note = sign_checkpoint(tree, log_key)
        lines = (
            cosign(
                tree,
                SigningKey(
                    name=f"{origin}/{member}",
                    kind=COSIGNATURE_ED25519,
                    seed=make.hash32(f"{member}/cosigning"),
                ),
                TIME_MS // 1_000,
            )
            for member in cosigners or make.VALIDATORS
        )
        return SignedNote(text=note.text, signatures=(*note.signatures, *lines)).format()


@cache
def rich() -> Log:
    """Requests of three pairs and an offer, and all that can become of them. Read it only."""
    log = Log()
    log.at(1, *later.reference_keys())
    _add_whole_exchange(log)
    _add_answers(log)
    _add_offer(log)
    _add_incidents(log)
    log.at(24 * 80, make.request(label="last"))
    return log


def _add_whole_exchange(log: Log) -> None:
    """From the request to the destruction, with a use by another member."""
    asked = make.request(label="whole")
    log.at(2, asked, make.approve(asked))  # nothing is under review: refused
    log.at(7, make.deliver(asked))
    log.at(8, make.receive(asked))
    log.at(30, later.use(asked), later.rate(asked))
    consent = later.ask_consent(asked)
    other = later.ask_consent(asked, label="other", purpose="criminal")
    log.at(31, consent, other)
    log.at(40, later.give_consent(asked, consent), later.refuse_consent(asked, other))
    for hour in (41, 42):  # one copy, however often
        log.at(hour, later.use(asked, consent=consent.digest, label=f"onward {hour}"))
    log.at(43, later.refer(asked))  # the key is in force from height 7 on
    log.at(24 * 20, later.destroy(asked))


def _add_answers(log: Log) -> None:
    """A review that is granted, rejected and repeated; a refusal; a denial; late; never."""
    review = make.reviewed_request(label="review")
    refused = make.reviewed_request(label="refused")
    denied = make.request(label="denied", legal_basis="ended")
    taken_back = make.request(label="back")
    late = make.request(label="late", member=OTHER)
    never = make.request(label="never")
    log.at(24 * 32, review, refused, denied, taken_back, late, never)
    log.at(24 * 32 + 5, make.approve(review), make.refuse(refused), make.withdraw(taken_back))
    log.at(24 * 33, make.deliver(review))
    log.at(24 * 34, make.reject(review))
    log.at(24 * 35, make.deliver(review, label="again"))
    log.at(24 * 36, make.receive(review))
    log.at(24 * 50, make.deliver(late))
    log.at(24 * 50 + 1, make.receive(late, member=OTHER))
    log.at(24 * 50 + 2, later.rate(late, member=OTHER, quality=1, usefulness=2))


def _add_offer(log: Log) -> None:
    """Offered, delivered, corrected, disputed."""
    offered = later.offer(label="offer")
    log.at(24 * 60, offered)
    log.at(24 * 60 + 3, make.deliver(offered))
    log.at(24 * 60 + 9, make.receive(offered))
    log.at(24 * 61, later.correct(offered))
    log.at(24 * 62, later.acknowledge(offered))
    disputed = later.dispute(offered)
    log.at(24 * 63, disputed)
    log.at(24 * 64, later.resolve(offered, disputed))


def _add_incidents(log: Log) -> None:
    """One that is closed and one that stays open; drills; what nodes hand in by themselves."""
    leak = later.report(label="leak")
    loss = later.report(label="loss", category="key-loss", severity="low", partners=(OTHER,))
    log.at(24 * 65, leak, loss)
    log.at(24 * 66, later.confirm(leak), later.drill())
    log.at(24 * 67, later.remedy(leak), later.drill(result="failed", category="failover"))
    log.at(24 * 68, later.close(leak))
    first = make.vote(make.VALIDATORS[3], "one")
    second = make.vote(make.VALIDATORS[3], "two")
    log.at(24 * 69, make.anchor(), make.accuse(first, second))


def write(folder: Path, **lies: bytes) -> Path:
    """The log as a mirror in a folder."""
    return write_copy(rich(), folder, **lies)
