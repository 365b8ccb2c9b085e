"""Every finding of the diagnosis: a healthy snapshot with one thing wrong, and its words."""

import re
from dataclasses import replace
from typing import Any

import pytest

from contracts.words import LANGUAGES
from node.diagnosis.facts import (
    ChangeFacts,
    CosigningFacts,
    DiskFacts,
    DropFacts,
    Facts,
    PeerFacts,
    PoolFacts,
    Standing,
    SyncFacts,
    ViewFacts,
)
from node.diagnosis.rules import DAY_MS, MIB, Severity, diagnose, worst
from node.diagnosis.words import catalogue, describe
from node.peers.software import Software

ME, PEERS = "cn-1-tax", ("cn-2-tax", "cn-3-tax", "cn-4-tax")
NOW_MS = 1_800_000_000_000
OURS = Software(version="1.0.0", engine="cedar-4")
YEAR_MS = 365 * DAY_MS


def make_peer(member: str, **changed: Any) -> PeerFacts:
    peer = PeerFacts(
        member=member,
        address=f"{member}:7000",
        is_validator=True,
        is_connected=True,
        silent_ms=400,
        final_height=100,
        clock_offset_ms=3,
        software=OURS,
        certificate_expires_ms=NOW_MS + YEAR_MS,
    )
    return replace(peer, **changed)


VIEW = ViewFacts(
    epoch=1,
    view=103,
    leader=PEERS[0],
    quorum=3,
    validators=(ME, *PEERS),
    has_proposal=True,
    awaited="",
    awaited_view=103,
    votes={},
    final_view=102,
    certified="finalize",
    certified_view=102,
)
SYNC = SyncFacts(
    is_behind=False,
    target_height=100,
    best_height=100,
    best_peer=PEERS[0],
    source="",
    blocks_per_minute=0,
    progress_ms_ago=1_000,
)
DISK = DiskFacts(
    path="/data",
    free_bytes=80_000 * MIB,
    total_bytes=100_000 * MIB,
    sync_ms=2,
    engine="leveldb",
    store_bytes=MIB,
    votes_bytes=MIB,
)
CHANGE = ChangeFacts(
    next_epoch=2,
    activate_height=90,
    validators=(ME, *PEERS),
    ready=(ME, PEERS[0]),
    quorum=3,
)
HEALTHY = Facts(
    member=ME,
    standing=Standing.VALIDATOR,
    wall_ms=NOW_MS,
    height=100,
    tip_time_ms=NOW_MS - 1_000,
    block_hash="00" * 32,
    header_index=500,
    stalled_ms=0,
    precision_ms=500,
    software=OURS,
    certificate_expires_ms=NOW_MS + YEAR_MS,
    clock_skew_ms=4,
    view=VIEW,
    peers=tuple(make_peer(member) for member in PEERS),
    sync=SYNC,
    disk=DISK,
    pool=PoolFacts(count=0, count_max=1_000, oldest_ms=0),
    change=None,
    cosigning=CosigningFacts(
        tree_size=501, checkpoint_size=501, behind_ms=0, signers=VIEW.validators, quorum=3
    ),
)


def with_peer(**changed: Any) -> Facts:
    return replace(HEALTHY, peers=(make_peer(PEERS[0], **changed), *HEALTHY.peers[1:]))


def with_view(**changed: Any) -> Facts:
    return replace(HEALTHY, stalled_ms=40_000, view=replace(VIEW, **changed))


def without_peers(count: int) -> Facts:
    silent = [make_peer(member, is_connected=False, silent_ms=9_000) for member in PEERS[:count]]
    return replace(HEALTHY, peers=(*silent, *HEALTHY.peers[count:]))


def with_disk(**changed: Any) -> Facts:
    return replace(HEALTHY, disk=replace(DISK, **changed))


def with_sync(**changed: Any) -> Facts:
    return replace(HEALTHY, sync=replace(SYNC, **changed))


def with_pool(**changed: Any) -> Facts:
    return replace(HEALTHY, pool=replace(HEALTHY.pool, **changed))


