"""Replay across epochs: the lists in the log must be those that executing it makes."""

from typing import Any

import msgspec
import pytest

from contracts.lookup import read_validators
from contracts.replay import replay
from ledger.blocks import RECORDS
from ledger.errors import Divergence
from ledger.events import Body, Event
from ledger.genesis import Genesis
from ledger.governance.actions import Action
from ledger.governance.proposals import GovernanceBalloted, GovernanceProposed
from ledger.keys import SecretKey
from ledger.quorum.governance import (
    AddValidator,
    RemoveValidator,
    ValidatorReady,
    prove_possession,
)
from ledger.quorum.lists import hash_validator_list
from ledger.registry import Officer, Validator
from tests.unit.contracts.test_replay import add_executed, make_cedar_genesis
from tests.unit.ledger.builders import (
    MEMBERS,
    ChainBuilder,
    consensus_secret,
    make_event,
    make_member,
    make_validator,
    officer_secret,
)

ALL = ("center", *MEMBERS)
AFTER = ("center", "east", "north", "south")


def governed_genesis() -> Genesis:
    """Five members, each with an officer for everything; four have validators."""
    officers = (
        Officer(key=officer_secret(id_).public, member=id_, roles=("requester", "admin"),
                status="active")
        for id_ in ALL
    )  # fmt: skip
    return make_cedar_genesis(
        members=tuple(make_member(id_) for id_ in ALL),
        officers=tuple(sorted(officers, key=lambda officer: officer.key)),
    )


class Governed:
    """A log whose events are signed by name."""

    def __init__(self) -> None:
        self.chain = ChainBuilder(governed_genesis())
        self.number = 0

    def sign(self, member: str, body: Body, secret: SecretKey | None = None) -> Event:
        self.number += 1
        return make_event(
            self.number,
            network=self.chain.network,
            member=member,
            secret=secret or officer_secret(member),
            body=body,
        )

    def change(self, *actions: Action) -> list[Event]:
        """A proposal by the first voter and what carries it."""
        voters = [validator.member for validator in self.chain.validators]
        body = GovernanceProposed(
            actions=actions, text="", activate_height=1, ballots_until_height=100
        )
        first = self.sign(voters[0], body)
        yes = GovernanceBalloted(proposal=first.digest, approve=True, text="")
        return [first, *(self.sign(member, yes) for member in voters[1:3])]

    def ready(self, following: tuple[Validator, ...], count: int) -> list[Event]:
        body = ValidatorReady(
            next_epoch=self.chain.epoch + 1,
            set_hash=hash_validator_list(following),
            synced_height=1,
        )
        return [
            self.sign(each.member, body, consensus_secret(each.member))
            for each in following[:count]
        ]

    def add(self, member: str) -> AddValidator:
        added = make_validator(member)
        proof = prove_possession(consensus_secret(member), self.chain.network, added)
        return AddValidator(validator=added, address="[::1]:7001", possession=proof)

    def seal(self, *members: str, **lies: Any) -> None:
        """The block that seals the list of these members, with its ready events."""
        following = tuple(make_validator(member) for member in sorted(members))
        quorum = len(following) - (len(following) - 1) // 3
        fields = {"next_validators": hash_validator_list(following), **lies}
        add_executed(self.chain, self.ready(following, quorum), **fields)
        self.chain.enter(following)


def one_change() -> Governed:
    """Center joins, west leaves: blocks at 0 (with 3 records) and, seal, at 4 (with 3)."""
    log = Governed()
    add_executed(log.chain, log.change(log.add("center"), RemoveValidator(member="west")))
    return log


def refused(log: Governed, **files: Any) -> Divergence:
    with pytest.raises(Divergence) as caught:
        replay(log.chain.copy(**files).get)
    return caught.value


def test_a_log_of_three_epochs_is_valid() -> None:
    log = one_change()
    log.seal(*AFTER)
    add_executed(log.chain, [log.sign("center", log.change(log.add("west"))[0].body)])
    add_executed(log.chain, log.change(log.add("west")))
    log.seal(*ALL)
    add_executed(log.chain, [])
    report = replay(log.chain.copy().get)
    assert (report.epoch, report.blocks, report.refused) == (2, 6, 0)
    assert len(report.cosigners) == 5
    assert read_validators(log.chain.state) == log.chain.validators
    assert report.state_digest == log.chain.blocks[-1].header.state_digest


def test_a_list_that_execution_does_not_make_is_named() -> None:
    """A quorum of the epoch signed and proved it: only re-execution can tell."""
    log = one_change()
    usurped = tuple(make_validator(member) for member in ("a", "b", "c", "d"))
    following = tuple(make_validator(member) for member in AFTER)
    add_executed(log.chain, log.ready(following, 3), next_validators=hash_validator_list(usurped))
    log.chain.enter(usurped)
    add_executed(log.chain, [])
    found = refused(log)
    assert (found.step_name, found.index) == ("state", 4)
    assert hash_validator_list(following).hex() in found.expected
    assert hash_validator_list(usurped).hex() in found.found


def test_a_seal_that_nobody_decided_is_named() -> None:
    log = one_change()
    following = tuple(make_validator(member) for member in AFTER)
    add_executed(log.chain, log.ready(following, 2), next_validators=hash_validator_list(following))
    log.chain.enter(following)
    found = refused(log)
    assert (found.step_name, found.index) == ("state", 4)
    assert found.expected == "a block that does not end its epoch"


def test_a_seal_that_was_left_out_is_named() -> None:
    log = one_change()
    following = tuple(make_validator(member) for member in AFTER)
    add_executed(log.chain, log.ready(following, 3))
    found = refused(log)
    assert (found.step_name, found.index) == ("state", 4)
    assert found.found == "a block that does not end its epoch"


def test_a_forged_outcome_of_a_ballot_is_named() -> None:
    log = Governed()
    true = add_executed(log.chain, log.change(log.add("center")))
    record = RECORDS.decode(true[2])
    outcome = msgspec.structs.replace(record.outcome, applied=False, code="ballot-repeated")
    forged = RECORDS.encode(msgspec.structs.replace(record, outcome=outcome))
    log = Governed()
    events = log.change(log.add("center"))
    add_executed(log.chain, events, records=(*true[:2], forged))
    found = refused(log)
    assert (found.step_name, found.index) == ("outcomes", 3)
    assert "ballot-repeated" in found.found


def test_earlier_steps_of_epochs_run_too() -> None:
    log = one_change()
    log.seal(*AFTER)
    add_executed(log.chain, [])
    assert replay(log.chain.copy().get).epoch == 1
    found = refused(log, **{"epochs/0": None})
    assert (found.step_name, found.index) == ("epochs", 4)
