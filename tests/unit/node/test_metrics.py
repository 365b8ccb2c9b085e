"""What is measured of a node's state: the gauges, from the same facts as the diagnosis."""

import math
from dataclasses import replace

from node.diagnosis.facts import DiskFacts, Facts
from node.diagnosis.rules import diagnose
from node.metrics import Metrics
from tests.unit.node.diagnosis.test_rules import HEALTHY, PEERS, make_peer, without_peers


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"tallystick_{name}", labels)


def measured(facts: Facts) -> Metrics:
    metrics = Metrics()
    metrics.set_facts(facts)
    return metrics


def test_the_gauges_of_a_node() -> None:
    disk = replace(HEALTHY.disk, sync_ms=7)
    facts = replace(HEALTHY, stalled_ms=2_500, clock_skew_ms=-40, disk=disk)
    metrics = measured(facts)
    assert value(metrics, "stalled_seconds") == 2.5
    assert value(metrics, "clock_skew_seconds") == -0.04
    assert value(metrics, "disk_sync_seconds") == 0.007
    assert value(metrics, "disk_free_bytes") == disk.free_bytes
    assert value(metrics, "certificate_seconds_left") == 365 * 86_400
    assert value(metrics, "peer_silent_seconds", peer=PEERS[0]) == 0.4


def test_what_is_not_known_is_no_number() -> None:
    disk: DiskFacts = replace(HEALTHY.disk, sync_ms=None)
    peers = (make_peer(PEERS[0], silent_ms=-1, certificate_expires_ms=None),)
    metrics = measured(replace(HEALTHY, disk=disk, clock_skew_ms=None, peers=peers))
    for name in ("disk_sync_seconds", "clock_skew_seconds"):
        assert math.isnan(value(metrics, name) or 0)
    for name in ("peer_silent_seconds", "peer_certificate_seconds_left"):
        assert math.isnan(value(metrics, name, peer=PEERS[0]) or 0)


def test_findings_and_peers_that_are_gone_are_not_shown_any_more() -> None:
    bad = without_peers(2)
    metrics = measured(bad)
    assert value(metrics, "findings", severity="fault", code="quorum-missing") == 1
    assert value(metrics, "findings", severity="warning", code="peer-unreachable") == 2
    assert len(diagnose(bad)) == 3
    metrics.set_facts(replace(HEALTHY, peers=HEALTHY.peers[1:]))
    assert value(metrics, "findings", severity="fault", code="quorum-missing") is None
    assert value(metrics, "peer_height", peer=PEERS[0]) is None
    assert value(metrics, "peer_height", peer=PEERS[1]) == 100
