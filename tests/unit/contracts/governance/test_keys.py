"""Keys in the course of time: successors, last days, encryption keys, and every refusal."""

from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.execute import Execution
from contracts.lookup import find_encryption_key, find_officer, find_recipient
from ledger.custody.encryption import X25519_BYTES, hash_encryption_key
from ledger.custody.rotation import SignedRotation, sign_rotation
from ledger.governance.actions import Action, RevokeOfficer
from ledger.governance.keys import RotateOfficer, SetEncryptionKey, SetTerm, is_over
from ledger.keys import SecretKey
from ledger.state import MapState
from tests.builders import ASKER, HEIGHT, NETWORK, TIME_MS, ballot, hash32, key_of, propose, request
from tests.unit.contracts.governance.parts import (
    FIRST,
    SECOND,
    after,
    block,
    codes,
    encryption_bytes,
    faults,
    found,
    fresh_officer,
    passed,
    recipient,
    refusal,
    second_admin,
    states,
    with_second_admins,
)
from tests.unit.contracts.samples import run

DAY_MS = 86_400_000
TODAY = "2026-01-01"
REQUESTER = key_of(ASKER, "requester")
NEXT = SecretKey(hash32("next"))


def term(not_after: str, key: bytes = REQUESTER.public, member: str = ASKER) -> SetTerm:
    return SetTerm(member=member, key=key, not_after=not_after)


def rotation(old: SecretKey = REQUESTER, member: str = ASKER, **changed: bytes) -> RotateOfficer:
    network = changed.pop("network", NETWORK)
    signed = sign_rotation(old, NEXT, network=network, member=member)
    return RotateOfficer(statement=msgspec.structs.replace(signed, **changed))


def decided(state: MapState, *actions: Action, height: int, label: str = "") -> Execution:
    """One block in which a quorum carries the actions."""
    return block(state, *passed(*actions, label=label), height=height)


class TestEncryptionKeys:
    """The key that payloads are sealed to."""

    def test_a_key_is_in_force_from_its_height_and_the_one_before_stays(self) -> None:
        state = states()
        keys = [encryption_bytes(label) for label in ("one", "two", "three")]
        for place, label in enumerate(("one", "two", "three")):
            decided(state, recipient(label=label), height=HEIGHT + 10 * place, label=label)
        seen = {
            height: held.key
            for height in range(HEIGHT, HEIGHT + 30)
            if (held := find_recipient(state, FIRST, height)) is not None
        }
        assert HEIGHT not in seen
        assert [seen[HEIGHT + each] for each in (1, 10, 11, 20, 21, 29)] == [
            keys[0], keys[0], keys[1], keys[1], keys[2], keys[2],
        ]  # fmt: skip
        now = find_recipient(state, FIRST)
        assert now is not None
        assert (now.key, now.from_height, now.until_height) == (keys[2], HEIGHT + 21, 0)
        first = find_encryption_key(state, hash_encryption_key(keys[0]))
        assert first is not None
        assert (first.member, first.from_height, first.until_height) == (
            FIRST, HEIGHT + 1, HEIGHT + 11,
        )  # fmt: skip
        assert find_recipient(state, SECOND) is None

    def test_of_two_keys_in_one_block_the_last_is_in_force(self) -> None:
        state = states()
        decided(state, recipient(label="one"), recipient(label="two"), height=HEIGHT)
        for height in (None, HEIGHT + 1, HEIGHT + 9):
            held = find_recipient(state, FIRST, height)
            assert held is not None
            assert held.key == encryption_bytes("two")
        assert find_recipient(state, FIRST, HEIGHT) is None

    def test_two_own_administrators_publish_it_and_one_does_not(self) -> None:
        state = with_second_admins(FIRST)
        opened = propose(recipient())
        block(state, opened)
        assert found(state, opened).status == "open"
        assert find_recipient(state, FIRST) is None
        same = ballot(opened, FIRST, label="same key")
        assert refusal(state, same).code == "ballot-repeated"
        block(state, ballot(opened, FIRST, key=second_admin(FIRST)), height=HEIGHT + 1)
        held = find_recipient(state, FIRST)
        assert held is not None
        assert held.key == encryption_bytes("one")

    def test_administrators_of_another_member_do_not_decide_it(self) -> None:
        state = with_second_admins(SECOND)
        opened = propose(recipient(), member=SECOND)
        block(state, opened, ballot(opened, SECOND, key=second_admin(SECOND)))
        assert find_recipient(state, FIRST) is None

    def test_keys_that_are_refused(self) -> None:
        state = states()
        decided(state, recipient(), height=HEIGHT)
        assert faults(state, recipient()) == ["encryption-key-known"]
        assert faults(state, recipient(SECOND)) == ["encryption-key-known"]
        assert faults(state, recipient("nobody", "two")) == ["member-unknown"]
        assert faults(state, recipient(label="two", not_after="2026-02-30")) == ["last-day-invalid"]
        small = encryption_bytes("two")[:-X25519_BYTES] + bytes(X25519_BYTES)
        weak = SetEncryptionKey(member=FIRST, key=small, not_after="")
        assert faults(state, weak) == ["encryption-key-invalid"]


