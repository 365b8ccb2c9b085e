"""Oversight of a real log: proposals that come and go, freezes, certificates, and when it looks."""

import datetime as dt
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from ledger.custody.certificates import hash_certificate
from ledger.genesis import Genesis
from ledger.governance.actions import RevokeOfficer, SanctionMember, SetFreeze
from ledger.governance.keys import SetTerm
from ledger.keys import fingerprint
from ledger.registry import Freeze
from node.oversight import scan as module
from node.oversight.overseer import Overseer
from tests.builders import (
    TIME_MS,
    VALIDATORS,
    ballot,
    carried,
    genesis,
    key_of,
    legal_basis,
    propose,
    take_back,
)
from tests.certificates import certificate_of, der_of
from tests.registers import sunset
from tests.unit.contracts.governance.parts import gateway, recipient
from tests.unit.node.world import GENESIS, Ledger, ledger

DAY_MS = 86_400_000
SANCTION = SanctionMember(member=VALIDATORS[3], points=1, grounds="late")
FREEZE = SetFreeze(freeze=Freeze(requester="", provider="", dataset="", reason="stop"))


def watch(here: Ledger, days: int = 400) -> Overseer:
    ends_ms = TIME_MS + days * DAY_MS
    return Overseer(log=here.log, member=VALIDATORS[0], certificate_ends_ms=ends_ms)


