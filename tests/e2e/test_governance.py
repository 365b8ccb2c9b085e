"""Members govern themselves through the commands that people use, each agency from its own home.

Four founding members, one that joins. Every key lies in the home folder of its agency; nothing but
the addresses of nodes and the genesis is shared.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from ledger.genesis import Genesis, decode_genesis_json, encode_genesis_json
from tests.e2e.agencies import GROUNDS, Agency, World, apply, standing
from tests.e2e.test_tally import tally
from tools.exits import DENIED, ERROR, NOT_FOUND
from tools.localnet import Localnet

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

A, B, C, D = "cn-3301-tax", "cn-3302-tax", "cn-3205-tax", "cn-3100-tax"
NEW = "cn-3303-tax"
ROLES = ("requester", "approver", "provider", "admin")
NO_ASSESSMENT = """\
// For the time of the review.
@id("review-stop")
@title_zh("评审期间停止")
@title_en("Stopped for the time of the review")
forbid (principal, action == Action::"request", resource)
when { context.purpose == "assessment" };
"""


def move_out(local: Localnet, root: Path) -> dict[str, Agency]:
    """Every agency takes its keys home; the applicant's home is empty."""
    agencies = {}
    urls = [node.api for node in local.index.nodes]
    for member in (A, B, C, D, NEW):
        node = local.node(member if member != NEW else A)
        agency = Agency(member=member, home=root / member, url=node.api, urls=urls)
        (agency.home / "keys").mkdir(parents=True, mode=0o700)
        shutil.copy(local.genesis_path, agency.genesis)
        for role in ROLES if member != NEW else ():
            local.officer_key_path(member, role).rename(agency.key(role))
        agencies[member] = agency
    return agencies


def an_agency_is_declined_applies_again_and_joins(world: World) -> None:
    applicant, sponsor = world[NEW], world[A]
    application = apply(applicant, "温州市税务局", "Wenzhou")
    assert standing(applicant) == ("unknown", "proposal")
    preview = sponsor.act("admin", "propose", "member", "admit", application, "--dry-run")
    assert (preview["class"], preview["needed"], preview["voters"]) == ("parties", 3, 4)
    assert [change["target"] for change in preview["changes"]].count(f"member/{NEW}") == 1
    assert sponsor.see("admin", "proposals")["proposals"] == [], "a dry run submits nothing"

    first = sponsor.propose("member", "admit", application)
    assert standing(applicant) == ("proposed", "ballots")
    world[B].ballot(first, "--reject", "--text", "which Wenzhou?")
    world[C].ballot(first, "--reject")
    assert standing(applicant) == ("unknown", "again")
    reasons = applicant.see("member", "status", "--member", NEW)["admissions"][0]["reasons"]
    assert reasons == [f"{B}: which Wenzhou?"]

    keys = {path.name: path.read_text() for path in (applicant.home / "keys").iterdir()}
    second = sponsor.propose(
        "member", "admit", apply(applicant, "温州市税务局", "Wenzhou Tax Bureau")
    )
    assert keys == {path.name: path.read_text() for path in (applicant.home / "keys").iterdir()}
    world.carry(second, B, C)
    assert standing(applicant) == ("applied", "acknowledgement")
    assert applicant.request(B, exit_code=ERROR)["error"]["code"] == "member-not-active"
    applicant.act("member", "acknowledge", second)
    assert standing(applicant) == ("active", "nothing")
    assert len(applicant.see("member", "show", NEW)["officers"]) == 5
    denied = applicant.request(B, exit_code=DENIED)["outcome"]
    assert denied["policies"] == ["legality"], "no legal basis names the newcomer yet"
    world.carry(sponsor.propose("basis", "set", widen_basis(world)), B, C)
    assert applicant.request(B)["outcome"]["decision"] == "permit"
    assert applicant.refused("member", "acknowledge", second) == "acknowledge-unexpected"


def widen_basis(world: World) -> Path:
    """The legal basis of requests, with the newcomer among its parties."""
    genesis = decode_genesis_json(world[A].genesis.read_bytes())
    basis = next(each for each in genesis.legal_bases if each.id == "tcal-6")
    path = world.root / "tcal-6.json"
    path.write_bytes(
        msgspec.json.encode(msgspec.structs.replace(basis, parties=(*basis.parties, NEW)))
    )
    return path


