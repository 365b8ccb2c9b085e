"""One exchange from the request to the destruction of its data, with the real commands."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.exchange.references import REFERENCE_KEYS
from tests.e2e.network import wait_level
from tests.unit.node.crs import messages as m
from tools.cli import main
from tools.exits import ERROR, OK, UNVERIFIED
from tools.localnet import Localnet, get_json

pytestmark = pytest.mark.e2e

ASKER, OWNER, THIRD = "cn-3301-tax", "cn-3302-tax", "cn-3205-tax"
FIRST, CORRECTED = "11" * 32, "33" * 32


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("exchange") / "net"
    tally("localnet", "init", directory)
    try:
        tally("localnet", "up", "--dir", directory)
        yield directory
    finally:
        tally("localnet", "down", "--dir", directory)


@pytest.fixture(autouse=True)
def _no_process_left(net: Path) -> None:
    """The network lives as long as the module: its processes are no leak of one test."""
    del net


def tally(*arguments: object, exit_code: int = OK) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def officer(net: Path, member: str, *arguments: object, exit_code: int = OK) -> dict[str, Any]:
    """What an officer does at the own node; all of this machine come level with it."""
    place = ("--dir", net, "--member", member)
    return tally("officer", *arguments, *place, exit_code=exit_code)


def ask(net: Path, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "subjects").write_text("91330100MA27W0000X\n")
    asked = officer(
        net, ASKER, "request", "--to", OWNER, "--dataset", "registration",
        "--purpose", "assessment", "--legal-basis", "tcal-6", "--field", "uscc",
        "--from", "2025-01-01", "--until", "2025-12-31", "--subjects", folder / "subjects",
        "--blinds", folder / "blinds",
    )  # fmt: skip
    return str(asked["exchange"])


def delivery(commitment: str) -> tuple[object, ...]:
    return (
        "--commitment", commitment, "--records", 2, "--quality-digest", "22" * 32,
        "--size-bytes", 900, "--outbox-until-ms", 1_900_000_000_000,
    )  # fmt: skip


def owed(net: Path, exchange: str) -> set[tuple[str, str]]:
    found = tally("officer", "tasks", "--dir", net)["tasks"]
    return {(each["member"], each["gap"]) for each in found if each["subject"] == exchange}


def test_an_exchange_until_nothing_is_left(net: Path, tmp_path: Path) -> None:
    exchange = ask(net, tmp_path)
    opened = tally("officer", "subjects", exchange, "--blinds", tmp_path / "blinds", "--dir", net)
    assert opened["subjects"] == ["91330100MA27W0000X"]
    assert owed(net, exchange) == {(OWNER, "permit-without-delivery")}
    assert tally("officer", "tasks", "--overdue", "--dir", net)["tasks"] == []
    ahead = tally("officer", "tasks", "--overdue", "--at", "+40 days", "--dir", net)
    assert [(each["subject"], each["is_overdue"]) for each in ahead["tasks"]] == [(exchange, True)]
    assert ahead["as_of_ms"] > ahead["tasks"][0]["due_ms"]
    past = tally("officer", "tasks", "--at", "2020-01-01", "--dir", net, exit_code=ERROR)
    assert past["error"]["code"] == "moment-invalid"
    officer(net, OWNER, "deliver", exchange, *delivery(FIRST))
    assert owed(net, exchange) == {(ASKER, "delivery-without-receipt")}
    officer(net, ASKER, "receive", exchange, "--commitment", FIRST, "--records", 2)
    assert owed(net, exchange) == {
        (ASKER, "receipt-without-use"), (ASKER, "retention-without-destruction")
    }  # fmt: skip

    asked = officer(
        net, ASKER, "ask-consent", exchange, "--to", THIRD, "--purpose", "audit",
        "--legal-basis", "tcal-6",
    )  # fmt: skip
    consent = asked["digest"]
    early = ("use", exchange, "--commitment", FIRST, "--outcome", "forwarded")
    refused = officer(net, ASKER, *early, "--consent", consent, exit_code=ERROR)
    assert refused["error"]["code"] == "consent-missing"
    officer(net, OWNER, "answer-consent", exchange, consent)
    officer(net, ASKER, *early, "--consent", consent)

    officer(
        net, OWNER, "correct", exchange, "--supersedes", FIRST, "--reason", "wrong-amount",
        *delivery(CORRECTED),
    )  # fmt: skip
    late = {(member, "correction-without-acknowledgement") for member in (ASKER, THIRD)}
    assert late <= owed(net, exchange)
    for member in (ASKER, THIRD):
        officer(net, member, "acknowledge", exchange, "--commitment", CORRECTED)
    assert not late & owed(net, exchange)

    officer(net, ASKER, "rate", exchange, "--quality", 4, "--usefulness", 5)
    opened = officer(net, ASKER, "dispute", exchange, "--reason", "incomplete")["digest"]
    assert (OWNER, "dispute-without-resolution") in owed(net, exchange)
    officer(net, OWNER, "resolve", exchange, opened, "--outcome", "accepted")

    blinds = tmp_path / "blinds"
    for member, more in ((ASKER, ("--blinds", blinds)), (THIRD, ())):
        officer(net, member, "destroy", exchange, "--commitment", CORRECTED, *more)
    assert not blinds.exists()
    assert owed(net, exchange) == set()
    shown = tally("officer", "status", exchange, "--dir", net)
    assert shown["state"] == "destroyed"
    assert 0 <= shown["risk"]["score"] < 60
    assert len(shown["records"]) == 14
    (pair,) = tally("reciprocity", "--dir", net, "--svg", tmp_path / "matrix.svg")["pairs"]
    assert (pair["answered"], pair["received"], pair["records_received"]) == (1, 1, 2)
    assert (tmp_path / "matrix.svg").read_text("utf-8").startswith("<svg")
    credit = tally("officer", "credit", OWNER, "--dir", net)
    assert "dispute-lost" in [each["behaviour"] for each in credit["causes"]]


def share_key(net: Path, path: Path) -> None:
    """A key for the references of a year, whose id the members vote into their list."""
    key_id = tally("crs", "key", path, "--year", 2024)["key_id"]
    code = {"code": "2024", "name_zh": key_id, "name_en": key_id}
    listed = {
        "id": REFERENCE_KEYS, "version": 1, "name_zh": "密钥", "name_en": "Keys",
        "authority": "members", "source": "", "codes": [code],
    }  # fmt: skip
    file = path.with_suffix(".json")
    file.write_text(json.dumps(listed))
    first, *others = Localnet(net).members
    api = Localnet(net).node(first).api
    proposed = ("propose", "code-list", "set", file)
    proposal = tally("admin", *proposed, "--dir", net, "--member", first)["digest"]
    for member in others:
        if get_json(f"{api}/v1/proposals/{proposal}", timeout_s=10).document["status"] == "open":
            at = ("--url", api, "--genesis", net / "genesis.json", "--member", member)
            signer = Localnet(net).officer_key_path(member, "admin")
            tally("admin", "ballot", proposal, *at, "--key", signer)
    # These ballots went to one node by its address, and the others are not told to follow.
    wait_level([node.api for node in Localnet(net).index.nodes])


def test_documents_are_named_before_the_delivery_and_once(net: Path, tmp_path: Path) -> None:
    exchange, again = ask(net, tmp_path), ask(net, tmp_path / "again")
    message, key, foreign, named, misnamed = (
        tmp_path / name for name in ("m.xml", "key", "foreign", "refs.jsonl", "misnamed.jsonl")
    )
    message.write_text(m.message())
    share_key(net, key)
    tally("crs", "key", foreign, "--year", 2024)
    for secret, out in ((key, named), (foreign, misnamed)):
        assert tally("crs", "refs", message, "--key", secret, "-o", out)["batches"] == 1

    refused = officer(net, OWNER, "refer", exchange, misnamed, exit_code=ERROR)
    assert refused["error"]["code"] == "reference-key-differs"
    refused = officer(net, ASKER, "refer", exchange, named, exit_code=ERROR)
    assert refused["error"]["code"] == "not-a-party"
    comparing = ("officer", "compare-references", exchange, named, "--dir", net)
    before = tally(*comparing, exit_code=UNVERIFIED)
    assert before == {"equal": 0, "missing": 2, "extra": 0}
    officer(net, OWNER, "refer", exchange, named)
    after = tally(*comparing)
    assert after == {"equal": 2, "missing": 0, "extra": 0}

    # Used before, whatever exchange it was in: no single agency could have told.
    refused = officer(net, OWNER, "refer", again, named, exit_code=ERROR)
    assert refused["error"]["code"] == "oecd-50009"
    officer(net, OWNER, "deliver", exchange, *delivery(FIRST))
    shown = tally("officer", "status", exchange, "--dir", net)
    done = [record["kind"] for record in shown["records"] if record["outcome"]["applied"]]
    assert done == ["share.requested", "share.referenced", "share.delivered"]


def test_an_offer_is_delivered_without_a_request(net: Path) -> None:
    offered = officer(
        net, OWNER, "offer", "--to", ASKER, "--dataset", "registration", "--purpose",
        "assessment", "--legal-basis", "tcal-6", "--field", "uscc", "--from", "2025-01-01",
        "--until", "2025-12-31",
    )  # fmt: skip
    assert offered["outcome"]["decision"] == "permit"
    officer(net, OWNER, "deliver", offered["exchange"], *delivery(FIRST))
    officer(net, ASKER, "receive", offered["exchange"], "--commitment", FIRST, "--records", 2)
    assert tally("officer", "status", offered["exchange"], "--dir", net)["state"] == "received"


def test_an_incident_suspends_at_once_and_ends_by_a_partner(net: Path, tmp_path: Path) -> None:
    reported = officer(
        net, ASKER, "incident", "report", "--category", "data-leak", "--severity", "high",
        "--discovered-on", "2026-01-02", "--partner", OWNER,
    )["digest"]  # fmt: skip
    assert owed(net, reported) == {
        (OWNER, "incident-without-notice"), (ASKER, "incident-without-remedy")
    }  # fmt: skip
    exchange = ask(net, tmp_path)
    assert tally("officer", "status", exchange, "--dir", net)["state"] == "in_review"
    officer(net, ASKER, "incident", "remedy", reported, "--measures", "keys changed")
    early = officer(net, OWNER, "incident", "close", reported, exit_code=ERROR)
    assert early["error"]["code"] == "partners-not-notified"
    officer(net, OWNER, "incident", "confirm", reported)
    officer(net, OWNER, "incident", "close", reported)
    assert tally("officer", "incident", "list", "--dir", net)["incidents"] == []
    (closed,) = tally("officer", "incident", "list", "--all", "--dir", net)["incidents"]
    assert (closed["status"], closed["closed_by"]) == ("closed", OWNER)
    assert owed(net, reported) == set()


def test_a_drill_is_on_record_and_all_of_it_replays(net: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    report.write_text("restored in 30 minutes")
    officer(
        net, ASKER, "drill", "--category", "restore", "--result", "passed", "--held-on",
        "2026-01-02", "--minutes", 30, "--report", report,
    )  # fmt: skip
    network, copy = Localnet(net), tmp_path / "copy"
    genesis = network.genesis_path
    tally("audit", "mirror", network.index.nodes[1].api, copy, "--genesis", genesis)
    found = tally("audit", "replay", copy, "--genesis", genesis, "--jobs", 2)
    assert found["replay"] == "valid"
