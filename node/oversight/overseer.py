"""Looks at the final state for what administrators must not overlook.

It looks when a block is final on a new day, and when somebody asks; never on a timer of its own.
What it found stands until the tip moves or the day ends, so whoever asks often costs little.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from contracts.lookup import (
    find_gateway,
    find_officer,
    find_proposal,
    find_recipient,
    read_freezes,
    read_sunsets,
    read_validators,
    read_waiting,
)
from ledger.custody.certificates import hash_certificate
from ledger.custody.encryption import format_fingerprint, hash_encryption_key
from ledger.governance.keys import TERMS
from ledger.governance.proposals import PROPOSALS, Proposal
from ledger.keys import fingerprint
from ledger.log import Log
from ledger.registry import LEGAL_BASES, Freeze
from ledger.state import term_key
from node.diagnosis.machine import find_expiry_ms
from node.diagnosis.rules import DAY_MS
from node.oversight.expiry import (
    Expiring,
    Kind,
    Reminder,
    count_days,
    judge_basis,
    judge_certificate,
    judge_key,
    judge_sunset,
)
from node.oversight.scan import scan_pairs

PROPOSALS_PREFIX = b"g/"
BASES_PREFIX = b"l/"
TERMS_PREFIX = term_key(b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Oversight:
    """What was found.

    `open` are proposals that ballots still count for, each with its digest; `waiting` are carried
    ones that wait for their height.
    `certificate_days` are days until the certificate of each validator ends; None: it cannot be
    read. `key_days` are those of the own member's keys that have an end, by kind and fingerprint.
    """

    open: tuple[tuple[bytes, Proposal], ...]
    waiting: tuple[tuple[bytes, Proposal], ...]
    freezes: tuple[Freeze, ...]
    expiring: tuple[Expiring, ...]
    certificate_days: dict[str, int | None]
    key_days: dict[tuple[Kind, str], int]


class Overseer:
    """Oversight of one node, whose own certificate ends at `certificate_ends_ms`."""

    def __init__(self, *, log: Log, member: str, certificate_ends_ms: int) -> None:
        self._log = log
        self._member = member
        self._certificate_ends_ms = certificate_ends_ms
        self._closed: set[bytes] = set()
        self._seen: tuple[int, int] | None = None
        self._found: Oversight | None = None
        self._reminder = Reminder()

    def note_final(self, wall_ms: int) -> None:
        """Blocks are final: look, if this has not been done on this day."""
        if self._seen is None or self._seen[1] != wall_ms // DAY_MS:
            self.look(wall_ms)

    def look(self, wall_ms: int) -> Oversight:
        """What there is to see at this time."""
        now = (self._log.tip.height, wall_ms // DAY_MS)
        if self._found is None or self._seen != now:
            self._found, self._seen = self._look(wall_ms), now
            self._reminder.tell(self._found.expiring)
        return self._found

    def _look(self, wall_ms: int) -> Oversight:
        bases = (LEGAL_BASES.decode(value) for _, value in scan_pairs(self._log, BASES_PREFIX))
        keys = tuple(self._ending_keys())
        own = judge_certificate(self._member, self._certificate_ends_ms, wall_ms)
        ending = (found for key in keys for found in judge_key(*key, wall_ms))
        return Oversight(
            open=tuple(self._open()),
            waiting=tuple(self._waiting()),
            freezes=read_freezes(self._log),
            expiring=(
                *own,
                *ending,
                *self._ending_gateway(wall_ms),
                *(found for basis in bases for found in judge_basis(basis, wall_ms)),
                *(
                    found
                    for each in read_sunsets(self._log)
                    for found in judge_sunset(each, wall_ms)
                ),
            ),
            certificate_days={
                each.member: _days_left(each.tls_certificate, wall_ms)
                for each in read_validators(self._log)
            },
            key_days={(kind, name): count_days(ends, wall_ms) for kind, name, ends in keys},
        )

    def _ending_keys(self) -> Iterator[tuple[Kind, str, str]]:
        """Kind, fingerprint and last day of the own member's keys that sign or are sealed to."""
        for key, value in scan_pairs(self._log, TERMS_PREFIX):
            officer, last_day = key[len(TERMS_PREFIX) :], TERMS.decode(value).not_after
            holder = find_officer(self._log, officer)
            assert holder is not None, "a term is that of an officer"
            if last_day and holder.member == self._member and holder.status == "active":
                yield "officer-key", fingerprint(officer), last_day
        held = find_recipient(self._log, self._member)
        if held is not None and held.not_after:
            name = format_fingerprint(hash_encryption_key(held.key))
            yield "encryption-key", name, held.not_after

    def _ending_gateway(self, wall_ms: int) -> Iterator[Expiring]:
        """The own gateway's certificate that lasts longest: with it payloads end to be fetched."""
        gateway = find_gateway(self._log, self._member)
        if gateway is None:
            return
        dated = [
            (ends_ms, format_fingerprint(hash_certificate(each)))
            for each in gateway.certificates
            if (ends_ms := find_expiry_ms(each)) is not None
        ]
        if dated:
            ends_ms, name = max(dated)
            yield from judge_certificate(name, ends_ms, wall_ms, kind="gateway-certificate")

    def _open(self) -> list[tuple[bytes, Proposal]]:
        """Open proposals. One that is closed never opens again: it is not decoded again."""
        height = self._log.tip.height + 1
        found = []
        for key, value in scan_pairs(self._log, PROPOSALS_PREFIX):
            digest = key[len(PROPOSALS_PREFIX) :]
            if digest in self._closed:
                continue
            proposal = PROPOSALS.decode(value)
            if proposal.status == "open" and height <= proposal.ballots_until_height:
                found.append((digest, proposal))
            else:
                self._closed.add(digest)
        return found

    def _waiting(self) -> Iterator[tuple[bytes, Proposal]]:
        for each in read_waiting(self._log):
            proposal = find_proposal(self._log, each.proposal)
            assert proposal is not None, "what waits is a proposal"
            yield each.proposal, proposal


def _days_left(certificate: bytes, wall_ms: int) -> int | None:
    ends_ms = find_expiry_ms(certificate)
    return None if ends_ms is None else (ends_ms - wall_ms) // DAY_MS
