"""`tally` against a real network of four processes: act, watch, prove, copy, replay, tamper."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.genesis import hash_genesis
from tests.e2e.network import wait_receipt
from tools.cli import main
from tools.exits import DENIED, ERROR, NOT_FOUND, OK, UNVERIFIED
from tools.localnet import Localnet
from tools.mirror import read_genesis

pytestmark = pytest.mark.e2e

SUBJECTS = "91330100MA27W0000X\n91330100MA27W0001X\n"


def tally(*arguments: object, exit_code: int = OK) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout.partition('\n{"error"')[0])
    return document


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("tally") / "net"
    tally("localnet", "init", directory)
    try:
        assert len(tally("localnet", "up", "--dir", directory)["ready"]) == 4
        yield directory
    finally:
        assert tally("localnet", "down", "--dir", directory)["killed"] == []


# The network lives as long as the module: its processes are no leak of one test.
@pytest.fixture(autouse=True)
def _no_process_left(net: Path) -> None:
    del net


def ask(net: Path, tmp_path: Path, *, legal_basis: str, exit_code: int = OK) -> dict[str, Any]:
    subjects = tmp_path / "subjects.txt"
    subjects.write_text(SUBJECTS)
    return tally(
        *("officer", "request", "--dir", net, "--member", "cn-3301-tax", "--to", "cn-3302-tax"),
        *("--dataset", "registration", "--purpose", "assessment", "--legal-basis", legal_basis),
        *("--field", "uscc", "--field", "name", "--from", "2025-01-01", "--until", "2025-12-31"),
        *("--subjects", subjects, "--blinds", tmp_path / f"blinds-{legal_basis}"),
        exit_code=exit_code,
    )


def test_an_exchange_from_request_to_receipt(net: Path, tmp_path: Path) -> None:
    asked = ask(net, tmp_path, legal_basis="tcal-6")
    assert asked["outcome"]["decision"] == "permit"
    exchange, commitment = asked["exchange"], "11" * 32
    open_ = tally("officer", "status", exchange, "--dir", net)
    next_ = ["share.withdrawn", "share.referenced", "share.delivered"]
    assert (open_["state"], open_["next"]) == ("permitted", next_)
    tally(
        *("officer", "deliver", exchange, "--dir", net, "--member", "cn-3302-tax"),
        *("--commitment", commitment, "--records", 2, "--quality-digest", "22" * 32),
        *("--size-bytes", 900, "--outbox-until-ms", 1_900_000_000_000),
    )
    tally(
        *("officer", "receive", exchange, "--dir", net, "--member", "cn-3301-tax"),
        *("--commitment", commitment, "--records", 2),
    )
    shown = tally("officer", "status", exchange, "--dir", net)
    kinds = [record["kind"] for record in shown["records"]]
    assert kinds == ["share.requested", "share.delivered", "share.received"]
    assert shown["state"] == "received"
    assert shown["next"] == [
        "share.referenced", "share.used", "share.consent_requested", "share.corrected",
        "share.destroyed", "share.disputed", "share.rated",
    ]  # fmt: skip
    credit = tally("officer", "credit", "cn-3302-tax", "--dir", net)
    assert (credit["start"], credit["grade"]) == (890, "A")
    assert credit["score"] > 890
    delivered = shown["records"][1]["digest"]
    assert delivered in [cause["event"] for cause in credit["causes"]]
    tally("officer", "credit", "cn-9999-tax", "--dir", net, exit_code=NOT_FOUND)
    again = CliRunner().invoke(
        main, ["officer", "withdraw", exchange, "--dir", str(net), "--member", "cn-3301-tax"]
    )
    assert again.exit_code == ERROR
    assert "exchange-state" in again.stderr


def test_an_unlawful_request_is_denied(net: Path, tmp_path: Path) -> None:
    denied = ask(net, tmp_path, legal_basis="yrd-pilot-2019", exit_code=DENIED)
    assert denied["outcome"]["decision"] == "deny"
    assert "legality" in denied["outcome"]["policies"]


def test_an_unknown_exchange_is_not_found(net: Path) -> None:
    tally("officer", "status", "00" * 32, "--dir", net, exit_code=NOT_FOUND)


def test_copy_replay_and_receipt_hold_until_a_byte_changes(net: Path, tmp_path: Path) -> None:
    asked = ask(net, tmp_path, legal_basis="tcal-6")
    network = Localnet(net)
    url, genesis, copy = network.index.nodes[2].api, network.genesis_path, tmp_path / "copy"
    wait_receipt(url, asked["index"])
    first = tally("audit", "mirror", url, copy, "--genesis", genesis)
    assert first["entries"] > asked["index"]
    assert tally("audit", "mirror", url, copy)["downloaded"] == 0
    report = tally("audit", "replay", copy, "--genesis", genesis, "--jobs", 2)
    assert report["replay"] == "valid"
    assert report["decisions"]["permit"] >= 1

    files = tally("audit", "receipt", url, asked["index"], "--out", tmp_path)
    verify = ("audit", "verify-receipt", files["receipt"], files["entry"], "--genesis", genesis)
    assert tally(*verify) == {"valid": True, "index": asked["index"]}
    _flip(Path(files["entry"]))
    tally(*verify, exit_code=UNVERIFIED)

    _flip(next(path for path in (copy / "tile" / "entries").rglob("*") if path.is_file()))
    tally("audit", "replay", copy, "--genesis", genesis, exit_code=UNVERIFIED)


def test_an_exchange_is_proven_in_one_file(net: Path, tmp_path: Path) -> None:
    asked = ask(net, tmp_path, legal_basis="tcal-6")
    network, bundle = Localnet(net), tmp_path / "case.zip"
    (url,) = (node.api for node in network.index.nodes if node.member == "cn-3301-tax")
    made = ("audit", "evidence", asked["exchange"], url, "-o", bundle)
    document = tally(*made, "--genesis", network.genesis_path)
    assert (document["events"], document["decisions"]) == (1, 1)
    trust = hash_genesis(read_genesis(network.genesis_path)).hex()
    check = ("audit", "verify-evidence", bundle, "--genesis-hash", trust)
    assert tally(*check, "--log", url)["cosigners"] == document["cosigners"]
    zipfile.ZipFile(bundle).extractall(tmp_path)
    (program,) = tmp_path.glob("evidence-*/verify.py")
    command = [sys.executable, "-I", "-S", str(program), trust]
    assert subprocess.run(command, env={}, capture_output=True, check=False).returncode == OK
    _flip(bundle)
    tally(*check, exit_code=UNVERIFIED)


def test_a_log_of_another_network_is_refused(net: Path, tmp_path: Path) -> None:
    ask(net, tmp_path, legal_basis="tcal-6")  # a log that has a checkpoint
    tally("localnet", "init", tmp_path / "other")
    url, other = Localnet(net).index.nodes[0].api, tmp_path / "other" / "genesis.json"
    refused = tally(
        "audit", "mirror", url, tmp_path / "copy", "--genesis", other, exit_code=UNVERIFIED
    )
    assert refused["error"]["code"] == "checkpoint-invalid"


def test_watch_shows_records_as_they_become_final(net: Path, tmp_path: Path) -> None:
    asked = ask(net, tmp_path, legal_basis="tcal-6")
    command = [sys.executable, "-m", "tools.cli", "officer", "watch", "--dir", str(net)]
    with subprocess.Popen(
        [*command, "--since", "0", "--json"], stdout=subprocess.PIPE, text=True
    ) as watching:
        try:
            assert watching.stdout is not None
            digests = (json.loads(line)["digest"] for line in watching.stdout)
            assert asked["digest"] in digests
        finally:
            watching.kill()


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("command", ["node status", "localnet status", "officer tasks"])
def test_what_is_frozen_is_told_where_people_look(net: Path, command: str) -> None:
    arguments = [*command.split(), "--dir", str(net), "--lang", "en"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == OK, result.output
    # The founders of the sample network have frozen a pair.
    assert "Frozen: cn-3302-customs → cn-3205-tax · * (" in result.output
    assert result.output.count("Frozen: ") == 1


def test_the_state_of_an_exchange_tells_who_owes_what(net: Path, tmp_path: Path) -> None:
    exchange = ask(net, tmp_path, legal_basis="yrd-2021")["exchange"]
    told = tally("officer", "status", exchange, "--dir", net)
    assert [(each["member"], each["gap"]) for each in told["duties"]] == [
        ("cn-3302-tax", "permit-without-delivery")
    ]
    assert told["freezes"] == []
    shown = CliRunner().invoke(main, ["officer", "status", exchange, "--dir", str(net)]).output
    assert "share requested" in shown
    assert "Owed: a permit without a delivery · cn-3302-tax, until " in shown