OK, WARNING, FAULT = Severity.OK, Severity.WARNING, Severity.FAULT
Case = tuple[str, Severity, Facts, str]
# Code, severity, what is wrong, what its words must name.
CASES: list[Case] = [
    ("healthy", OK, HEALTHY, "100"),
    ("quorum-missing", FAULT, without_peers(2), "cn-2-tax, cn-3-tax"),
    ("peer-unreachable", WARNING, without_peers(1), "cn-2-tax:7000"),
    (
        "peer-unreachable-since-start",
        WARNING,
        with_peer(is_connected=False, silent_ms=-1),
        "cn-2-tax:7000",
    ),
    ("peer-silent", WARNING, with_peer(silent_ms=20_000), "20 s"),
    ("peer-silent-since-start", WARNING, with_peer(silent_ms=-1), "cn-2-tax"),
    ("peer-deaf", WARNING, with_peer(is_connected=False), "cn-2-tax:7000"),
    ("no-finality", WARNING, replace(HEALTHY, stalled_ms=12_000), "12 s"),
    ("no-finality", FAULT, replace(HEALTHY, stalled_ms=31_000), "view 103"),
    (
        "waits-for-proposal",
        FAULT,
        with_view(awaited="notarize", has_proposal=False),
        "a block from cn-2-tax",
    ),
    (
        "waits-for-notarize",
        FAULT,
        with_view(awaited="notarize", votes={"notarize": (ME, PEERS[0])}),
        "cn-3-tax, cn-4-tax",
    ),
    ("waits-for-nullify", FAULT, with_view(votes={"nullify": (ME,)}), "1 of 3"),
    ("waits-for-finalize", FAULT, with_view(awaited="finalize"), "0 of 3"),
    (
        "catching-up",
        WARNING,
        with_sync(is_behind=True, target_height=1_100, blocks_per_minute=600, source=PEERS[1]),
        "100 s",
    ),
    (
        "catch-up-stalled",
        FAULT,
        with_sync(is_behind=True, target_height=1_100, progress_ms_ago=45_000),
        "45 s",
    ),
    ("peer-ahead", WARNING, with_sync(best_height=120), "claims height 120"),
    ("clock-behind", WARNING, replace(HEALTHY, clock_skew_ms=300), "300 ms"),
    ("clock-behind", FAULT, replace(HEALTHY, clock_skew_ms=3_600_000), "3600000 ms"),
    ("clock-ahead", FAULT, replace(HEALTHY, clock_skew_ms=-501), "501 ms"),
    ("peer-clock", WARNING, with_peer(clock_offset_ms=-900), "-900 ms"),
    ("disk-full", FAULT, with_disk(free_bytes=10 * MIB), "10 MB"),
    ("disk-low", WARNING, with_disk(free_bytes=1_000 * MIB), "1000 MB"),
    ("disk-low", WARNING, with_disk(free_bytes=4_999 * MIB), "4999 MB"),
    ("disk-slow", WARNING, with_disk(sync_ms=700), "700 ms"),
    *(
        (
            "certificate-expires-own",
            severity,
            replace(HEALTHY, certificate_expires_ms=NOW_MS + days * DAY_MS),
            f"{days} days",
        )
        for days, severity in ((59, OK), (29, WARNING), (6, FAULT))
    ),
    (
        "certificate-expires-peer",
        WARNING,
        with_peer(certificate_expires_ms=NOW_MS + 20 * DAY_MS),
        "cn-2-tax: 20 days",
    ),
    (
        "certificate-expired-own",
        FAULT,
        replace(HEALTHY, certificate_expires_ms=NOW_MS - 2 * DAY_MS),
        "2 days",
    ),
    ("certificate-expired-peer", FAULT, with_peer(certificate_expires_ms=NOW_MS - 1), "cn-2-tax"),
    ("engine-differs", FAULT, with_peer(software=replace(OURS, engine="cedar-5")), "cedar-5"),
    ("version-differs", WARNING, with_peer(software=replace(OURS, version="1.1.0")), "1.1.0"),
    ("standing-joining", WARNING, replace(HEALTHY, standing=Standing.JOINING), ME),
    ("standing-removed", WARNING, replace(HEALTHY, standing=Standing.REMOVED), ME),
    ("standing-observer", WARNING, replace(HEALTHY, standing=Standing.OBSERVER), ME),
    ("change-waits-for-readiness", WARNING, replace(HEALTHY, change=CHANGE), "cn-3-tax, cn-4-tax"),
    (
        "change-waits-for-readiness",
        OK,
        replace(HEALTHY, change=replace(CHANGE, activate_height=200)),
        "200",
    ),
    (
        "change-waits-for-height",
        OK,
        replace(HEALTHY, change=replace(CHANGE, ready=VIEW.validators, activate_height=200)),
        "200",
    ),
    (
        "cosigning-behind",
        WARNING,
        replace(
            HEALTHY,
            cosigning=replace(
                HEALTHY.cosigning, checkpoint_size=400, behind_ms=31_000, signers=(ME,)
            ),
        ),
        "cn-2-tax, cn-3-tax, cn-4-tax",
    ),
    ("contradiction", WARNING, replace(HEALTHY, contradictions=(PEERS[2],)), "cn-4-tax"),
    ("own-contradiction", FAULT, replace(HEALTHY, contradictions=(ME,)), "Stop this node"),
    ("pool-full", FAULT, with_pool(count=1_000), "1000"),
    ("pool-nearly-full", WARNING, with_pool(count=900), "900"),
    ("events-waiting", WARNING, with_pool(count=1, oldest_ms=31_000), "31 s"),
    ("frames-dropped", WARNING, replace(HEALTHY, frames=DropFacts(count=7, last_ms_ago=500)), "7"),
    ("messages-dropped", WARNING, replace(HEALTHY, messages=DropFacts(count=8)), "8"),
]
# Found without a running node, see test_offline.
OFFLINE = {
    "config-invalid",
    "genesis-invalid",
    "genesis-unsigned",
    "keys-invalid",
    "listing-invalid",
    "peers-incomplete",
    "not-activated",
    "data-missing",
    "node-running",
    "store-damaged",
    "votes-damaged",
    "port-taken",
    "clock-before-genesis",
    "clock-before-tip",
    "ready-to-start",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1].word}")
