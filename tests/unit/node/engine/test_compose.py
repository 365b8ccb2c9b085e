"""What a configuration says beside what the log says: a log that is behind forbids nothing."""

from functools import partial
from pathlib import Path

import pytest

from ledger.keys import SecretKey
from ledger.log import Log
from ledger.storage import open_store
from node.config import Address
from node.engine.compose import check_place
from node.startup import Identity
from tests.builders import hash32
from tests.refusals import start_refused
from tests.unit.node.engine.network import GENESIS

MEMBERS = [validator.member for validator in GENESIS.validators]


def address(number: int) -> Address:
    return Address("127.0.0.1", 7_000 + number)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(open_store(tmp_path / "store"), GENESIS)


def stranger(member: str) -> Identity:
    keys = [SecretKey(hash32(f"{member}/{name}")) for name in ("consensus", "cosigning", "log")]
    consensus, cosigning, log = keys
    return Identity(
        member=member, consensus=consensus, cosigning=cosigning, log=log, certificate=b"none"
    )


def test_an_agency_admitted_since_starts_its_node_on_an_empty_log(log: Log) -> None:
    addresses = {member: address(number) for number, member in enumerate(MEMBERS)}
    check_place(log, stranger("cn-9999-tax"), {**addresses, "cn-9998-tax": address(99)})


def test_every_validator_needs_an_address(log: Log) -> None:
    addresses = {member: address(number) for number, member in enumerate(MEMBERS[1:])}
    place = partial(check_place, log, stranger("cn-9999-tax"), addresses)
    assert MEMBERS[0] in start_refused(place, "start-peers-missing").detail


def test_a_key_of_another_member_is_refused(log: Log) -> None:
    entry = GENESIS.validators[0]
    addresses = {member: address(number) for number, member in enumerate(MEMBERS)}
    thief = stranger("cn-9999-tax")
    stolen = Identity(
        member=thief.member,
        consensus=thief.consensus,
        cosigning=thief.cosigning,
        log=thief.log,
        certificate=entry.tls_certificate,
    )
    told = start_refused(lambda: check_place(log, stolen, addresses), "start-member-other")
    assert f"are those of {entry.member}" in told.detail
