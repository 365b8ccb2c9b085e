"""A node signs only where its key was activated, and one data directory serves one process."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.network import ASKER
from tests.e2e.test_start_faults import refuse
from tools.exits import ERROR
from tools.founding import read_source
from tools.localnet import Localnet, create_network, shipped_policy_set

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Configuration of a node that was never started."""
    create_network(tmp_path / "net", source=read_source(), nodes=4, policy_set=shipped_policy_set())
    return Localnet(tmp_path / "net").node_directory(ASKER) / "node.toml"


def activate(config: Path, *arguments: str, answer: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tools.cli", "node", "activate", "--config", str(config)]
    return subprocess.run(
        [*command, "--lang", "en", *arguments], input=answer, capture_output=True, text=True
    )


def test_a_node_starts_only_after_its_activation(config: Path) -> None:
    assert "Run: tally node activate" in refuse(config)
    refused = activate(config, answer="n\n")
    assert refused.returncode == ERROR
    assert "has never run on another machine" in refused.stderr
    assert "Nothing was activated" in refused.stderr
    assert "Run: tally node activate" in refuse(config)
    agreed = activate(config, answer="y\n")
    assert agreed.returncode == 0, agreed.stderr
    assert "Activated ed25519:" in agreed.stdout
    again = activate(config, "--yes", "--json")
    assert json.loads(again.stdout)["outcome"] == "already"


def test_forgotten_votes_stop_the_node(config: Path) -> None:
    assert activate(config, "--yes").returncode == 0
    shutil.rmtree(config.parent / "data" / "wal")
    assert "[start-votes-missing]" in refuse(config)
    again = activate(config, "--yes")
    assert again.returncode == ERROR
    assert "replace this node's consensus key" in again.stderr


def test_a_copy_on_another_machine(config: Path) -> None:
    assert activate(config, "--yes").returncode == 0
    path = config.parent / "data" / "activation.json"
    content = json.loads(path.read_bytes())
    content["machine"] = "00" * 32
    path.write_text(json.dumps(content))
    assert "stopped for good" in refuse(config)
    moved = activate(config, "--yes")
    assert "The former machine must never start it again" in moved.stdout
