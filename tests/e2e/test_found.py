"""Four agencies found a network on homes that share nothing but files, and their nodes run it."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from ledger.quorum.founding import decode_signatures, encode_signatures
from tests.e2e.agencies import found_homes, run_homes
from tests.e2e.network import wait_receipt
from tests.e2e.test_start_faults import refuse
from tests.e2e.test_tally import SUBJECTS, tally
from tests.unit.tools.found.builders import MEMBERS
from tools.founding import signatures_path
from tools.localnet import Localnet

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Four founders' homes, whose nodes run."""
    homes = found_homes(tmp_path_factory.mktemp("found"), MEMBERS)
    with ExitStack() as stack:
        run_homes(homes, stack)
        yield homes


# The network lives as long as the module: its processes are no leak of one test.
@pytest.fixture(autouse=True)
def _no_process_left(homes: list[Path]) -> None:
    del homes


def test_an_event_is_recorded_on_all_four(homes: list[Path], tmp_path: Path) -> None:
    (tmp_path / "subjects.txt").write_text(SUBJECTS)
    asked = tally(
        *("officer", "request", "--dir", homes[0], "--member", MEMBERS[0], "--to", MEMBERS[1]),
        *("--dataset", "registration", "--purpose", "assessment", "--legal-basis", "tcal-6"),
        *("--field", "uscc", "--from", "2025-01-01", "--until", "2025-12-31"),
        *("--subjects", tmp_path / "subjects.txt", "--blinds", tmp_path / "blinds"),
    )
    assert asked["outcome"]["decision"] == "permit"
    delivered = tally(
        *("officer", "deliver", asked["exchange"], "--dir", homes[1], "--member", MEMBERS[1]),
        *("--commitment", "11" * 32, "--records", 2, "--quality-digest", "22" * 32),
        *("--size-bytes", 900, "--outbox-until-ms", 1_900_000_000_000),
    )
    for home in homes:
        wait_receipt(Localnet(home).index.nodes[0].api, delivered["index"])
        shown = tally("officer", "status", asked["exchange"], "--dir", home)
        assert shown["state"] == "delivered"


def test_replay_says_who_signed_the_genesis(homes: list[Path], tmp_path: Path) -> None:
    copy, genesis = tmp_path / "copy", homes[0] / "genesis.json"
    url = Localnet(homes[0]).index.nodes[0].api
    tally("audit", "mirror", url, copy, "--genesis", genesis)
    replay = ("audit", "replay", copy, "--jobs", 1)
    assert tally(*replay)["founders"] == "signed"
    assert tally(*replay, "--genesis", genesis)["founders"] == "signed"
    path = signatures_path(copy / "genesis.json")
    signatures = path.read_bytes()
    assert signatures == signatures_path(genesis).read_bytes()
    path.unlink()
    assert tally(*replay)["founders"] == "absent"
    path.write_bytes(signatures.replace(b"127.0.0.1", b"127.0.0.2", 1))
    report = tally(*replay)
    assert (report["replay"], report["founders"]) == ("valid", "invalid")


def test_a_node_does_not_start_before_all_have_signed(homes: list[Path], tmp_path: Path) -> None:
    shutil.copytree(homes[0], tmp_path / "home", ignore=shutil.ignore_patterns("data"))
    config = tmp_path / "home" / "nodes" / MEMBERS[0] / "node.toml"
    path = signatures_path(tmp_path / "home" / "genesis.json")
    signatures = decode_signatures(path.read_bytes())
    fewer = msgspec.structs.replace(signatures, signatures=signatures.signatures[:3])
    path.write_bytes(encode_signatures(fewer))
    said = refuse(config)
    assert f"{MEMBERS[3]}: its signature is missing" in said
    assert "tally admin found sign" in said
    path.unlink()
    assert "cannot be read" in refuse(config)
