"""A payload of many chunks through real gateways: it arrives, and hardly any memory is needed."""

import json

import pytest
from click.testing import CliRunner

from tools.cli import main
from tools.exits import OK

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

MEGABYTES = 20
# Of one process, whatever the size of the payload.
MEMORY_MB_MAX = 200


def test_a_large_payload_arrives_in_little_memory() -> None:
    done = CliRunner().invoke(main, ["bench", "payload", "--megabytes", str(MEGABYTES), "--json"])
    assert done.exit_code == OK, done.output
    told = json.loads(done.stdout)
    assert MEGABYTES <= told["plain_mb"] <= told["sealed_mb"] < 1.2 * MEGABYTES
    assert told["records"] > 10_000
    assert set(told["peak_mb"]) == {
        "nodes", "provider_gateway", "provider_worker", "requester_gateway", "requester_worker"
    }  # fmt: skip
    assert all(20 < peak < MEMORY_MB_MAX for peak in told["peak_mb"].values())
