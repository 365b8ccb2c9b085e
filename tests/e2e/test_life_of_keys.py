"""Keys from their first day to their last, and votes that ask for two keys: real commands."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.test_governance import GROUNDS, A, B, C, D, World, tell
from tests.e2e.test_tally import tally

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SECOND = "admin-2"
DAY = dt.timedelta(days=1)


def each_member_gets_a_second_administrator(world: World) -> None:
    """By vote of the others: one administrator alone appoints nobody."""
    for member in (A, B, C, D):
        agency, statement = world[member], world.root / f"{member}.json"
        tally("keys", "generate", agency.key(SECOND), "--plain")
        tally(
            *("member", "key", agency.key(SECOND), "--member", member, "--role", "admin"),
            *("--out", statement, "--genesis", agency.genesis),
        )
        proposal = agency.propose("officer", "add", statement)
        assert agency.status(proposal) == "open"
        world.carry(proposal, *[other for other in (A, B, C) if other != member][:2])
        assert agency.status(proposal) == "in_force"


def a_rule_of_two_keys_is_carried_by_two_keys(world: World) -> None:
    """A new rule must be satisfied by the very votes that make it."""
    proposal = world[A].propose("rule", "set", "parties", "--share", 500, "--factors", 2)
    told = world[A].see("admin", "proposal", proposal)
    assert (told["factors"], told["approved"], told["pending_second_key"]) == (2, [], [A])
    world.carry(proposal, B, C, D)
    assert world[A].status(proposal) == "open", "four members, one key each"
    for member in (A, B):
        world[member].ballot(proposal, key=SECOND)
    assert world[A].status(proposal) == "open"
    told = world[A].see("admin", "proposal", proposal)
    assert (told["approved"], told["pending_second_key"]) == (sorted([A, B]), sorted([C, D]))
    world[C].ballot(proposal, key=SECOND)
    assert world[A].status(proposal) == "in_force"


def a_class_of_two_keys_counts_no_member_by_one(world: World) -> None:
    sanction = ("member", "sanction", D, "--points", 1, *GROUNDS)
    proposal = world[A].propose(*sanction)
    world.carry(proposal, B, C)
    assert world[A].refused("admin", "ballot", proposal) == "ballot-repeated"
    assert world[B].refused("admin", "ballot", proposal) == "ballot-repeated"
    told = world[A].see("admin", "proposal", proposal)
    assert (told["status"], told["approved"]) == ("open", [])
    for member in (A, B, C):
        assert world[A].status(proposal) == "open"
        world[member].ballot(proposal, key=SECOND)
    assert world[A].status(proposal) == "in_force"


def an_encryption_key_is_published_by_two_own_administrators(world: World) -> None:
    agency, path = world[B], world.root / "recipient.key"
    public = world.root / "recipient.json"
    tally("keys", "generate", path, "--encryption", "--plain")
    made = tally("keys", "export-public", path, public)
    soon = (dt.datetime.now(dt.UTC) + 20 * DAY).date().isoformat()
    proposal = agency.propose("encryption", "set", public, "--not-after", soon)
    assert agency.see("member", "show", B)["encryption_keys"] == []
    assert agency.refused("admin", "ballot", proposal) == "ballot-repeated"
    agency.ballot(proposal, key=SECOND)
    [held] = agency.see("member", "show", B)["encryption_keys"]
    assert held["key"] == made["public_key"]
    assert (held["not_after"], held["until_height"]) == (soon, 0)
    expiring = agency.see("node", "status", "--member", B)["expiring"]
    own = [row for row in expiring if row["kind"] == "encryption-key"]
    assert [(row["id"], row["within_days"]) for row in own] == [(made["fingerprint"], 30)]


def a_key_past_its_last_day_signs_nothing(world: World) -> None:
    agency = world[A]
    key = tally("keys", "show", agency.key("requester"))["public_key"]
    yesterday = (dt.datetime.now(dt.UTC) - DAY).date().isoformat()
    assert agency.request(B)["outcome"]["applied"]
    ended = agency.propose("officer", "term", key, "--not-after", yesterday)
    agency.ballot(ended, key=SECOND)
    assert agency.request(B, exit_code=1)["error"]["code"] == "officer-expired"
    longer = agency.propose("officer", "term", key, "--not-after", "never")
    agency.ballot(longer, key=SECOND)
    assert agency.request(B)["outcome"]["applied"]


def a_key_is_succeeded_by_its_own_statement(world: World) -> None:
    agency = world[A]
    made = tally(
        *("keys", "rotate", agency.key("requester"), "--member", A, "--plain"),
        *("--genesis", agency.genesis),
    )
    rotation = agency.act(
        *("admin", "propose", "officer", "rotate", made["rotation"]),
        *("--overlap-blocks", 1, *GROUNDS),
    )
    for name in ("add", "revoke"):
        agency.ballot(rotation[name]["digest"], key=SECOND)
    officers = {each["key"]: each for each in agency.see("member", "show", A)["officers"]}
    assert officers[made["new_key"]]["roles"] == officers[made["old_key"]]["roles"]
    assert agency.request(B, exit_code=1)["error"]["code"] == "officer-revoked"
    Path(made["path"]).replace(agency.key("requester"))
    assert agency.request(B)["outcome"]["applied"]


def the_log_of_it_is_valid(world: World) -> None:
    auditor, copy = world[C], world.root / "copy"
    auditor.mirror(copy)
    assert tally("audit", "replay", copy, "--genesis", auditor.genesis)["replay"] == "valid"


CHAPTERS: tuple[Callable[[World], None], ...] = (
    each_member_gets_a_second_administrator,
    a_rule_of_two_keys_is_carried_by_two_keys,
    a_class_of_two_keys_counts_no_member_by_one,
    an_encryption_key_is_published_by_two_own_administrators,
    a_key_past_its_last_day_signs_nothing,
    a_key_is_succeeded_by_its_own_statement,
    the_log_of_it_is_valid,
)


def test_the_life_of_keys_in_its_order(tmp_path: Path) -> None:
    tell(CHAPTERS, tmp_path)
