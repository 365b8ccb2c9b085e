"""What a full copy of a ledger tells about taxpayers: nothing.

The copy is everything there is: the genesis, the record bytes of executed blocks and the whole
state. The attacker knows all of it, knows every identifier that a taxpayer could have, and tries
each public string as the key of a commitment. Every attack is shown to work against makers of
commitments that are weaker in one way, so a test that finds nothing has looked.
"""

import hashlib
import hmac
import random
from collections.abc import Callable, Iterable
from functools import cache
from itertools import combinations
from typing import cast

import pytest

from ledger.blocks import RECORDS
from ledger.events import ShareRequested, parse_event
from ledger.exchange.subjects import commit_subject
from ledger.genesis import encode_genesis_json
from node.sealing.commitment import Commitment
from tests import builders
from tests.builders import OWNER, request
from tests.unit.contracts.samples import run, states
from tools.custody.blinds import blind_subjects, new_blind

Make = Callable[[tuple[str, ...]], tuple[bytes, ...]]
ASKERS = ("cn-3205-tax", "cn-3301-tax")
CANDIDATES = tuple(f"9133010{number:011}" for number in range(150))
ASKED = CANDIDATES[40:60]


def as_officers_do(names: tuple[str, ...]) -> tuple[bytes, ...]:
    """The commitments of `tally officer request`; the blinds are gone when it returns."""
    return tuple(each.commitment for each in blind_subjects(names))


def keyed(key: Callable[[str], bytes]) -> Make:
    return lambda names: tuple(commit_subject(name, key(name)) for name in names)


def once_a_process(_: str) -> bytes:
    return _fixed_blind()


@cache
def _fixed_blind() -> bytes:
    return new_blind()


def two_bytes(_: str) -> bytes:
    return bytes(30) + new_blind()[:2]


# One weakness each. None of these may pass the attack that it is weak against.
WEAK: dict[str, Make] = {
    "a plain hash": lambda names: tuple(hashlib.sha256(name.encode()).digest() for name in names),
    "no blind": keyed(lambda _: bytes(32)),
    "the network's id": keyed(lambda _: builders.NETWORK),
    "the key of the provider": keyed(lambda _: builders.key_of(OWNER, "provider").public[1:]),
    "a hash of the subject": keyed(lambda name: hashlib.sha256(name.encode()).digest()),
    "a hash of a member": keyed(lambda _: hashlib.sha256(OWNER.encode()).digest()),
}
REUSED = {"one blind for all": keyed(once_a_process)}


class Copy:
    """A ledger on which two members have asked about the same taxpayers, copied in full."""

    def __init__(self, make: Make) -> None:
        state = states()
        events = [
            request(member=asker, subjects=make(ASKED), label=f"{asker} {turn}")
            for asker in ASKERS
            for turn in range(2)
        ]
        execution = run(state, *events)
        assert all(outcome.applied for outcome in execution.outcomes)
        changes = execution.overlay.changes.items()
        self.records = execution.records
        self.parts = (
            encode_genesis_json(builders.genesis()),
            *execution.records,
            *(part for pair in changes for part in pair),
        )
        self.text = b"\n".join(self.parts)

    def requests(self) -> list[ShareRequested]:
        bodies = [parse_event(RECORDS.decode(data).event).body for data in self.records]
        return [cast(ShareRequested, body) for body in bodies]

    def commitments(self) -> list[bytes]:
        return [each for body in self.requests() for each in body.subjects]

    def public_keys(self) -> set[bytes]:
        """Strings of an event, of its envelope, of members, as keys: as they are, and hashed."""
        found = {b"", bytes(32), builders.NETWORK}
        for data in self.records:
            event = parse_event(RECORDS.decode(data).event)
            found |= {event.digest, event.nonce, event.officer, event.officer[1:]}
            found |= {event.member.encode(), str(event.body).encode()}
        found |= {name.encode() for name in (*builders.MEMBERS, *builders.PURPOSES)}
        found |= {officer.key[1:] for officer in builders.officers()}
        found |= {hashlib.sha256(each).digest() for each in found}
        return found | set(self.commitments())


def linked(copy: Copy) -> int:
    """How many commitments stand in the copy for the second time: equal subjects seen."""
    found = copy.commitments()
    return len(found) - len(frozenset(found))


def guessed(copy: Copy) -> set[str]:
    """Candidates of which the attacker proves that they were asked about."""
    wanted, keys = frozenset(copy.commitments()), copy.public_keys()
    return {name for name in CANDIDATES if not wanted.isdisjoint(images(name, keys))}


def images(name: str, keys: Iterable[bytes]) -> set[bytes]:
    """What a commitment to a candidate can be made of with these keys."""
    text = name.encode()
    found = {hashlib.sha256(text).digest()}
    for key in (*keys, hashlib.sha256(text).digest()):
        found.add(hmac.digest(key, text, "sha256"))
        found.add(hmac.digest(text, key, "sha256"))
        found.add(hashlib.sha256(key + text).digest())
    return found