def a_lost_key_is_replaced_by_vote(world: World) -> None:
    loser, new = world[D], world[D].home / "new.key"
    old = tally("keys", "show", loser.key())["public_key"]
    before = loser.propose("purpose", "set", write_purpose(world, "before"))
    tally("keys", "generate", new, "--plain")
    statement = loser.home / "officer.json"
    tally(
        *("member", "key", new, "--member", D, "--role", "admin", "--out", statement),
        *("--genesis", loser.genesis),
    )
    rotation = world[A].act(
        *("admin", "propose", "officer", "rotate", statement, "--old", old),
        *("--overlap-blocks", 1, *GROUNDS),
    )
    for name in ("add", "revoke"):
        world.carry(rotation[name]["digest"], B, C)
    assert loser.refused("admin", "withdraw", before) == "officer-revoked"
    new.rename(loser.key("successor"))
    assert loser.act("admin", "withdraw", before, key="successor")["outcome"]["applied"]

    copy = world.root / "lost-key"
    loser.mirror(copy)
    told = tally("audit", "who", old, copy, "--genesis", loser.genesis)
    assert [act["kind"] for act in told["acts"]] == ["governance.proposed"]
    assert (told["acts"][0]["roles"], told["acts"][0]["standing"]) == (["admin"], "active")
    assert told["keys"][0]["revoked_by"] == rotation["revoke"]["digest"]
    assert told["keys"][0]["revoked_height"] > told["acts"][0]["height"]
    loser.key().unlink()
    loser.key("successor").rename(loser.key())


def write_purpose(world: World, name: str) -> Path:
    path = world.root / f"{name}.toml"
    path.write_text(f'id = "{name}"\nname_zh = "复核"\nname_en = "{name}"\n', "utf-8")
    return path


def a_member_is_suspended_and_reinstated(world: World) -> None:
    proposal = world[A].propose("member", "suspend", NEW, *GROUNDS)
    world.carry(proposal, B, C)
    assert standing(world[NEW]) == ("suspended", "reinstatement")
    assert world[NEW].request(B, exit_code=ERROR)["error"]["code"] == "member-not-active"
    proposal = world[C].propose("member", "reinstate", NEW, *GROUNDS)
    world.carry(proposal, A, B)
    assert world[NEW].request(B)["outcome"]["decision"] == "permit"


def a_contract_changed_by_vote_flips_a_decision(world: World) -> None:
    assert world[A].request(B)["outcome"]["decision"] == "permit"
    path = world.root / "review-stop.cedar"
    path.write_text(NO_ASSESSMENT, "utf-8")
    proposal = world[A].propose("contract", "set", path)
    world.carry(proposal, B, D)
    denied = world[A].request(B, exit_code=DENIED)["outcome"]
    assert denied["policies"] == ["review-stop"]
    proposal = world[B].propose("contract", "remove", "review-stop")
    world.carry(proposal, A, D)
    assert world[A].request(B)["outcome"]["decision"] == "permit"
    versions = world[C].see("admin", "history", "contract/review-stop")["versions"]
    assert [version["member"] for version in versions] == [A, B]
    assert any("+forbid (principal" in line for line in versions[0]["difference"])


def a_pair_is_frozen_by_two_and_unfrozen(world: World) -> None:
    scope = ("--requester", A, "--provider", B)
    proposal = world[C].propose("freeze", *scope, *GROUNDS)
    world[D].ballot(proposal)
    assert world[C].status(proposal) == "in_force"
    assert "freeze" in world[A].request(B, exit_code=DENIED)["outcome"]["policies"]
    assert world[NEW].request(B)["outcome"]["decision"] == "permit"
    again = ("freeze", *scope, *GROUNDS)
    assert world[A].propose(*again, exit_code=ERROR) == "unchanged"
    proposal = world[C].propose("unfreeze", *scope)
    world.carry(proposal, A, B)
    assert world[A].request(B)["outcome"]["decision"] == "permit"


