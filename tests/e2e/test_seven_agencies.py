"""Seven agencies on seven homes: four found a network, three join it, no record is ever lost.

The commands are those that people use, the nodes are processes. One applicant is declined first,
one agency loses the keys of all its administrators, one is suspended for a while. The node of one
that joined becomes a validator, and its member's ballots count from then on.
"""

import dataclasses
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.agencies import (
    GROUNDS,
    Agency,
    World,
    apply,
    found_homes,
    run_homes,
    standing,
)
from tests.e2e.network import wait_block
from tests.e2e.test_tally import tally
from tests.unit.tools.found.builders import MEMBERS
from tools.exits import ERROR
from tools.localnet import Localnet, free_ports, get_json

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

A, B, C, D = MEMBERS
VOTER, LOSER, SUSPECT = "cn-3303-tax", "cn-3304-tax", "cn-3306-tax"
COMMITMENT = "11" * 32
ROUNDS_MAX = 10


def one_is_declined_and_applies_again(world: World) -> None:
    applicant = world[VOTER]
    first = world[A].propose("member", "admit", apply(applicant, "税务局", "Bureau"))
    assert standing(applicant) == ("proposed", "ballots")
    world[B].ballot(first, "--reject", "--text", "which bureau?")
    world[C].ballot(first, "--reject")
    assert standing(applicant) == ("unknown", "again")
    told = applicant.see("member", "status", "--member", VOTER)["admissions"]
    assert [each["reasons"] for each in told] == [[f"{B}: which bureau?"]]
    assert applicant.refused("member", "acknowledge", first) == "member-unknown"
    keys = {path: path.read_bytes() for path in (applicant.home / "keys").iterdir()}
    join(world, VOTER, "温州市税务局", "Wenzhou Tax Bureau")
    assert keys == {path: path.read_bytes() for path in (applicant.home / "keys").iterdir()}


def two_more_join(world: World) -> None:
    join(world, LOSER, "嘉兴市税务局", "Jiaxing Tax Bureau")
    join(world, SUSPECT, "绍兴市税务局", "Shaoxing Tax Bureau")
    members = world[D].see("member", "show", SUSPECT)
    assert (members["status"], len(members["officers"])) == ("active", 5)


def join(world: World, member: str, name_zh: str, name_en: str) -> None:
    """An agency that has no node asks to join, is voted in, and acknowledges."""
    applicant = world[member]
    proposal = world[A].propose("member", "admit", apply(applicant, name_zh, name_en))
    world.carry(proposal, B, D)
    assert applicant.request(A, exit_code=ERROR)["error"]["code"] == "member-not-active"
    applicant.act("member", "acknowledge", proposal)
    assert standing(applicant) == ("active", "nothing")


def a_member_without_a_validator_appoints_but_does_not_vote(world: World) -> None:
    own = world[LOSER]
    appoint(own, "clerk", "admin-2")
    assert own.request(B, key="clerk")["outcome"]["decision"] == "permit"
    suspend = ("member", "suspend", SUSPECT, *GROUNDS)
    assert own.propose(*suspend, exit_code=ERROR) == "not-a-voter"
    statement = world[SUSPECT].new_key("helper", "requester")
    assert own.propose("officer", "add", statement, exit_code=ERROR) == "not-a-voter"
    proposal = world[A].propose(*suspend)
    assert own.refused("admin", "ballot", proposal) == "not-a-voter"
    assert world[A].act("admin", "withdraw", proposal)["outcome"]["applied"]


def appoint(agency: Agency, name: str, second: str, first: str = "admin") -> None:
    """Two administrators of an agency make a key one of its requesters."""
    proposal = agency.propose("officer", "add", agency.new_key(name, "requester"), key=first)
    assert agency.refused("admin", "ballot", proposal, key=first) == "ballot-repeated"
    agency.ballot(proposal, key=second)


def the_node_of_one_becomes_a_validator(world: World) -> None:
    home = world[VOTER].home
    peers, api, metrics = (f"127.0.0.1:{port}" for port in free_ports(3))
    made = tally(
        *("node", "join", home, "--member", VOTER, "--address", peers, "--api", api),
        *("--metrics", metrics, "--genesis", world[A].url),
        *("--application", home / "application.json", "--plain"),
    )
    tally("node", "activate", "--config", made["config"], "--yes")
    proposed = world[A].act("admin", "validator", "add", made["application"])
    world.carry(proposed["digest"], B, C)
    run_homes([home], world.nodes)
    own = dataclasses.replace(world[VOTER], url=f"http://{api}")
    world.agencies[VOTER] = own
    world.urls.append(own.url)
    world[A].settle()
    # The others have sealed the epoch; an idle network makes no block of the next one.
    world[A].request(B)
    for url in world.urls:
        wait_block(url, lambda at: at["epoch"] == 1)
    seats = sorted((*MEMBERS, VOTER))
    assert [seat["member"] for seat in own.see("admin", "validators")["validators"]] == seats
    assert own.see("admin", "rules")["voters"] == seats
    stages = tally("node", "status", "--dir", home)["stages"]
    assert all(stage["done"] for stage in stages)