def test_the_same_taxpayer_is_not_seen_again() -> None:
    assert linked(Copy(as_officers_do)) == 0


@pytest.mark.parametrize("weakness", [*WEAK, *REUSED])
def test_equal_commitments_would_be_seen(weakness: str) -> None:
    assert linked(Copy((WEAK | REUSED)[weakness])) == 3 * len(ASKED)


def test_no_candidate_can_be_guessed() -> None:
    assert guessed(Copy(as_officers_do)) == set()


@pytest.mark.parametrize("weakness", WEAK)
def test_guesses_find_weaker_commitments(weakness: str) -> None:
    assert guessed(Copy(WEAK[weakness])) == set(ASKED)


def test_nothing_of_subjects_or_blinds_stands_in_the_copy() -> None:
    blinded = blind_subjects(ASKED)
    copy = Copy(lambda _: tuple(each.commitment for each in blinded))
    for each in blinded:
        assert each.commitment in copy.text
        secrets = (each.blind, each.blind.hex().encode(), each.subject.encode())
        assert all(secret not in copy.text for secret in secrets)


def test_the_copy_of_one_taxpayer_could_be_that_of_another() -> None:
    # Whatever the commitment was made of, every other byte is the same: no field, length or order
    # of the ledger depends on the subject in another way than through its commitment.
    (one,) = blind_subjects(CANDIDATES[:1])
    (two,) = blind_subjects(CANDIDATES[1:2])
    first = request(subjects=(one.commitment,)).body
    second = request(subjects=(two.commitment,)).body
    assert first != second
    assert (
        request(subjects=(one.commitment,), label="x").data.replace(one.commitment, two.commitment)[
            :-65
        ]
        == request(subjects=(two.commitment,), label="x").data[:-65]
    )


def unbalanced(samples: list[bytes], labels: list[int]) -> list[int]:
    """Bits of 32-byte samples that go with the label: 6 standard deviations or more.

    By chance alone one of 256 bits does so in less than one of a million runs.
    """
    found = []
    half = len(samples) // 2
    for bit in range(256):
        ones = [sample[bit // 8] >> (bit % 8) & 1 for sample in samples]
        # Difference of two sums of `half` fair bits: its variance is half / 2.
        signed = sum(one if label else -one for one, label in zip(ones, labels, strict=True))
        if 2 * signed * signed >= 36 * half:
            found.append(bit)
    return found


def choices(make: Make, count: int = 2_000) -> tuple[list[bytes], list[int]]:
    """Commitments to one of two candidates each, and to which: equally often, in random order."""
    labels = [0, 1] * (count // 2)
    random.Random(7).shuffle(labels)
    return [make((CANDIDATES[label],))[0] for label in labels], labels


def test_two_candidates_cannot_be_told_apart_without_blinds() -> None:
    assert unbalanced(*choices(as_officers_do)) == []


@pytest.mark.parametrize("weakness", [*WEAK, *REUSED])
def test_weaker_commitments_tell_them_apart(weakness: str) -> None:
    assert len(unbalanced(*choices((WEAK | REUSED)[weakness]))) > 64


def test_blinds_are_fresh_and_whole() -> None:
    blinds = [new_blind() for _ in range(2_000)]
    assert {len(blind) for blind in blinds} == {32}
    assert len(frozenset(blinds)) == len(blinds)
    ones = [sum(blind[bit // 8] >> (bit % 8) & 1 for blind in blinds) for bit in range(256)]
    # 2,000 fair bits: 1,000 ones, standard deviation 22.4.
    assert all(abs(one - 1_000) < 135 for one in ones)


def test_blinds_of_few_bits_would_be_seen() -> None:
    short = [two_bytes("") for _ in range(2_000)]
    assert len(frozenset(short)) < len(short)


def test_commitments_to_one_subject_are_as_far_apart_as_strangers() -> None:
    found = [as_officers_do(CANDIDATES[:1])[0] for _ in range(60)]
    distances = [
        (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()
        for one, other in combinations(found, 2)
    ]
    # 256 fair bits: 128 differ, standard deviation 8.
    assert 128 - 8 < sum(distances) // len(distances) < 128 + 8
    assert min(distances) > 128 - 8 * 8


def test_equal_payloads_have_unrelated_commitments() -> None:
    payload, found = b"the same records", set()
    for _ in range(100):
        commitment = Commitment(new_blind())
        commitment.update(payload)
        found.add(commitment.digest())
    assert len(found) == 100
    public = Copy(as_officers_do).public_keys()
    guesses = {hmac.digest(key, b"tallystick/payload/v1\0" + payload, "sha256") for key in public}
    assert not found & guesses
