"""People and gateways: made, voted in, asked and told by `tally`, beside real nodes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network import ASKER, OWNER, Net, running
from tools.gateway.local import LocalGateways
from tools.sample.records import MAKERS, Dice

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]

REQUEST = [
    "--to", OWNER, "--dataset", "registration", "--legal-basis", "tcal-6", "--field", "uscc",
    "--field", "name", "--from", "2026-01-01", "--until", "2026-03-31", "--retention-days", "90",
]  # fmt: skip


def tally(*words: str | Path, code: int = 0) -> Any:
    """The first JSON document that a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", *map(str, words), "--json", "--lang", "en"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.JSONDecoder().raw_decode(done.stdout)[0]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with running(tmp_path_factory.mktemp("net") / "net") as made:
        try:
            yield made
        finally:
            LocalGateways(made.local).stop()


@pytest.fixture(scope="module")
def gates(net: Net) -> LocalGateways:
    """Gateways of asker and owner, made by the command."""
    directory = net.local.directory
    members = f"{ASKER},{OWNER}"
    told = tally("localnet", "gateways", "--members", members, "--dir", directory)
    assert [row["member"] for row in told["gateways"]] == [ASKER, OWNER]
    # A second time nothing is made anew, and nothing is voted on.
    height = net.status(ASKER)["height"]
    again = tally("localnet", "gateways", "--members", members, "--dir", directory)
    assert [row["pid"] for row in again["gateways"]] == [row["pid"] for row in told["gateways"]]
    assert net.status(ASKER)["height"] == height
    found = LocalGateways(net.local)
    rows = [dict(MAKERS["registration"](Dice("tools"), number)) for number in range(1, 6)]
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    path = found.directory(OWNER) / "records" / "registration.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return found


@pytest.fixture
def subjects(gates: LocalGateways, tmp_path: Path) -> Path:
    lines = (gates.directory(OWNER) / "records" / "registration.csv").read_text().split("\n")
    path = tmp_path / "subjects"
    path.write_text("".join(line.split(",")[0] + "\n" for line in lines[1:3]))
    return path


def config(gates: LocalGateways, member: str) -> Path:
    return gates.directory(member) / "gateway.toml"


def wait(gates: LocalGateways, member: str, exchange: str, stage: str) -> dict[str, Any]:
    side = "acquire" if member == ASKER else "provide"
    job = gates.socket(member).get(f"/v1/jobs/{side}/{exchange}", stage=stage, wait="60")
    assert job["stage"] == stage, job
    return job


def test_a_request_from_asking_to_destroying(
    net: Net, gates: LocalGateways, subjects: Path
) -> None:
    asker, owner = config(gates, ASKER), config(gates, OWNER)
    told = tally(
        "gateway", "request", *REQUEST, "--purpose", "assessment",
        "--subjects", subjects, "--config", asker,
    )  # fmt: skip
    exchange = told["exchange"]
    assert told["decision"] == "permit"
    assert wait(gates, ASKER, exchange, "kept")["record_count"] == 2
    wait(gates, OWNER, exchange, "settled")
    shown = tally("gateway", "show", exchange[:12], "--config", asker)
    assert (shown["stage"], shown["status"]) == ("kept", "received")
    named = tally("gateway", "subjects", exchange, "--config", asker)
    assert {each["id"] for each in named["subjects"]} == set(subjects.read_text().split())
    corrected = tally("gateway", "correct", exchange, "--reason", "wrong-value", "--config", owner)
    assert corrected["correction"] == 1
    wait(gates, OWNER, exchange, "settled")
    # The provider's node may have heard of the receipt before the requester's own.
    wait(gates, ASKER, exchange, "kept")
    received = gates.directory(ASKER) / "received"
    assert len(list(received.glob(f"{exchange}.*"))) == 2
    tally("gateway", "destroy", exchange, "--yes", "--config", asker)
    wait(gates, ASKER, exchange, "closed")
    wait(gates, OWNER, exchange, "closed")
    assert not list(received.glob(f"{exchange}.*"))
    history = net.get(ASKER, f"/v1/requests/{exchange}").body["history"]
    assert [row["event"]["kind"].removeprefix("share.") for row in history] == [
        "requested", "delivered", "received", "corrected", "correction_acknowledged", "destroyed",
    ]  # fmt: skip
    assert all(row["outcome"]["applied"] for row in history)


