"""Who did what: roles, standing and contract set of each height, and the life of each key."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from ledger.events import Event
from ledger.governance.actions import (
    Action,
    AddOfficer,
    OfficerKey,
    RevokeOfficer,
    SetRoles,
    prove_key,
)
from ledger.governance.proposals import GovernanceBalloted, GovernanceProposed
from ledger.keys import SecretKey, fingerprint, format_public_key
from ledger.registry import Officer
from ledger.verify import Progress
from tests.builders import hash32
from tests.unit.contracts.test_replay import add_executed, make_cedar_genesis
from tests.unit.ledger.builders import (
    ChainBuilder,
    make_copy,
    make_event,
    make_genesis,
    officer_secret,
)
from tests.unit.tools.audit.copies import keep_states
from tools.audit.period import Period, format_day
from tools.audit.segments import begin_at
from tools.cli import main
from tools.commands.governance.who import _about, _tell, parse_subject
from tools.exits import ERROR, NOT_FOUND, OK, InvalidAnswer, InvalidInput
from tools.governance.accounts import Account, Subject, account_for
from tools.mirror import folder_reader
from tools.words import select_language

NORTH, SECOND, NEW = officer_secret("north"), SecretKey(hash32("2")), SecretKey(hash32("3"))


class Story:
    """North asks, its second administrator replaces its first, and the new one asks."""

    def __init__(self) -> None:
        base = make_genesis()
        admins = tuple(
            msgspec.structs.replace(officer, roles=("admin", *officer.roles))
            for officer in base.officers
        )
        second = Officer(key=SECOND.public, member="north", roles=("admin",), status="active")
        officers = tuple(sorted((*admins, second), key=lambda officer: officer.key))
        self.chain = ChainBuilder(make_cedar_genesis(officers=officers))
        self.number = 0
        self.asked = self.act(None)
        proof = prove_key(NEW, self.chain.network, "north")
        new = OfficerKey(key=NEW.public, roles=("requester",), possession=proof)
        self.added = self.decide(AddOfficer(member="north", officer=new))
        self.roles = self.decide(SetRoles(key=NEW.public, roles=("admin", "requester")))
        self.revoked = self.decide(RevokeOfficer(key=NORTH.public, grounds="lost"))
        self.last = self.act(None, NEW)

    def act(
        self, body: GovernanceProposed | GovernanceBalloted | None, key: SecretKey = NORTH
    ) -> Event:
        self.number += 1
        lies = {"network": self.chain.network, "secret": key}
        event = make_event(self.number, **(lies | ({} if body is None else {"body": body})))
        add_executed(self.chain, (event,))
        return event

    def decide(self, action: Action) -> Event:
        proposed = GovernanceProposed(
            actions=(action,), text="", activate_height=0, ballots_until_height=500
        )
        proposal = self.act(proposed)
        ballot = GovernanceBalloted(proposal=proposal.digest, approve=True, text="")
        self.act(ballot, SECOND)
        return proposal

    def ask(self, subject: Subject) -> Account:
        return account_for(make_copy(self.chain.entries, self.chain.genesis).get, subject)


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


def test_what_a_revoked_key_did_stays_with_the_roles_of_its_height(story: Story) -> None:
    account = story.ask(Subject(key=NORTH.public))
    assert [act.event.kind for act in account.acts] == [
        "share.requested",
        *["governance.proposed"] * 3,
    ]
    assert {act.standing for act in account.acts} == {"active"}
    assert account.acts[0].roles == ("admin", "requester", "approver", "provider")
    [life] = account.keys
    assert (life.since_height, life.added_by) == (0, b"")
    assert life.revoked_by == story.revoked.digest
    assert life.revoked_height == account.acts[-1].height + 2


def test_a_key_lives_from_the_height_at_which_it_may_sign(story: Story) -> None:
    account = story.ask(Subject(fingerprint=fingerprint(NEW.public)))
    [life] = account.keys
    assert (life.since_height, life.added_by) == (4, story.added.digest)
    assert life.roles == ("admin", "requester"), "the roles that it came to have"
    assert life.revoked_height is None
    assert [act.event.digest for act in account.acts] == [story.last.digest]


def test_a_member_is_all_its_keys_and_ballots_name_what_they_are_about(story: Story) -> None:
    account = story.ask(Subject(member="north"))
    assert len(account.acts) == len(story.chain.blocks)
    assert {life.key for life in account.keys} == {NORTH.public, SECOND.public, NEW.public}
    ballots = [act for act in account.acts if isinstance(act.event.body, GovernanceBalloted)]
    assert [act.opened for act in ballots] == [story.added, story.roles, story.revoked]
    assert {act.roles for act in ballots} == {("admin",)}
    assert story.ask(Subject(member="south")).acts == []


def test_a_log_that_says_something_else_than_its_execution_is_not_believed() -> None:
    story = Story()
    event = make_event(99, network=story.chain.network, secret=NEW)
    add_executed(story.chain, (event,), state_digest=hash32("lie"))
    with pytest.raises(InvalidAnswer) as caught:
        story.ask(Subject(member="north"))
    assert caught.value.code == "replay-diverged"


@pytest.fixture
def copy(story: Story, tmp_path: Path) -> Path:
    for name, data in make_copy(story.chain.entries, story.chain.genesis).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def who(*words: object) -> Result:
    return CliRunner().invoke(main, ["audit", "who", *map(str, words), "--jobs", "1"])


def test_the_command_in_both_languages(copy: Path, story: Story) -> None:
    key = format_public_key(NORTH.public)
    english = who(key, copy, "--lang", "en")
    assert english.exit_code == OK, english.output
    assert "its 4 acts before stay valid at their height" in english.output
    assert f"revoke key {key}" in english.output
    chinese = who(key, copy, "--lang", "zh").output
    assert "此前的 4 项行为在其高度仍有效" in chinese
    document = json.loads(who("north", copy, "--json", "--lang", "en").stdout)
    ballot = document["acts"][2]
    assert (ballot["approve"], ballot["proposal"]) == (True, story.added.digest.hex())
    assert ballot["actions"] == "add officer north"
    assert ballot["officer"] == format_public_key(SECOND.public)


def test_progress_counts_entries(story: Story) -> None:
    seen: list[Progress] = []
    read = make_copy(story.chain.entries, story.chain.genesis).get
    account_for(read, Subject(member="north"), on_progress=seen.append)
    assert seen[-1] == Progress(done=len(story.chain.entries), total=len(story.chain.entries))


@pytest.mark.parametrize(
    ("subject", "exit_code", "code"),
    [
        ("nobody", NOT_FOUND, "subject-not-found"),
        ("ed25519:00", ERROR, "public-key-invalid"),
        ("No Body", ERROR, "subject-invalid"),
    ],
)
def test_a_subject_that_cannot_be_found(
    copy: Path, subject: str, exit_code: int, code: str
) -> None:
    result = who(subject, copy, "--json")
    assert result.exit_code == exit_code, result.output
    assert json.loads(result.stdout)["error"]["code"] == code


def test_an_empty_folder_is_not_verified(tmp_path: Path) -> None:
    result = who("north", tmp_path, "--json")
    assert result.exit_code == ERROR
    assert json.loads(result.stdout)["error"]["code"] == "folder-no-copy"
    assert who("north", "--dir", tmp_path).exit_code == NOT_FOUND


def test_subjects() -> None:
    key = format_public_key(NORTH.public)
    assert parse_subject(key) == Subject(key=NORTH.public)
    short = fingerprint(NORTH.public)
    assert parse_subject(short) == Subject(fingerprint=short)
    assert parse_subject("cn-3301-tax") == Subject(member="cn-3301-tax")
    with pytest.raises(InvalidInput):
        parse_subject("../etc")


# --- from a state on -------------------------------------------------------------------------


@pytest.fixture
def stated(copy: Path, story: Story) -> Path:
    keep_states(copy, story.chain.genesis)
    return copy


@pytest.mark.parametrize("member", ["north", "south"])
def test_from_every_block_on_it_is_told_as_by_the_whole_log(
    stated: Path, story: Story, member: str
) -> None:
    """But since when a key is there that came before."""
    whole = story.ask(Subject(member=member))
    read = folder_reader(stated)
    for height in range(1, len(story.chain.blocks)):
        begin = partial(begin_at, stated, height=height)
        found = account_for(read, Subject(member=member), begin=begin)
        assert (found.begins, found.height) == (height, whole.height)
        expected = [act for act in whole.acts if act.height > height]
        assert [replace(act, opened=None, known=None) for act in found.acts] == [
            replace(act, opened=None, known=None) for act in expected
        ]
        assert list(map(_about, found.acts)) == list(map(_about, expected))
        assert {life.key for life in found.keys} == {life.key for life in whole.keys}
        for life in found.keys:
            (known,) = (each for each in whole.keys if each.key == life.key)
            assert (life.roles, life.status) == (known.roles, known.status)
            is_new = known.since_height in (0, None) or known.since_height > height + 1
            assert life.since_height == (known.since_height if is_new else None)
            was_revoked = (known.revoked_height or height + 2) <= height + 1
            assert life.revoked_height == (None if was_revoked else known.revoked_height)


def test_acts_of_a_period_only(copy: Path, story: Story) -> None:
    """It ends before what is later, keys included."""
    times = [block.header.time_ms for block in story.chain.blocks]
    read = folder_reader(copy)
    for first, last, is_there in ((1, 4, True), (0, 2, False), (5, 7, True)):
        period = Period(start_ms=times[first], end_ms=times[last])
        found = account_for(read, Subject(member="north"), period=period)
        assert [act.height for act in found.acts] == list(range(first + 1, last + 1))
        assert found.height == last
        assert (NEW.public in {life.key for life in found.keys}) == is_there
    day = format_day(times[0])
    assert who("north", copy, "--from", day, "--to", day).exit_code == OK
    late = who("north", copy, "--from", "2031-01-01", "--json")
    assert json.loads(late.stdout)["acts"] == []


def test_what_is_not_seen_is_said(stated: Path, story: Story) -> None:
    height = len(story.chain.blocks) - 1
    begin = partial(begin_at, stated, height=height)
    account = account_for(folder_reader(stated), Subject(member="north"), begin=begin)
    select_language(["--lang", "en"])
    text = _tell(account)
    assert f"1 acts after height {height}" in text
    assert text.count("since a height that is in archive files only") == 1
    assert text.count("revoked at a height that is in archive files only") == 1
