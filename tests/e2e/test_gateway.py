"""Data between two agencies: real nodes, real gateways, real TLS, killed wherever it hurts."""

from pathlib import Path

import pytest

from tests.e2e.gateways import gates
from tests.e2e.network import OWNER, Net, running

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

USCC = ("91110108MA01C1TN1X",)


def test_records_travel(tmp_path: Path) -> None:
    with running(tmp_path / "net") as net, gates(net, tmp_path / "gates") as (asker, owner):
        asker.start()
        owner.start()
        print(asker.ask(OWNER, list(USCC)))
        import time
        for _ in range(100):
            time.sleep(0.1)
        print(asker.call("GET", "/v1/jobs"), owner.call("GET", "/v1/jobs"))
        print(asker.log(), owner.log())
        assert 0
