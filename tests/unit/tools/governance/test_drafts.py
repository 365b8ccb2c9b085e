"""Drafts: what is signed far from any network is exactly what the proposal's members signed."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from ledger.events import parse_event, verify_event
from ledger.genesis import encode_genesis_json
from ledger.governance.actions import SuspendMember
from ledger.governance.proposals import (
    GovernanceAcknowledged,
    GovernanceBalloted,
    GovernanceProposed,
    GovernanceWithdrawn,
)
from ledger.keys import format_secret_key
from tests import builders
from tests.unit.tools.test_doctor import serving
from tools.cli import main
from tools.client import Moment
from tools.exits import ERROR, OK, InvalidInput
from tools.governance.changes import Change
from tools.governance.drafts import (
    GovernanceBody,
    body_of,
    encode_draft,
    format_draft,
    make_draft,
    read_draft,
    read_signed,
    sign_draft,
)
from tools.words import select_language

HEIGHT = 40
MEMBER = builders.OWNER
KEY = builders.key_of(MEMBER, "admin")
ACTION = SuspendMember(member="de-tax", grounds="a breach")
PROPOSAL = builders.propose(ACTION)
CHANGES = (Change(target="member/de-tax", before={"status": "active"}, after={"status": "x"}),)
BALLOT = GovernanceBalloted(proposal=PROPOSAL.digest, approve=True, text="seen")
PROPOSED = GovernanceProposed(
    actions=(ACTION,), text="why", activate_height=0, ballots_until_height=90
)
ABOUT_ONE = (
    BALLOT,
    GovernanceWithdrawn(proposal=PROPOSAL.digest),
    GovernanceAcknowledged(proposal=PROPOSAL.digest),
)


@pytest.fixture(autouse=True)
def _english() -> None:
    select_language(["--lang", "en"])


def draft_of(about: GovernanceBody, **changed: Any) -> bytes:
    draft = make_draft(
        about, genesis=builders.genesis(), member=MEMBER,
        moment=Moment(height=HEIGHT, expiry_blocks_max=1_000),
        proposal=None if isinstance(about, GovernanceProposed) else PROPOSAL, changes=CHANGES,
    )  # fmt: skip
    return encode_draft(msgspec.structs.replace(draft, **changed))


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("body", [*ABOUT_ONE, PROPOSED])
def test_every_act_of_governance_is_drafted_and_signed(
    tmp_path: Path, body: GovernanceBody
) -> None:
    draft = read_draft(written(tmp_path / "draft.json", draft_of(body)))
    assert body_of(draft) == body
    event = sign_draft(draft, KEY)
    verify_event(event)
    assert (event.member, event.body) == (MEMBER, body)
    assert (event.network, event.nonce) == (builders.NETWORK, draft.nonce)
    assert event.expires_height == HEIGHT + 500, "half of what the network allows"
    assert sign_draft(draft, KEY).data == event.data, "a draft is one event, however often signed"


def test_whoever_signs_reads_the_proposal_itself(tmp_path: Path) -> None:
    text = format_draft(read_draft(written(tmp_path / "draft.json", draft_of(BALLOT))))
    for part in (
        "a breach",
        "de-tax",
        "It approves.",
        "seen",
        PROPOSAL.digest.hex(),
        PROPOSAL.member,
    ):
        assert part in text
    against = msgspec.structs.replace(BALLOT, approve=False)
    text = format_draft(read_draft(written(tmp_path / "draft.json", draft_of(against))))
    assert "It rejects." in text
    assert "It approves." not in text


OTHER = builders.propose(ACTION, label="other")
FORGED = bytearray(PROPOSAL.data)
FORGED[-1] ^= 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{}", "signing-draft-invalid"),
        (b"[" * 9_999, "signing-draft-invalid"),
        (b"\xff", "signing-draft-invalid"),
        (draft_of(BALLOT, kind="share.requested"), "signing-draft-invalid"),
        (draft_of(BALLOT, kind="governance.withdrawn"), "signing-draft-invalid"),
        (draft_of(BALLOT, format="tallystick-draft-v2"), "signing-draft-invalid"),
        (draft_of(BALLOT, member="NOBODY"), "signing-draft-invalid"),
        (draft_of(BALLOT, nonce=b"short"), "signing-draft-invalid"),
        (draft_of(BALLOT, body=msgspec.Raw(b'{"proposal": ""}')), "signing-draft-invalid"),
        (draft_of(BALLOT, proposal=b""), "signing-draft-invalid"),
        (draft_of(BALLOT, proposal=bytes(FORGED)), "signing-draft-invalid"),
        (draft_of(PROPOSED, proposal=PROPOSAL.data), "signing-draft-invalid"),
        (draft_of(BALLOT, proposal=OTHER.data), "signing-draft-mismatch"),
        (draft_of(BALLOT, network=builders.hash32("other")), "signing-draft-mismatch"),
        (
            draft_of(
                msgspec.structs.replace(BALLOT, proposal=builders.request().digest),
                proposal=builders.request().data,
            ),
            "signing-draft-mismatch",
        ),
    ],
)
def test_a_draft_whose_parts_do_not_agree_is_refused(
    tmp_path: Path, data: bytes, code: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_draft(written(tmp_path / "draft.json", data))
    assert caught.value.code == code


def test_a_signed_event_that_was_altered_is_refused(tmp_path: Path) -> None:
    event = sign_draft(read_draft(written(tmp_path / "draft.json", draft_of(BALLOT))), KEY)
    assert read_signed(written(tmp_path / "whole.event", event.data)) == event
    for at in (0, len(event.data) // 2, len(event.data) - 1):
        data = bytearray(event.data)
        data[at] ^= 1
        with pytest.raises(InvalidInput) as caught:
            read_signed(written(tmp_path / "bad.event", bytes(data)))
        assert caught.value.code == "signed-event-invalid"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "genesis.json").write_bytes(encode_genesis_json(builders.genesis()))
    (tmp_path / "admin.key").write_text(format_secret_key(KEY))
    (tmp_path / "admin.key").chmod(0o600)
    (tmp_path / "draft.json").write_bytes(draft_of(BALLOT))
    return tmp_path


def tally(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words), "--lang", "en", "--json"])


def sign(home: Path, **changed: object) -> Result:
    given = {"key": home / "admin.key", "genesis": home / "genesis.json", "out": home / "out"}
    options = [word for name, value in (given | changed).items() for word in (f"--{name}", value)]
    return tally("admin", "sign", home / "draft.json", *options)


def error_of(result: Result) -> str:
    assert result.exit_code == ERROR, result.output
    return str(json.loads(result.stdout)["error"]["code"])


def test_the_command_shows_then_signs(home: Path) -> None:
    result = sign(home)
    assert result.exit_code == OK, result.output
    assert "a breach" in result.stderr
    event = parse_event((home / "out").read_bytes())
    assert json.loads(result.stdout)["digest"] == event.digest.hex()
    assert error_of(sign(home)) == "file-exists"


def test_a_draft_for_another_network_is_not_signed(home: Path) -> None:
    other = msgspec.structs.replace(builders.genesis(), name="other")
    (home / "genesis.json").write_bytes(encode_genesis_json(other))
    assert error_of(sign(home)) == "wrong-network"
    assert not (home / "out").exists()


def test_a_signed_event_is_not_sent_too_late_nor_to_another_network(home: Path) -> None:
    assert sign(home).exit_code == OK
    late = json.dumps({"height": HEIGHT + 500}).encode()
    with serving({"/v1/status": (200, late)}) as url:
        place = ("--url", url, "--genesis", home / "genesis.json")
        assert error_of(tally("admin", "submit", home / "out", *place)) == "event-expired"
        other = msgspec.structs.replace(builders.genesis(), name="other")
        (home / "genesis.json").write_bytes(encode_genesis_json(other))
        assert error_of(tally("admin", "submit", home / "out", *place)) == "wrong-network"
        (home / "out").write_bytes(b"x")
        assert error_of(tally("admin", "submit", home / "out", *place)) == "signed-event-invalid"


def test_a_keystore_signs_a_draft(home: Path) -> None:
    phrase = home / "phrase"
    phrase.write_text("correct horse battery staple\n")
    phrase.chmod(0o600)
    made = tally("keys", "generate", home / "store", "--passphrase-file", phrase)
    assert made.exit_code == OK, made.output
    signed = sign(home, key=home / "store", **{"passphrase-file": phrase})
    assert signed.exit_code == OK, signed.output
    fingerprint = json.loads(made.stdout)["fingerprint"]
    assert json.loads(signed.stdout)["fingerprint"] == fingerprint
    phrase.write_text("another horse battery staple\n")
    assert error_of(sign(home, key=home / "store", **{"passphrase-file": phrase})) == (
        "passphrase-wrong"
    )