def an_agency_without_administrators_gets_new_ones_by_vote(world: World) -> None:
    loser, lost = world[LOSER], world.root / "lost"
    old = {name: loser.public_key(name) for name in ("admin", "admin-2")}
    lost.mkdir()
    for name in old:
        loser.key(name).rename(lost / f"{name}.key")
    assert loser.request(B)["outcome"]["decision"] == "permit", "its other officers go on"

    first = loser.new_key("admin-3", "admin")
    rotation = world[A].act(
        *("admin", "propose", "officer", "rotate", first, "--old", old["admin"]),
        *("--overlap-blocks", 1, *GROUNDS),
    )
    second = world[B].propose("officer", "add", loser.new_key("admin-4", "admin"))
    revocation = world[C].propose("officer", "revoke", old["admin-2"], *GROUNDS)
    world.carry(rotation["add"]["digest"], C, VOTER)
    world.carry(rotation["revoke"]["digest"], C, VOTER)
    world.carry(second, C, VOTER)
    world.carry(revocation, A, VOTER)
    still_open = world[A].propose("officer", "add", loser.new_key("requester-9", "requester"))
    # Somebody finds the lost keys.
    for name in old:
        shutil.copy(lost / f"{name}.key", loser.key(name))
        assert loser.refused("admin", "ballot", revocation, key=name) == "proposal-closed"
        assert loser.refused("admin", "ballot", still_open, key=name) == "officer-revoked"
        loser.key(name).unlink()
    assert world[A].act("admin", "withdraw", still_open)["outcome"]["applied"]
    appoint(loser, "registrar", "admin-4", first="admin-3")
    assert loser.request(B, key="registrar")["outcome"]["decision"] == "permit"


def the_keys_of_a_validator_are_replaced_by_vote(world: World) -> None:
    home = world.root / "successor"
    peers, api, metrics = Localnet(world[B].home).index.nodes[0].peers, *free_ports(2)
    made = tally(
        *("node", "join", home, "--replace", "--member", B, "--address", peers),
        *("--api", f"127.0.0.1:{api}", "--metrics", f"127.0.0.1:{metrics}"),
        *("--genesis", world[A].genesis, "--plain"),
    )
    change = ("admin", "validator")
    assert world[A].refused(*change, "add", made["application"]) == "validator-exists"
    proposed = world[A].act(*change, "replace", made["application"])
    world.carry(proposed["digest"], C, D, VOTER)
    world.urls.remove(world[B].url)
    Localnet(world[B].home).stop()
    tally("node", "activate", "--config", made["config"], "--yes")
    run_homes([home], world.nodes)
    own = dataclasses.replace(world[B], url=f"http://127.0.0.1:{api}")
    world.agencies[B] = own
    world.urls.append(own.url)
    world[A].settle()
    seats = own.see("admin", "validators")["validators"]
    place = next(number for number, seat in enumerate(seats) if seat["member"] == B)
    keys = home / "nodes" / B / "keys" / "consensus.key"
    assert seats[place]["consensus_key"] == tally("keys", "show", keys)["public_key"]
    # Each of the five leads in turn, where no view is skipped: the new keys sign a block.
    asked = (world[A].request(C) for _ in range(ROUNDS_MAX * len(seats)))
    assert any(header_of(own, each)["proposer"] == place for each in asked)


def header_of(agency: Agency, asked: dict[str, Any]) -> dict[str, Any]:
    """Header of the block that holds a request, from the own node."""
    entries = (
        get_json(f"{agency.url}/v1/entries/{index}", timeout_s=10).document
        for index in range(asked["index"], -1, -1)
    )
    return next(dict(entry["header"]) for entry in entries if entry["kind"] == "header")