def certificate(days: int) -> bytes:
    """A certificate (DER) that ends so many days after the tests' time."""
    start = dt.datetime.fromtimestamp(TIME_MS / 1_000, dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    built = x509.CertificateBuilder(
        issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=1
    )
    built = built.not_valid_before(start).not_valid_after(start + dt.timedelta(days=days))
    return built.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_open_proposals_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCAN_PAIRS", 2)
    with ledger(tmp_path) as here:
        overseer = watch(here)
        made = [propose(SANCTION, label=str(number)) for number in range(5)]
        short = propose(SANCTION, label="short", ballots_until_height=2)

        def seen() -> set[bytes]:
            return {digest for digest, _ in overseer.look(TIME_MS).open}

        here.finalize(*made, short)
        assert seen() == {each.digest for each in (*made, short)}
        here.finalize(take_back(made[0]))
        assert seen() == {each.digest for each in made[1:]}  # and the short one is over
        against = (ballot(made[1], each, approve=False) for each in VALIDATORS[1:3])
        here.finalize(*against)
        assert seen() == {each.digest for each in made[2:]}


def test_waiting_proposals_and_freezes(tmp_path: Path) -> None:
    with ledger(tmp_path) as here:
        overseer = watch(here)
        events = carried(SANCTION, activate_height=99)
        here.finalize(events[0])
        here.finalize(*events[1:])
        found = overseer.look(TIME_MS)
        assert [digest for digest, _ in found.waiting] == [events[0].digest]
        assert found.open == found.freezes == ()
        stop, *agreed = carried(FREEZE, activate_height=0)
        here.finalize(stop)
        here.finalize(agreed[0])
        assert overseer.look(TIME_MS).freezes == (FREEZE.freeze,)


def test_certificates_of_validators(tmp_path: Path) -> None:
    founding = genesis()
    validators = list(founding.validators)
    validators[1] = msgspec.structs.replace(validators[1], tls_certificate=certificate(12))
    founding = msgspec.structs.replace(founding, validators=tuple(validators))
    with ledger(tmp_path, founding=founding) as here:
        days = watch(here).look(TIME_MS).certificate_days
        assert days == {VALIDATORS[0]: None, VALIDATORS[1]: 12} | dict.fromkeys(VALIDATORS[2:])


def basis_until(last: str) -> Genesis:
    bases = (legal_basis("short", in_force_to=last),)
    return msgspec.structs.replace(GENESIS, legal_bases=bases)


def test_what_ends_soon_is_seen_and_told_once_a_threshold(tmp_path: Path) -> None:
    with ledger(tmp_path, founding=basis_until("2026-03-01")) as here:
        overseer = watch(here, days=70)
        with capture_logs() as logs:
            found = overseer.look(TIME_MS)
            assert [(each.kind, each.id) for each in found.expiring] == [("legal-basis", "short")]
            for day in range(1, 50):
                overseer.look(TIME_MS + day * DAY_MS)
        told = [(each["id"], each["days_left"]) for each in logs]
        member = VALIDATORS[0]
        assert told == [("short", 59), (member, 59), ("short", 29), (member, 29)]


def test_a_sunset_date_is_told_of_until_it_has_come(tmp_path: Path) -> None:
    with ledger(tmp_path) as here:
        overseer = watch(here)
        here.finalize(*carried(sunset("purpose/audit", "2026-01-03"), activate_height=0))
        with capture_logs() as logs:
            (found,) = overseer.look(TIME_MS).expiring
        assert (found.kind, found.id, found.ends) == ("purpose", "audit", "2026-01-02")
        (told,) = logs
        assert (told["event"], told["id"], told["days_left"]) == ("ends soon", "audit", 1)


def test_a_final_block_is_a_reason_to_look_once_a_day(tmp_path: Path) -> None:
    with ledger(tmp_path) as here:
        overseer = watch(here, days=59)
        with capture_logs() as logs:
            overseer.note_final(TIME_MS)
            assert len(logs) == 1
            here.finalize(propose(SANCTION))
            overseer.note_final(TIME_MS + 1)
            overseer.note_final(TIME_MS + 31 * DAY_MS)
        assert [each["days_left"] for each in logs] == [59, 28]
        # A look of today that is older than the tip is no answer.
        assert len(overseer.look(TIME_MS + 31 * DAY_MS).open) == 1


def test_keys_of_the_own_member_are_told_until_they_end_or_are_replaced(tmp_path: Path) -> None:
    own, other = (key_of(each, "admin").public for each in VALIDATORS[:2])
    terms = [
        SetTerm(member=VALIDATORS[0], key=own, not_after="2026-02-20"),
        SetTerm(member=VALIDATORS[1], key=other, not_after="2026-01-02"),
        recipient(VALIDATORS[0], not_after="2026-01-05"),
    ]
    with ledger(tmp_path) as here:
        overseer = watch(here)
        here.finalize(*carried(*terms, activate_height=0))
        with capture_logs() as logs:
            found = overseer.look(TIME_MS)
            assert found.key_days == {
                ("officer-key", fingerprint(own)): 50,
                ("encryption-key", fingerprint(recipient().key)): 4,
            }
            for day in range(60):
                overseer.look(TIME_MS + day * DAY_MS)
        told = [(each["kind"], each["days_left"]) for each in logs]
        assert told == [
            ("officer-key", 50), ("encryption-key", 4), ("officer-key", 29), ("officer-key", 6),
        ]  # fmt: skip
        # The officer has another key by then; to a member without a key nobody can send anything.
        last = overseer.look(TIME_MS + 59 * DAY_MS)
        assert [(each.kind, each.days_left) for each in last.expiring] == [("encryption-key", -55)]
        here.finalize(*carried(recipient(label="two"), activate_height=0, label="next"))
        assert overseer.look(TIME_MS + 59 * DAY_MS).expiring == ()


def test_a_revoked_key_is_not_told(tmp_path: Path) -> None:
    key = key_of(VALIDATORS[0], "admin").public
    ending = SetTerm(member=VALIDATORS[0], key=key, not_after="2026-01-05")
    with ledger(tmp_path) as here:
        here.finalize(*carried(ending, activate_height=0))
        overseer = watch(here)
        assert len(overseer.look(TIME_MS).expiring) == 1
        revoke = RevokeOfficer(key=key, grounds="left")
        here.finalize(*carried(revoke, activate_height=0, label="revoke"))
        assert overseer.look(TIME_MS).expiring == ()


def test_the_certificate_of_the_own_gateway_that_lasts_longest_is_told(tmp_path: Path) -> None:
    own = gateway(VALIDATORS[0])  # up to the first day of the next year
    with ledger(tmp_path) as here:
        overseer = watch(here, days=1_000)
        here.finalize(*carried(own, gateway(VALIDATORS[1]), activate_height=0))
        assert overseer.look(TIME_MS + 300 * DAY_MS).expiring == ()
        for days, left in ((310, 55), (360, 5), (400, -35)):
            (found,) = overseer.look(TIME_MS + days * DAY_MS).expiring
            assert (found.kind, found.days_left) == ("gateway-certificate", left)
            assert found.id == hash_certificate(der_of("one")).hex()[:16]
        longer = certificate_of("later", days=900).public_bytes(Encoding.DER)
        both = msgspec.structs.replace(own, certificates=(*own.certificates, longer))
        here.finalize(*carried(both, activate_height=0, label="next"))
        assert overseer.look(TIME_MS + 400 * DAY_MS).expiring == ()