def test_a_cause_is_found(case: Case) -> None:
    code, severity, facts, named = case
    findings = [finding for finding in diagnose(facts) if finding.code == code]
    assert [finding.severity for finding in findings] == [severity]
    words = describe(findings[0], "en")
    assert named in f"{words.detail} {words.advice}"
    assert describe(findings[0], "zh").detail


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1].word}")
def test_health_is_said_exactly_when_nothing_is_wrong(case: Case) -> None:
    findings = diagnose(case[2])
    is_healthy = worst(findings) is Severity.OK
    assert ("healthy" in {finding.code for finding in findings}) is is_healthy


def test_every_code_has_words_and_a_test() -> None:
    assert {case[0] for case in CASES} | OFFLINE == set(catalogue("en"))


def test_catalogues_have_the_same_codes_and_places() -> None:
    chinese, english = (catalogue(name) for name in LANGUAGES)
    assert chinese.keys() == english.keys()
    for code, entry in english.items():
        assert set(entry) == set(chinese[code]) == {"title", "detail", "advice"}, code
        for part, text in entry.items():
            places = re.findall(r"{(\w+)}", text)
            assert sorted(set(places)) == sorted(set(re.findall(r"{(\w+)}", chinese[code][part])))


def test_the_worst_comes_first() -> None:
    facts = replace(without_peers(2), certificate_expires_ms=NOW_MS + 59 * DAY_MS)
    severities = [finding.severity for finding in diagnose(facts)]
    assert severities == sorted(severities, reverse=True)
    assert severities[0] is FAULT
    assert severities[-1] is OK


SHORT = replace(HEALTHY.cosigning, checkpoint_size=400, behind_ms=29_999)
LONG_AGO = DropFacts(count=1, last_ms_ago=3_600_000)
QUIET: list[tuple[str, Facts]] = [
    ("a leader that is skipped in time", replace(HEALTHY, stalled_ms=9_999)),
    ("a drop an hour ago", replace(HEALTHY, frames=LONG_AGO)),
    ("a peer some blocks ahead", with_sync(best_height=107)),
    ("a tree without a quorum for a moment", replace(HEALTHY, cosigning=SHORT)),
]


@pytest.mark.parametrize("row", QUIET, ids=lambda row: row[0])
def test_what_is_normal_is_no_finding(row: tuple[str, Facts]) -> None:
    assert [finding.code for finding in diagnose(row[1])] == ["healthy"]


def test_with_no_clock_of_ours_to_trust_no_peer_is_blamed() -> None:
    facts = replace(with_peer(clock_offset_ms=900), clock_skew_ms=900)
    assert {finding.code for finding in diagnose(facts)} == {"clock-behind"}


def test_a_node_that_is_behind_does_not_blame_the_view() -> None:
    facts = replace(
        with_view(awaited="notarize", has_proposal=False),
        sync=replace(SYNC, is_behind=True, target_height=1_100),
    )
    codes = {finding.code for finding in diagnose(facts)}
    assert codes == {"no-finality", "catching-up"}