def one_is_suspended_and_what_it_signed_before_holds(world: World) -> None:
    suspect, auditor = world[SUSPECT], world[D]
    asked = suspect.request(B)
    assert asked["outcome"]["decision"] == "permit"
    proof = tally("audit", "receipt", suspect.url, asked["index"], "--out", world.root)
    world.carry(world[A].propose("member", "suspend", SUSPECT, *GROUNDS), B, C, VOTER)
    assert standing(suspect) == ("suspended", "reinstatement")
    assert suspect.request(B, exit_code=ERROR)["error"]["code"] == "member-not-active"
    withdraw = ("officer", "withdraw", asked["exchange"])
    assert suspect.refused(*withdraw, key="requester") == "member-not-active"
    code = world[C].request(SUSPECT, exit_code=ERROR)["error"]["code"]
    assert code == "provider-not-active"
    copy = world.root / "suspended"
    auditor.mirror(copy)
    verify = ("audit", "verify-receipt", proof["receipt"], proof["entry"])
    told = tally(*verify, "--genesis", auditor.genesis, "--epochs", copy)
    assert told == {"valid": True, "index": asked["index"]}
    acts = tally("audit", "who", SUSPECT, copy, "--genesis", auditor.genesis)["acts"]
    assert [act["event"] for act in acts if act["applied"]][-1] == asked["digest"]

    world.carry(world[C].propose("member", "reinstate", SUSPECT, *GROUNDS), A, D, VOTER)
    assert standing(suspect) == ("active", "nothing")
    world[B].act(
        *("officer", "deliver", asked["exchange"], "--commitment", COMMITMENT, "--records", 2),
        *("--quality-digest", "22" * 32, "--size-bytes", 900),
        *("--outbox-until-ms", 1_900_000_000_000),
        key="provider",
    )
    received = ("officer", "receive", asked["exchange"], "--commitment", COMMITMENT)
    suspect.act(*received, "--records", 2, key="requester")
    assert suspect.request(B)["outcome"]["decision"] == "permit"


def the_copy_is_valid_when_no_node_runs(world: World) -> None:
    genesis, copy = world[C].genesis, world.root / "copy"
    world[VOTER].mirror(copy)
    officer, lost = world[VOTER].public_key(), world.root / "lost" / "admin.key"
    old = tally("keys", "show", lost)["public_key"]
    world.nodes.close()
    replayed = tally("audit", "replay", copy, "--genesis", genesis)
    assert (replayed["replay"], replayed["founders"]) == ("valid", "signed")
    told = tally("audit", "who", officer, copy, "--genesis", genesis)
    kinds = [act["kind"] for act in told["acts"]]
    assert kinds == ["governance.acknowledged", *["governance.balloted"] * 7]
    about = [act["actions"] for act in told["acts"]]
    assert about[0] == f"admit member {VOTER}"
    assert [text for text in about if LOSER in text] == [f"add officer {LOSER}"] * 2
    assert about[-3:] == [
        f"remove validator {B}; add validator {B}",
        f"suspend member {SUSPECT}",
        f"reinstate member {SUSPECT}",
    ]
    assert {act["officer"] for act in told["acts"]} == {officer}
    assert {(*act["roles"], act["standing"]) for act in told["acts"]} == {("admin", "active")}
    assert all(act["applied"] for act in told["acts"])
    life = tally("audit", "who", old, copy, "--genesis", genesis)["keys"][0]
    assert (life["member"], life["roles"]) == (LOSER, ["admin"])
    assert life["since_height"] < life["revoked_height"]


CHAPTERS: tuple[Callable[[World], None], ...] = (
    one_is_declined_and_applies_again,
    two_more_join,
    a_member_without_a_validator_appoints_but_does_not_vote,
    the_node_of_one_becomes_a_validator,
    an_agency_without_administrators_gets_new_ones_by_vote,
    the_keys_of_a_validator_are_replaced_by_vote,
    one_is_suspended_and_what_it_signed_before_holds,
    the_copy_is_valid_when_no_node_runs,
)


def test_the_story_of_seven_agencies_in_its_order(tmp_path: Path) -> None:
    """One story on one network: what a chapter does, the next ones find."""
    homes = found_homes(tmp_path, MEMBERS)
    with ExitStack() as nodes:
        run_homes(homes, nodes)
        urls = [Localnet(home).index.nodes[0].api for home in homes]
        agencies = {
            home.name: Agency(member=home.name, home=home, url=url, urls=urls)
            for home, url in zip(homes, urls, strict=True)
        }
        for member, sponsor in ((VOTER, A), (LOSER, B), (SUSPECT, C)):
            home = tmp_path / member
            home.mkdir(mode=0o700)
            shutil.copy(agencies[sponsor].genesis, home / "genesis.json")
            url = agencies[sponsor].url
            agencies[member] = Agency(member=member, home=home, url=url, urls=urls)
        world = World(agencies=agencies, root=tmp_path, urls=urls, nodes=nodes)
        for chapter in CHAPTERS:
            chapter(world)