class TestTerms:
    """The last day of an officer's key."""

    def test_a_key_signs_on_its_last_day_and_not_after(self) -> None:
        state = after(*passed(term(TODAY)))
        asking = request()
        (outcome,) = run(state, asking, height=HEIGHT + 1).outcomes
        assert outcome.applied
        late_ms = TIME_MS - TIME_MS % DAY_MS + DAY_MS
        assert refusal(state, asking, HEIGHT + 1, time_ms=late_ms).code == "officer-expired"
        last_ms = late_ms - 1
        (outcome,) = run(state, asking, height=HEIGHT + 1, time_ms=last_ms).outcomes
        assert outcome.applied

    def test_it_is_extended_and_ended_by_the_same_action(self) -> None:
        state = after(*passed(term("2025-12-31")))
        assert refusal(state, request(), HEIGHT + 1).code == "officer-expired"
        decided(state, term("2026-12-31"), height=HEIGHT + 1, label="longer")
        assert run(state, request(), height=HEIGHT + 2).outcomes[0].applied
        decided(state, term(""), height=HEIGHT + 2, label="without end")
        assert run(state, request(), height=HEIGHT + 3, time_ms=TIME_MS * 2).outcomes[0].applied

    def test_it_is_set_together_with_the_key_by_two_own_administrators(self) -> None:
        state = with_second_admins(FIRST)
        new = fresh_officer(FIRST, "requester")
        opened = propose(new, term("2025-12-31", new.officer.key, FIRST))
        block(state, opened, ballot(opened, FIRST, key=second_admin(FIRST)))
        assert found(state, opened).status == "in_force"
        asking = request(member=FIRST, provider=SECOND, key=SecretKey(hash32("fresh")))
        assert refusal(state, asking, HEIGHT + 1).code == "officer-expired"

    def test_terms_that_are_refused(self) -> None:
        state = after(*passed(term(TODAY)))
        assert faults(state, term(TODAY)) == ["unchanged"]
        assert faults(state, term("2026-02-30")) == ["last-day-invalid"]
        assert faults(state, term("2027-01-01", NEXT.public)) == ["officer-unknown"]
        assert faults(state, term("2027-01-01", member=FIRST)) == ["officer-of-other-member"]
        revoke = RevokeOfficer(key=REQUESTER.public, grounds="x")
        decided(state, revoke, height=HEIGHT + 1, label="revoked")
        assert faults(state, term("2027-01-01")) == ["officer-revoked"]

    @given(st.dates(), st.dates())
    def test_days_compare_as_their_texts(self, last: date, day: date) -> None:
        assert is_over(str(last), str(day)) == (day > last)
        assert not is_over("", str(day))


class TestRotation:
    """The successor that a key named."""

    def test_the_successor_has_the_roles_and_the_old_key_stays(self) -> None:
        state = after(*passed(rotation()))
        old, new = (find_officer(state, key.public) for key in (REQUESTER, NEXT))
        assert old is not None
        assert new is not None
        assert (new.member, new.roles, new.status) == (ASKER, old.roles, "active")
        assert run(state, request(key=NEXT), height=HEIGHT + 1).outcomes[0].applied
        assert run(state, request(), height=HEIGHT + 1).outcomes[0].applied

    def test_two_own_administrators_carry_it(self) -> None:
        state = with_second_admins(FIRST)
        opened = propose(rotation(key_of(FIRST, "admin"), FIRST))
        block(state, opened, ballot(opened, FIRST, key=second_admin(FIRST)))
        assert found(state, opened).status == "in_force"

    @pytest.mark.parametrize(
        ("action", "code"),
        [
            (rotation(network=hash32("another")), "statement-invalid"),
            (rotation(old_signature=b"\1" + bytes(64)), "statement-invalid"),
            (rotation(new_signature=b"\1" + bytes(64)), "statement-invalid"),
            (rotation(SecretKey(hash32("nobody's"))), "officer-unknown"),
            (rotation(member=FIRST), "officer-of-other-member"),
        ],
    )
    def test_statements_that_are_refused(self, action: RotateOfficer, code: str) -> None:
        assert faults(states(), action) == [code]

    def test_a_key_that_somebody_has_succeeds_nobody(self) -> None:
        state = after(*passed(rotation()))
        assert faults(state, rotation()) == ["officer-exists"]
        decided(
            state, RevokeOfficer(key=REQUESTER.public, grounds="x"), height=HEIGHT + 1, label="r"
        )
        assert "officer-revoked" in faults(state, rotation())

    def test_the_action_names_the_statement_whole(self) -> None:
        assert isinstance(rotation().statement, SignedRotation)
        assert codes(block(states(), *passed(rotation()))) == ["", "", ""]
