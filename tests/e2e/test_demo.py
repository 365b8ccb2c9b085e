"""The demonstration, whole: what it tells is what the log says afterwards."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.gateway.story import SUBJECTS, count_ids_on

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def folder() -> Iterator[Path]:
    """One with a short path: those of sockets are limited."""
    with tempfile.TemporaryDirectory(prefix="tally-") as made:
        yield Path(made) / "net"


def test_the_demonstration_ends_with_a_valid_log_and_no_process(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", "demo", "--once", "--json", "--dir", folder],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["replay"] == "valid"
    assert told["decisions"]["permit"] > told["exchanges"] > 0
    # Both ways, an offer that was rejected and delivered again, and a destruction.
    assert told["records_travelled"] > 2 * SUBJECTS * 9 // 10
    assert (told["rejection_code"], told["destroyed"]) == ("50001", 1)
    assert told["duties"] > told["duties_overdue"] == 0
    assert told["duties"] >= told["overdue_ahead"] > 0
    assert told["ids_on_ledger"] == 0
    # The mirror is looked through: what stands in it is found.
    assert count_ids_on(folder / "mirror", ["share.destroyed", "share.never"]) == 1
    processes = [
        path for path in Path("/proc").iterdir() if path.name.isascii() and path.name.isdigit()
    ]
    running = [path for path in processes if str(folder).encode() in _command_of(path)]
    assert not running


def _command_of(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