def test_an_officer_signs_and_the_gateway_does_the_rest(
    net: Net, gates: LocalGateways, subjects: Path
) -> None:
    line = [
        "officer", "request", *REQUEST, "--subjects", subjects, "--member", ASKER,
        "--gateway", gates.socket(ASKER).path, "--dir", net.local.directory,
    ]  # fmt: skip
    told = tally(*line, "--purpose", "assessment")
    assert told["verified"]
    assert wait(gates, ASKER, told["exchange"], "kept")["record_count"] == 2
    history = net.get(ASKER, f"/v1/requests/{told['exchange']}").body["history"]
    keys = {row["event"]["officer"] for row in history if row["event"]["member"] == ASKER}
    assert len(keys) == 2, "a person asked, and the gateway received"
    # What the contracts deny is denied whoever hands it in, and is no open job.
    denied = tally(*line, "--purpose", "statistics", code=4)
    assert denied["outcome"]["decision"] == "deny"
    wait(gates, ASKER, denied["exchange"], "closed")


def test_a_gateway_denied_or_unknown_says_so(gates: LocalGateways, subjects: Path) -> None:
    line = ["gateway", "request", "--subjects", subjects, "--config", config(gates, ASKER)]
    denied = tally(*line, *REQUEST, "--purpose", "statistics", code=4)
    assert denied["error"]["code"] == "contract-denied"
    elsewhere = ["nobody" if word == OWNER else word for word in REQUEST]
    unknown = tally(*line, *elsewhere, "--purpose", "assessment", code=5)
    assert unknown["error"]["code"] == "partner-unknown"
    assert unknown["error"]["detail"] == "nobody"


def test_an_offer_travels_without_a_question(gates: LocalGateways) -> None:
    told = tally(
        "gateway", "offer", "--to", ASKER, "--dataset", "registration", "--purpose", "assessment",
        "--legal-basis", "tcal-6", "--field", "uscc", "--from", "2026-01-01",
        "--until", "2026-03-31", "--retention-days", "90", "--config", config(gates, OWNER),
    )  # fmt: skip
    assert wait(gates, ASKER, told["exchange"], "kept")["record_count"] == 5


def test_gateways_start_and_stop_with_the_network(net: Net, gates: LocalGateways) -> None:
    where = ["--dir", net.local.directory]
    stopped = tally("localnet", "down", *where)
    assert stopped["gateways"] == [ASKER, OWNER]
    rows = tally("localnet", "status", *where)["gateways"]
    assert [(row["pid"], row["height"]) for row in rows] == [(0, 0), (0, 0)]
    assert tally("localnet", "up", *where)["gateways"] == [ASKER, OWNER]
    rows = tally("localnet", "status", *where)["gateways"]
    assert all(row["pid"] and row["height"] for row in rows)


def test_a_gateway_is_proposed_by_its_file(net: Net, tmp_path: Path) -> None:
    member = net.members[2]
    genesis = net.local.genesis_path
    made = tally(
        "gateway", "init", tmp_path / "gate", "--member", member, "--listen", "127.0.0.1:7401",
        "--genesis", genesis, "--plain",
    )  # fmt: skip
    shown = tally(
        "admin", "propose", "gateway", "add", made["application"], "--member", member,
        "--dir", net.local.directory, "--dry-run",
    )  # fmt: skip
    assert shown["own"] is True
    # The officer, the encryption key, the address: all three in one proposal.
    assert len(shown["changes"]) == 3, shown["changes"]
