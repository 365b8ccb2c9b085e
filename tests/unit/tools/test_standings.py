"""`tally keys list` with a network: whose keys these are, whether they count, their last day."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledger.custody.encryption import hash_encryption_key
from ledger.genesis import encode_genesis_json
from ledger.governance.actions import Action, RevokeOfficer
from ledger.governance.keys import SetEncryptionKey, SetTerm
from ledger.keys import SecretKey, format_secret_key
from tests import builders
from tests.builders import VALIDATORS, carried, consensus_key, key_of
from tests.unit.node.api.governance.proposing import submit_all
from tests.unit.node.api.harness import Served, run
from tools.cli import main
from tools.custody.keyfiles import read_key_file
from tools.exits import OK, UNREACHABLE, USAGE

FIRST, SECOND = VALIDATORS[:2]


def write_key(folder: Path, name: str, key: SecretKey) -> None:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(format_secret_key(key))


def recipient(path: Path) -> bytes:
    """The public half of a new key that payloads are sealed to."""
    made = CliRunner().invoke(main, ["keys", "generate", str(path), "--encryption", "--plain"])
    assert made.exit_code == OK
    return b"\1" + bytes.fromhex(read_key_file(path).public_key.partition(":")[2])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keys = tmp_path / "keys"
    keys.mkdir()
    write_key(keys, "requester.key", key_of(FIRST, "requester"))
    write_key(keys, "provider.key", key_of(FIRST, "provider"))
    write_key(keys, "approver.key", key_of(SECOND, "approver"))
    write_key(keys, "consensus.key", consensus_key(FIRST))
    write_key(keys, "nobody.key", SecretKey(builders.hash32("nobody")))
    (tmp_path / "genesis.json").write_bytes(encode_genesis_json(builders.genesis()))
    return keys


def listed(folder: Path, *more: object) -> Result:
    words = ["keys", "list", folder, "--genesis", folder.parent / "genesis.json", *more]
    return CliRunner().invoke(main, [*map(str, words), "--lang", "en"])


def test_keys_are_shown_with_what_a_network_says_of_them(folder: Path, tmp_path: Path) -> None:
    old, new = (recipient(folder / f"{name}.key") for name in ("old", "new"))
    votes: tuple[tuple[Action, ...], ...] = (
        (SetTerm(member=FIRST, key=key_of(FIRST, "requester").public, not_after="2027-06-30"),),
        (RevokeOfficer(key=key_of(FIRST, "provider").public, grounds="x"),),
        (SetEncryptionKey(member=FIRST, key=old, not_after="2026-12-31"),),
        (SetEncryptionKey(member=FIRST, key=new, not_after="2027-12-31"),),
    )
    found: list[Result] = []

    async def story(node: Served) -> None:
        for number, actions in enumerate(votes):
            await submit_all(node, *carried(*actions, activate_height=0, label=str(number)))
        url = "http://{}:{}".format(*node.address)
        found.append(await asyncio.to_thread(listed, folder, "--url", url))
        found.append(await asyncio.to_thread(listed, folder, "--url", url, "--json"))

    run(tmp_path / "node", story)
    shown, document = found
    assert document.exit_code == OK, document.output
    rows: dict[str, dict[str, Any]] = {
        Path(row["path"]).stem: row for row in json.loads(document.stdout)["keys"]
    }
    seen = {name: (row["member"], row["state"], row["not_after"]) for name, row in rows.items()}
    assert seen == {
        "requester": (FIRST, "active", "2027-06-30"),
        "provider": (FIRST, "revoked", ""),
        "approver": (SECOND, "active", ""),
        "consensus": (FIRST, "validator", ""),
        "nobody": ("", "unknown", ""),
        "old": (FIRST, "superseded", "2026-12-31"),
        "new": (FIRST, "active", "2027-12-31"),
    }
    assert rows["new"]["fingerprint"] == hash_encryption_key(new).hex()[:16]
    [line] = [line for line in shown.stdout.split("\n") if "requester.key" in line]
    assert "2027-06-30" in line
    [line] = [line for line in shown.stdout.split("\n") if "nobody.key" in line]
    assert "not on the ledger" in line


def test_without_a_network_nothing_is_asked(folder: Path) -> None:
    result = CliRunner().invoke(main, ["keys", "list", str(folder), "--json"])
    assert result.exit_code == OK
    assert all("not_after" not in row for row in json.loads(result.stdout)["keys"])


def test_a_network_is_an_address_and_a_genesis(folder: Path) -> None:
    result = listed(folder)
    assert result.exit_code == USAGE
    assert "[usage-invalid]" in result.stderr
    result = listed(folder, "--url", "http://127.0.0.1:1")
    assert result.exit_code == UNREACHABLE
    assert "[unreachable]" in result.stderr
