"""A bundle is a bag that others can read, the same bytes each time, and holds what it should."""

import io
import json
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import bagit
import pytest

from ledger.blocks import RECORDS
from ledger.events import parse_event
from ledger.genesis import GENESES
from ledger.keys import format_public_key
from ledger.tlog.receipt import Receipt
from tests.unit.ledger.builders import make_genesis
from tests.unit.tools.audit.evidence.case import (
    ADMIN,
    APPROVER,
    OTHER,
    ROTATED,
    Case,
    bundle_of,
    gathered,
    make_case,
    unpacked,
)
from tools.audit.evidence.bundle import folder_name, make_files, pack


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


def test_the_bag_is_valid_to_a_library_that_we_did_not_write(case: Case, tmp_path: Path) -> None:
    zipfile.ZipFile(io.BytesIO(bundle_of(case))).extractall(tmp_path)
    folder = tmp_path / folder_name(case.exchange)
    bag = bagit.Bag(str(folder))
    assert bag.validate()
    assert bag.info["External-Identifier"] == case.exchange.hex()
    page = folder / "data" / "events.json"
    page.write_bytes(page.read_bytes() + b"\n")
    with pytest.raises(bagit.BagValidationError):
        bag.validate()


def test_equal_evidence_has_equal_bytes_sorted_stored_and_at_one_time(case: Case) -> None:
    data = bundle_of(case)
    assert pack(make_files(gathered(case)), folder_name(case.exchange)) == data
    listed = zipfile.ZipFile(io.BytesIO(data)).infolist()
    names = [each.filename for each in listed]
    assert names == sorted(names)
    assert {each.compress_type for each in listed} == {zipfile.ZIP_STORED}
    assert {each.date_time for each in listed} == {(1980, 1, 1, 0, 0, 0)}


def test_it_holds_the_events_of_the_exchange_and_the_votes_behind_their_signers(case: Case) -> None:
    content = unpacked(case)
    entries = {name: data for name, data in content.items() if name.endswith(".entry")}
    records = [RECORDS.decode(data) for data in entries.values() if data.startswith(b"\x83")]
    events = [parse_event(record.event) for record in records]
    kinds = sorted(event.kind for event in events if event.exchange == case.exchange)
    assert kinds == [
        *("share.approved", "share.approved", "share.delivered"),
        *("share.received", "share.requested"),
    ]
    proposals = {event.digest for event in events if event.kind == "governance.proposed"}
    expected = {each.digest for each in case.behind_signers}
    assert proposals == expected, "and neither the key of another officer nor other votes"
    assert OTHER.public not in b"".join(entries.values())
    checkpoint = content["data/checkpoint"]
    for name in entries:
        receipt = Receipt.parse(content[name.replace(".entry", ".tlog-proof")])
        assert receipt.note.format() == checkpoint


def test_signers_stand_there_as_they_were_at_their_heights(case: Case) -> None:
    signers = json.loads(unpacked(case)["data/signers.json"])
    rows = {(row["kind"], row["member"]["id"]): row for row in signers["signed"]}
    asked = rows["share.requested", "center"]
    assert (asked["key"], asked["roles"]) == (format_public_key(ROTATED.public), ["requester"])
    approved = rows["share.approved", "south"]
    assert (approved["key"], approved["roles"]) == (
        format_public_key(APPROVER.public),
        ["approver", "provider"],
    )
    assert asked["last_day"] == "2030-12-31"
    acknowledged = rows["governance.acknowledged", "center"]
    assert acknowledged["key"] == format_public_key(ADMIN.public)
    assert acknowledged["member"]["status"] == "applied"
    assert asked["member"]["status"] == "active"
    heights = {row["proposal"]: row["in_force_from_height"] for row in signers["proposals"]}
    assert heights[case.admitted.digest.hex()] == 2
    assert heights[case.revoked.digest.hex()] > asked["height"]


def test_decisions_stand_there_with_facts_contracts_and_reasons(case: Case) -> None:
    content = unpacked(case)
    asked = [name for name in content if name.endswith(".asked.json")]
    assert len(asked) == 3, "a request, its approval, its delivery; the refused one was not asked"
    document = json.loads(content[asked[0].replace(".asked", "")])
    assert document["decision"]["verdict"] == "review"
    assert document["asked"]["facts"]["secretFields"] >= 1
    folder = f"data/contracts/{document['policy_set']['hash']}"
    assert b"permit" in content[f"{folder}/four-eyes.cedar"]
    assert f"{folder}/policy-set.msgpack" in content


def test_genesis_and_epochs_are_there(case: Case) -> None:
    content = unpacked(case)
    assert GENESES.decode(content["data/genesis.msgpack"]) == case.chain.genesis
    assert "data/epochs/0" in content
    assert "data/epochs/1" not in content
    assert b"witness center " in content["data/policy"]
    assert make_genesis() != case.chain.genesis


class _Page(HTMLParser):
    """Open tags, attributes and texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.links += [str(value) for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_tells_the_story_in_both_languages_and_loads_nothing(case: Case) -> None:
    page = _Page()
    page.feed(unpacked(case)["index.html"].decode())
    assert page.open == []
    assert page.links == []
    assert not page.names & {"script", "img", "iframe", "link", "b"}
    for words in ("Evidence of one exchange", "一次涉税信息共享的证据", "Center", "中心"):
        assert words in page.text
    for words in ("REVOKED from block", "已撤销", "[exchange-state]"):
        assert words in page.text
    for words in (
        "account_number (account-number)",
        "税收征管法 (law-1)",
        "Tax Collection Law (law-1)",
    ):
        assert words in page.text, "ids have names"
    assert "<b>ok & 符</b>" in page.text, "what officers wrote is shown, never obeyed"
    assert format_public_key(ROTATED.public) in page.text
    assert case.exchange.hex() in page.text


def test_the_instructions_name_the_network_in_both_languages(case: Case) -> None:
    text = unpacked(case)["README.txt"].decode()
    assert text.count(case.trusted) == 2
    assert "verify.py" in text