def ballots_that_do_not_count_are_refused(world: World) -> None:
    carry = world.root / "usb"
    carry.mkdir()
    draft, signed = carry / "ballot.json", carry / "ballot.event"
    proposal = world[A].propose("purpose", "set", write_purpose(world, "second-look"))
    world[B].act("admin", "ballot", proposal, "--draft", draft, draft=True)
    other = carry / "other.json"
    genesis = decode_genesis_json(world[B].genesis.read_bytes())
    other.write_bytes(encode_genesis_json(other_network(genesis)))
    sign = ("admin", "sign", draft, "--key", world[B].key(), "--out", signed)
    refused = tally(*sign, "--genesis", other, exit_code=ERROR)
    assert refused["error"]["code"] == "wrong-network"
    tally(*sign, "--genesis", world[B].genesis)
    submitted = world[B].see("admin", "submit", signed)
    assert submitted["outcome"]["applied"]
    world[B].settle()
    assert world[B].see("admin", "submit", signed)["index"] == submitted["index"], "counted once"
    assert world[A].see("admin", "proposal", proposal)["approved"] == sorted([A, B])
    refused = tally(
        *("admin", "submit", signed, "--url", world[B].url, "--genesis", other), exit_code=ERROR
    )
    assert refused["error"]["code"] == "wrong-network"
    assert world[B].refused("admin", "ballot", proposal) == "ballot-repeated"
    assert world[NEW].refused("admin", "ballot", proposal) == "not-a-voter"
    assert world[B].refused("admin", "withdraw", proposal) == "not-the-proposer"
    world[C].ballot(proposal)
    assert world[D].refused("admin", "ballot", proposal) == "proposal-closed"
    nothing = world[D].act("admin", "ballot", "00" * 32, exit_code=NOT_FOUND)
    assert nothing["error"]["code"] == "proposal-not-found"

    late = world[A].propose("member", "suspend", NEW, *GROUNDS, "--ballot-blocks", 1)
    world[A].request(B)
    world[A].request(B)
    assert world[B].refused("admin", "ballot", late) == "proposal-expired"
    assert world[B].status(late) == "expired"


def other_network(genesis: Genesis) -> Genesis:
    return msgspec.structs.replace(genesis, name="another network")


def proposals_that_contradict_each_other(world: World) -> None:
    first = world[A].propose("member", "suspend", NEW, *GROUNDS)
    second = world[B].propose("member", "retire", NEW, *GROUNDS, "--activate-height", 1_000_000)
    third = world[C].propose("member", "sanction", NEW, "--points", 1, *GROUNDS)
    world.carry(second, A, C)
    assert world[D].status(second) == "waiting"
    world[B].ballot(first)
    assert world[C].refused("admin", "ballot", first) == "target-waiting"
    world[A].ballot(third)
    assert world[B].refused("admin", "ballot", third) == "target-waiting"
    code = world[D].propose("member", "suspend", NEW, *GROUNDS, exit_code=ERROR)
    assert code == "target-waiting"


def the_log_of_all_that_is_valid_and_names_who_did_it(world: World) -> None:
    auditor, copy = world[C], world.root / "copy"
    auditor.mirror(copy)
    replayed = tally("audit", "replay", copy, "--genesis", auditor.genesis)
    assert replayed["replay"] == "valid"
    told = tally("audit", "who", B, copy, "--genesis", auditor.genesis)
    ballots = [act for act in told["acts"] if act["kind"] == "governance.balloted"]
    assert {act["officer"] for act in ballots} == {
        tally("keys", "show", world[B].key())["public_key"]
    }
    assert ballots[0]["approve"] is False
    assert ballots[0]["actions"] == f"admit member {NEW}"
    assert {act["roles"][0] for act in ballots} == {"admin"}
    assert len({act["policy_set"] for act in ballots}) > 1, "contracts changed between them"
    assert all(act["applied"] for act in ballots), "what is refused beforehand is not recorded"
    told = tally("audit", "who", NEW, copy, "--genesis", auditor.genesis)
    assert told["acts"][0]["kind"] == "governance.acknowledged"
    assert {key["since_height"] for key in told["keys"]} == {told["acts"][0]["height"]}


CHAPTERS: tuple[Callable[[World], None], ...] = (
    an_agency_is_declined_applies_again_and_joins,
    a_lost_key_is_replaced_by_vote,
    a_member_is_suspended_and_reinstated,
    a_contract_changed_by_vote_flips_a_decision,
    a_pair_is_frozen_by_two_and_unfrozen,
    ballots_that_do_not_count_are_refused,
    proposals_that_contradict_each_other,
    the_log_of_all_that_is_valid_and_names_who_did_it,
)


def tell(chapters: Sequence[Callable[[World], None]], root: Path) -> None:
    """One story on one network: what a chapter does, the next ones find."""
    net = root / "net"
    tally("localnet", "init", net)
    try:
        tally("localnet", "up", "--dir", net)
        world = World(agencies=move_out(Localnet(net), root), root=root)
        for chapter in chapters:
            chapter(world)
    finally:
        assert tally("localnet", "down", "--dir", net)["killed"] == []


def test_the_story_of_governance_in_its_order(tmp_path: Path) -> None:
    tell(CHAPTERS, tmp_path)
