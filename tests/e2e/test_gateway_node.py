"""The node beside a gateway is killed and comes back: a network of its own, since it is changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.gateways import gates
from tests.e2e.network import OWNER, Net, running
from tests.e2e.test_gateway import kinds_of, taxpayers, write_records

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with running(tmp_path / "net") as made:
        yield made


def test_killed_and_back_the_owners_node_loses_no_exchange(net: Net, tmp_path: Path) -> None:
    """Neither what is under way when it dies, nor what is asked while it is away."""
    rows = taxpayers(3)
    with gates(net, tmp_path) as (asker, owner):
        asker.start()
        owner.start()
        under_way = asker.ask(OWNER, [rows[0]["uscc"]])["exchange"]
        # There are no records yet: the exchange is in the middle when the node goes.
        owner.wait("provide", under_way, "prepare")
        net.local.kill(OWNER)
        write_records(owner, rows)
        owner.call("POST", f"/v1/jobs/provide/{under_way}/retry")
        meanwhile = asker.ask(OWNER, [rows[1]["uscc"]])["exchange"]
        net.local.start([OWNER])
        for exchange, row in ((under_way, rows[0]), (meanwhile, rows[1])):
            asker.wait("acquire", exchange, "kept")
            owner.wait("provide", exchange, "settled")
            assert asker.received(exchange) == [{"name": row["name"], "uscc": row["uscc"]}]
            kinds = ["share.requested", "share.delivered", "share.received"]
            assert kinds_of(net, exchange) == kinds
